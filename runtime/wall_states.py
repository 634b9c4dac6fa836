"""The states of a participant in wall time, and the one table of how it passes from one to the next."""

from collections.abc import Mapping
from enum import Enum, auto


class WallState(Enum):
    CONNECTING = auto()
    """Not connected yet."""
    LISTENING = auto()
    """Connected; it waits a moment for the retained run before it shows itself."""
    WAITING = auto()
    """It has shown itself, and waits for a run."""
    BEFORE_START = auto()
    """In a run that has not begun yet, or that it has not acted in yet."""
    RUNNING = auto()
    """It acts when something is due."""
    LINGERING = auto()
    """The run has ended and all that was due is done; it takes in what is still on its way."""
    ENDED = auto()
    """Nothing is left to be done."""
    LEFT = auto()
    """It has said goodbye: offline or fault."""


class WallEvent(Enum):
    CONNECTED = auto()
    NO_RUN_HEARD = auto()
    """The moment is over in which a retained run would have come."""
    RUN_ENTERED = auto()
    """A run was joined, or resumed from the checkpoint."""
    START_REACHED = auto()
    RUN_ENDED = auto()
    """The clock has ended the run, and nothing is due any more."""
    QUIET = auto()
    """Nothing has arrived for so long after the end that no more is expected."""
    GOODBYE = auto()


TRANSITIONS: Mapping[WallState, Mapping[WallEvent, WallState]] = {
    WallState.CONNECTING: {WallEvent.CONNECTED: WallState.LISTENING, WallEvent.GOODBYE: WallState.LEFT},
    WallState.LISTENING: {
        WallEvent.NO_RUN_HEARD: WallState.WAITING,
        WallEvent.RUN_ENTERED: WallState.BEFORE_START,
        WallEvent.GOODBYE: WallState.LEFT,
    },
    WallState.WAITING: {WallEvent.RUN_ENTERED: WallState.BEFORE_START, WallEvent.GOODBYE: WallState.LEFT},
    WallState.BEFORE_START: {
        WallEvent.RUN_ENTERED: WallState.BEFORE_START,
        WallEvent.START_REACHED: WallState.RUNNING,
        WallEvent.RUN_ENDED: WallState.LINGERING,
        WallEvent.GOODBYE: WallState.LEFT,
    },
    WallState.RUNNING: {
        WallEvent.RUN_ENTERED: WallState.BEFORE_START,
        WallEvent.RUN_ENDED: WallState.LINGERING,
        WallEvent.GOODBYE: WallState.LEFT,
    },
    WallState.LINGERING: {
        WallEvent.RUN_ENTERED: WallState.BEFORE_START,
        WallEvent.QUIET: WallState.ENDED,
        WallEvent.GOODBYE: WallState.LEFT,
    },
    WallState.ENDED: {WallEvent.GOODBYE: WallState.LEFT},
    WallState.LEFT: {},
}

SHOWN = frozenset({WallState.WAITING, WallState.BEFORE_START, WallState.RUNNING, WallState.LINGERING, WallState.ENDED})
"""States in which birth and state ``online`` stand on the broker."""
IN_A_RUN = frozenset({WallState.BEFORE_START, WallState.RUNNING, WallState.LINGERING, WallState.ENDED})
"""States in which the run's time is known."""


class WallProgress:
    """Where one participant is. Everything that changes it is an event of the table."""

    def __init__(self) -> None:
        self.state = WallState.CONNECTING

    def on(self, event: WallEvent) -> None:
        """Raises ValueError for an event that the table does not have in this state: a mistake of the run loop."""
        following = TRANSITIONS[self.state].get(event)
        if following is None:
            raise ValueError(f"{event.name} cannot happen in state {self.state.name}")
        self.state = following

    @property
    def shown(self) -> bool:
        return self.state in SHOWN

    @property
    def in_a_run(self) -> bool:
        return self.state in IN_A_RUN
