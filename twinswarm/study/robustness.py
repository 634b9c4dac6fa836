"""Robustness: the table with another measured load, without noise and with noise of the same size."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.analysis.shaving import ShavingFactor
from sites.description import SiteDescription
from twinswarm.simulation.variants import StorageChoice
from twinswarm.study.orders import Key, site_of, table_days
from twinswarm.study.pool import Pool
from twinswarm.study.published import PSF_CASE, STORAGES
from twinswarm.study.result import Cell, Table, table_of
from twinswarm.study.study import StudyOrder
from twinswarm.study.variations import SEEDS, with_other_noise, without_noise

QUIET = "without noise"
SIGNS = "signs matched"


@dataclass(frozen=True, slots=True)
class Spread:
    """Spread of one number over the other load profiles."""

    name: str
    own: float | None
    """With the site's own measured load."""
    quiet: float | None
    """Without noise."""
    mean: float
    least: float
    most: float

    @property
    def digits(self) -> int:
        """To print it with: signs are counted."""
        return 1 if self.name == SIGNS else 3


@dataclass(frozen=True)
class Robustness:
    """Tables by load profile: `QUIET`, and ``seed 1`` and so on."""

    own: Table
    tables: dict[str, Table]

    def spreads(self) -> list[Spread]:
        """RMSE, signs and the factors of case 6."""
        found = [
            self._spread("RMSE [€/day]", lambda table: table.rmse_eur_per_day),
            self._spread(SIGNS, lambda table: float(table.signs_matched)),
        ]
        for storage in STORAGES:
            found.append(self._spread(f"PSF, case 6, {storage.value}", _of_case_6(storage, lambda c: c.psf)))
            found.append(self._spread(f"… above 2 kW, {storage.value}", _of_case_6(storage, lambda c: c.psf_2kw)))
        return [spread for spread in found if spread is not None]

    def _spread(self, name: str, number: Callable[[Table], float | None]) -> Spread | None:
        noisy = [value for key, table in self.tables.items() if key != QUIET and (value := number(table)) is not None]
        if not noisy:
            return None
        return Spread(
            name, number(self.own), number(self.tables[QUIET]), math.fsum(noisy) / len(noisy), min(noisy), max(noisy)
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "profiles": "measured load = forecast, and forecast with correlated noise of 3 %, ten seeds",
            "numbers": [
                {
                    "name": spread.name,
                    "site": spread.own,
                    "without_noise": spread.quiet,
                    "mean": spread.mean,
                    "least": spread.least,
                    "most": spread.most,
                }
                for spread in self.spreads()
            ],
        }


def _of_case_6(storage: StorageChoice, factor: Callable[[Cell], ShavingFactor]) -> Callable[[Table], float | None]:
    def number(table: Table) -> float | None:
        cell = table.cell(PSF_CASE, storage)
        return None if cell is None else factor(cell).psf

    return number


def conduct_robustness(
    order: StudyOrder,
    own: Table,
    pool: Pool,
    on_start: Callable[[int], None] | None = None,
    on_day: Callable[[object], None] | None = None,
) -> Robustness:
    """Eleven times all days of the study, on the workers of `twinswarm.study.study.pool_of`.

    Raises TwinswarmError; InputError for a site without such loads.
    """
    loads: dict[str, SiteDescription] = {QUIET: without_noise(order.site)}
    loads |= {f"seed {seed}": with_other_noise(order.site, seed) for seed in SEEDS}
    keys = table_days(order.cases)
    sites = {(name, key): site_of(site, key, order.reference) for name, site in loads.items() for key in keys}
    if on_start is not None:
        on_start(len(sites))
    timed = pool.run(sites, on_day)
    tables: dict[str, Table] = {}
    for name in loads:
        days: dict[Key, Any] = {key: timed[name, key].day for key in keys}
        tables[name] = table_of(days, order.cases)
    return Robustness(own, tables)
