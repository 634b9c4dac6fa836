"""The energy of each car at its charger, step by step."""

import bisect
import itertools
import math
from collections import defaultdict
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
        stays = [
            _Stay(session.vehicle or "unknown", begin, end)
            for session in sessions_since(track, times[0])
            if (begin := max(session.arrival, times[0])) < (end := min(session.departure or times[-1], times[-1]))
        ]
        own_s = [stay.seconds_of_steps(times) for stay in stays]
        all_s: dict[int, float] = defaultdict(float)
        for step, seconds in itertools.chain.from_iterable(one.items() for one in own_s):
            all_s[step] += seconds
        for stay, one in zip(stays, own_s, strict=True):
            yield _visit(track, stay, {step: seconds / all_s[step] for step, seconds in one.items()}, times, site)


@dataclass(frozen=True, slots=True)
class _Stay:
    """Within the run."""

    vehicle: str
    begin: datetime
    end: datetime

    def seconds_of_steps(self, times: Sequence[datetime]) -> dict[int, float]:
        """How long it is there in each step in which it is."""
        first, end = bisect.bisect_right(times, self.begin) - 1, bisect.bisect_left(times, self.end)
        return {
            step: (min(self.end, times[step + 1]) - max(self.begin, times[step])).total_seconds()
            for step in range(first, end)
        }


def _visit(track: Track, stay: _Stay, shares: Mapping[int, float], times: Sequence[datetime], site: Site) -> Visit:
    """Registers are read at the steps' bounds, and a charger without a car counts nothing: all energy of a step is of
    the car that was there in it. Where several were, it goes by the time that each was there.

    ``shares``: this stay's of each of its steps, in order.
    """
    first = min(shares)
    flows = [
        ((flow.import_kwh or 0.0) * share, (flow.export_kwh or 0.0) * share)
        for share, flow in zip(shares.values(), track.flows(times[first : max(shares) + 2]), strict=True)
    ]
    charged, discharged = math.fsum(drawn for drawn, _ in flows), math.fsum(given for _, given in flows)
    net = tuple(drawn - given for drawn, given in flows)
    around = {track.device: track.around(stay.begin, stay.end)}
    aged = calendar_wear_eur(around, stay.begin, stay.end, site, Group.VEHICLES)
    return Visit(track.device, stay.vehicle, charged, discharged, first, net, aged)
