"""The time of a process in wall time: the machine's clock at its start, and from there on a clock that nobody sets.

The machine's clock may be set while a run goes on: by hand, by a time server after a start without battery clock. The
rule is:

- A process takes the machine's time once, when it begins to take part in a run. From there on it counts by a clock
  that only runs forward, sleep of the machine included. So run time neither jumps nor stands still.
- A difference of more than `STEP_S` between the two is a step of the machine's clock: an alarm, `clock_stepped`, which
  is over when the two agree again.
- In a real run a step forward that has lasted for `FOLLOW_AFTER_S` is followed: the machine had started with a clock
  that was slow. A step back is never followed within a run, for run time does not go back.
- Whoever goes on from a checkpoint, or joins, begins no earlier than the time that the run is known to have reached.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from schemas.messages import Alarm, Severity

STEP_S = 1.0
"""Difference [s] between the machine's clock and the steady one from which on the machine's was set. Time servers
adjust smaller ones by the speed of both."""
FOLLOW_AFTER_S = 600.0
"""A step forward that has lasted so long [s] is followed in a real run."""
TIGHT_S = 1e-3
"""Two clocks that were read within so long [s] were read at the same time."""
READINGS = 5
"""So often the two are read until that is so; then the tightest reading counts."""


def machine_now() -> datetime:
    """The machine's clock, which may be set at any time."""
    return datetime.now(UTC)


def elapsed_s() -> float:
    """Seconds since some beginning, by a clock that cannot be set; the machine's sleep counts where that is known."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class SteadyClock:
    """Machine time that does not step. ``machine`` and ``elapsed`` are the clocks that it reads."""

    def __init__(self, machine: Callable[[], datetime] = machine_now, elapsed: Callable[[], float] = elapsed_s) -> None:
        self._machine = machine
        self._elapsed = elapsed
        self._from_s, self._began = self._read_both()
        self._noticed = timedelta()
        """Difference that the last look found."""
        self._since_s = self._from_s
        """When that difference arose."""

    def now(self) -> datetime:
        """The machine's time at the beginning, plus what has passed since."""
        return self._at(self._elapsed())

    @property
    def apart(self) -> timedelta:
        """By how much the machine's clock is ahead of this one."""
        elapsed_s, machine = self._read_both()
        return machine - self._at(elapsed_s)

    def _at(self, elapsed_s: float) -> datetime:
        return self._began + timedelta(seconds=elapsed_s - self._from_s)

    def _read_both(self) -> tuple[float, datetime]:
        """Both clocks at the same time: a process that was held up between two readings would take that for a step."""
        readings = []
        for _ in range(READINGS):
            before, machine, after = self._elapsed(), self._machine(), self._elapsed()
            readings.append((after - before, before, machine))
            if after - before <= TIGHT_S:
                break
        width, before, machine = min(readings, key=lambda reading: reading[0])
        return before + width / 2, machine

    def step(self) -> timedelta | None:
        """By how much the machine's clock is ahead since it was set, once each time that it was; None: it was not."""
        apart = self.apart
        if abs(apart - self._noticed) <= timedelta(seconds=STEP_S):
            return None
        self._noticed, self._since_s = apart, self._elapsed()
        return apart

    @property
    def is_to_follow(self) -> bool:
        """Whether the machine's clock has been ahead for so long that a real run follows it."""
        lasted_s = self._elapsed() - self._since_s
        return self._noticed > timedelta(seconds=STEP_S) and lasted_s >= FOLLOW_AFTER_S

    def take_the_machines(self) -> timedelta:
        """Begins anew with the machine's time. Returns by how much this clock jumped."""
        apart = self.apart
        self._began += apart
        self._noticed = timedelta()
        return apart

    def advance_to(self, time: datetime) -> timedelta:
        """Goes on from ``time`` if that is later than now. Returns by how much this clock jumped."""
        jump = max(time - self.now(), timedelta())
        self._began += jump
        self._noticed -= jump
        return jump


def stepped(apart: timedelta) -> Alarm:
    """The alarm about a machine's clock that is now ``apart`` ahead; over when it is not."""
    seconds = apart.total_seconds()
    active = abs(seconds) > STEP_S
    way = "ahead" if seconds > 0 else "back"
    return Alarm(
        code="clock_stepped",
        severity=Severity.WARNING,
        active=active,
        value=seconds,
        limit=STEP_S,
        text=f"the machine's clock was set {way} and is {seconds:+.1f} s from the run's, which goes on steadily"
        if active
        else "over: the machine's clock and the run's agree",
    )
