"""The periodic day: the BESS ends with the SOC that it began with, so that no energy is bought and left over.

A day that begins at 44 % and ends at 85 % pays for energy that it does not use. Here every day with a BESS is lived
again, beginning with the SOC with which the one before ended, until the two agree: a fixed point of the map from the
SOC at the beginning to that at the end. Cars come and go within the day, so a day without a BESS is periodic as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.site import Bess, Site
from services.history.settlement import savings_eur
from twinswarm.simulation.variants import StorageChoice
from twinswarm.study.day import Day
from twinswarm.study.orders import Key, site_of
from twinswarm.study.pool import Pool
from twinswarm.study.published import STORAGES
from twinswarm.study.study import StudyResult

TOLERANCE_FRAC = 1e-3
"""A day is periodic when no BESS ends further than this from the SOC that it began with."""
MOST_DAYS = 10
"""Days that are lived at most for one cell, the table's own included."""


@dataclass(frozen=True, slots=True)
class PeriodicDay:
    """Where the iteration of one cell ended."""

    days: int
    """Lived, the table's own included."""
    start_soc_frac: dict[str, float]
    """By BESS; empty without one."""
    end_soc_frac: dict[str, float]
    converged: bool
    change_eur_per_day: float | None
    """Cost minus that of the reference; None unless it converged."""
    stored_kwh: float
    """Left in batteries above the reference by the last day; with convergence that of the cars, and rounding."""

    def to_json(self) -> dict[str, Any]:
        return {
            "change_eur_per_day": self.change_eur_per_day,
            "converged": self.converged,
            "days": self.days,
            "start_soc_frac": self.start_soc_frac,
            "end_soc_frac": self.end_soc_frac,
            "stored_kwh": self.stored_kwh,
        }


Periodic = Mapping[tuple[str, StorageChoice], PeriodicDay]
"""By case and storage."""


def conduct_periodic(
    result: StudyResult,
    pool: Pool,
    most_days: int = MOST_DAYS,
    on_start: Callable[[int], None] | None = None,
    on_day: Callable[[object], None] | None = None,
) -> dict[tuple[str, StorageChoice], PeriodicDay]:
    """Every cell of the table, from its own day on. Cells that need another day live it in parallel.

    ``on_start`` is given the number of days of each round, all before it included. Raises TwinswarmError.
    """
    order = result.order
    keys = [Key(case, storage) for case in order.cases for storage in STORAGES]
    sites = {key: site_of(order.site, key, order.reference) for key in keys}
    begun = {key: _initial(site) for key, site in sites.items()}
    latest = {key: result.days[key] for key in keys}
    lived = dict.fromkeys(keys, 1)
    in_all = 0
    while True:
        open_ = [key for key in keys if lived[key] < most_days and not _agree(begun[key], latest[key])]
        if not open_:
            break
        for key in open_:
            sites[key], begun[key] = _begun_with(sites[key], latest[key].bess_end_soc_frac)
        in_all += len(open_)
        if on_start is not None:
            on_start(in_all)
        for key, timed in pool.run({key: sites[key] for key in open_}, on_day).items():
            latest[key] = timed.day
            lived[key] += 1
    found = {}
    for key in keys:
        day, reference = latest[key], result.days[Key(key.case, StorageChoice.NONE)]
        converged = _agree(begun[key], day)
        found[key.case, key.storage] = PeriodicDay(
            days=lived[key],
            start_soc_frac=begun[key],
            end_soc_frac=day.bess_end_soc_frac,
            converged=converged,
            change_eur_per_day=-savings_eur(day.cost_eur, reference.cost_eur) if converged else None,
            stored_kwh=day.stored_kwh - reference.stored_kwh,
        )
    return found


def _initial(site: Site) -> dict[str, float]:
    return {name: device.initial_soc_frac for name, device in site.devices.items() if isinstance(device, Bess)}


def _agree(begun: Mapping[str, float], day: Day) -> bool:
    """False, too, where the SOC at the end is not known."""
    ended = day.bess_end_soc_frac
    return all(name in ended and abs(ended[name] - soc) < TOLERANCE_FRAC for name, soc in begun.items())


def _begun_with(site: Site, socs: Mapping[str, float]) -> tuple[Site, dict[str, float]]:
    """The site whose BESSs begin so, each within its SOC limits, beyond which rounding may lie."""
    devices = dict(site.devices)
    for name, device in site.devices.items():
        if isinstance(device, Bess) and name in socs:
            soc = min(max(socs[name], device.soc_min_frac), device.soc_max_frac)
            devices[name] = device.model_copy(update={"initial_soc_frac": soc})
    changed = site.model_copy(update={"devices": devices})
    return changed, _initial(changed)


def beats(changes: Mapping[tuple[str, StorageChoice], float | None], cases: Sequence[str]) -> tuple[int, int]:
    """In how many cases the BESS costs less than V2G, and in how many cases both are known."""
    pairs = [(changes.get((case, StorageChoice.BESS)), changes.get((case, StorageChoice.V2G))) for case in cases]
    known = [(bess, v2g) for bess, v2g in pairs if bess is not None and v2g is not None]
    return sum(bess < v2g for bess, v2g in known), len(known)
