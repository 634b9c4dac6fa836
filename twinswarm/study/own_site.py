"""One's own site without storage, with its BESS, with V2G and with both: the same time, lived through once each.

Each is a variant of the site as `twinswarm.simulation.variants` makes them, run from the beginning to the end in one
piece, so that states of charge and vehicles go on over midnight.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from schemas.cycle import Course
from schemas.errors import Code, InputError
from schemas.site import Bess, Charger, HeatPump, Site, month_after
from services.analysis.shaving import peak_shaving_factor
from services.history.settlement import demand_charges_eur, month_peaks_kw, savings_eur
from twinswarm.simulation.coverage import check_profiles
from twinswarm.simulation.variants import Reference, StorageChoice, is_movable, with_storage
from twinswarm.study.day import Day
from twinswarm.study.pool import Pool

NONE, SMART, BESS, V2G, BOTH, CONTROLLED = "none", "smart charging", "BESS", "V2G", "BESS and V2G", "controlled"
"""Names of the variants. ``controlled``: a site without BESS and V2G whose heat pumps the EMS may move."""

MOST_DAYS = 366
_DAYS = re.compile(r"([1-9]|[1-9]\d|[12]\d\d|3[0-5]\d|36[0-6])d")


def variants_of(site: Site, reference: Reference) -> dict[str, Site]:
    """The variants that differ, by name, the one without storage first.

    ``reference``: how vehicles charge where V2G is not used. Without a controlled reference there is a variant with
    smart charging, too: what V2G brings beyond it is V2G's own. Raises InputError for a site that nothing can control.
    """
    movable = [device for device in site.devices.values() if is_movable(device)]
    bess = any(isinstance(device, Bess) for device in movable)
    chargers = [device for device in movable if isinstance(device, Charger)]
    v2g = any(charger.max_discharge_kw for charger in chargers)
    found = {NONE: with_storage(site, StorageChoice.NONE, reference)}
    if chargers and reference is Reference.UNCONTROLLED:
        found[SMART] = with_storage(site, StorageChoice.NONE, Reference.SMART)
    if bess:
        found[BESS] = with_storage(site, StorageChoice.BESS, reference)
    if v2g:
        found[V2G] = with_storage(site, StorageChoice.V2G, reference)
    if bess and v2g:
        found[BOTH] = with_storage(site, StorageChoice.BOTH, reference)
    if not bess and not v2g and any(isinstance(device, HeatPump) for device in movable):
        found[CONTROLLED] = with_storage(site, StorageChoice.BOTH, reference)
    if len(found) == 1:
        what = "has neither a BESS nor chargers nor a heat pump that an EMS could control: there is nothing to compare"
        raise InputError.one("SITE", what, site.site, code=Code.EMPTY)
    return found


@dataclass(frozen=True, slots=True)
class Row:
    """A variant's result. Money of the whole time [€]; ``none`` is the variant that savings are measured against."""

    name: str
    day: Day
    none: Day
    demand_eur: float | None
    """Demand charge of each month that the time touches, as if its highest settlement period here were the month's;
    None without such a tariff."""
    none_demand_eur: float | None

    @property
    def total_eur(self) -> float:
        return self.day.cost_eur + (self.demand_eur or 0.0)

    @property
    def savings_eur(self) -> float:
        """Positive is money saved, the demand charge included."""
        return savings_eur(self.total_eur, self.none.cost_eur + (self.none_demand_eur or 0.0))

    @property
    def stored_more_kwh(self) -> float:
        """Energy left in the batteries above what the variant without storage left in them."""
        return self.day.stored_kwh - self.none.stored_kwh

    @property
    def stored_more_eur(self) -> float:
        """The same at the mean purchase price of the time; beside the savings, never in them."""
        return self.day.worth_eur(self.stored_more_kwh)

    @property
    def psf(self) -> float | None:
        """Peak-shaving factor, equation (22), against the variant without storage."""
        return None if self.day is self.none else peak_shaving_factor(self.day.pcc_kw, self.none.pcc_kw).psf

    def to_json(self) -> dict[str, Any]:
        day = self.day
        return {
            "name": self.name,
            "cost_eur": day.cost_eur,
            "demand_charge_eur": self.demand_eur,
            "total_eur": self.total_eur,
            "savings_eur": self.savings_eur,
            "import_kwh": day.import_kwh,
            "export_kwh": day.export_kwh,
            "losses_kwh": day.losses_kwh,
            "import_peak_kw": day.peak_import_kw,
            "stored_more_kwh": self.stored_more_kwh,
            "stored_more_eur": self.stored_more_eur,
            "psf": self.psf,
            "wear_eur": day.wear_eur,
            "calendar_wear_eur": day.calendar_wear_eur,
            "co2_import_kg": day.co2_import_kg,
            "departure_shortfall_kwh": day.departure_shortfall_kwh,
            "plan_statuses": day.statuses,
        }


@dataclass(frozen=True, slots=True)
class SiteComparison:
    """All variants of a site over one time."""

    site: Site
    course: Course
    reference: Reference
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "site": self.site.site,
            "reference": self.reference.value,
            "start": self.course.t0.isoformat(),
            "end": self.course.t_end.isoformat(),
            "step_s": self.course.step_s,
            "variants": [row.to_json() for row in self.rows],
        }


def compare_variants(
    site: Site,
    course: Course,
    reference: Reference,
    processes: int | None = None,
    on_variant: Callable[[str], None] | None = None,
) -> SiteComparison:
    """Lives through the time once per variant, in parallel processes. Raises TwinswarmError."""
    variants = variants_of(site, reference)
    workers = min(processes, len(variants)) if processes is not None else None
    with Pool(course, [*variants.values()], workers) as pool:
        days = {name: timed.day for name, timed in pool.run(variants, on_variant).items()}
    return SiteComparison(site, course, reference, rows_of(site, days))


def rows_of(site: Site, days: Mapping[str, Day]) -> tuple[Row, ...]:
    """``days`` by the variant's name, the one without storage among them."""
    demand = {name: demand_eur_of(site, day) for name, day in days.items()}
    return tuple(Row(name, day, days[NONE], demand[name], demand[NONE]) for name, day in days.items())


def demand_eur_of(site: Site, day: Day) -> float | None:
    """Demand charge of a time [€]: the sum over the local months; None without such a tariff."""
    charges = demand_charges_eur(site.tariff, month_peaks_kw(day.times, day.pcc_kw, site.zone))
    return math.fsum(charges.values()) if charges else None


def course_over(site: Site, text: str, first: date | None) -> Course:
    """``day``, ``week``, ``month`` or a number of days such as ``3d``: whole local days from ``first`` on.

    A month is the calendar's that ``first`` is in. ``first`` None: the site's date. Raises InputError for anything
    else, and for a time that the site's profiles do not cover.
    """
    begin = first or site.date
    if text == "month":
        begin = begin.replace(day=1)
        days = (month_after(begin) - begin).days
    else:
        match = _DAYS.fullmatch({"day": "1d", "week": "7d"}.get(text, text))
        if match is None:
            what = f"day, week, month or a number of days up to {MOST_DAYS} such as 3d is allowed"
            raise InputError.one("--for", what, text, code=Code.FORMAT)
        days = int(match[1])
    t0, t_end = (_midnight(begin + timedelta(days=shift), site) for shift in (0, days))
    check_profiles(site, t0, t_end)
    return Course(t0, t_end, site.time.step_s)


def _midnight(day: date, site: Site) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=site.zone).astimezone(UTC)
