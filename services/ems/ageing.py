"""The price of calendar ageing as a plan has it: the greatest convex curve below points of the site's, in pieces.

Where the published curve is not convex, below some 60 % of SOC, the plan reckons with less than it says; settlement
goes by the curve itself. `largest_gap_frac` says by how much they differ.
"""

from functools import lru_cache

import numpy as np

from schemas.site import CalendarWear
from services.ems.problem import AgeingPrice

GRID = tuple(step / 10 for step in range(11))
"""SOCs of the points of a published law."""
FINE = tuple(step / 200 for step in range(201))


@lru_cache(maxsize=64)
def ageing_price(wear: CalendarWear | None) -> AgeingPrice | None:
    """None: calendar ageing has no price."""
    if wear is None:
        return None
    curve = wear.loss_frac_per_year
    socs = GRID if curve is None else tuple(soc for soc, _ in curve)
    hull: list[tuple[float, float]] = []
    for point in ((soc, wear.eur_per_kwh_h(soc)) for soc in socs):
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    return AgeingPrice(tuple(soc for soc, _ in hull), tuple(eur for _, eur in hull))


def largest_gap_frac(wear: CalendarWear) -> float:
    """The greatest difference between the plan's curve and the site's, as a part of the price at SOC 1."""
    price = ageing_price(wear)
    assert price is not None
    planned = np.interp(FINE, price.soc_frac, price.eur_per_kwh_h)
    stated = [wear.eur_per_kwh_h(soc) for soc in FINE]
    return float(np.abs(planned - stated).max()) / wear.eur_per_kwh_h(1.0)


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])
