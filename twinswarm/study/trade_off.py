"""The objectives of a site side by side: the same time, lived through with other weights of money, CO2, use of its own
PV, and peak (`ems.objective`)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from schemas.cycle import Course
from schemas.messages import PlanStatus
from schemas.site import LEAST_COST_WEIGHT, Objective, Pv, Site
from twinswarm.simulation.variants import Reference
from twinswarm.study.day import Day
from twinswarm.study.own_site import demand_eur_of, variants_of
from twinswarm.study.pool import Pool


class Aim(StrEnum):
    """Another objective beside money."""

    CO2 = "CO2"
    SELF_CONSUMPTION = "self-consumption"
    PEAK = "peak"


_FIELDS = {
    Aim.CO2: "co2_eur_per_t",
    Aim.SELF_CONSUMPTION: "self_consumption_eur_per_kwh",
    Aim.PEAK: "peak_eur_per_kw",
}
UNITS = {Aim.CO2: "€/t", Aim.SELF_CONSUMPTION: "€/kWh", Aim.PEAK: "€/kW"}
"""Of the weights."""
_LADDERS: dict[Aim, tuple[float, ...]] = {
    Aim.CO2: (50.0, 100.0, 200.0, 400.0, 800.0),
    Aim.SELF_CONSUMPTION: (0.02, 0.05, 0.1, 0.2, 0.4),
    Aim.PEAK: (0.05, 0.1, 0.2, 0.4, 0.8),
}
"""Weights beside money with its full weight; `_ALONE` beside next to none. None lets an objective go before a target: a
kWh stays well below the price of a shortfall, a kW of peak below that of a quarter-hour of it."""
_ALONE = {Aim.CO2: 1000.0, Aim.SELF_CONSUMPTION: 0.5, Aim.PEAK: 1.0}


NODES = 100
"""Of branch and bound, at most, for a plan. Where PV that goes unused costs more than it sells for, burning it in the
batteries would pay, and plans need binaries; many are not proved with 1,000 nodes either, in ten times the time."""


@dataclass(frozen=True, slots=True)
class Point:
    """The time lived through with one objective."""

    aim: Aim | None
    """What is weighed besides money; None: nothing."""
    objective: Objective
    day: Day
    cost_eur: float
    """Energy and demand charge; weights are not in it."""

    @property
    def alone(self) -> bool:
        """Whether money only decides between equals."""
        return self.objective.cost == LEAST_COST_WEIGHT

    @property
    def name(self) -> str:
        if self.aim is None:
            return "cost"
        if self.alone:
            return f"{self.aim} alone"
        return f"cost + {self.aim} at {self.weight:g} {UNITS[self.aim]}"

    @property
    def weight(self) -> float:
        """Of the aim beside money, in its unit; 0 where money is alone."""
        return 0.0 if self.aim is None else float(getattr(self.objective, _FIELDS[self.aim]))

    @property
    def used_pv_kwh(self) -> float:
        """PV energy produced less energy exported: what the aim of self-consumption raises."""
        return self.produced_kwh - self.day.export_kwh

    @property
    def unproved(self) -> int:
        """Plans that are the best that was found, without a proof that none is better."""
        return self.day.statuses.get(PlanStatus.INCUMBENT, 0)

    @property
    def produced_kwh(self) -> float:
        """PV energy."""
        hours = (self.day.times[1] - self.day.times[0]).total_seconds() / 3600 if len(self.day.times) > 1 else 0.25
        return math.fsum(self.day.pv_kw) * hours

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "objective": self.objective.model_dump(),
            "cost_eur": self.cost_eur,
            "co2_import_kg": self.day.co2_import_kg,
            "import_kwh": self.day.import_kwh,
            "export_kwh": self.day.export_kwh,
            "pv_kwh": self.produced_kwh,
            "used_pv_kwh": self.used_pv_kwh,
            "import_peak_kw": self.day.peak_import_kw,
            "stored_kwh": self.day.stored_kwh,
            "departure_shortfall_kwh": self.day.departure_shortfall_kwh,
            "plan_statuses": dict(sorted(self.day.statuses.items())),
        }


@dataclass(frozen=True, slots=True)
class TradeOff:
    """All points, cost alone first, each aim's by rising weight."""

    site: Site
    course: Course
    points: tuple[Point, ...]

    @property
    def aims(self) -> list[Aim]:
        return [aim for aim in Aim if any(point.aim is aim for point in self.points)]

    def curve(self, aim: Aim) -> list[Point]:
        """From cost alone to the aim alone."""
        return [point for point in self.points if point.aim in (None, aim)]

    def stored_more_kwh(self, point: Point) -> float:
        """Energy left in the batteries above what the run for cost alone left in them."""
        return point.day.stored_kwh - self.points[0].day.stored_kwh

    def evened_cost_eur(self, point: Point) -> float:
        """The cost, less what is left in the batteries above cost alone, at the mean purchase price of the time."""
        return point.cost_eur - point.day.worth_eur(self.stored_more_kwh(point))

    def value(self, point: Point, aim: Aim) -> float:
        """The aim's own measure: kg, what is left in the batteries evened out at the mean of imports; kWh; kW."""
        if aim is not Aim.CO2:
            return point.used_pv_kwh if aim is Aim.SELF_CONSUMPTION else point.day.peak_import_kw
        emitted, first = point.day.co2_import_kg, self.points[0].day
        assert emitted is not None and first.co2_import_kg is not None
        mean = first.co2_import_kg / first.import_kwh if first.import_kwh else 0.0
        return emitted - self.stored_more_kwh(point) * mean

    def to_json(self) -> dict[str, Any]:
        return {
            "site": self.site.site,
            "start": self.course.t0.isoformat(),
            "end": self.course.t_end.isoformat(),
            "aims": [aim.value for aim in self.aims],
            "points": [
                point.to_json()
                | {"stored_more_kwh": self.stored_more_kwh(point), "evened_cost_eur": self.evened_cost_eur(point)}
                for point in self.points
            ],
        }


def aims_of(site: Site) -> list[Aim]:
    """Those that mean something: CO2 where its intensity is known, self-consumption where there is PV."""
    found = [Aim.CO2] if site.connection.co2_profile is not None else []
    if any(isinstance(device, Pv) for device in site.devices.values()):
        found.append(Aim.SELF_CONSUMPTION)
    return [*found, Aim.PEAK]


def objectives_of(aims: Sequence[Aim]) -> list[tuple[Aim | None, Objective]]:
    """Cost alone, then each aim beside cost, by rising weight, and alone."""
    found: list[tuple[Aim | None, Objective]] = [(None, Objective())]
    for aim in aims:
        found += [(aim, Objective.model_validate({_FIELDS[aim]: weight})) for weight in _LADDERS[aim]]
        found.append((aim, Objective.model_validate({"cost": LEAST_COST_WEIGHT, _FIELDS[aim]: _ALONE[aim]})))
    return found


def trade_off(
    site: Site, course: Course, processes: int | None = None, on_point: Callable[[int], None] | None = None
) -> TradeOff:
    """Lives through the time once for each objective, in parallel processes. Raises TwinswarmError."""
    variants_of(site, Reference.UNCONTROLLED)  # nothing that an EMS could control has no trade-off
    wanted = objectives_of(aims_of(site))
    sites = {number: with_objective(site, objective) for number, (_, objective) in enumerate(wanted)}
    workers = min(processes, len(wanted)) if processes is not None else None
    with Pool(course, [site], workers) as pool:
        days = {number: timed.day for number, timed in pool.run(sites, on_point).items()}
    points = [
        Point(aim, objective, days[number], days[number].cost_eur + (demand_eur_of(site, days[number]) or 0.0))
        for number, (aim, objective) in enumerate(wanted)
    ]
    return TradeOff(site, course, tuple(points))


def with_objective(site: Site, objective: Objective) -> Site:
    update = {"objective": objective, "node_budget": min(site.ems.node_budget, NODES)}
    return site.model_copy(update={"ems": site.ems.model_copy(update=update)})
