"""Sensitivities: the numbers that the paper leaves open, varied one at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twinswarm.study.orders import ALL_STORAGES, Key, site_of
from twinswarm.study.pool import Pool
from twinswarm.study.result import Cell, Table, table_of
from twinswarm.study.study import StudyOrder
from twinswarm.study.variations import Sweep, sweeps


@dataclass(frozen=True)
class Sensitivity:
    """One table per value of the sweep, of its case only."""

    sweep: Sweep
    tables: tuple[Table, ...]

    def cells(self, storage: Any) -> list[Cell]:
        found = [table.cell(self.sweep.case, storage) for table in self.tables]
        return [cell for cell in found if cell is not None]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.sweep.name,
            "axis": self.sweep.axis,
            "case": self.sweep.case,
            "values": list(self.sweep.values),
            "change_eur_per_day": {
                str(storage): [cell.change_eur_per_day for cell in self.cells(storage)] for storage in ALL_STORAGES[1:]
            },
            "psf_2kw": {
                str(storage): [cell.psf_2kw.psf for cell in self.cells(storage)] for storage in ALL_STORAGES[1:]
            },
            "psf": {str(storage): [cell.psf.psf for cell in self.cells(storage)] for storage in ALL_STORAGES[1:]},
        }


def conduct_sensitivities(
    order: StudyOrder,
    pool: Pool,
    on_start: Callable[[int], None] | None = None,
    on_day: Callable[[object], None] | None = None,
) -> list[Sensitivity]:
    """Every sweep whose case the site has, on the workers of `twinswarm.study.study.pool_of`. Raises TwinswarmError."""
    chosen = [sweep for sweep in sweeps() if sweep.case in order.site.cases]
    sites = {
        (sweep.name, value, storage): site_of(
            sweep.site_at(order.site, value), Key(sweep.case, storage), order.reference
        )
        for sweep in chosen
        for value in sweep.values
        for storage in ALL_STORAGES
    }
    if on_start is not None:
        on_start(len(sites))
    timed = pool.run(sites, on_day)
    found = []
    for sweep in chosen:
        tables = []
        for value in sweep.values:
            days = {Key(sweep.case, storage): timed[sweep.name, value, storage].day for storage in ALL_STORAGES}
            tables.append(table_of(days, (sweep.case,)))
        found.append(Sensitivity(sweep, tuple(tables)))
    return found
