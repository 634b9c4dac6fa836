"""Result of a study: Table II beside the published one, the peak-shaving factors, and what was run for them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.analysis.shaving import STRICT_THRESHOLD_KW, ShavingFactor, peak_shaving_factor
from services.history.settlement import savings_eur
from twinswarm.simulation.variants import StorageChoice
from twinswarm.study.day import Day
from twinswarm.study.orders import TIES, Key
from twinswarm.study.published import PSF_CASE, STORAGES, published

_LEAST_KWH = 1e-3
"""Less than this discharged from cars is rounding of registers."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One case with one storage, against the reference of its case.

    Sign as in the published table: negative is money saved. (`services.analysis.run_result.RunResult.savings_eur` is
    the opposite: there positive is money saved.)
    """

    case: str
    storage: StorageChoice
    change_eur_per_day: float
    published_eur_per_day: float | None
    """None: of a case that the study does not have."""
    psf: ShavingFactor
    psf_2kw: ShavingFactor
    psf_all: ShavingFactor
    """Equation (22) as it stands: no quarter-hour is left out but those without any reference power."""
    published_psf: float | None
    bess_stored_kwh: float
    """Change of the energy in the BESS over the day; not in the money."""
    cars_stored_kwh: float
    """Change of the energy in the cars, above the reference's; not in the money."""
    reference_peak_kw: float
    """Highest mean import of a quarter-hour at the PCC in the reference."""
    peak_kw: float
    """Likewise in this cell."""
    cars_discharged_kwh: float
    """Energy taken out of the cars, at the chargers' AC terminals."""

    @property
    def stored_kwh(self) -> float:
        """Energy that the day left in batteries above the reference; not in the money."""
        return self.bess_stored_kwh + self.cars_stored_kwh

    @property
    def break_even_wear_eur_per_kwh(self) -> float | None:
        """Price of wear per kWh discharged from cars at which this cell costs what the reference costs; None where
        cars discharge nothing or nothing is saved."""
        if self.cars_discharged_kwh < _LEAST_KWH or self.change_eur_per_day >= 0:
            return None
        return -self.change_eur_per_day / self.cars_discharged_kwh

    def with_car_wear(self, price_eur_per_kwh: float) -> float:
        """Change of the daily cost [€], a price per kWh discharged from the cars included."""
        return self.change_eur_per_day + price_eur_per_kwh * self.cars_discharged_kwh

    @property
    def difference_eur_per_day(self) -> float | None:
        """Ours minus published."""
        return None if self.published_eur_per_day is None else self.change_eur_per_day - self.published_eur_per_day

    @property
    def sign_matches(self) -> bool | None:
        if self.published_eur_per_day is None:
            return None
        return (self.change_eur_per_day < 0) == (self.published_eur_per_day < 0)


@dataclass(frozen=True, slots=True)
class TieRange:
    """Case 6, one storage: the factor by the site's tie-break, and its span over other ways to break ties."""

    psf: float | None
    published: float | None
    by_tie: dict[str, float | None]
    """By the name of the tie-break, `twinswarm.study.orders.TIES`."""
    cost_eur_by_tie: dict[str, float]
    """Cost minus that with the site's tie-break: how far from equal these days are in the end."""

    @property
    def span(self) -> tuple[float, float] | None:
        known = [value for value in (self.psf, *self.by_tie.values()) if value is not None]
        return (min(known), max(known)) if known else None


@dataclass(frozen=True, slots=True)
class Table:
    """Table II as lived through here."""

    cells: tuple[Cell, ...]

    def cell(self, case: str, storage: StorageChoice) -> Cell | None:
        return next((cell for cell in self.cells if (cell.case, cell.storage) == (case, storage)), None)

    @property
    def rmse_eur_per_day(self) -> float | None:
        """Root of the mean squared difference over the published cells; None when there is none."""
        errors = [error for cell in self.cells if (error := cell.difference_eur_per_day) is not None]
        return math.sqrt(math.fsum(error * error for error in errors) / len(errors)) if errors else None

    @property
    def signs_matched(self) -> int:
        return sum(cell.sign_matches is True for cell in self.cells)

    @property
    def signs(self) -> int:
        """How many there are to match."""
        return sum(cell.sign_matches is not None for cell in self.cells)

    @property
    def largest_psf_error(self) -> float | None:
        """Over the published factors."""
        errors = [
            abs(cell.psf.psf - cell.published_psf)
            for cell in self.cells
            if cell.psf.psf is not None and cell.published_psf is not None
        ]
        return max(errors, default=None)


def table_of(days: Mapping[Key, Day], cases: Sequence[str]) -> Table:
    """``days`` holds every case with every storage."""
    cells = []
    for case in cases:
        known = published().get(case)
        reference = days[Key(case, StorageChoice.NONE)]
        for storage in STORAGES:
            day = days[Key(case, storage)]
            cells.append(
                Cell(
                    case=case,
                    storage=storage,
                    change_eur_per_day=-savings_eur(day.cost_eur, reference.cost_eur),
                    published_eur_per_day=None if known is None else known.change_eur_per_day[storage],
                    psf=peak_shaving_factor(day.pcc_kw, reference.pcc_kw),
                    psf_2kw=peak_shaving_factor(day.pcc_kw, reference.pcc_kw, STRICT_THRESHOLD_KW),
                    published_psf=None if known is None else known.psf.get(storage),
                    psf_all=peak_shaving_factor(day.pcc_kw, reference.pcc_kw, 0.0),
                    bess_stored_kwh=day.bess_stored_kwh - reference.bess_stored_kwh,
                    cars_stored_kwh=day.cars_stored_kwh - reference.cars_stored_kwh,
                    reference_peak_kw=reference.peak_import_kw,
                    peak_kw=day.peak_import_kw,
                    cars_discharged_kwh=day.cars_discharged_kwh,
                )
            )
    return Table(tuple(cells))


def tie_ranges(days: Mapping[Key, Day]) -> dict[StorageChoice, TieRange]:
    """Empty unless case 6 was run with the other tie-breaks. The reference keeps the site's own."""
    found = {}
    for storage in STORAGES:
        own = days.get(Key(PSF_CASE, storage))
        variants = {tie: days[key] for tie in TIES if (key := Key(PSF_CASE, storage, tie)) in days}
        if own is None or not variants:
            continue
        reference = days[Key(PSF_CASE, StorageChoice.NONE)]
        found[storage] = TieRange(
            psf=peak_shaving_factor(own.pcc_kw, reference.pcc_kw).psf,
            published=published()[PSF_CASE].psf.get(storage),
            by_tie={tie: peak_shaving_factor(day.pcc_kw, reference.pcc_kw).psf for tie, day in variants.items()},
            cost_eur_by_tie={tie: day.cost_eur - own.cost_eur for tie, day in variants.items()},
        )
    return found
