"""The result of an upgrade check: recorded days under two versions of the EMS, their sum, and whether it is worse."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from services.analysis.plain import to_json

RECORDED = "the recorded set-points"
"""What is beside this version where no other one is."""
FORM = 1
"""Of the JSON; another program's is compared only if it has the same."""
LEAST_EUR_PER_DAY = 0.10
"""A day that costs so much more is not worse, however little it costs."""
COMPARED_FRAC = 0.5
"""Least part of the decisions that has to be taken again for the check to say anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One way in which a time went: as measured, or lived again under the set-points of a version."""

    cost_eur: float
    """Of energy at the PCC, settled as by `savings`."""
    demand_charge_eur: float | None
    """Of the highest settlement period; a month's money, once. None without such a tariff."""
    wear_eur: float | None
    stored_kwh: float
    """Change of the energy in batteries and vehicles."""
    stored_eur: float
    """The same at the mean purchase price of the time."""
    import_peak_kw: float | None
    unsettled_steps: int
    above_connection_periods: int
    outside_limit_periods: int
    """Settlement periods above a limit from outside, of all its scopes."""
    outside_limit_kwh: float
    below_floor_periods: int
    """Settlement periods, of all batteries and vehicles, at whose beginning the SOC was below its least value."""
    missed_kwh: float
    """What vehicles lacked of their targets when they left."""
    setpoints: int
    changes: int
    """Set-points that differ from the one before at the same device."""
    reversals: int
    moved_kw: float
    """Sum of these changes."""
    plans: int
    not_made: int
    """Of the plans those that were not made: the one before was taken, or every device followed its fallback."""
    plan_s_mean: float | None
    plan_s_max: float | None

    @property
    def all_eur(self) -> float:
        """Energy and wear, less the value of what is left in the batteries."""
        return self.cost_eur + (self.wear_eur or 0.0) - self.stored_eur

    @property
    def violations(self) -> int:
        """Settlement periods in which something was outside its bounds."""
        return self.above_connection_periods + self.outside_limit_periods + self.below_floor_periods


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """The decisions of a time taken again from what was known to each: open-loop."""

    decisions: int
    taken: int
    """Of the decisions those that could be taken again."""
    reasons: Mapping[str, int]
    """Why others could not, and how many."""
    other_site: int
    """Of those taken: the EMS had another site description than the recorder, or one of other fields, as a version has
    that knows more or fewer of them."""
    different: int
    """Decisions of which a byte of the plan or of a set-point differs."""
    setpoints: int
    setpoints_different: int
    largest_kw: float
    """Largest difference of a set-point."""
    sum_kw: float
    not_made: int
    """Plans that were made on the day and could not be made now."""
    plan_s_mean: float | None
    plan_s_max: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCheck:
    """A local day; with ``date`` None the sum of days."""

    date: date | None
    hours: float
    again: Again
    measured: Side
    before: Side
    """Lived again: the recorded set-points, or the other version's EMS."""
    now: Side
    """Lived again: this version's EMS."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One decision taken again: set-points [kW] by device, powers and limits alike."""

    at: str
    status: str
    setpoints: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How much worse this version may be before the check fails."""

    cost_percent: float = 1.0
    """Of what the days cost before, at least `LEAST_EUR_PER_DAY` a day."""
    violations: int = 0
    missed_kwh: float = 1.0
    changes_percent: float = 20.0
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class UpgradeCheck:
    """The whole result."""

    site: str
    run: str
    software: str
    before: str
    """The version beside it, and where its part comes from."""
    days: tuple[DayCheck, ...]
    taken: tuple[Taken, ...]
    failed: Mapping[date, str] = field(default_factory=dict)
    """Days that could not be lived again, and why."""

    @property
    def total(self) -> DayCheck:
        return sum_of(self.days)

    def worse(self, allowed: Tolerances) -> list[str]:
        """In what this version is worse than the tolerances, in words; empty: in nothing."""
        return [*_too_little(self), *(_worse(self.total, len(self.days), allowed) if self.days else ())]

    def to_json(self, allowed: Tolerances) -> dict[str, object]:
        worse = self.worse(allowed)
        return {
            "form": FORM,
            "site": self.site,
            "run": self.run,
            "software": self.software,
            "before": self.before,
            "worse": worse,
            "tolerances": to_json(allowed),
            "days": [to_json(day) for day in self.days],
            "sum": to_json(self.total) if self.days else None,
            "failed": [{"date": day.isoformat(), "reason": reason} for day, reason in self.failed.items()],
            "decisions": [to_json(taken) for taken in self.taken],
        }


def _too_little(check: UpgradeCheck) -> Iterator[str]:
    if check.failed:
        yield f"{len(check.failed)} days could not be lived again"
    if not check.days:
        return
    again = check.total.again
    if again.taken < COMPARED_FRAC * again.decisions:
        yield f"only {again.taken} of {again.decisions} decisions could be taken again"


def _worse(total: DayCheck, days: int, allowed: Tolerances) -> Iterator[str]:
    before, now, again = total.before, total.now, total.again
    more_eur = now.all_eur - before.all_eur
    may_eur = max(allowed.cost_percent / 100 * abs(before.all_eur), LEAST_EUR_PER_DAY * days)
    if more_eur > may_eur:
        yield f"{more_eur:.2f} € more, {may_eur:.2f} € are allowed"
    more_demand_eur = (now.demand_charge_eur or 0.0) - (before.demand_charge_eur or 0.0)
    may_demand_eur = max(allowed.cost_percent / 100 * (before.demand_charge_eur or 0.0), LEAST_EUR_PER_DAY * days)
    if more_demand_eur > may_demand_eur:
        yield f"{more_demand_eur:.2f} € more of demand charge, {may_demand_eur:.2f} € are allowed"
    if now.violations - before.violations > allowed.violations:
        yield f"{now.violations} settlement periods with violations, {before.violations} before"
    if now.missed_kwh - before.missed_kwh > allowed.missed_kwh:
        yield f"vehicles leave with {now.missed_kwh - before.missed_kwh:.1f} kWh less, {allowed.missed_kwh:g} allowed"
    for what, then, after in (
        ("set-points change", before.changes, now.changes),
        ("kW of changes", before.moved_kw, now.moved_kw),
    ):
        if after > then * (1 + allowed.changes_percent / 100) + days:
            yield f"{after:.0f} {what}, {then:.0f} before: more than {allowed.changes_percent:g} % more"
    not_made = max(again.not_made, now.not_made - before.not_made)
    if not_made > 0:
        yield f"{not_made} more plans cannot be made"
    longest_s = max(again.plan_s_max or 0.0, now.plan_s_max or 0.0)
    if longest_s > allowed.seconds:
        yield f"a plan takes {longest_s:.1f} s, {allowed.seconds:g} s are allowed"


def sum_of(days: Sequence[DayCheck]) -> DayCheck:
    """At least one. Peaks, the demand charge and longest times: the highest; all else adds up."""
    return DayCheck(
        date=None,
        hours=math.fsum(day.hours for day in days),
        again=_sum_of_again([day.again for day in days]),
        measured=_sum_of_sides([day.measured for day in days]),
        before=_sum_of_sides([day.before for day in days]),
        now=_sum_of_sides([day.now for day in days]),
    )


_HIGHEST = ("demand_charge_eur", "import_peak_kw", "plan_s_max", "largest_kw")
_MEAN = "plan_s_mean"


def _sum_of_sides(sides: Sequence[Side]) -> Side:
    found: dict[str, Any] = {
        f.name: _summed(f.name, [getattr(side, f.name) for side in sides]) for f in dataclasses.fields(Side)
    }
    found[_MEAN] = _mean((side.plan_s_mean, side.plans) for side in sides)
    return Side(**found)


def _sum_of_again(parts: Sequence[Again]) -> Again:
    names = [f.name for f in dataclasses.fields(Again) if f.name != "reasons"]
    found: dict[str, Any] = {name: _summed(name, [getattr(part, name) for part in parts]) for name in names}
    reasons: Counter[str] = Counter()
    for part in parts:
        reasons.update(part.reasons)
    found[_MEAN] = _mean((part.plan_s_mean, part.taken) for part in parts)
    return Again(**found, reasons=dict(reasons))


def _summed(name: str, values: Sequence[float | None]) -> float | int | None:
    known = [value for value in values if value is not None]
    if name in _HIGHEST or not known:
        return max(known, default=None)
    return sum(known) if all(isinstance(value, int) for value in known) else math.fsum(known)


def _mean(weighted: Iterable[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in weighted if value is not None and weight]
    total = sum(weight for _, weight in known)
    return math.fsum(value * weight for value, weight in known) / total if total else None
