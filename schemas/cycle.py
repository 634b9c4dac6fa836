"""The order of a lock-step run: cycles of phases, their times, and who follows whom."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.errors import Code, InputError
from schemas.messages import Phase

ROLLCALL_CYCLE = (Phase.ROLLCALL, Phase.COMMIT)
STEP_CYCLE = (Phase.SENSE, Phase.MEASURE, Phase.DECIDE, Phase.APPLY, Phase.COMMIT)
CLOSING_CYCLE = (Phase.SENSE, Phase.MEASURE, Phase.COMMIT)


@dataclass(frozen=True, slots=True)
class Course:
    """A run from ``t0`` to ``t_end`` in steps of ``step_s``: cycle 0 the roll call, 1..N the steps, N+1 the closing.

    Raises InputError unless the run is a whole number of steps, at least one.
    """

    t0: datetime
    t_end: datetime
    step_s: int

    def __post_init__(self) -> None:
        seconds = (self.t_end - self.t0).total_seconds()
        if seconds <= 0 or seconds % self.step_s:
            raise InputError.one(
                "run", f"its length must be a whole number of steps of {self.step_s} s", f"{seconds} s", code=Code.RANGE
            )

    @property
    def step(self) -> timedelta:
        return timedelta(seconds=self.step_s)

    @property
    def steps(self) -> int:
        return (self.t_end - self.t0) // self.step

    @property
    def last_cycle(self) -> int:
        return self.steps + 1

    def phases(self, n: int) -> tuple[Phase, ...]:
        if n == 0:
            return ROLLCALL_CYCLE
        return STEP_CYCLE if n <= self.steps else CLOSING_CYCLE

    def time(self, n: int) -> datetime:
        """The instant that cycle ``n`` is about: the start of its step, for the closing one the run's end."""
        return self.t0 + max(n - 1, 0) * self.step

    def opens(self, n: int, phase: Phase) -> bool:
        """Whether ``phase`` is the first of cycle ``n``."""
        return phase is self.phases(n)[0]

    def following(self, n: int, phase: Phase) -> tuple[int, Phase] | None:
        """The next cycle and phase; None after the end."""
        phases = self.phases(n)
        place = phases.index(phase) + 1
        if place < len(phases):
            return n, phases[place]
        return None if n == self.last_cycle else (n + 1, self.phases(n + 1)[0])

    def __iter__(self) -> Iterator[tuple[int, Phase]]:
        for n in range(self.last_cycle + 1):
            for phase in self.phases(n):
                yield n, phase
