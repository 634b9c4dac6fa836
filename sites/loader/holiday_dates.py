"""Public holidays of a site's country, for profiles with a variant for them. The library `holidays` is optional."""

from datetime import date

from schemas.errors import Code
from schemas.site import DayName, DayProfile, Location
from sites.loader.parts import Parts
from sites.loader.places import Finding, Path_

YEARS_BEFORE, YEARS_AFTER = 10, 30
"""Years around the site's date whose holidays a site knows. A run of another year is refused when it is composed."""


def add_holidays(parts: Parts) -> None:
    """Writes the dates into the profiles that need them, or adds to the faults of the parts."""
    profiles, location, day = parts.members("profiles"), parts.fields.get("location"), parts.fields.get("date")
    for name, profile in profiles.items():
        if not isinstance(profile, DayProfile) or DayName.HOLIDAY not in profile.variants or profile.holidays:
            continue
        if location is None or day is None:
            continue  # Their faults are known.
        found = _dates(location, day, ("profiles", name, "variants"))
        if isinstance(found, Finding):
            parts.faults.add(found)
        else:
            profiles[name] = profile.model_copy(update={"holidays": found})


def _dates(location: Location, day: date, path: Path_) -> tuple[date, ...] | Finding:
    if location.country is None:
        what = "has one for holidays, and location says no country; say there country: IT, and subdivision if need be"
        return Finding(path, what, code=Code.MISSING)
    try:
        import holidays
    except ImportError:
        what = "has one for holidays, and the library of their dates is missing: pip install holidays"
        return Finding(path, what, code=Code.NOT_INSTALLED)
    years = range(day.year - YEARS_BEFORE, day.year + YEARS_AFTER + 1)
    supported = holidays.list_supported_countries()
    if location.country not in supported:
        return Finding(
            ("location", "country"), "the library holidays knows none of this country", location.country,
            code=Code.UNKNOWN,
        )  # fmt: skip
    if location.subdivision is not None and location.subdivision not in supported[location.country]:
        there_are = ", ".join(supported[location.country]) or "none"
        what = f"is no subdivision of {location.country}; there are {there_are}"
        return Finding(("location", "subdivision"), what, location.subdivision, code=Code.UNKNOWN)
    return tuple(sorted(holidays.country_holidays(location.country, subdiv=location.subdivision, years=years)))
