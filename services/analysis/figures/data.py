"""The series of a run that figures show, under one name and unit each."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from schemas.capabilities import Group
from services.analysis.figures.hover import Column
from services.analysis.run_result import QuarterResult, RunResult
from services.analysis.summary import number


@dataclass(frozen=True)
class Series:
    """A run's settlement periods as columns."""

    result: RunResult

    @property
    def quarters(self) -> tuple[QuarterResult, ...]:
        return self.result.quarters

    @property
    def period(self) -> str:
        """How the settlement period is named, which every stated extreme is of."""
        return f"settlement periods of {self.quarters[0].length_s / 60:.0f} min"

    def column(self, name: str, unit: str, value: Callable[[QuarterResult], float | None]) -> Column:
        return Column(name, unit, [value(quarter) for quarter in self.quarters])

    @cached_property
    def pcc(self) -> Column:
        return self.column("PCC", "kW", lambda q: q.pcc_kw)

    @cached_property
    def baseline(self) -> Column:
        return self.column("baseline", "kW", lambda q: q.reference_pcc_kw)

    @cached_property
    def planned(self) -> Column:
        return self.column("plan of the same quarter", "kW", lambda q: q.planned_pcc_kw)

    @cached_property
    def first_plan(self) -> Column:
        return self.column("first plan", "kW", lambda q: q.first_plan_pcc_kw)

    @cached_property
    def purchase(self) -> Column:
        return self.column("purchase", "€/kWh", lambda q: q.purchase_price_eur_per_kwh)

    @cached_property
    def sale(self) -> Column:
        return self.column("sale", "€/kWh", lambda q: q.sale_price_eur_per_kwh)

    @cached_property
    def losses(self) -> Column:
        return self.column("losses", "kW", lambda q: q.losses_kw)

    @cached_property
    def lengths_h(self) -> list[float]:
        return [quarter.length_s / 3600 for quarter in self.quarters]

    def names(self, group: Group) -> list[str]:
        return [device.device for device in self.result.devices if device.group is group]

    def total(self, name: str, *groups: Group) -> Column | None:
        """Sum of the powers of all devices of the groups; None where there is none."""
        names = [device for group in groups for device in self.names(group)]
        if not names:
            return None
        return self.column(name, "kW", lambda q: _sum([q.power_kw.get(device) for device in names]))

    def part(self, name: str, group: Group, sign: int) -> Column:
        """What the devices of a group draw (``sign`` 1) or give (−1), each for itself; a magnitude."""
        names = self.names(group)
        return self.column(
            name, "kW", lambda q: math.fsum(max(sign * (q.power_kw.get(device) or 0.0), 0.0) for device in names)
        )

    def power(self, device: str) -> Column:
        return self.column(f"{device}, power", "kW", lambda q: q.power_kw.get(device))

    def soc(self, device: str) -> Column:
        """State of charge at the beginning of each settlement period."""
        name = "BESS" if device == "bess" else device
        return self.column(f"{name}, SOC", "%", lambda q: _percent(q.soc_frac.get(device)))

    def mean_soc(self, group: Group) -> Column:
        """Mean of the states of charge that are known, of the vehicles that are plugged."""
        names = self.names(group)

        def mean(quarter: QuarterResult) -> float | None:
            socs = [soc for device in names if (soc := quarter.soc_frac.get(device)) is not None]
            return _percent(math.fsum(socs) / len(socs)) if socs else None

        return self.column("vehicles, mean SOC", "%", mean)

    def used_chargers(self) -> tuple[list[str], list[str]]:
        """Those to which a vehicle came in the run, and the others."""
        came = {device.device for device in self.result.devices if device.sessions}
        came |= {
            device
            for device in self.names(Group.VEHICLES)
            if any(q.soc_frac.get(device) is not None or q.power_kw.get(device) for q in self.quarters)
        }
        chargers = self.names(Group.VEHICLES)
        return [device for device in chargers if device in came], [device for device in chargers if device not in came]

    def extremes(self, column: Column, digits: int = 1) -> str:
        """Least and greatest value of the settlement periods, never of what a figure draws of them."""
        values = [value for value in column.values if value is not None]
        if not values:
            return "unknown limits"
        return f"{number(min(values), digits)} and {number(max(values), digits)} {column.unit}"


def has_values(column: Column | None) -> bool:
    return column is not None and any(value is not None for value in column.values)


def has_power(column: Column | None) -> bool:
    """Whether a part ever flowed."""
    return column is not None and any(column.values)


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
