"""The device under examination, once it has joined: what its nameplate says, and how long things take with it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.messages import Nameplate
from services.conformance.bench import Bench
from services.conformance.expectation import highest_kw, lowest_kw, telling_values
from services.conformance.heard import Span
from services.conformance.verdicts import Verdicts
from services.conformance.wishes import Wishes

HOLD_PERIODS = 4
"""Telemetries that are looked at while a set-point holds."""


@dataclass
class Examined:
    """``say`` shows progress. ``joined``: how many messages had been heard when it was seen in the run."""

    bench: Bench
    wishes: Wishes
    verdicts: Verdicts
    say: Callable[[str], None]
    plate: Nameplate
    period_s: float
    """Of telemetry, as it comes [run s]."""
    joined: int
    away: list[Span] = field(default_factory=list)
    """When its connection was cut."""

    @property
    def settle_s(self) -> float:
        """For a power to be there [run s]."""
        ramp = getattr(self.plate, "ramp_kw_per_s", None)
        reach = highest_kw(self.plate) - lowest_kw(self.plate)
        return (reach / ramp if ramp else 0.0) + self.wishes.slack_s * self.bench.pace + 2 * self.period_s

    @property
    def dead_s(self) -> float:
        return float(getattr(self.plate, "dead_time_s", 0.0))

    @property
    def valid_s(self) -> float:
        """Long enough to be followed, and looked at."""
        return self.dead_s + self.settle_s + HOLD_PERIODS * self.period_s

    @property
    def seeded(self) -> str:
        return f" (seed {self.wishes.seed})"

    def telling_kw(self, which: int) -> float:
        """One of two values that differ much, by what it measures now."""
        return telling_values(self.plate, self.bench.samples[-1].body)[which]

    def watch(self, periods: float) -> None:
        self.bench.until(lambda: False, self.bench.machine_s(periods * self.period_s))


def state_text(bench: Bench) -> str:
    """What is wrong with its state."""
    state, birth = bench.last_state(), bench.birth
    assert birth is not None
    if state is None:
        return "it has no state"
    return f"state is {state[1].state} of boot {state[0].boot}, and the birth is of {birth[0].boot}"
