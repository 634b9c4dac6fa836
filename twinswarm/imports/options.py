"""What may be said of a file. A field that is None is found out from the file, and then noted."""

import math
import re
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from schemas.errors import Code, InputError

_STEP_UNIT_S = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


class Kind(StrEnum):
    """What a file is imported as."""

    LOAD = "load"
    PV = "pv"
    PRICE = "price"
    CO2 = "co2"
    """Emissions of energy from the grid."""
    WEATHER = "weather"
    SESSIONS = "sessions"


class Stamp(StrEnum):
    """Which end of its interval a value's time is."""

    START = "start"
    END = "end"


class Reading(StrEnum):
    """What the numbers of an energy column are."""

    INTERVAL = "interval"
    """Energy of each interval."""
    COUNTER = "counter"
    """Readings of a register that grows."""


class Holes(StrEnum):
    """How missing values are filled."""

    AUTO = "auto"
    """Up to two hours on a straight line between their neighbours, longer ones as `WEEK`."""
    LINEAR = "linear"
    WEEK = "week"
    """As a week before at the same local time, else a week after, else a day before or after."""
    PREVIOUS = "previous"
    ZERO = "zero"
    ERROR = "error"


class Duplicates(StrEnum):
    """Which of different values of one time counts. Equal ones are one value."""

    ERROR = "error"
    FIRST = "first"
    LAST = "last"
    MEAN = "mean"
    SUM = "sum"


class MissingHour(StrEnum):
    """What becomes of times in the hour that the beginning of summer time leaves out."""

    ERROR = "error"
    DROP = "drop"


class DateOrder(StrEnum):
    DAY_FIRST = "dmy"
    MONTH_FIRST = "mdy"
    YEAR_FIRST = "ymd"
    """Of years without their century; others need no order."""


@dataclass(frozen=True)
class Options:
    """See ``twinswarm import --help``. Columns are named, or numbered from 1. Raises InputError for a factor of 0."""

    shape: str | None = None
    column: str | None = None
    time_column: str | None = None
    unit: str | None = None
    reading: Reading | None = None
    stamp: Stamp | None = None
    time_zone: str | None = None
    date_order: DateOrder | None = None
    missing_hour: MissingHour = MissingHour.ERROR
    holes: Holes = Holes.AUTO
    duplicates: Duplicates = Duplicates.ERROR
    step_s: int | None = None
    factor: float = 1.0
    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    skip_lines: int | None = None
    sheet: str | None = None
    year: int | None = None
    """Of typical years and standard profiles, which have none of their own."""
    annual_kwh: float | None = None
    """Energy of a year, of a standard profile."""
    area: str | None = None
    """Row group of a file with several: an ENTSO-E area, a meter."""
    capacity_kwh: float = 60.0
    target_soc_frac: float = 0.8
    soc_min_frac: float = 0.2
    charge_efficiency: float = 0.9

    def __post_init__(self) -> None:
        if self.factor == 0 or not math.isfinite(self.factor):
            what = "makes nothing of every value; a finite number other than 0 is allowed"
            raise InputError.one("--factor", what, self.factor, code=Code.RANGE)

    def said(self) -> dict[str, Any]:
        """Those that differ from their defaults."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}


def step_of(text: str) -> int:
    """The seconds of ``--step``: ``15min``, ``1h``, ``30s``. Raises InputError."""
    found = re.fullmatch(r"(\d+) ?(s|min|h|d)", text.strip().lower())
    seconds = int(found[1]) * _STEP_UNIT_S[found[2]] if found else 0
    if not 1 <= seconds <= 86_400:
        what = "a step is a whole number with its unit, such as 15min, 1h or 30s; 1 s to a day are allowed"
        raise InputError.one("--step", what, text, code=Code.FORMAT if found is None else Code.RANGE)
    return seconds
