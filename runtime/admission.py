"""Who may enter a run, and which run a message belongs to: one set of rules for lock-step and for wall time.

A run's identifier sorts by the time of its start, so that "newer" is decided by comparing identifiers.
"""

from collections.abc import Sequence
from enum import Enum, auto

from schemas.errors import LocalStateError
from schemas.messages import Run, RunId, TimeMode
from schemas.participant import Participant, Received, own_sources
from schemas.topics import Channel


def is_newer(run: RunId, known: RunId | None) -> bool:
    """Whether a run began after the one that is known, if any is."""
    return known is None or run > known


def is_older(run: RunId, known: RunId | None) -> bool:
    """Whether a run began before the one that is known."""
    return known is not None and run < known


class Entry(Enum):
    """What a clock's message about its run means for a participant."""

    NONE = auto()
    """Nothing: the run is over, older, or not for this participant."""
    SAME = auto()
    """It is about the run that the participant takes part in."""
    JOIN = auto()
    """The participant is to begin a new life in this run."""
    OTHER_MODE = auto()
    """The site's run passes in the other time mode, by the other run loop."""


def entry_into(
    run: RunId,
    body: Run,
    mode: TimeMode,
    known: RunId | None,
    *,
    modes: Sequence[TimeMode] = tuple(TimeMode),
    unfinished: RunId | None = None,
) -> Entry:
    """Decides on a message about ``run`` for a run loop of ``mode`` whose participant is in run ``known``.

    ``modes``: those that the participant follows. ``unfinished``: a run of the other mode that it took part in and did
    not see the end of; it is entered even if it has ended meanwhile, for what was sent up to its end.
    """
    if body.mode is not mode:
        open_ = body.ended is None or run == unfinished
        return Entry.OTHER_MODE if open_ and is_newer(run, known) and body.mode in modes else Entry.NONE
    if run == known:
        return Entry.SAME
    if is_newer(run, known) and body.ended is None and mode in modes:
        return Entry.JOIN
    return Entry.NONE


class Belongs(Enum):
    """To which run a message belongs, seen by a participant."""

    HERE = auto()
    """To the run that it takes part in."""
    LATER = auto()
    """To a run that it may still hear of: to be kept until then."""
    ELSEWHERE = auto()
    """To another run: not for it."""


def belongs(received: Received, mode: TimeMode, known: RunId | None, *, entered: bool = True) -> Belongs:
    """Decides on a message for a participant in run ``known``.

    ``entered``: False while that run is known from a checkpoint only, and its clock was not heard yet. In wall time a
    message without a run means the run that is on, and births and states count whatever run they carry: a device says
    who it is once in its life.
    """
    run = received.stamp.run
    if mode is TimeMode.WALL and (run is None or received.topic.channel in (Channel.BIRTH, Channel.STATE)):
        return Belongs.HERE
    if run is None:
        return Belongs.ELSEWHERE
    if run == known and entered:
        return Belongs.HERE
    if is_newer(run, known) or not entered:
        return Belongs.LATER
    return Belongs.ELSEWHERE


def modes_of(participant: Participant) -> tuple[TimeMode, ...]:
    """The time modes that a participant follows, by its birth.

    Raises LocalStateError for one that has live sources and says that it follows lock-step: what a source delivers
    depends on the machine's time, so that a lock-step run with it would not be the same twice.
    """
    modes = participant.birth().time_modes
    if own_sources(participant) and TimeMode.LOCKSTEP in modes:
        names = ", ".join(source.name for source in own_sources(participant))
        raise LocalStateError(
            f"{participant.device} has live sources ({names}) and its birth has time_modes {', '.join(modes)}; "
            f"a participant with live sources follows {TimeMode.WALL} only"
        )
    return modes


def check_follows_lockstep(participant: Participant) -> None:
    """Raises LocalStateError for a participant that cannot take part in a lock-step run."""
    if TimeMode.LOCKSTEP not in modes_of(participant):
        raise LocalStateError(
            f"{participant.device} follows {', '.join(participant.birth().time_modes)} time only, "
            "by the time_modes of its birth; it cannot take part in a lock-step run"
        )
