"""The zone of a file's clock: by the option, by the header of a column of times, else that of the site."""

import re
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.errors import Code, InputError
from twinswarm.imports.clock import Clock
from twinswarm.imports.notes import Notes
from twinswarm.imports.options import Options

_NAMED = re.compile(r"(?<![A-Z])(?:UTC|GMT|Utc)(?![A-Za-z])|(?<![A-Za-z])(?:UTC(?=[A-Z][a-z])|(?:utc|gmt)(?![a-z]))")
"""A word of its own, or joined with others as in ``UTCTransactionStart``, ``startUtc`` or ``utc_start``."""
_STANDARD = re.compile(r"(?<![A-Za-z])MEZ(?![A-Za-z])")
"""German standard time by its name, which some write of local time; CET is that of markets, with summer time."""
_MOST_HOURS = 14
"""No clock is farther from UTC."""


def zone_said(clock: Clock, header: str, home: tzinfo | None, where: str, options: Options, notes: Notes) -> tzinfo:
    """The zone of the file's clock; ``home`` is the site's. Raises InputError where nothing says it."""
    if clock.zoned:
        notes.read.append("times carry their offset from UTC")
        return home or UTC
    if options.time_zone is not None:
        notes.read.append(f"times are of {options.time_zone}")
        return zone_of(options.time_zone)
    if (named := _zone_named(header)) is not None:
        notes.read.append(f"times are of {named}, by the header {header!r} (--time-zone)")
        return named
    if (standard := _STANDARD.search(header)) is not None and len(set(clock.local_s.tolist())) == len(clock.local_s):
        what = (
            f"its header says {standard[0]}: is that standard time all year (--time-zone UTC+01:00) or local time with "
            "summer time (--time-zone Europe/Berlin)?"
        )
        raise InputError.one(where, what, code=Code.CONFLICT)
    if home is None:
        what = "has local times; say of which zone: --time-zone Europe/Berlin, UTC or UTC+01:00, or --site SITE"
        raise InputError.one(where, what, code=Code.MISSING)
    notes.assumed.append(f"times are local ones of {home}, with its summer time (--time-zone)")
    return home


def _zone_named(header: str) -> tzinfo | None:
    """The zone that the header of a column of times names: ``Time (UTC)``, ``Date (GMT+1)``, ``MTU (CET/CEST)``."""
    if re.search(r"CET ?/ ?CEST|MEZ ?/ ?MESZ", header):
        return zone_of("CET")
    found = _NAMED.search(header)
    if found is None:
        return None
    offset = re.match(r" ?([+-]\d{1,2}(?::?\d{2})?)(?!\d)", header[found.end() :])
    return zone_of(offset[1]) if offset else UTC


def zone_named(name: str) -> ZoneInfo:
    """A zone of the IANA database, as a site has one. Raises InputError."""
    return _in_database(name, name, "is not in the IANA time zone database; a name such as Europe/Berlin is allowed")


def _in_database(name: str, said: str, otherwise: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError.one("--time-zone", otherwise, said, code=Code.UNKNOWN) from None


def zone_of(name: str) -> tzinfo:
    """A zone of the IANA database, ``UTC+01:00`` or ``+01:00``. Raises InputError."""
    fixed = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?", name)
    if fixed and int(fixed[2]) <= _MOST_HOURS and int(fixed[3] or 0) < 60:
        span = timedelta(hours=int(fixed[2]), minutes=int(fixed[3] or 0))
        return timezone(-span if fixed[1] == "-" else span)
    if name.upper() in {"UTC", "Z", "GMT"}:
        return UTC
    city = {"CET": "Europe/Berlin", "MEZ": "Europe/Berlin", "EET": "Europe/Athens"}.get(name, name)
    what = "is no time zone; a name such as Europe/Berlin, UTC, or an offset such as UTC+01:00 is allowed"
    return _in_database(city, name, what)
