"""What may be said of a file. A field that is None is found out from the file, and then noted."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any


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


@dataclass(frozen=True)
class Options:
    """See ``twinswarm import --help``. Columns are named, or numbered from 1."""

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

    def said(self) -> dict[str, Any]:
        """Those that differ from their defaults."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}
