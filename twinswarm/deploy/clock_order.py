"""The clock's order, and how it finds the run again that it left unfinished."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict

from runtime.checkpoint import CheckpointStore
from schemas.errors import LocalStateError
from schemas.messages import RunId, TimeMode
from schemas.participant import Json
from schemas.units import UtcTime
from services.clock.lateness import WhenLate


class ClockOrder(BaseModel):
    """Which run, from when, for how long, and who may already be on the broker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: RunId
    t0: UtcTime | None
    """None: the machine's time when the run opens; in wall time only."""
    length: timedelta | None
    """In run time. None: without an end; in wall time only."""
    speed: float | None = None
    """None: lock-step; else wall time, so many times faster than the machine's clock."""
    wall0: UtcTime | None = None
    """The machine's time at which the run begins; in wall time only. None: as soon as everybody is there."""
    simulated: bool = True
    """False: real devices."""
    allowed: frozenset[str] | None = frozenset()
    """Devices that may be on the broker already. None: whoever started this clock has looked who is there."""
    end_when_stopped: bool = True
    """False: it is left open, for a clock that is started again to go on with."""
    when_late: WhenLate = WhenLate.GO_ON
    """A simulated run faster than real time: what happens when set-points come too late."""
    stay: bool = False
    """To live on after the end until it is stopped."""

    @property
    def mode(self) -> TimeMode:
        return TimeMode.LOCKSTEP if self.speed is None else TimeMode.WALL

    @property
    def course(self) -> Json:
        """The part that makes two orders the same: all but the run, and how it is carried out."""
        course = self.model_dump(mode="json", include={"t0", "length", "speed", "simulated"})
        return course if self.wall0 is None else {**course, "wall0": self.wall0.isoformat()}


class OrderStore:
    """The clock's checkpoint, of one order. What is kept of another order is forgotten."""

    def __init__(self, store: CheckpointStore, order: ClockOrder) -> None:
        """Raises LocalStateError for what is no checkpoint of a clock."""
        self._store = store
        self._course = order.course
        self._kept: Json | None = None
        kept = store.load()
        if kept is None:
            return
        try:
            course, clock, _ = kept["course"], kept["clock"], kept["clock"]["run"]
        except (KeyError, TypeError) as error:
            raise LocalStateError(f"the clock's checkpoint holds no run: {error}; delete it") from None
        if course == self._course:
            self._kept = clock
        else:
            store.clear()

    @property
    def run(self) -> RunId | None:
        """Identifier of the run that is not finished; None: there is none."""
        return None if self._kept is None else self._kept["run"]

    def load(self) -> Json | None:
        return self._kept

    def save(self, value: Json) -> None:
        self._kept = value
        self._store.save({"course": self._course, "clock": value})

    def clear(self) -> None:
        """The run is over: a clock that is started again begins a new one."""
        self._kept = None
        self._store.clear()
