"""A run: its identifier, its course through time, and how long a user may say it is."""

import re
import secrets
from datetime import UTC, date, datetime, time, timedelta

from schemas.cycle import Course
from schemas.errors import Code, InputError
from schemas.site import Site, next_midnight
from schemas.units import FIRST_DAY, LAST_DAY
from twinswarm.simulation.coverage import check_profiles

_DURATION = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>m|min|h|d)")
_UNIT_S = {"m": 60, "min": 60, "h": 3600, "d": 86_400}
MOST = timedelta(days=366)


def new_run_id(now: datetime) -> str:
    """Sorts by the time of the start: a later run is higher."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(2)}"


def parse_duration(text: str, where: str = "--for") -> timedelta:
    """``24h``, ``90min``, ``2d``. Raises InputError."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise InputError.one(where, "a duration is a number with its unit: 24h, 90min or 2d", text, code=Code.FORMAT)
    length = timedelta(seconds=float(match["count"]) * _UNIT_S[match["unit"]])
    if not timedelta(0) < length <= MOST:
        raise InputError.one(
            where, f"a run lasts more than nothing and at most {MOST.days} days", text, code=Code.RANGE
        )
    return length


def parse_date(text: str, where: str = "--date") -> date:
    """``2024-05-17``. Raises InputError."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InputError.one(where, "a date is written 2024-05-17", text, code=Code.FORMAT) from None
    if not FIRST_DAY <= day <= LAST_DAY:
        what = f"a day from {FIRST_DAY} to {LAST_DAY} is allowed"
        raise InputError.one(where, what, text, code=Code.RANGE)
    return day


def course_of(site: Site, day: date | None = None, length: timedelta | None = None) -> Course:
    """As `local_course`, within the site's profiles. Raises InputError for a run that they do not cover, too."""
    course = local_course(site, day, length)
    check_profiles(site, course.t0, course.t_end)
    return course


def local_course(site: Site, day: date | None = None, length: timedelta | None = None) -> Course:
    """From local midnight of ``day`` (the site's own when None) for ``length``; None: that local day.

    A local day has 23, 24 or 25 hours. Days of ``length`` are spans of 24 hours. Raises InputError when the run is not
    a whole number of steps.
    """
    chosen = day or site.date
    t0 = datetime(chosen.year, chosen.month, chosen.day, tzinfo=site.zone).astimezone(UTC)
    t_end = next_midnight(t0, site.zone) if length is None else t0 + length
    return Course(t0, t_end, site.time.step_s)


def local_instant(clock: time | str, midnight: datetime, site: Site, *, where: str) -> datetime:
    """``10:15`` on the local day that begins at ``midnight`` (UTC). Raises InputError unless it begins a step.

    An hour that the clocks leave out does not exist; of one that comes twice the first is meant.
    """
    text = clock if isinstance(clock, str) else clock.isoformat()
    if isinstance(clock, str):
        try:
            clock = datetime.strptime(clock, "%H:%M").time()
        except ValueError:
            raise InputError.one(where, "a local time is written 10:15", text, code=Code.FORMAT) from None
    local = datetime.combine(midnight.astimezone(site.zone).date(), clock, site.zone)
    at = local.astimezone(midnight.tzinfo)
    if at.astimezone(site.zone).time() != clock:
        raise InputError.one(where, f"this day has no such hour: clocks change in {site.zone}", text, code=Code.RANGE)
    if (at - midnight).total_seconds() % site.time.step_s:
        what = f"a step of {site.time.step_s} s is to begin then, counted from midnight"
        raise InputError.one(where, what, text, code=Code.RANGE)
    return at
