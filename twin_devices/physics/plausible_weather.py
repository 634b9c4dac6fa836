"""Bounds of irradiance by the sun's position, and of air temperature."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pvlib

from twin_devices.physics.pv import Place

LEAST_W_PER_M2 = -4.0
"""A pyranometer's zero at night: Long and Dutton (2002), physically possible limits."""

MAX_EXTRATERRESTRIAL_W_PER_M2 = 1415.0
"""Extraterrestrial normal irradiance in the first days of January, rounded outwards."""

TEMP_AIR_C = (-90.0, 60.0)
"""Lowest and highest air temperatures measured on Earth, rounded outwards: -89.2 and 56.7 °C (WMO)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that is possible at each instant [W/m²]."""

    ghi: Sequence[float]
    dni: Sequence[float]
    dhi: Sequence[float]


def limits(place: Place, times: Sequence[datetime]) -> Limits:
    """Physically possible limits of irradiance.

    Notes
    -----
    C. N. Long and E. G. Dutton, BSRN Global Network recommended QC tests, V2.0 (2002). With the extraterrestrial normal
    irradiance S of the day and the cosine μ of the solar zenith angle: GHI <= 1.5 S μ^1.2 + 100, DHI <= 0.95 S μ^1.2 +
    50, DNI <= S.
    """
    location = pvlib.location.Location(place.latitude_deg, place.longitude_deg, tz="UTC", altitude=place.altitude_m)
    index = pd.DatetimeIndex(times)
    zenith_deg = location.get_solarposition(index)["zenith"].to_numpy()
    extra = pvlib.irradiance.get_extra_radiation(index).to_numpy()
    risen = np.cos(np.radians(zenith_deg)).clip(min=0.0) ** 1.2
    return Limits(ghi=1.5 * extra * risen + 100.0, dni=extra, dhi=0.95 * extra * risen + 50.0)


def limits_of_any_day(count: int) -> Limits:
    """Limits of a typical day of ``count`` values, which has no date: those of the sun in the zenith at perihelion."""
    most = MAX_EXTRATERRESTRIAL_W_PER_M2
    return Limits(ghi=[1.5 * most + 100.0] * count, dni=[most] * count, dhi=[0.95 * most + 50.0] * count)


def beyond(values: Sequence[float], least: float, most: Sequence[float]) -> list[int]:
    """Places of the values that are outside their bounds."""
    given = np.asarray(values, dtype=float)
    return [int(place) for place in np.flatnonzero((given < least) | (given > np.asarray(most)))]
