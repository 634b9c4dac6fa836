"""One run of the site with some of its devices, and what its meters measured that savings are made of."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from schemas.capabilities import Group
from schemas.cycle import Course
from schemas.errors import RunFailedError
from schemas.participant import Received
from schemas.site import Site, next_midnight
from services.analysis.calendar_wear import calendar_wear_eur
from services.analysis.quarters import quarters_of
from services.analysis.stored import departure_shortfall_kwh, stored_change
from services.history.memory import MemoryHistory, lockstep_info
from services.history.reader import pcc_of
from services.history.settlement import demand_charges_eur, month_peaks_kw, settle
from services.history.tracks import Track
from twinswarm.attribution.cars import Visit, visits_of
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.study.day import kept

Series = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """A run at its meters. ``steps`` series hold a value for each settled step, ``by_day`` ones for each local day."""

    day_of_step: NDArray[np.int64]
    """Number of the local day that each step is in."""
    import_kwh: Series
    export_kwh: Series
    purchase_eur_per_kwh: Series
    sale_eur_per_kwh: Series
    pv_kwh: Series
    """Produced."""
    stored_by_day_kwh: Series
    """Change of the energy in all batteries."""
    demand_eur: float
    """Demand charges of all months touched; 0 without such a tariff."""
    bess_throughput_kwh: dict[str, float]
    """By BESS, at its AC terminals, both ways."""
    bess_calendar_wear_eur: dict[str, float]
    """By BESS whose hours at a SOC have a price."""
    departure_shortfall_kwh: float
    visits: tuple[Visit, ...]

    @property
    def cost_eur(self) -> float:
        """Energy and demand charge."""
        bought, sold = self.import_kwh * self.purchase_eur_per_kwh, self.export_kwh * self.sale_eur_per_kwh
        return math.fsum(bought) - math.fsum(sold) + self.demand_eur


def lived(site: Site, course: Course) -> Measured:
    """Lives through the course in memory. Raises TwinswarmError."""
    messages: list[Received] = []

    def keep(received: Received) -> None:
        if kept(received):
            messages.append(received)

    run = run_in_memory(site, course, None, on_message=keep, brief=True)
    info = lockstep_info(run, site, course.t0, course.t_end, course.step_s, course.t0)
    return _measured(MemoryHistory(info, site, messages), run, site, course)


def _measured(history: MemoryHistory, run: str, site: Site, course: Course) -> Measured:
    tracks, times = history.tracks(run), history.grid(run)
    pcc = pcc_of(tracks)
    if pcc is None:
        raise RunFailedError("nobody measured the PCC")
    settlement = settle(pcc, history.prices(run), times)
    if settlement.unsettled:
        raise RunFailedError(f"{settlement.unsettled} steps could not be settled")
    steps = settlement.steps
    # A price that is not known mattered in no step: no energy flowed at it.
    bought, sold, buying, selling = (
        np.array([getattr(step, name) or 0.0 for step in steps])
        for name in ("import_kwh", "export_kwh", "purchase_price_eur_per_kwh", "sale_price_eur_per_kwh")
    )
    midnights = _midnights(site, course)
    ends = np.array([time.timestamp() for time in midnights[1:]])
    of_day = np.searchsorted(ends, [step.start.timestamp() for step in steps], side="right")
    quarters = quarters_of(tracks, history.prices(run), times, course.step, site.zone)
    peaks = month_peaks_kw((quarter.time for quarter in quarters), (quarter.pcc_kw for quarter in quarters), site.zone)
    charges = demand_charges_eur(site.tariff, peaks)
    stored = [stored_change(tracks, start, end).total_kwh for start, end in itertools.pairwise(midnights)]
    return Measured(
        day_of_step=of_day,
        import_kwh=bought,
        export_kwh=sold,
        purchase_eur_per_kwh=buying,
        sale_eur_per_kwh=selling,
        pv_kwh=_produced(tracks, times),
        stored_by_day_kwh=np.array(stored),
        demand_eur=math.fsum(charges.values()) if charges else 0.0,
        bess_throughput_kwh={
            name: math.fsum(drawn + given for drawn, given in _flows(track, times))
            for name, track in tracks.items()
            if track.group is Group.BATTERY
        },
        bess_calendar_wear_eur={
            name: wear
            for name, track in tracks.items()
            if (wear := calendar_wear_eur({name: track}, course.t0, course.t_end, site, Group.BATTERY)) is not None
        },
        departure_shortfall_kwh=departure_shortfall_kwh(tracks, course.t0),
        visits=tuple(visits_of(tracks, times, site)),
    )


def _midnights(site: Site, course: Course) -> list[datetime]:
    found = [course.t0]
    while found[-1] < course.t_end:
        found.append(min(next_midnight(found[-1], site.zone), course.t_end))
    return found


def _produced(tracks: Mapping[str, Track], times: Sequence[datetime]) -> Series:
    """Energy of all inverters by step [kWh], less what they draw."""
    total = np.zeros(len(times) - 1)
    for track in tracks.values():
        if track.group is Group.GENERATION:
            total += [given - drawn for drawn, given in _flows(track, times)]
    return total


def _flows(track: Track, times: Sequence[datetime]) -> list[tuple[float, float]]:
    """Imports and exports by step [kWh]."""
    flows = [(flow.import_kwh, flow.export_kwh) for flow in track.flows(times)]
    known = [(drawn, given) for drawn, given in flows if drawn is not None and given is not None]
    if len(known) < len(flows):
        raise RunFailedError(f"{track.device}: a step was not measured")
    return known
