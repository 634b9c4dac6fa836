"""Available PV power over time from a site's source: a profile, a clear sky, or measured irradiance.

Used by the PV twin and, handed in by `services.swarm`, by the forecast service.
"""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache

from schemas.site import (
    ClearSky,
    Irradiance,
    PowerProfile,
    PvSource,
    Site,
    day_start,
    next_midnight,
    profile_mean,
    step_start,
)
from twin_devices.weather import mean_power

PvPower = Callable[[datetime], float]
"""Available AC power [kW, a magnitude]: the mean of the step of the site (a quarter-hour) that contains an instant."""

_DAYS_KEPT = 3
_QUARTER_S = 900


def pv_power(site: Site, source: PvSource, rated_kw: float) -> PvPower:
    """Power that an inverter of ``rated_kw`` could deliver [kW]. pvlib is loaded only for sources that need it.

    Raises InputError for weather that cannot be.
    """
    if isinstance(source, PowerProfile):
        available_kw = _from_profile(site, source, rated_kw)
    elif isinstance(source, Irradiance):
        available_kw = _from_weather(site, source, rated_kw)
    else:
        available_kw = _from_sky(site, source, rated_kw)
    return lru_cache(maxsize=1)(available_kw)  # a twin asks several times at each instant


def _from_profile(site: Site, source: PowerProfile, rated_kw: float) -> PvPower:
    profile, zone = site.profiles[source.profile], site.zone
    step = timedelta(seconds=site.time.step_s)

    def offered_kw(value: float) -> float:
        return min(max(value, 0.0), rated_kw)

    def available_kw(time: datetime) -> float:
        start = step_start(time, step, zone)
        return profile_mean(profile, start, start + step, zone, offered_kw)

    return available_kw


def _from_weather(site: Site, source: Irradiance, rated_kw: float) -> PvPower:
    mean_kw, step = mean_power(site, source, rated_kw), timedelta(seconds=site.time.step_s)

    def available_kw(time: datetime) -> float:
        start = step_start(time, step, site.zone)
        return mean_kw(start, start + step)

    return available_kw


def _from_sky(site: Site, source: ClearSky, rated_kw: float) -> PvPower:
    """By the sun at the middle of each step; a step longer than a quarter-hour has the mean of several such."""
    days: dict[datetime, list[float]] = {}
    step_s = site.time.step_s
    piece_s = math.gcd(step_s, _QUARTER_S)
    piece = timedelta(seconds=piece_s)

    def power_kw(time: datetime) -> float:
        day = day_start(time, site.zone)
        values = days.get(day)
        if values is None:
            # pvlib costs about the same for one instant as for a day.
            values = days[day] = _day(site, source, rated_kw, day, piece)
            while len(days) > _DAYS_KEPT:
                del days[next(iter(days))]
        return values[(time - day) // piece]

    def available_kw(time: datetime) -> float:
        start = step_start(time, timedelta(seconds=step_s), site.zone)
        powers = [power_kw(start + index * piece) for index in range(step_s // piece_s)]
        return math.fsum(powers) / len(powers)

    return available_kw


def _day(site: Site, source: ClearSky, rated_kw: float, day: datetime, piece: timedelta) -> list[float]:
    """A local day's pieces, each by the sun at its middle."""
    from twin_devices.physics import pv

    starts = [day + i * piece for i in range((next_midnight(day, site.zone) - day) // piece)]
    place = pv.Place(site.location.latitude_deg, site.location.longitude_deg, site.location.altitude_m)
    plane = pv.Plane(source.tilt_deg, source.azimuth_deg)
    sky = pv.clear_sky(place, [start + piece / 2 for start in starts])
    temp_air_c = [source.temp_air_c] * len(starts)
    return pv.ac_power_kw(sky, plane, temp_air_c, source.peak_kw, source.system_losses_frac, rated_kw)
