"""Designs assessed: each lives through the typical days, and its year is worth what these stand for."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from schemas.cycle import Course
from schemas.errors import Code, InputError
from schemas.site import Economics, Site
from services.analysis.wear import sum_of_known
from services.history.settlement import demand_charges_eur, month_peaks_kw
from twinswarm.simulation.runs import new_run_id
from twinswarm.size.design import Design, investment_eur, site_of
from twinswarm.size.economics import (
    break_even_eur,
    discounted_payback_years,
    net_present_value_eur,
    payback_years,
)
from twinswarm.size.typical import TypicalDays
from twinswarm.study.day import Day
from twinswarm.year.connection import exceeds
from twinswarm.year.order import YearOrder
from twinswarm.year.stream import Lived, Piece, live

_YEAR_DAYS = 365


@dataclass(frozen=True, slots=True)
class Yearly:
    """What a design costs in a year [€]."""

    energy_eur: float
    """At the PCC, less what is left in the batteries, at the mean purchase price."""
    demand_eur: float
    wear_eur: float
    """Of the BESS and of vehicles, by throughput and calendar, at the site's prices."""
    connection_eur: float
    peak_kw: float
    shortfall_kwh: float

    @property
    def total_eur(self) -> float:
        return self.energy_eur + self.demand_eur + self.wear_eur + self.connection_eur


@dataclass(frozen=True, slots=True)
class Assessed:
    """A design and what it is worth against the base."""

    design: Design
    investment_eur: float
    """Before subsidies."""
    yearly: Yearly
    base: Yearly
    prices: Economics

    @property
    def paid_eur(self) -> float:
        """The investment after subsidies."""
        return self.investment_eur * (1 - self.prices.subsidy_frac)

    @property
    def upkeep_eur(self) -> float:
        """Yearly."""
        return self.investment_eur * self.prices.upkeep_frac

    @property
    def saved_eur(self) -> float:
        """Yearly, before upkeep."""
        return self.base.total_eur - self.yearly.total_eur

    @property
    def earned_eur(self) -> float:
        """Yearly, after upkeep."""
        return self.saved_eur - self.upkeep_eur

    @property
    def fits(self) -> bool:
        """Whether its connection carries it: a base or BESS beside vehicles that charge at once may import more."""
        return not exceeds(self.yearly.peak_kw, self.design.connection_kw)

    @property
    def npv_eur(self) -> float:
        prices = self.prices
        return net_present_value_eur(self.paid_eur, self.earned_eur, prices.discount_rate_frac, prices.lifetime_years)

    @property
    def payback_years(self) -> float | None:
        return payback_years(self.paid_eur, self.earned_eur)

    def to_json(self) -> dict[str, Any]:
        discounted = discounted_payback_years(self.paid_eur, self.earned_eur, self.prices.discount_rate_frac)
        return {
            "name": self.design.name,
            **{name: getattr(self.design, name) for name in Design.__slots__},
            "investment_eur": self.investment_eur,
            "paid_eur": self.paid_eur,
            "saved_eur_per_year": self.saved_eur,
            "earned_eur_per_year": self.earned_eur,
            "npv_eur": self.npv_eur,
            "payback_years": self.payback_years,
            "discounted_payback_years": discounted,
            "fits_connection": self.fits,
            **{name: getattr(self.yearly, name) for name in Yearly.__slots__},
        }


def assess(
    site: Site,
    prices: Economics,
    order: YearOrder,
    typical: TypicalDays,
    found: Sequence[Design],
    executor: Executor,
    on_design: Callable[[], None],
) -> list[Assessed]:
    """Every design by the typical days; the first of ``found`` is the base. Raises TwinswarmError."""
    now = datetime.now(UTC)
    run = new_run_id(now)
    investments = [investment_eur(site, design, prices) for design in found]  # before anything is lived through
    tasks: dict[Future[Lived], tuple[int, int]] = {}
    sites = [site_of(site, design) for design in found]
    for number, of_design in enumerate(sites):
        for place, day in enumerate(typical.days):
            start, end = order.midnights[day], order.midnights[day + 1]
            course = Course(start, end, order.course.step_s)
            piece = Piece(of_design, course, run, now, (start, end), None)
            tasks[executor.submit(live, piece)] = (number, place)
    days: dict[int, dict[int, Day]] = {number: {} for number in range(len(found))}
    for future in as_completed(tasks):
        number, place = tasks[future]
        (days[number][place],) = future.result().days
        if len(days[number]) == len(typical.days):
            on_design()
    years = [
        yearly(sites[number], order, [days[number][place] for place in typical.of], prices)
        for number in range(len(found))
    ]
    return [
        Assessed(design, investment, year, years[0], prices)
        for design, investment, year in zip(found, investments, years, strict=True)
    ]


def yearly(site: Site, order: YearOrder, days: Sequence[Day], prices: Economics) -> Yearly:
    """``days``: one for each day of the order; sums are those of 365 days."""
    scale = _YEAR_DAYS / len(days)
    price = math.fsum(price for day in days for price in day.purchase_eur_per_kwh) / sum(len(day.times) for day in days)
    peaks = [day.peak_import_kw for day in days]
    months = month_peaks_kw(order.midnights[: len(days)], peaks, site.zone)
    demand = demand_charges_eur(site.tariff, months) or {}
    thrown = math.fsum(day.bess_charged_kwh + day.bess_discharged_kwh for day in days)
    from_cars = math.fsum(day.cars_discharged_kwh for day in days)
    aged = sum_of_known(*(day.calendar_wear_eur for day in days)) or 0.0
    wear = site.ems.bess_wear_eur_per_kwh * thrown + site.vehicle_wear_eur_per_kwh * from_cars + aged
    return Yearly(
        energy_eur=scale * (math.fsum(d.cost_eur for d in days) - price * math.fsum(d.stored_kwh for d in days)),
        demand_eur=math.fsum(demand.values()) * 12 / len(months),
        wear_eur=scale * wear,
        connection_eur=prices.connection_eur_per_kw_year * site.connection.import_limit_kw,
        peak_kw=max(day.peak_import_kw for day in days),
        shortfall_kwh=scale * math.fsum(day.departure_shortfall_kwh for day in days),
    )


def best_of(found: Sequence[Assessed]) -> Assessed:
    """The highest net present value of those that their connection carries, or of all where it carries none; of equal
    ones the smaller investment."""
    return max([one for one in found if one.fits] or found, key=lambda one: (one.npv_eur, -one.investment_eur))


def best_with_v2g(found: Sequence[Assessed]) -> Assessed | None:
    """As `best_of`, of those with V2G; None: none has it."""
    with_v2g = [one for one in found if one.design.v2g]
    return best_of(with_v2g) if with_v2g else None


def without_v2g(design: Design, *, smart: bool) -> Design:
    """The design without V2G chargers. ``smart``: with smart one-way chargers in their place."""
    return replace(design, v2g=0, smart=design.smart + (design.v2g if smart else 0))


def without_v2g_to_assess(found: Sequence[Assessed]) -> list[Design]:
    """Designs that the best one with V2G is compared with, and that are not among those found: of smart chargers only
    where these have a price."""
    best = best_with_v2g(found)
    if best is None:
        return []
    priced = best.prices.smart_charger_eur is not None
    wanted = [without_v2g(best.design, smart=smart) for smart in (False, True)[: 1 + priced]]
    there = {one.design for one in found}
    return [design for design in dict.fromkeys(wanted) if design not in there]


def v2g_break_even_eur(found: Sequence[Assessed], one: Assessed, *, smart: bool) -> float | None:
    """Price of a V2G charger at which those of this design are worth as much as the same design without them.

    ``smart``: with smart one-way chargers, at their price, in their place; else with ones that charge at once. None
    where the design has no V2G, or the other was not assessed.
    """
    count = one.design.v2g
    without = {each.design: each for each in found}.get(without_v2g(one.design, smart=smart))
    if without is None or not count:
        return None
    prices = one.prices
    spared_eur = prices.smart_charger_eur or 0.0 if smart else 0.0
    return spared_eur + break_even_eur(
        one.saved_eur - without.saved_eur,
        count,
        prices.discount_rate_frac,
        prices.lifetime_years,
        prices.subsidy_frac,
        prices.upkeep_frac,
    )


def pareto(found: Sequence[Assessed]) -> list[Assessed]:
    """Designs than which none costs less and saves as much: by investment, each saving more than all before.

    Only those that their connection carries.
    """
    front: list[Assessed] = []
    for one in sorted((one for one in found if one.fits), key=lambda each: (each.paid_eur, -each.earned_eur)):
        if not front or one.earned_eur > front[-1].earned_eur:
            front.append(one)
    return front


def what_it_hangs_on(one: Assessed, site: Site, share: float = 0.2) -> list[tuple[str, float, float]]:
    """By what is changed, the net present value with it lower and higher by ``share``, the widest first.

    The days are not lived through again: how the storage is used stays as it is.
    """
    prices, design = one.prices, one.design

    def priced(field: str) -> Callable[[float], Assessed]:
        def changed(factor: float) -> Assessed:
            value = getattr(prices, field) * factor
            if field == "lifetime_years":
                value = max(1, round(value))
            if field.endswith("frac"):
                value = min(value, 1.0)
            other = prices.model_copy(update={field: value})
            return replace(one, prices=other, investment_eur=investment_eur(site, design, other))

        return changed

    def spent(field: str) -> Callable[[float], Assessed]:
        def changed(factor: float) -> Assessed:
            saved = (getattr(one.base, field) - getattr(one.yearly, field)) * (factor - 1)
            return replace(one, yearly=replace(one.yearly, **{field: getattr(one.yearly, field) - saved}))

        return changed

    changes: Mapping[str, Callable[[float], Assessed]] = {
        "savings of energy": spent("energy_eur"),
        "savings of the demand charge": spent("demand_eur"),
        "wear": spent("wear_eur"),
        "yearly price of the connection": spent("connection_eur"),
        "lifetime": priced("lifetime_years"),
        "discount rate": priced("discount_rate_frac"),
        "subsidies": priced("subsidy_frac"),
        "upkeep": priced("upkeep_frac"),
        **{
            name: priced(field)
            for name, field in (
                ("price of the BESS, whatever its size", "bess_eur"),
                ("price of the BESS's energy", "bess_eur_per_kwh"),
                ("price of the BESS's power", "bess_eur_per_kw"),
                ("price of a V2G charger", "v2g_charger_eur"),
                ("price of a smart charger", "smart_charger_eur"),
                ("price of PV", "pv_eur_per_kw"),
                ("price of a larger connection", "connection_eur_per_kw"),
            )
            if getattr(prices, field)
        },
    }
    found = [(name, change(1 - share).npv_eur, change(1 + share).npv_eur) for name, change in changes.items()]
    return sorted((f for f in found if f[1] != f[2]), key=lambda each: abs(each[2] - each[1]), reverse=True)


def economics_of(site: Site) -> Economics:
    """Raises InputError for a site without."""
    if site.economics is None:
        what = "the site says no prices of what is sized; see docs/size.md"
        raise InputError.one("economics", what, code=Code.MISSING)
    return site.economics
