"""Public holidays of a site's country, for profiles and prices that differ on them.

The library `holidays` is optional.
"""

from datetime import date
from typing import TypeVar

from schemas.errors import Code
from schemas.site import DayName, DayProfile, Location, Tariff
from sites.loader.parts import Parts
from sites.loader.places import Finding, Path_

_Dated = TypeVar("_Dated", DayProfile, Tariff)

YEARS_BEFORE, YEARS_AFTER = 10, 30
"""Years around the site's date whose holidays a site knows. A run of another year is refused when it is composed."""


def add_holidays(parts: Parts) -> None:
    """Writes the dates into the profiles and tariffs that need them, or adds to the faults of the parts."""
    profiles, cases = parts.members("profiles"), parts.members("cases")
    for name, profile in profiles.items():
        if isinstance(profile, DayProfile) and DayName.HOLIDAY in profile.variants and not profile.holidays:
            profiles[name] = _with_dates(parts, profile, ("profiles", name, "variants"))
    if "tariff" in parts.fields:
        parts.fields["tariff"] = _tariff_with_dates(parts, parts.fields["tariff"], ("tariff",))
    for label, case in cases.items():
        tariff = _tariff_with_dates(parts, case.tariff, ("cases", label, "tariff"))
        cases[label] = case.model_copy(update={"tariff": tariff})


def _tariff_with_dates(parts: Parts, tariff: Tariff, path: Path_) -> Tariff:
    wanting = next((field for field, rule in tariff.rules if rule.knows_holidays), None)
    return tariff if wanting is None or tariff.holidays else _with_dates(parts, tariff, (*path, wanting))


def _with_dates(parts: Parts, wanting: _Dated, path: Path_) -> _Dated:
    location, day = parts.fields.get("location"), parts.fields.get("date")
    if location is None or day is None:
        return wanting  # Their faults are known.
    found = _dates(location, day, path)
    if isinstance(found, Finding):
        parts.faults.add(found)
        return wanting
    return wanting.model_copy(update={"holidays": found})


def holidays_of(location: Location, day: date) -> tuple[date, ...] | str:
    """Public holidays of the years around a day, or why they are not known."""
    found = _dates(location, day, ())
    return found.what if isinstance(found, Finding) else found


def _dates(location: Location, day: date, path: Path_) -> tuple[date, ...] | Finding:
    if location.country is None:
        what = "differs on holidays, and location says no country; say there country: IT, and subdivision if need be"
        return Finding(path, what, code=Code.MISSING)
    try:
        import holidays
    except ImportError:
        what = "differs on holidays, and the library of their dates is missing: pip install holidays"
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
