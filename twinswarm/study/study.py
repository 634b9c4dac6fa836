"""A study from its order to its result."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.cycle import Course
from schemas.errors import Code, InputError
from schemas.site import Site
from services.analysis.shaving import STRICT_THRESHOLD_KW, THRESHOLD_KW
from sites.description import SiteDescription
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference, StorageChoice
from twinswarm.study.day import Day
from twinswarm.study.facts import parameters
from twinswarm.study.orders import ALL_STORAGES, Key, check_cases, site_of, table_days, tie_days
from twinswarm.study.pool import Pool, Timed
from twinswarm.study.published import DOI, PSF_CASE
from twinswarm.study.result import Table, TieRange, table_of, tie_ranges

SITES = {
    Reference.SMART: "fit_g2v",
    Reference.NO_CARS: "fit_none",
    Reference.UNCONTROLLED: "fit_uncontrolled",
}
"""The fitted site of each reading of the study's reference."""


@dataclass(frozen=True)
class StudyOrder:
    """The order of a study. ``cases`` are the site's own."""

    site: SiteDescription
    reference: Reference
    cases: tuple[str, ...]
    course: Course

    @classmethod
    def of(cls, site: SiteDescription, reference: Reference, cases: Sequence[str] = ()) -> "StudyOrder":
        """The site's day; without ``cases`` all that the site has. Raises InputError."""
        chosen = tuple(cases) or tuple(sorted(site.cases))
        check_cases(site, chosen)
        if not chosen:
            raise InputError.one(
                "--site", "a study needs a site with cases, as the fitted sites have", site.site, code=Code.MISSING
            )
        return cls(site, reference, chosen, course_of(site))


@dataclass(frozen=True)
class StudyResult:
    """``wall_s`` is the time of the table's days, after the workers' start of ``start_s``; ``tie_wall_s`` that of the
    days with other tie-breaks; ``cpu_s`` what all days took one core."""

    order: StudyOrder
    table: Table
    ties: Mapping[StorageChoice, TieRange]
    days: Mapping[Key, Day]
    start_s: float
    wall_s: float
    tie_wall_s: float
    cpu_s: float
    processes: int

    @property
    def optimisations(self) -> int:
        """The sum over the table's days."""
        return sum(day.optimisations for key, day in self.days.items() if not key.tie)

    def to_json(self) -> dict[str, Any]:
        """For ``json.dumps``; floats at full precision, signs as in the published table."""
        return {
            "source": DOI,
            "site": self.order.site.site,
            "reference": self.order.reference.value,
            "sign": "change against the reference in €/day; negative is money saved, as in the published table",
            "rmse_eur_per_day": self.table.rmse_eur_per_day,
            "signs_matched": self.table.signs_matched,
            "signs": self.table.signs,
            "largest_psf_error": self.table.largest_psf_error,
            "table": [
                {
                    "case": cell.case,
                    "storage": cell.storage.value,
                    "published": cell.published_eur_per_day,
                    "ours": cell.change_eur_per_day,
                    "difference": cell.difference_eur_per_day,
                    "sign_matches": cell.sign_matches,
                    "published_psf": cell.published_psf,
                    "psf": cell.psf.psf,
                    "psf_samples_left_out": cell.psf.excluded,
                    "psf_2kw": cell.psf_2kw.psf,
                    "psf_2kw_samples_left_out": cell.psf_2kw.excluded,
                    "psf_no_threshold": cell.psf_all.psf,
                    "psf_no_threshold_samples_left_out": cell.psf_all.excluded,
                    "stored_kwh": cell.stored_kwh,
                    "bess_stored_kwh": cell.bess_stored_kwh,
                    "cars_stored_kwh": cell.cars_stored_kwh,
                    "reference_peak_import_kw": cell.reference_peak_kw,
                    "peak_import_kw": cell.peak_kw,
                    "cars_discharged_kwh": cell.cars_discharged_kwh,
                    "break_even_car_wear_eur_per_kwh": cell.break_even_wear_eur_per_kwh,
                }
                for cell in self.table.cells
            ],
            "psf_thresholds_kw": [THRESHOLD_KW, STRICT_THRESHOLD_KW],
            "psf_case_6": {
                storage.value: {
                    "psf": found.psf,
                    "published": found.published,
                    "range": None if found.span is None else list(found.span),
                    "by_tie_break": found.by_tie,
                    "cost_change_eur_by_tie_break": found.cost_eur_by_tie,
                }
                for storage, found in self.ties.items()
            },
            "costs_eur": {
                case: {storage.value: self.days[Key(case, storage)].cost_eur for storage in ALL_STORAGES}
                for case in self.order.cases
            },
            "parameters": parameters(self.order.site),
            "wall_s": self.wall_s,
            "start_s": self.start_s,
            "tie_wall_s": self.tie_wall_s,
            "cpu_s": self.cpu_s,
            "processes": self.processes,
            "optimisations": self.optimisations,
        }


def pool_of(order: StudyOrder, processes: int | None = None) -> Pool:
    """Workers that have the models of the study's days built. ``processes`` None: one per core."""
    return Pool(order.course, structures(order), processes)


def conduct_study(
    order: StudyOrder,
    pool: Pool,
    on_start: Callable[[int], None] | None = None,
    on_day: Callable[[Key], None] | None = None,
) -> StudyResult:
    """Runs all days of a study on the workers of `pool_of`. ``on_start`` is told how many days there are.

    Raises TwinswarmError.
    """
    site, reference = order.site, order.reference
    table_keys, tie_keys = table_days(order.cases), tie_days(order.cases)
    if on_start is not None:
        on_start(len(table_keys) + len(tie_keys))
    started = time.perf_counter()
    timed = pool.run({key: site_of(site, key, reference) for key in table_keys}, on_day)
    between = time.perf_counter()
    tied = pool.run({key: site_of(site, key, reference) for key in tie_keys}, on_day)
    ended = time.perf_counter()
    everything: dict[Key, Timed] = {**timed, **tied}
    days = {key: found.day for key, found in everything.items()}
    return StudyResult(
        order=order,
        table=table_of(days, order.cases),
        ties=tie_ranges(days),
        days=days,
        start_s=pool.start_s,
        wall_s=between - started,
        tie_wall_s=ended - between,
        cpu_s=sum(found.cpu_s for found in timed.values()),
        processes=pool.processes,
    )


def structures(order: StudyOrder) -> list[Site]:
    """One site for each structure of the optimisation model: they differ by storage, not by case."""
    case = PSF_CASE if PSF_CASE in order.cases else order.cases[0]
    return [site_of(order.site, Key(case, storage), order.reference) for storage in ALL_STORAGES]
