"""PV power from measured weather: by the sun at the instants, or in the middle of the intervals, of its values.

Power is constant within an interval of which the irradiance is a mean, and linear between instants. The mean of a step
follows from that, so the energy of a day does not depend on the site's steps.
"""

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from schemas.errors import Code, Fault, InputError
from schemas.site import (
    IntervalLabel,
    Irradiance,
    Profile,
    Site,
    TimeProfile,
    day_start,
    next_midnight,
    profile_mean,
)

if TYPE_CHECKING:
    from twin_devices.physics.pv import Place

Interval = tuple[datetime, datetime]
MeanPower = Callable[[datetime, datetime], float]
"""Mean available AC power [kW] within [start, end), which lies within one local day."""

_DAYS_KEPT = 3


def mean_power(site: Site, source: Irradiance, rated_kw: float) -> MeanPower:
    """Raises InputError for weather that cannot be, naming profile, row and value."""
    if faults := weather_faults(site, source):
        raise InputError(faults)
    day_of = _instants if _of_instants(site.profiles[source.ghi_profile]) else _intervals
    days: dict[datetime, MeanPower] = {}

    def mean_kw(start: datetime, end: datetime) -> float:
        day = day_start(start, site.zone)
        if day not in days:
            # pvlib costs about the same for one instant as for a day.
            days[day] = day_of(site, source, rated_kw, day, next_midnight(day, site.zone))
            while len(days) > _DAYS_KEPT:
                del days[next(iter(days))]
        return days[day](start, end)

    return mean_kw


def weather_faults(site: Site, source: Irradiance) -> list[Fault]:
    """Irradiance above what is physically possible at its time, and temperatures that no air has.

    One fault for each profile, of the first such row, with the number of the others.
    """
    from twin_devices.physics import plausible_weather

    found: list[Fault] = []
    ghi = site.profiles[source.ghi_profile]
    if isinstance(ghi, TimeProfile):
        limits = plausible_weather.limits(_place(site), _sun_times(ghi))
    else:
        limits = plausible_weather.limits_of_any_day(len(ghi.values))
    for name, limit, what in (
        (source.ghi_profile, limits.ghi, "global horizontal irradiance [W/m²]"),
        (source.dni_profile, limits.dni, "direct normal irradiance [W/m²], at most the extraterrestrial one,"),
        (source.dhi_profile, limits.dhi, "diffuse horizontal irradiance [W/m²]"),
    ):
        if name is not None:
            rows = plausible_weather.beyond(site.profiles[name].values, plausible_weather.LEAST_W_PER_M2, limit)
            found += _fault(site, name, what, rows, plausible_weather.LEAST_W_PER_M2, limit)
    if source.temp_air_profile is not None:
        values = site.profiles[source.temp_air_profile].values
        least, most = plausible_weather.TEMP_AIR_C
        rows = plausible_weather.beyond(values, least, [most] * len(values))
        found += _fault(site, source.temp_air_profile, "air temperature [°C]", rows, least, [most] * len(values))
    return found


def _fault(site: Site, name: str, what: str, rows: Sequence[int], least: float, most: Sequence[float]) -> list[Fault]:
    if not rows:
        return []
    profile, row = site.profiles[name], rows[0]
    if isinstance(profile, TimeProfile):
        label = (profile.start + timedelta(seconds=row * profile.step_s)).astimezone(site.zone)
        where = f"profiles.{name}: row {row + 1}, {label.isoformat()}{f' ({profile.origin})' if profile.origin else ''}"
    else:
        where = f"profiles.{name}: value {row + 1}"
    more = f" [and {len(rows) - 1} more rows]" if len(rows) > 1 else ""
    bounds = f"is not between {least:g} and {most[row]:.0f}, which is possible at that time and place"
    return [Fault(where, f"{what} {bounds}{more}", f"{profile.values[row]:g}", code=Code.RANGE)]


def _sun_times(profile: TimeProfile) -> list[datetime]:
    """The instant of every value, or the middle of its interval."""
    middle = 0.0 if _of_instants(profile) else profile.step_s / 2
    first = profile.first_interval + timedelta(seconds=middle)
    return [first + timedelta(seconds=index * profile.step_s) for index in range(len(profile.values))]


def _of_instants(profile: Profile) -> bool:
    return isinstance(profile, TimeProfile) and profile.interval_label is IntervalLabel.INSTANT


def _place(site: Site) -> "Place":
    from twin_devices.physics import pv

    return pv.Place(site.location.latitude_deg, site.location.longitude_deg, site.location.altitude_m)


def _power_kw(
    site: Site, source: Irradiance, rated_kw: float, times: Sequence[datetime], value: Callable[[str], list[float]]
) -> list[float]:
    """AC power by the sun at ``times``. ``value``: the values of a profile there."""
    from twin_devices.physics import pv

    place = _place(site)
    ghi = value(source.ghi_profile)
    if source.dni_profile is not None and source.dhi_profile is not None:
        sky = pv.sky_of(place, times, ghi, value(source.dni_profile), value(source.dhi_profile))
    else:
        sky = pv.measured_sky(place, times, ghi)
    if source.temp_air_profile is None:
        temp_air_c = [source.temp_air_c] * len(times)
    elif isinstance(air := site.profiles[source.temp_air_profile], TimeProfile) and _of_instants(air):
        temp_air_c = [_between(air, time) for time in times]
    else:
        temp_air_c = value(source.temp_air_profile)
    plane = pv.Plane(source.tilt_deg, source.azimuth_deg)
    return pv.ac_power_kw(sky, plane, temp_air_c, source.peak_kw, source.system_losses_frac, rated_kw)


def _between(profile: TimeProfile, time: datetime) -> float:
    """A value of instants, linear between them."""
    place = (time - profile.start) / timedelta(seconds=profile.step_s)
    index = min(max(math.floor(place), 0), len(profile.values) - 1)
    after = min(index + 1, len(profile.values) - 1)
    part = min(max(place - index, 0.0), 1.0)
    return profile.values[index] + part * (profile.values[after] - profile.values[index])


def _intervals(site: Site, source: Irradiance, rated_kw: float, day: datetime, end: datetime) -> MeanPower:
    intervals = _intervals_of(site, site.profiles[source.ghi_profile], day, end)

    def means(name: str) -> list[float]:
        return [profile_mean(site.profiles[name], begins, ends, site.zone) for begins, ends in intervals]

    middles = [begins + (ends - begins) / 2 for begins, ends in intervals]
    powers = _power_kw(site, source, rated_kw, middles, means)

    def mean_kw(start: datetime, until: datetime) -> float:
        pieces = [
            (power, (min(ends, until) - max(begins, start)).total_seconds())
            for (begins, ends), power in zip(intervals, powers, strict=True)
            if begins < until and ends > start
        ]
        if len(pieces) == 1:
            return pieces[0][0]
        return math.fsum(power * seconds for power, seconds in pieces) / math.fsum(seconds for _, seconds in pieces)

    return mean_kw


def _intervals_of(site: Site, profile: Profile, day: datetime, end: datetime) -> list[Interval]:
    """The whole intervals that touch a local day."""
    begins = day
    if isinstance(profile, TimeProfile):
        step = timedelta(seconds=profile.step_s)
        begins = profile.first_interval + (day - profile.first_interval) // step * step
    found = []
    while begins < end:
        ends = profile.next_change(begins, site.zone)
        found.append((begins, ends))
        begins = ends
    return found


def _instants(site: Site, source: Irradiance, rated_kw: float, day: datetime, end: datetime) -> MeanPower:
    profile = site.profiles[source.ghi_profile]
    assert isinstance(profile, TimeProfile)
    step, last = timedelta(seconds=profile.step_s), len(profile.values) - 1
    first = min(max((day - profile.start) // step, 0), last)
    final = min(max(-((profile.start - end) // step), 0), last)
    times = [profile.start + index * step for index in range(first, final + 1)]
    powers = _power_kw(
        site, source, rated_kw, times, lambda name: [site.profiles[name].at(time, site.zone) for time in times]
    )

    def power_kw(time: datetime) -> float:
        """Linear between the instants; before the first and after the last one as there."""
        place = (time - times[0]) / step
        index = min(max(math.floor(place), 0), len(times) - 1)
        after = min(index + 1, len(times) - 1)
        part = min(max(place - index, 0.0), 1.0)
        return powers[index] + part * (powers[after] - powers[index])

    def mean_kw(start: datetime, until: datetime) -> float:
        knots = [start, *(time for time in times if start < time < until), until]
        energy = math.fsum((power_kw(a) + power_kw(b)) / 2 * (b - a).total_seconds() for a, b in pairwise(knots))
        return energy / (until - start).total_seconds()

    return mean_kw
