"""What ghosts would have earned over several recorded runs: sums by local day and month, and what lies between."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages import Earnings, GhostBill, GhostDevice, PccCost
from schemas.site import Tariff
from services.ghosts.account import GHOSTS, REAL, UNMANAGED
from services.history.reader import History, RunInfo
from services.history.settlement import demand_charges_eur, savings_eur

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Beside:
    """The accounts beside one run, one for each settlement step, at least one. Each run's ghosts begin anew."""

    run: str
    accounts: tuple[Earnings, ...]


def runs_of_the_site(history: History) -> tuple[list[RunInfo], list[RunInfo]]:
    """The runs of the newest run's site, oldest first; and those left out, for a newer one is of the same time.

    Raises InputError when there is none.
    """
    site = history.latest().site
    kept: list[tuple[RunInfo, datetime, datetime]] = []
    older: list[RunInfo] = []
    for info in reversed([info for info in history.runs() if info.label == "main" and info.site == site]):
        start, end = history.span(info.run)
        if any(start < other_end and other_start < end for _, other_start, other_end in kept):
            older.append(info)
        else:
            kept.append((info, start, end))
    return [info for info, _, _ in sorted(kept, key=lambda each: each[1])], older[::-1]


class Sums:
    """All runs together."""

    def __init__(self, parts: Sequence[Beside], tariff: Tariff) -> None:
        self.parts = parts
        self.days = {date: _sum(bills) for date, bills in _last_of(parts, lambda each: each.date, "day").items()}
        months = _last_of(parts, lambda each: each.date[:7], "month")
        self.months = {month: _with_demand(_sum(bills), month, tariff) for month, bills in months.items()}
        self.total = _sum([part.accounts[-1].total for part in parts])
        self.devices = _devices([part.accounts[-1].devices for part in parts])
        self.stored_kwh = sum(part.accounts[-1].stored_kwh for part in parts)

    @property
    def gaps(self) -> list[tuple[datetime, datetime]]:
        """Between the runs: nothing is accounted for, and nothing made up."""
        bounds = [(part.accounts[-1].until, after.accounts[0].since) for part, after in self._pairs()]
        return [(start, end) for start, end in bounds if end > start]

    @property
    def gap_hours(self) -> float:
        return sum((end - start) / _HOUR for start, end in self.gaps)

    @property
    def hours(self) -> float:
        """From the first run's first step to the last one's last, with the gaps."""
        return (self.parts[-1].accounts[-1].until - self.parts[0].accounts[0].since) / _HOUR

    @property
    def degraded(self) -> list[str]:
        """Why the end of a run is less sure than usual, each reason once."""
        return list(dict.fromkeys(reason for part in self.parts for reason in part.accounts[-1].degraded))

    def _pairs(self) -> Iterable[tuple[Beside, Beside]]:
        return zip(self.parts, self.parts[1:], strict=False)


def _last_of(parts: Sequence[Beside], key: Callable[[Earnings], str], bill: str) -> dict[str, list[GhostBill]]:
    """Each run's last bill of each span of time."""
    found: dict[str, list[GhostBill]] = defaultdict(list)
    for part in parts:
        for span, last in {key(each): each for each in part.accounts}.items():
            found[span].append(getattr(last, bill))
    return dict(sorted(found.items()))


def _sum(bills: Sequence[GhostBill]) -> GhostBill:
    """Energies, costs and hours added, and the highest of the peaks. Without the demand charge, which no sum is."""
    if len(bills) == 1:
        return bills[0]
    unmanaged = [bill.unmanaged for bill in bills if bill.unmanaged is not None]
    wear = [bill.wear_eur for bill in bills if bill.wear_eur is not None]
    return GhostBill(
        hours=sum(bill.hours for bill in bills),
        estimated_hours=sum(bill.estimated_hours for bill in bills),
        unpriced_hours=sum(bill.unpriced_hours for bill in bills),
        earned_eur=sum(bill.earned_eur for bill in bills),
        wear_eur=sum(wear) if wear else None,
        real=_sides([bill.real for bill in bills]),
        ghosts=_sides([bill.ghosts for bill in bills]),
        unmanaged=_sides(unmanaged) if unmanaged else None,
    )


def _sides(sides: Sequence[PccCost]) -> PccCost:
    return PccCost(
        import_kwh=sum(side.import_kwh for side in sides),
        export_kwh=sum(side.export_kwh for side in sides),
        energy_eur=sum(side.energy_eur for side in sides),
        peak_kw=max(side.peak_kw for side in sides),
        over_limit_kwh=sum(side.over_limit_kwh for side in sides),
    )


def _with_demand(bill: GhostBill, month: str, tariff: Tariff) -> GhostBill:
    """The month's demand charge on the highest peak of all its runs."""
    update: dict[str, object] = {}
    charges: dict[str, float] = {}
    for site in (REAL, GHOSTS, UNMANAGED):
        side: PccCost | None = getattr(bill, site)
        if side is None:
            continue
        found = demand_charges_eur(tariff, {month: side.peak_kw})
        if found is None or month not in found:
            return bill
        charges[site] = found[month]
        update[site] = side.model_copy(update={"demand_eur": found[month]})
    base = charges.get(UNMANAGED, charges[REAL])
    return bill.model_copy(update={**update, "earned_demand_eur": savings_eur(charges[GHOSTS], base)})


def _devices(ends: Sequence[Mapping[str, GhostDevice]]) -> dict[str, GhostDevice]:
    """Registers of all runs added, and the state at the end of the last."""
    added = ("energy_import_kwh", "energy_export_kwh", "cycles", "missing_kwh")
    return {
        name: last.model_copy(
            update={
                field: sum(getattr(each[name], field) for each in ends)
                for field in added
                if getattr(last, field) is not None
            }
        )
        for name, last in ends[-1].items()
    }
