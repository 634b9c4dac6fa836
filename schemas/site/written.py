"""What a site file may say in place of values: that they stand in a CSV file beside it."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.site.base import SitePart

FileName = Annotated[str, Field(min_length=1)]
"""Relative to the site file; gzipped if it ends in ``.gz``."""


class DayFile(SitePart):
    """A typical day: a column with its values from 00:00 on, by the local clock."""

    type: Literal["day"] = "day"
    file: FileName
    column: FileName


class TimeFile(SitePart):
    """Values by time: a column of values, and one of equally spaced times with their zone."""

    type: Literal["time"] = "time"
    file: FileName
    column: FileName
    time_column: FileName = "time"


class SessionsFile(SitePart):
    """The stays of one charger: the rows whose ``charge_point`` is this one, columns named as a session's fields."""

    file: FileName
    charge_point: FileName


class CablesFile(SitePart):
    """Columns ``from_node,to_node,r_mohm,x_mohm,ampacity_a``; others are for the reader."""

    file: FileName
