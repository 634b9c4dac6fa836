"""The savings of a site shared among its devices, mechanisms and cars.

Every combination of devices is lived through.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.cycle import Course
from schemas.site import Charger, Site
from services.analysis.wear import sum_of_known
from twinswarm.attribution.cars import Visit
from twinswarm.attribution.interval import Interval, interval
from twinswarm.attribution.lived import Measured, lived
from twinswarm.attribution.mechanisms import ENERGY, PEAK, energy_saved, price_between
from twinswarm.attribution.players import Player
from twinswarm.attribution.shapley import Coalition, coalitions, shapley_values
from twinswarm.simulation.variants import Reference, with_devices
from twinswarm.study.pool import in_workers


@dataclass(frozen=True, slots=True)
class Share:
    """What a player, or all together, saved [€]. Wear stands beside it."""

    name: str
    by_mechanism: dict[str, float]
    energy_by_day: NDArray[np.float64]
    """Without the demand charge, which is not a sum over days."""
    energy_interval: Interval | None
    wear_eur: float
    calendar_wear_eur: float | None
    """More than in the baseline, where vehicles age, too; None where it has no price."""

    @property
    def saved_eur(self) -> float:
        return math.fsum(self.by_mechanism.values())

    def to_json(self) -> dict[str, Any]:
        bounds = self.energy_interval
        return {
            "name": self.name,
            "saved_eur": self.saved_eur,
            "by_mechanism_eur": self.by_mechanism,
            "energy_saved_by_day_eur": self.energy_by_day.tolist(),
            "energy_interval_eur": None if bounds is None else [bounds.low_eur, bounds.high_eur],
            "wear_eur": self.wear_eur,
            "calendar_wear_eur": self.calendar_wear_eur,
        }


@dataclass(frozen=True, slots=True)
class CarStatement:
    """A car at one charger, with everything in use and in the baseline. Energies at the charger's AC terminals."""

    charger: str
    vehicle: str
    visits: int
    charged_kwh: float
    discharged_kwh: float
    baseline_charged_kwh: float
    cost_eur: float
    """At `price_between`."""
    baseline_cost_eur: float
    wear_eur: float
    calendar_wear_eur: float | None
    """Of the hours at its SOCs while it was here, more than in the baseline; None where they have no price."""

    @property
    def saved_eur(self) -> float:
        return self.baseline_cost_eur - self.cost_eur

    @property
    def earned_eur(self) -> float:
        """What is left when the wear of the car is paid."""
        return self.saved_eur - self.wear_eur - (self.calendar_wear_eur or 0.0)

    def to_json(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in CarStatement.__slots__}
        return named | {"saved_eur": self.saved_eur, "earned_eur": self.earned_eur}


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who saved what. The shares add up to ``total``, and so do the mechanisms of each."""

    site: Site
    course: Course
    reference: Reference
    players: tuple[Player, ...]
    total: Share
    shares: tuple[Share, ...]
    cars: tuple[CarStatement, ...]
    worth_eur: dict[Coalition, float]
    """Savings of every combination of players."""
    baseline_cost_eur: float
    shortfall_kwh: float
    """Energy that leaving vehicles lacked, with everything in use, beyond the baseline's."""

    @property
    def days(self) -> int:
        return len(self.total.energy_by_day)

    def rest_eur(self, player: Player) -> float | None:
        """Of a player's share what the statements of its cars do not have: peak, losses and what it does together with
        others. None for a player without cars."""
        names = [name for name in player.devices if isinstance(self.site.devices[name], Charger)]
        if not names:
            return None
        share = next(share for share in self.shares if share.name == player.name)
        return share.saved_eur - math.fsum(car.saved_eur for car in self.cars if car.charger in names)

    def to_json(self) -> dict[str, Any]:
        return {
            "site": self.site.site,
            "reference": self.reference.value,
            "start": self.course.t0.isoformat(),
            "end": self.course.t_end.isoformat(),
            "days": self.days,
            "baseline_cost_eur": self.baseline_cost_eur,
            "departure_shortfall_kwh": self.shortfall_kwh,
            "players": [
                {"name": player.name, "devices": list(player.devices), "rest_eur": self.rest_eur(player)}
                for player in self.players
            ],
            "total": self.total.to_json(),
            "shares": [share.to_json() for share in self.shares],
            "cars": [car.to_json() for car in self.cars],
            "combinations": [
                {"players": [player.name for player in self.players if player.name in chosen], "saved_eur": value}
                for chosen, value in self.worth_eur.items()
            ],
        }


def attribute_savings(
    site: Site,
    course: Course,
    reference: Reference,
    players: tuple[Player, ...],
    processes: int | None = None,
    seed: int = 1,
    on_run: Callable[[], None] = lambda: None,
) -> Attribution:
    """Lives through the course once for each combination of ``players``, in parallel. Raises TwinswarmError."""
    names = [player.name for player in players]
    sites = {chosen: _with(site, players, chosen, reference) for chosen in coalitions(names)}
    runs = _lived_all(sites, course, processes, on_run)
    return shared(site, course, reference, players, runs, seed)


def shared(
    site: Site,
    course: Course,
    reference: Reference,
    players: tuple[Player, ...],
    runs: dict[Coalition, Measured],
    seed: int,
) -> Attribution:
    """The attribution of ``runs``, one of each combination of players."""
    names = [player.name for player in players]
    baseline, full = runs[frozenset()], runs[frozenset(names)]
    days = len(baseline.stored_by_day_kwh)
    worth = {
        chosen: np.append(energy_saved(run, baseline).ravel(), baseline.demand_eur - run.demand_eur)
        for chosen, run in runs.items()
    }
    first = course.t0.astimezone(site.zone).date()
    working = [(first + timedelta(days=day)).weekday() < 5 for day in range(days)]

    def share(name: str, values: NDArray[np.float64], wear_eur: float, aged_eur: float | None) -> Share:
        energy = values[:-1].reshape(len(ENERGY), days)
        found = {mechanism: math.fsum(energy[place]) for place, mechanism in enumerate(ENERGY)}
        by_day = energy.sum(axis=0)
        bounds = interval(by_day, working, seed)
        return Share(name, found | {PEAK: float(values[-1])}, by_day, bounds, wear_eur, aged_eur)

    cars = tuple(_statements(site, full, baseline))
    wear = {player.name: _wear_eur(site, player, full, cars) for player in players}
    aged = {player.name: _calendar_wear_eur(player, full, cars) for player in players}
    values = shapley_values(names, worth)
    return Attribution(
        site=site,
        course=course,
        reference=reference,
        players=players,
        total=share("all", worth[frozenset(names)], math.fsum(wear.values()), sum_of_known(*aged.values())),
        shares=tuple(share(name, values[name], wear[name], aged[name]) for name in names),
        cars=cars,
        worth_eur={chosen: math.fsum(value) for chosen, value in worth.items()},
        baseline_cost_eur=baseline.cost_eur,
        shortfall_kwh=full.departure_shortfall_kwh - baseline.departure_shortfall_kwh,
    )


def _with(site: Site, players: Iterable[Player], chosen: Coalition, reference: Reference) -> Site:
    return with_devices(
        site, [name for player in players if player.name in chosen for name in player.devices], reference
    )


def _lived_all(
    sites: dict[Coalition, Site], course: Course, processes: int | None, on_run: Callable[[], None]
) -> dict[Coalition, Measured]:
    # The longest runs first, those with the most to plan.
    longest_first = sorted(sites, key=len, reverse=True)
    given = {chosen: (sites[chosen], course) for chosen in longest_first}
    found = in_workers(lived, given, processes, lambda _: on_run())
    return {chosen: found[chosen] for chosen in sites}


def _statements(site: Site, full: Measured, baseline: Measured) -> Iterable[CarStatement]:
    wear, price = site.vehicle_wear_eur_per_kwh, price_between(full, baseline)
    pairs = sorted({(visit.charger, visit.vehicle) for run in (full, baseline) for visit in run.visits})
    for charger, vehicle in pairs:
        here, there = (
            [visit for visit in run.visits if (visit.charger, visit.vehicle) == (charger, vehicle)]
            for run in (full, baseline)
        )
        discharged = math.fsum(visit.discharged_kwh for visit in here)
        yield CarStatement(
            charger=charger,
            vehicle=vehicle,
            visits=len(here),
            charged_kwh=math.fsum(visit.charged_kwh for visit in here),
            discharged_kwh=discharged,
            baseline_charged_kwh=math.fsum(visit.charged_kwh for visit in there),
            cost_eur=math.fsum(visit.cost_eur(price) for visit in here),
            baseline_cost_eur=math.fsum(visit.cost_eur(price) for visit in there),
            wear_eur=wear * discharged,
            calendar_wear_eur=_more_than(here, there),
        )


def _more_than(here: Sequence[Visit], there: Sequence[Visit]) -> float | None:
    """Calendar wear of visits beyond that of others; None where none has a price."""
    wear, before = (sum_of_known(*(visit.calendar_wear_eur for visit in visits)) for visits in (here, there))
    return None if wear is None and before is None else (wear or 0.0) - (before or 0.0)


def _calendar_wear_eur(player: Player, full: Measured, cars: Sequence[CarStatement]) -> float | None:
    bess = (full.bess_calendar_wear_eur.get(name) for name in player.devices)
    return sum_of_known(*bess, *(car.calendar_wear_eur for car in cars if car.charger in player.devices))


def _wear_eur(site: Site, player: Player, full: Measured, cars: Sequence[CarStatement]) -> float:
    bess = math.fsum(full.bess_throughput_kwh.get(name, 0.0) for name in player.devices)
    vehicles = math.fsum(car.wear_eur for car in cars if car.charger in player.devices)
    return bess * site.ems.bess_wear_eur_per_kwh + vehicles
