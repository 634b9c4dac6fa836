"""The energy of each car at its charger, step by step."""

import bisect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from schemas.capabilities import Group
from schemas.site import Site
from services.analysis.calendar_wear import calendar_wear_eur
from services.analysis.stored import sessions_since
from services.history.tracks import Track


@dataclass(frozen=True, slots=True)
class Visit:
    """A car at a charger, within the run; energies at the charger's AC terminals, by its registers."""

    charger: str
    vehicle: str
    charged_kwh: float
    discharged_kwh: float
    first_step: int
    net_kwh: tuple[float, ...]
    """By settled step, from ``first_step`` on; positive is charged."""
    calendar_wear_eur: float | None
    """Price of the hours at its SOCs; None where it has none."""

    def cost_eur(self, price_eur_per_kwh: NDArray[np.float64]) -> float:
        """At a price for each settled step of the run; what is given back is credited."""
        held = price_eur_per_kwh[self.first_step : self.first_step + len(self.net_kwh)]
        return float(np.dot(self.net_kwh, held))


def visits_of(tracks: Mapping[str, Track], times: Sequence[datetime], site: Site) -> Iterator[Visit]:
    """All charging sessions of a run; ``times`` are the bounds of the settled steps."""
    for track in tracks.values():
        if track.group is not Group.VEHICLES:
            continue
        for session in sessions_since(track, times[0]):
            begin = max(session.arrival, times[0])
            end = min(session.departure or times[-1], times[-1])
            if begin < end:
                yield _visit(track, session.vehicle or "unknown", begin, end, times, site)


def _visit(track: Track, vehicle: str, begin: datetime, end: datetime, times: Sequence[datetime], site: Site) -> Visit:
    first, last = bisect.bisect_right(times, begin), bisect.bisect_left(times, end)
    flows = [(flow.import_kwh or 0.0, flow.export_kwh or 0.0) for flow in track.flows([begin, *times[first:last], end])]
    charged, discharged = math.fsum(drawn for drawn, _ in flows), math.fsum(given for _, given in flows)
    net = tuple(drawn - given for drawn, given in flows)
    aged = calendar_wear_eur({track.device: track.around(begin, end)}, begin, end, site, Group.VEHICLES)
    return Visit(track.device, vehicle, charged, discharged, first - 1, net, aged)
