"""References from a site file to CSV files beside it, in place of values."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.site.base import SitePart
from schemas.site.network import Node
from schemas.site.profile import DayName, IntervalLabel

FileName = Annotated[str, Field(min_length=1)]
"""Relative to the site file; gzipped if it ends in ``.gz``."""


class TableFile(SitePart):
    """How a table is written; without any of these it is comma-separated UTF-8 with a header in its first line."""

    file: FileName
    separator: Literal[",", ";", "\t", "|"] = ","
    decimal: Literal[".", ","] = "."
    encoding: Literal["utf-8", "latin-1", "cp1252", "utf-16"] = "utf-8"
    skip_lines: Annotated[int, Field(ge=0, le=1000)] = 0
    """Lines above the header."""

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.separator == self.decimal:
            raise ValueError("separator and decimal are both a comma")
        return self


class DayFile(TableFile):
    """A typical day: a column with its values from 00:00 on, by the local clock."""

    type: Literal["day"] = "day"
    column: FileName
    variants: dict[DayName, FileName] = Field(default_factory=dict)
    """Columns of other days: weekdays, weekend, holiday."""


class TimeFile(TableFile):
    """Values by time: a column of values, and one of equally spaced times with their zone."""

    type: Literal["time"] = "time"
    column: FileName
    time_column: FileName = "time"
    interval_label: IntervalLabel | None = None
    time_offset_s: Annotated[float, Field(ge=-86_400, le=86_400)] = 0.0
    """Seconds from a time in the file to the instant or the interval that its value is of. PVGIS states one for its
    typical years, in hours: *Irradiance Time Offset*."""


class SessionsFile(TableFile):
    """The stays of one charger: the rows whose ``charge_point`` is this one, columns named as a session's fields."""

    charge_point: FileName


class CablesFile(TableFile):
    """A table with a row a cable: columns named as the fields of `Cable`, `CableOfType` or `CableOfConductor`, empty
    cells where a row has none. Others are for the reader."""


class _CableRun(SitePart):
    """A cable by what is in it and how long it is.

    Resistance, reactance and ampacity follow (`sites.loader.conductors`).
    """

    from_node: Node
    to_node: Node
    length_m: Annotated[float, Field(gt=0, le=1e5)]
    parallel: Annotated[int, Field(ge=1, le=20)] = 1
    """Equal cables beside one another."""
    conductor_temp_c: Annotated[float, Field(ge=-20, le=90)] | None = None
    """At which the resistance is. None: what the insulation bears for good, PVC 70 °C and XLPE 90 °C."""
    x_ohm_per_km: Annotated[float, Field(ge=0, le=10)] = 0.08
    """Reactance of one cable, per phase. 0.08: IEC 60364-5-52, where nothing is known of it."""
    ampacity_a: Annotated[float, Field(gt=0, le=1e5)] | None = None
    """Ampacity of all parallel cables together. None: by IEC 60364-5-52, installation method E, not grouped."""
    r0_factor: Annotated[float, Field(gt=0, le=20)] = 4.0
    """As of `Cable`."""
    x0_factor: Annotated[float, Field(ge=0, le=20)] = 4.0
    """As of `Cable`."""


class CableOfType(_CableRun):
    """A cable by its designation."""

    type: Annotated[str, Field(min_length=1, max_length=40)]
    """Such as ``NAYY 4x150 SE`` or ``NYY-J 5x10``: NYY, NAYY, N2XY or NA2XY with four or five equal cores."""


class CableOfConductor(_CableRun):
    """A cable by material and cross-section."""

    material: Literal["copper", "aluminium"]
    mm2: Annotated[float, Field(gt=0, le=1000)]
    """Cross-section of each conductor."""
    insulation: Literal["pvc", "xlpe"] = "pvc"
