"""run, tick and done: the clock's messages and the answer to them. See `runtime.lockstep` for the rules."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from schemas.messages.birth import TimeMode
from schemas.messages.stamp import BootId, Command, DeviceId
from schemas.units import UtcTime


class Phase(StrEnum):
    """Phases of a lock-step cycle, in order. A day is roll call, commit; per step all five; sense, measure, commit."""

    ROLLCALL = "rollcall"
    SENSE = "sense"
    MEASURE = "measure"
    DECIDE = "decide"
    APPLY = "apply"
    COMMIT = "commit"

    @property
    def order(self) -> int:
        return _ORDER[self]


_ORDER = {phase: order for order, phase in enumerate(Phase)}


class Run(Command):
    """The time that holds at a site. Retained: who joins knows from it where we are.

    In wall time the simulated time is ``t0 + (now - wall0) · speed``; with real devices speed is 1 and t0 = wall0.
    """

    mode: TimeMode
    step_s: Annotated[int, Field(gt=0, le=86_400)]
    t0: UtcTime
    t_end: UtcTime | None = None
    wall0: UtcTime
    speed: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Wall time only."""
    simulated: bool = True
    """False: real devices; no simulation may touch this site."""
    ended: UtcTime | None = None
    """When the run ended (machine time); None: it goes on."""

    def time_at(self, now: datetime) -> datetime:
        """Run time at the machine's time ``now`` (wall time only)."""
        return self.t0 + (now - self.wall0) * self.pace

    def time_from_t0(self, now: datetime) -> datetime:
        """As `time_at`, but never before ``t0``: the run may have been announced and not have begun."""
        return max(self.time_at(now), self.t0)

    def machine_time_at(self, t: datetime) -> datetime:
        """Machine time at the run's time ``t``: the inverse of `time_at`."""
        return self.wall0 + (t - self.t0) / self.pace

    def machine_s(self, duration: timedelta) -> float:
        """How long a duration of the run is on the machine's clock [s]."""
        return duration.total_seconds() / self.pace

    def at_speed(self, speed: float, now: datetime) -> "Run":
        """The same run from machine time ``now`` on at another speed: its time goes on from where it is."""
        return self.model_copy(update={"speed": speed, "wall0": now - (self.time_at(now) - self.t0) / speed})

    def moved(self, by: timedelta) -> "Run":
        """The same run in terms of a machine's clock that is ``by`` ahead; run time is the same."""
        ended = None if self.ended is None else self.ended + by
        return self.model_copy(update={"wall0": self.wall0 + by, "ended": ended}) if by else self

    @property
    def pace(self) -> float:
        """Seconds of the run in a second of the machine; 1 where no speed is given."""
        return self.speed or 1.0


Announcement = tuple[str, int, int]
"""(topic, first seq, last seq): these messages were sent in this step."""


class Tick(Command):
    """Opens a phase for everyone in the roster, or repeats it when answers are missing."""

    n: Annotated[int, Field(ge=0)]
    """Cycle: 0 the roll call, 1..N the steps, N+1 the closing one."""
    phase: Phase
    t: UtcTime
    attempt: Annotated[int, Field(ge=1)]
    t0: UtcTime
    t_end: UtcTime
    step_s: Annotated[int, Field(gt=0, le=86_400)]
    roster: dict[DeviceId, BootId]
    announced: dict[DeviceId, Annotated[tuple[Announcement, ...], Field(strict=False)]]
    """Announcements of each member of the roster, and of the clock, in this cycle so far."""

    @property
    def key(self) -> tuple[int, int]:
        """Order of phases through a run."""
        return (self.n, self.phase.order)


class Done(Command):
    """I have done this phase, and this is all I sent in this cycle."""

    n: Annotated[int, Field(ge=0)]
    phase: Phase
    announced: Annotated[tuple[Announcement, ...], Field(strict=False)]
