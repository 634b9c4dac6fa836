"""Available PV power over time from a site's source: a profile, a clear sky, or measured irradiance.

Used by the PV twin and, handed in by `services.swarm`, by the forecast service.
"""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache

from schemas.site import ClearSky, Irradiance, PowerProfile, PvSource, Site, day_start, next_midnight, profile_mean

PvPower = Callable[[datetime], float]
"""Available AC power [kW, a magnitude]: the mean of the step of the site (a quarter-hour) that contains an instant."""

_DAYS_KEPT = 3
_QUARTER_S = 900


def quarter_start(time: datetime, step_s: int) -> datetime:
    """Start of the step of ``step_s`` seconds (a divisor of an hour) that contains ``time``."""
    past_hour = timedelta(minutes=time.minute, seconds=time.second, microseconds=time.microsecond)
    return time - past_hour % timedelta(seconds=step_s)


def pv_power(site: Site, source: PvSource, rated_kw: float) -> PvPower:
    """Power that an inverter of ``rated_kw`` could deliver [kW]. pvlib is loaded only for sources that need it."""
    if isinstance(source, PowerProfile):
        available_kw = _from_profile(site, source, rated_kw)
    else:
        available_kw = _from_sky(site, source, rated_kw)
    return lru_cache(maxsize=1)(available_kw)  # a twin asks several times at each instant


def _from_profile(site: Site, source: PowerProfile, rated_kw: float) -> PvPower:
    profile, zone, step_s = site.profiles[source.profile], site.zone, site.time.step_s
    step = timedelta(seconds=step_s)

    def offered_kw(value: float) -> float:
        return min(max(value, 0.0), rated_kw)

    def available_kw(time: datetime) -> float:
        start = quarter_start(time, step_s)
        return profile_mean(profile, start, start + step, zone, offered_kw)

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
        start = quarter_start(time, step_s)
        powers = [power_kw(start + index * piece) for index in range(step_s // piece_s)]
        return math.fsum(powers) / len(powers)

    return available_kw


def _day(site: Site, source: ClearSky, rated_kw: float, day: datetime, piece: timedelta) -> list[float]:
    """A local day's pieces, each by the sun at its middle and the mean of what was measured in it."""
    from twin_devices.physics import pv

    starts = [day + i * piece for i in range((next_midnight(day, site.zone) - day) // piece)]
    middles = [start + piece / 2 for start in starts]
    place = pv.Place(site.location.latitude_deg, site.location.longitude_deg, site.location.altitude_m)
    plane = pv.Plane(source.tilt_deg, source.azimuth_deg)

    def means(profile: str) -> list[float]:
        return [profile_mean(site.profiles[profile], start, start + piece, site.zone) for start in starts]

    sky = (
        pv.measured_sky(place, middles, means(source.ghi_profile))
        if isinstance(source, Irradiance)
        else (pv.clear_sky(place, middles))
    )
    if isinstance(source, Irradiance) and source.temp_air_profile is not None:
        temp_air = means(source.temp_air_profile)
    else:
        temp_air = [source.temp_air_c] * len(starts)
    return pv.ac_power_kw(sky, plane, temp_air, source.peak_kw, source.system_losses_frac, rated_kw)
