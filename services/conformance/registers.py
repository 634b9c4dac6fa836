"""Whether the energy registers of a device are those of its power: they never go back, and count power times time."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Literal

from schemas.clauses import Clause
from schemas.presence import STALE_PERIODS
from services.conformance.heard import Sample, in_order
from services.conformance.verdicts import Verdicts

SAME_FRAC, ENERGY_FRAC = 0.05, 0.15
"""Powers at both ends that differ by less are one power; energy may differ from power times time by so much."""
COARSE_KWH = 0.1
"""A register that has not moved at all may count in steps of this."""
_HOUR = timedelta(hours=1)

Register = Literal["energy_import_kwh", "energy_export_kwh"]
_REGISTERS: tuple[Register, ...] = ("energy_import_kwh", "energy_export_kwh")


def judge_registers(samples: Sequence[Sample], period_s: float, verdicts: Verdicts) -> None:
    """No step back; and energy by power times time, over all stretches of telemetry with one power."""
    ordered = in_order(samples)
    longest = timedelta(seconds=STALE_PERIODS * period_s)
    stretches = list(_stretches(ordered, longest))
    for name in _REGISTERS:
        steps = _steps(ordered, name, verdicts)
        spans = [each for stretch in stretches for each in _counted(stretch, name, longest)]
        if spans:
            wanted, counted = (sum(column) for column in zip(*spans, strict=True))
            _judge_energy(name, wanted, counted, steps, verdicts)
    if Clause.ENERGY not in verdicts.held:
        verdicts.skip(Clause.ENERGY, "too little energy flowed for the steps of its registers")


def _steps(ordered: Sequence[Sample], name: Register, verdicts: Verdicts) -> list[float]:
    """By how much the register moved whenever it did [kWh]."""
    steps = []
    for one, two in pairwise(ordered):
        before, after = getattr(one.body, name), getattr(two.body, name)
        if one.boot != two.boot or before is None or after is None:
            continue
        verdicts.judge(Clause.REGISTERS, f"{name} went from {before:g} to {after:g}" if after < before else None)
        if after > before:
            steps.append(after - before)
    return steps


def _stretches(ordered: Sequence[Sample], longest: timedelta) -> Iterator[list[Sample]]:
    """Telemetry of one life without a gap, from one to the next of which the power is the same."""
    stretch: list[Sample] = []
    for each in ordered:
        if stretch and not _steady(stretch[-1], each, longest):
            yield stretch
            stretch = []
        stretch.append(each)
    if stretch:
        yield stretch


def _steady(one: Sample, two: Sample, longest: timedelta) -> bool:
    a_kw, b_kw = one.body.power_kw, two.body.power_kw
    close = abs(a_kw - b_kw) <= SAME_FRAC * max(abs(a_kw), abs(b_kw))
    return one.boot == two.boot and close and timedelta(0) < two.ts - one.ts <= longest


def _counted(stretch: Sequence[Sample], name: Register, longest: timedelta) -> Iterator[tuple[float, float]]:
    """What must have been counted in a stretch, and what was [kWh]; none where it tells nothing.

    A driver says its newest reading at each of its periods, so that a register may be as old as a reading is. So a
    stretch counts from the first to the last time that the register moved, for it is new there; where these are further
    from the stretch's ends than a reading may be old, and in a longer stretch without any move, it should have moved.
    """
    known = [each for each in stretch if getattr(each.body, name) is not None]
    if not known:
        return
    moved = [two.ts for one, two in pairwise(known) if getattr(two.body, name) > getattr(one.body, name)]
    begin, end = known[0].ts, known[-1].ts
    if moved:
        begin = moved[0] if moved[0] - begin <= longest else begin
        end = moved[-1] if end - moved[-1] <= longest else end
    elif end - begin <= longest:
        return
    known = [each for each in known if begin <= each.ts <= end]
    sign = 1 if name == "energy_import_kwh" else -1
    for one, two in pairwise(known):
        after, before = getattr(two.body, name), getattr(one.body, name)
        if after >= before:  # else it is another clause's fault
            mean_kw = sign * (one.body.power_kw + two.body.power_kw) / 2
            yield max(mean_kw, 0.0) * ((two.ts - one.ts) / _HOUR), after - before


def _judge_energy(name: Register, expected: float, counted: float, steps: list[float], verdicts: Verdicts) -> None:
    fine = min(steps, default=COARSE_KWH)
    most = expected * (1 + ENERGY_FRAC) + 2 * fine if expected else 2 * fine + 1e-6
    least = expected * (1 - ENERGY_FRAC) - 2 * fine
    what = f"{name} grew by {counted:.5g} kWh while power times time was {expected:.5g} kWh"
    if counted > most or counted < least:
        verdicts.fail(Clause.ENERGY, what)
    elif expected > 5 * fine:
        verdicts.hold(Clause.ENERGY)
