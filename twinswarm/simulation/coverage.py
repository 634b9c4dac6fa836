"""Whether a site's profiles cover a run. Beyond their ends they would stand still, and a result would be of no day."""

from datetime import datetime

from schemas.errors import Code, Fault, InputError
from schemas.site import DayName, DayProfile, Site, TimeProfile


def check_profiles(site: Site, t0: datetime, t_end: datetime | None) -> None:
    """Raises InputError with every profile that the run needs and that does not cover it.

    ``t_end`` None: a run without an end, which no profile by time covers.
    """
    faults = []
    for name, users in _users(site).items():
        profile = site.profiles[name]
        if isinstance(profile, TimeProfile):
            what = _outside(profile, site, t0, t_end)
        else:
            what = _unknown_holidays(profile, site, t0, t_end)
        if what is not None:
            faults.append(Fault(f"profiles.{name}", f"{what}; needed by {', '.join(users)}", code=Code.RANGE))
    if faults:
        raise InputError(faults)


def _users(site: Site) -> dict[str, list[str]]:
    """By profile the fields that name it."""
    users: dict[str, list[str]] = {}
    for field, profile in site.profiles_used():
        users.setdefault(profile, []).append(field)
    return users


def _outside(profile: TimeProfile, site: Site, t0: datetime, t_end: datetime | None) -> str | None:
    if profile.start <= t0 and t_end is not None and t_end <= profile.end:
        return None

    def local(time: datetime) -> str:
        return time.astimezone(site.zone).strftime("%Y-%m-%d %H:%M")

    origin = f" ({profile.origin})" if profile.origin else ""
    span = f"holds values from {local(profile.start)} to {local(profile.end)}{origin}"
    if t_end is None and profile.start <= t0 < profile.end:
        return f"{span}, and the run, from {local(t0)}, has no end; give it a length with --for"
    until = "" if t_end is None else f" to {local(t_end)}"
    return f"{span}, and the run is from {local(t0)}{until}, local times of {site.location.time_zone}"


def _unknown_holidays(profile: DayProfile, site: Site, t0: datetime, t_end: datetime | None) -> str | None:
    if DayName.HOLIDAY not in profile.variants:
        return None
    years = {t0.astimezone(site.zone).year, (t_end or t0).astimezone(site.zone).year}
    known = {day.year for day in profile.holidays}
    if years <= known:
        return None
    return f"knows the holidays of {min(known)} to {max(known)}, and the run is in {max(years)}"
