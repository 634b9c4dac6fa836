"""The order of a year: which site, which variants, which days; and what says that two orders are the same."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.metadata import version
from pathlib import Path
from zoneinfo import ZoneInfo

from schemas.cycle import Course
from schemas.errors import Code, Fault, InputError
from schemas.site import Charger, Site, TimeProfile, day_start, next_midnight
from twinswarm.simulation.coverage import check_profiles
from twinswarm.simulation.variants import Reference
from twinswarm.study.own_site import BESS, BOTH, CONTROLLED, NONE, SMART, V2G, variants_of

MOST_DAYS = 3660
NAMES = {"none": NONE, "smart": SMART, "bess": BESS, "v2g": V2G, "both": BOTH, "controlled": CONTROLLED}
"""Names of the variants for a command line, and those of `twinswarm.study.own_site`."""
_NEEDS = {
    SMART: "a controllable charger and a baseline without control of cars (--reference uncontrolled)",
    BESS: "a BESS",
    V2G: "a controllable charger with max_discharge_kw",
    BOTH: "a BESS and a controllable charger with max_discharge_kw",
    CONTROLLED: "a controllable heat pump, without BESS and V2G",
}
"""What each variant needs of the site."""
_ROOMS = ("schemas", "runtime", "twin_devices", "services", "twinswarm/simulation", "twinswarm/study", "twinswarm/year")
_LIBRARIES = ("highspy", "numpy", "power-grid-model", "pydantic", "tzdata")


@dataclass(frozen=True, slots=True)
class YearOrder:
    """What is to be lived through. ``variants`` by name, the one without storage first."""

    site: Site
    reference: Reference
    course: Course
    midnights: tuple[datetime, ...]
    """The bounds of its local days, UTC: one more than there are days."""
    variants: dict[str, Site]

    @property
    def days(self) -> int:
        return len(self.midnights) - 1

    def fingerprint(self) -> str:
        """Of all that the results depend on: sites, time, program and libraries."""
        digest = hashlib.sha256(source_digest().encode())
        for part in (
            self.reference.value,
            self.course.t0.isoformat(),
            self.course.t_end.isoformat(),
            # No day depends on the prices that `size` reckons with.
            *(f"{name}{site.model_dump_json(exclude={'economics'})}" for name, site in self.variants.items()),
        ):
            digest.update(part.encode() + b"\0")
        return digest.hexdigest()


@cache
def source_digest() -> str:
    """Of the program's own files and the versions of the libraries that numbers depend on."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for room in _ROOMS:
        for file in sorted((root / room).rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    for library in _LIBRARIES:
        digest.update(f"{library} {version(library)}".encode())
    return digest.hexdigest()


def year_order(
    site: Site, reference: Reference, first: date | None, days: int | None, names: str | None = None
) -> YearOrder:
    """``first`` None: 1 January of the year of the site's date. ``days`` None: to the same date of the next year.

    ``names``: variants such as ``none,bess,both``; None: all that the site can have. The one without storage is always
    among them. Raises InputError, with every profile that does not cover the time and when it ends.
    """
    return order_over(site, reference, first, days, _chosen(variants_of(site, reference), names))


def order_over(
    site: Site, reference: Reference, first: date | None, days: int | None, variants: dict[str, Site]
) -> YearOrder:
    """As `year_order`, of these variants. Raises InputError."""
    begin = first or site.date.replace(month=1, day=1)
    count = days if days is not None else (_a_year_later(begin) - begin).days
    if not 1 <= count <= MOST_DAYS:
        raise InputError.one("--days", f"from 1 to {MOST_DAYS} days are allowed", str(count), code=Code.RANGE)
    bounds = tuple(local_midnights(begin, count, site.zone))
    step = timedelta(seconds=site.time.step_s)
    for bound in bounds:
        if (bound - bounds[0]) % step:
            day = f"{bound.astimezone(site.zone):%Y-%m-%d}"
            what = f"local midnight of {day} is not on the grid of steps of {site.time.step_s} s"
            raise InputError.one("time.step_s", what, str(site.time.step_s), code=Code.RANGE)
    try:
        check_profiles(site, bounds[0], bounds[-1])
    except InputError as error:
        raise InputError([*error.faults, *_covered_days(site)]) from None
    return YearOrder(site, reference, Course(bounds[0], bounds[-1], site.time.step_s), bounds, variants)


def local_midnights(first: date, days: int, zone: ZoneInfo) -> Iterator[datetime]:
    """``days`` + 1 of them, UTC: local days have 23, 24 or 25 hours."""
    for shift in range(days + 1):
        day = first + timedelta(days=shift)
        yield datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def notes_on(order: YearOrder) -> list[str]:
    """What is only visible in the result: chargers without charging sessions for a part of the time."""
    zone, found = order.site.zone, []
    for name, device in order.site.devices.items():
        if not isinstance(device, Charger) or device.daily:
            continue
        if not device.sessions:
            found.append(f"{name} has no charging sessions.")
            continue
        first = min(session.arrival for session in device.sessions).astimezone(zone)
        last = max(session.departure for session in device.sessions).astimezone(zone)
        begins, ends = (order.course.t0.astimezone(zone), order.course.t_end.astimezone(zone))
        if first.date() > begins.date() + timedelta(days=7) or last.date() < ends.date() - timedelta(days=7):
            found.append(f"{name} has charging sessions from {first:%Y-%m-%d} to {last:%Y-%m-%d} only.")
    return found


def _a_year_later(day: date) -> date:
    try:
        return day.replace(year=day.year + 1)
    except ValueError:  # 29 February
        return date(day.year + 1, 3, 1)


def _chosen(variants: dict[str, Site], names: str | None) -> dict[str, Site]:
    if names is None:
        return variants
    known = {short: name for short, name in NAMES.items() if name in variants}
    asked = [name.strip() for name in names.split(",")]
    if unknown := [name for name in asked if name not in known]:
        needs = [f"; {name} needs {_NEEDS[NAMES[name]]}" for name in unknown if name in NAMES]
        what = f"this site has the variants {', '.join(known)}{''.join(needs)}"
        raise InputError.one("--variants", what, ", ".join(unknown), code=Code.UNKNOWN)
    wanted = {NONE, *(known[name] for name in asked)}
    return {name: site for name, site in variants.items() if name in wanted}


def _covered_days(site: Site) -> list[Fault]:
    """Which whole days could be lived through instead."""
    used = {name for _, name in site.profiles_used()}
    profiles = [p for name, p in site.profiles.items() if name in used and isinstance(p, TimeProfile)]
    if not profiles:
        return []
    begin = max(profile.begin for profile in profiles)
    end = min(profile.end for profile in profiles)
    first = begin if day_start(begin, site.zone) == begin else next_midnight(begin, site.zone)
    days = (end.astimezone(site.zone).date() - first.astimezone(site.zone).date()).days
    if days < 1:
        return [Fault("profiles", "no whole day is covered by all profiles by time", code=Code.RANGE)]
    what = "all profiles by time together cover {} whole days: --from {:%Y-%m-%d} --days {}"
    return [Fault("profiles", what.format(days, first.astimezone(site.zone), days), code=Code.RANGE)]
