"""Whether a site's profiles cover a run, and whether its weather can be.

Beyond their ends profiles would stand still, and a result would be of no day.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.util import find_spec

from schemas.errors import Code, Fault, InputError
from schemas.site import DayName, DayProfile, Irradiance, Site, Tariff, TimeProfile
from twin_devices.weather import weather_faults


def check_profiles(site: Site, t0: datetime, t_end: datetime | None) -> None:
    """Raises InputError with every profile that the run needs and that does not cover it, and impossible weather.

    ``t_end`` None: a run without an end, which no profile by time covers.
    """
    faults = [
        *_profile_faults(site, _users(site), t0, t_end),
        *_tariff_faults(site, t0, t_end),
        *impossible_weather(site),
    ]
    if faults:
        raise InputError(faults)


def check_tariff(site: Site, t0: datetime, t_end: datetime) -> None:
    """As `check_profiles`, for prices alone."""
    used = {name: users for name, users in _users(site).items() if any(user.startswith("tariff.") for user in users)}
    faults = [*_profile_faults(site, used, t0, t_end), *_tariff_faults(site, t0, t_end)]
    if faults:
        raise InputError(faults)


def _profile_faults(site: Site, used: Mapping[str, list[str]], t0: datetime, t_end: datetime | None) -> Iterator[Fault]:
    for name, users in used.items():
        profile = site.profiles[name]
        if isinstance(profile, TimeProfile):
            what = _outside(profile, site, t0, t_end)
        else:
            what = _unknown_holidays(profile, site, t0, t_end) if DayName.HOLIDAY in profile.variants else None
        if what is not None:
            yield Fault(f"profiles.{name}", f"{what}; needed by {', '.join(users)}", code=Code.RANGE)


def _tariff_faults(site: Site, t0: datetime, t_end: datetime | None) -> Iterator[Fault]:
    if any(rule.knows_holidays for _, rule in site.tariff.rules):
        what = _unknown_holidays(site.tariff, site, t0, t_end)
        if what is not None:
            yield Fault("tariff", what, code=Code.RANGE)


def impossible_weather(site: Site) -> list[Fault]:
    """Values of a site's weather that cannot be, each profile's once.

    Without pvlib nothing is known of the sun. A process that computes PV power needs it, and says so.
    """
    if find_spec("pvlib") is None:
        return []
    weather = [source for source in site.pv_sources().values() if isinstance(source, Irradiance)]
    return list(dict.fromkeys(fault for source in weather for fault in weather_faults(site, source)))


def _users(site: Site) -> dict[str, list[str]]:
    """By profile the fields that name it."""
    users: dict[str, list[str]] = {}
    for field, profile in site.profiles_used():
        users.setdefault(profile, []).append(field)
    return users


def _outside(profile: TimeProfile, site: Site, t0: datetime, t_end: datetime | None) -> str | None:
    if profile.begin <= t0 and t_end is not None and t_end <= profile.end:
        return None

    def local(time: datetime) -> str:
        return time.astimezone(site.zone).strftime("%Y-%m-%d %H:%M")

    origin = f" ({profile.origin})" if profile.origin else ""
    span = f"holds values from {local(profile.begin)} to {local(profile.end)}{origin}"
    if t_end is None and profile.begin <= t0 < profile.end:
        return f"{span}, and the run, from {local(t0)}, has no end; give it a length with --for"
    until = "" if t_end is None else f" to {local(t_end)}"
    return f"{span}, and the run is from {local(t0)}{until}, local times of {site.location.time_zone}"


def _unknown_holidays(knowing: DayProfile | Tariff, site: Site, t0: datetime, t_end: datetime | None) -> str | None:
    years = {t0.astimezone(site.zone).year, (t_end or t0).astimezone(site.zone).year}
    known = {day.year for day in knowing.holidays}
    if years <= known:
        return None
    return f"knows the holidays of {min(known)} to {max(known)}, and the run is in {max(years)}"
