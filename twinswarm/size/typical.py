"""Typical days in the place of a year: medoids of its days, and which day each of them stands for.

A day is described by its hourly means of load, PV, purchase price, and the energy that arriving vehicles want, each
divided by its spread over the year, so that none counts more for its unit. The medoids are real days: first that with
the highest load, which the demand charge needs, then the farthest from those chosen, then exchanged until no day's
distance to its medoid falls any more (k-medoids by Voronoi iteration). There is no chance in it.
"""

import itertools
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from schemas.messages import MeterRole, Quantity
from schemas.site import Charger, Meter, Pv, Site, profile_mean
from services.forecast.prices import prices_of
from twin_devices.pv_source import pv_power

_HOUR = timedelta(hours=1)
_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class TypicalDays:
    """``days``: numbers of the typical ones; ``of``: for each day of the year the place of its typical day."""

    days: tuple[int, ...]
    of: tuple[int, ...]

    def weight(self, place: int) -> int:
        """How many days it stands for."""
        return sum(each == place for each in self.of)


def typical_days(features: NDArray[np.float64], count: int, peak: int) -> TypicalDays:
    """``features``: a row a day; ``peak``: the day that is among them in any case."""
    distance = np.linalg.norm(features[:, None, :] - features[None, :, :], axis=2)
    chosen = [peak]
    while len(chosen) < min(count, len(features)):
        nearest = distance[:, chosen].min(axis=1)
        if nearest.max() == 0:
            break
        chosen.append(int(nearest.argmax()))
    for _ in range(_ROUNDS):
        of = distance[:, chosen].argmin(axis=1)
        better = [peak]
        for place in range(1, len(chosen)):
            members = np.flatnonzero(of == place)
            inner = distance[np.ix_(members, members)].sum(axis=1)
            better.append(int(members[inner.argmin()]) if len(members) else chosen[place])
        if better == chosen:
            break
        chosen = better
    of = distance[:, chosen].argmin(axis=1)
    return TypicalDays(tuple(chosen), tuple(of.tolist()))


def features_of(site: Site, midnights: tuple[datetime, ...]) -> tuple[NDArray[np.float64], int]:
    """A row for each day, and the day with the highest hour of load and charging."""
    zone = site.zone
    loads = [
        site.profiles[device.profile]
        for device in site.devices.values()
        if isinstance(device, Meter) and device.role is MeterRole.LOAD and device.profile is not None
    ]
    roofs = [pv_power(site, d.source, d.rated_kw) for d in site.devices.values() if isinstance(d, Pv)]
    chargers = [device for device in site.devices.values() if isinstance(device, Charger)]
    price = prices_of(site)[Quantity.PURCHASE_PRICE].values
    rows: list[list[list[float]]] = []
    for start, end in itertools.pairwise(midnights):
        # 24 hours of each day: of one with 25 the last is left out, of one with 23 the last counts twice.
        hours = [min(start + hour * _HOUR, end - _HOUR) for hour in range(24)]
        load = [math.fsum(profile_mean(profile, hour, hour + _HOUR, zone) for profile in loads) for hour in hours]
        pv = [math.fsum(roof(hour) for roof in roofs) for hour in hours]
        prices = [price.at(hour, zone) for hour in hours]
        cars = [0.0] * 24
        for charger in chargers:
            for session in charger.sessions_between(start, end, zone):
                if start <= session.arrival < end:
                    wanted = max(0.0, session.target_soc_frac - session.arrival_soc_frac) * session.capacity_kwh
                    cars[min(23, (session.arrival - start) // _HOUR)] += wanted
        rows.append([load, pv, prices, cars])
    cube = np.array(rows)
    peak = int((cube[:, 0] + cube[:, 3]).max(axis=1).argmax())
    spread = cube.std(axis=(0, 2), keepdims=True)
    scaled = np.divide(cube, spread, out=np.zeros_like(cube), where=spread > 1e-12)
    return scaled.reshape(len(rows), -1), peak
