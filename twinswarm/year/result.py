"""The result of a year: totals of each variant by month and as a whole, and its powers by settlement period."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.site import Bess, Charger, Site
from services.analysis.shaving import peak_shaving_factor
from services.analysis.wear import sum_of_known
from services.history.settlement import demand_charges_eur, savings_eur
from twinswarm.study.day import Day
from twinswarm.year.connection import hours_above
from twinswarm.year.order import YearOrder

Powers = NDArray[np.float64]

_SERIES = ("pcc_kw", "pv_kw", "bess_kw", "cars_kw", "load_kw", "losses_kw", "purchase_eur_per_kwh", "sale_eur_per_kwh")
_SUMS = (
    *("cost_eur", "import_kwh", "export_kwh", "losses_kwh", "bess_stored_kwh", "cars_stored_kwh", "heat_stored_kwh"),
    *("cars_discharged_kwh", "departure_shortfall_kwh", "bess_charged_kwh", "bess_discharged_kwh", "bess_cycled_kwh"),
)


@dataclass(frozen=True, slots=True)
class Totals:
    """A variant over a month or the whole time. Sums of days, each as it was settled."""

    days: int
    cost_eur: float
    """At the PCC meter, losses included, equation (1)."""
    demand_eur: float | None
    """Demand charge on the highest settlement period of each month, above the month's peak that the site states from
    before; None without such a tariff."""
    mean_price_eur_per_kwh: float
    """Of purchase, over time."""
    import_kwh: float
    export_kwh: float
    load_kwh: float
    pv_kwh: float
    losses_kwh: float
    pv_used_kwh: float
    """PV that was not exported: in each settlement period the production less the export, at least 0."""
    import_peak_kw: float
    export_peak_kw: float
    import_above_limit_h: float
    """Time with more import than ``connection.import_limit_kw``, by more than 1 %."""
    export_above_limit_h: float
    """Likewise export."""
    psf: float | None
    """Peak-shaving factor, equation (22), against the variant without storage; None of that one."""
    bess_charged_kwh: float
    bess_discharged_kwh: float
    bess_cycles: float | None
    """Full cycles: half of the energy into and out of the cells, by the BESSs' capacity; None without BESS."""
    bess_wear_eur: float | None
    """Price of the throughput, beside the cost; None where wear has no price."""
    cars_discharged_kwh: float
    vehicle_wear_eur: float | None
    """Price of what vehicles gave back, beside the cost; None where it has none."""
    calendar_wear_eur: float | None
    """Price of the hours at their SOCs, of BESSs and of plugged vehicles, beside the cost; None where it has none."""
    stored_kwh: float
    """Change of the energy in all batteries, and in the buffers of heat pumps as the electricity for it."""
    departure_shortfall_kwh: float
    co2_import_kg: float | None
    plan_statuses: dict[str, int]

    @property
    def total_eur(self) -> float:
        return self.cost_eur + (self.demand_eur or 0.0)

    @property
    def self_consumption_frac(self) -> float | None:
        """Part of the PV energy that was used here; None without PV."""
        return self.pv_used_kwh / self.pv_kwh if self.pv_kwh else None

    @property
    def self_sufficiency_frac(self) -> float | None:
        """Part of the consumption, losses included, that was not imported."""
        consumed = self.import_kwh + self.pv_kwh - self.export_kwh
        return 1 - self.import_kwh / consumed if consumed > 0 else None

    def saved_eur(self, none: "Totals") -> float:
        """Positive is money saved against the variant without storage, the demand charge included."""
        return savings_eur(self.total_eur, none.total_eur)

    def stored_more_kwh(self, none: "Totals") -> float:
        """Energy left in batteries and buffers above what the variant without storage left in them."""
        return self.stored_kwh - none.stored_kwh

    def stored_more_eur(self, none: "Totals") -> float:
        """The same at the mean purchase price; beside the savings, never in them."""
        return self.stored_more_kwh(none) * self.mean_price_eur_per_kwh

    def to_json(self, none: "Totals") -> dict[str, Any]:
        named = {name: getattr(self, name) for name in Totals.__slots__}
        return named | {
            "total_eur": self.total_eur,
            "savings_eur": self.saved_eur(none),
            "stored_more_kwh": self.stored_more_kwh(none),
            "stored_more_eur": self.stored_more_eur(none),
            "self_consumption_frac": self.self_consumption_frac,
            "self_sufficiency_frac": self.self_sufficiency_frac,
        }


@dataclass(frozen=True, slots=True)
class VariantYear:
    """A variant's totals and its series, one value a settlement period."""

    name: str
    total: Totals
    months: dict[str, Totals]
    """By month, ``2024-03``."""
    series: Mapping[str, Powers]
    bess_soc_frac: Powers
    """At the beginning of each settlement period; not a number without BESS."""


@dataclass(frozen=True, slots=True)
class YearResult:
    """All variants of a year; ``none`` is what savings are measured against."""

    order: YearOrder
    times: tuple[datetime, ...]
    """Beginnings of the settlement periods, UTC."""
    variants: tuple[VariantYear, ...]

    @property
    def length(self) -> timedelta:
        """Of a settlement period."""
        return period_length(self.times, self.order)

    @property
    def none(self) -> VariantYear:
        return self.variants[0]

    @property
    def others(self) -> tuple[VariantYear, ...]:
        return self.variants[1:]

    def to_json(self) -> dict[str, Any]:
        order = self.order
        return {
            "site": order.site.site,
            "reference": order.reference.value,
            "start": order.course.t0.isoformat(),
            "end": order.course.t_end.isoformat(),
            "days": order.days,
            "step_s": order.course.step_s,
            "variants": [
                {
                    "name": variant.name,
                    "total": variant.total.to_json(self.none.total),
                    "months": {m: totals.to_json(self.none.months[m]) for m, totals in variant.months.items()},
                }
                for variant in self.variants
            ],
        }


@dataclass
class _Gathered:
    """A variant's days, without what only a day needs."""

    sums: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _SUMS})
    co2_kg: list[float | None] = field(default_factory=list)
    calendar_wear_eur: list[float | None] = field(default_factory=list)
    statuses: list[dict[str, int]] = field(default_factory=list)
    bounds: list[int] = field(default_factory=lambda: [0])
    """By day the number of its first settlement period."""
    seconds: list[int] = field(default_factory=list)
    series: dict[str, list[Powers]] = field(default_factory=lambda: {name: [] for name in (*_SERIES, "soc")})

    def add(self, day: Day) -> None:
        for name, values in self.sums.items():
            values.append(getattr(day, name))
        self.co2_kg.append(day.co2_import_kg)
        self.calendar_wear_eur.append(day.calendar_wear_eur)
        self.statuses.append(day.statuses)
        self.bounds.append(self.bounds[-1] + len(day.times))
        self.seconds += [int(time.timestamp()) for time in day.times]
        for name in _SERIES:
            self.series[name].append(np.array(getattr(day, name)))
        soc = [math.nan if value is None else value for value in day.bess_soc_frac[:-1]]
        self.series["soc"].append(np.array(soc, dtype=np.float64))


def year_result(order: YearOrder, days: Mapping[str, Iterable[Day]]) -> YearResult:
    """``days`` by the variant's name, all days of the order; read one variant after another."""
    found: list[VariantYear] = []
    times: tuple[datetime, ...] = ()
    for name in order.variants:
        gathered = _Gathered()
        for day in days[name]:
            gathered.add(day)
        if not times:
            times = tuple(datetime.fromtimestamp(second, UTC) for second in gathered.seconds)
        found.append(_variant(order, name, gathered, times, found[0].series["pcc_kw"] if found else None))
    return YearResult(order, times, tuple(found))


def period_length(times: Sequence[datetime], order: YearOrder) -> timedelta:
    """Of a settlement period."""
    return times[1] - times[0] if len(times) > 1 else order.course.step


def _variant(
    order: YearOrder, name: str, gathered: _Gathered, times: Sequence[datetime], none_kw: Powers | None
) -> VariantYear:
    series = {key: np.concatenate(pieces) for key, pieces in gathered.series.items()}
    site = order.variants[name]
    months: dict[str, list[int]] = {}
    for number, midnight in enumerate(order.midnights[:-1]):
        months.setdefault(f"{midnight.astimezone(site.zone):%Y-%m}", []).append(number)
    peaks = {month: float(_part(series["pcc_kw"], gathered, of).max()) for month, of in months.items()}
    charges = demand_charges_eur(site.tariff, peaks)
    length = period_length(times, order)
    by_month = {
        month: _totals(site, gathered, series, of, None if charges is None else charges[month], none_kw, length)
        for month, of in months.items()
    }
    whole = range(order.days)
    charged = None if charges is None else math.fsum(charges.values())
    total = _totals(site, gathered, series, whole, charged, none_kw, length)
    return VariantYear(name, total, by_month, series, series.pop("soc"))


def _part(values: Powers, gathered: _Gathered, days: Sequence[int]) -> Powers:
    """The settlement periods of days that follow one another."""
    return values[gathered.bounds[days[0]] : gathered.bounds[days[-1] + 1]]


def _totals(
    site: Site,
    gathered: _Gathered,
    series: Mapping[str, Powers],
    days: Sequence[int],
    demand_eur: float | None,
    none_kw: Powers | None,
    length: timedelta,
) -> Totals:
    sums = {name: math.fsum(values[day] for day in days) for name, values in gathered.sums.items()}
    part = {name: _part(values, gathered, days) for name, values in series.items()}
    hours = length.total_seconds() / 3600
    pcc, pv = part["pcc_kw"], part["pv_kw"]
    capacity = math.fsum(device.capacity_kwh for device in site.devices.values() if isinstance(device, Bess))
    wear, vehicle_wear = site.ems.bess_wear_eur_per_kwh, site.ems.vehicle_wear_eur_per_kwh
    chargers = any(isinstance(device, Charger) for device in site.devices.values())
    co2 = [value for day in days if (value := gathered.co2_kg[day]) is not None]
    statuses: Counter[str] = Counter()
    for day in days:
        statuses.update(gathered.statuses[day])
    psf = None
    if none_kw is not None:
        psf = peak_shaving_factor(pcc.tolist(), _part(none_kw, gathered, days).tolist()).psf
    return Totals(
        days=len(days),
        cost_eur=sums["cost_eur"],
        demand_eur=demand_eur,
        mean_price_eur_per_kwh=math.fsum(part["purchase_eur_per_kwh"]) / len(pcc),
        import_kwh=sums["import_kwh"],
        export_kwh=sums["export_kwh"],
        load_kwh=math.fsum(part["load_kw"]) * hours,
        pv_kwh=math.fsum(pv) * hours,
        losses_kwh=sums["losses_kwh"],
        pv_used_kwh=math.fsum(np.maximum(pv - np.maximum(-pcc, 0.0), 0.0)) * hours,
        import_peak_kw=max(0.0, float(pcc.max())),
        export_peak_kw=max(0.0, float(-pcc.min())),
        import_above_limit_h=hours_above(pcc, site.connection.import_limit_kw, hours),
        export_above_limit_h=hours_above(-pcc, site.connection.export_limit_kw, hours),
        psf=psf,
        bess_charged_kwh=sums["bess_charged_kwh"],
        bess_discharged_kwh=sums["bess_discharged_kwh"],
        bess_cycles=sums["bess_cycled_kwh"] / capacity if capacity else None,
        bess_wear_eur=wear * (sums["bess_charged_kwh"] + sums["bess_discharged_kwh"]) if wear and capacity else None,
        cars_discharged_kwh=sums["cars_discharged_kwh"],
        vehicle_wear_eur=vehicle_wear * sums["cars_discharged_kwh"] if vehicle_wear and chargers else None,
        calendar_wear_eur=sum_of_known(*(gathered.calendar_wear_eur[day] for day in days)),
        stored_kwh=sums["bess_stored_kwh"] + sums["cars_stored_kwh"] + sums["heat_stored_kwh"],
        departure_shortfall_kwh=sums["departure_shortfall_kwh"],
        co2_import_kg=math.fsum(co2) if len(co2) == len(days) else None,
        plan_statuses=dict(sorted(statuses.items())),
    )
