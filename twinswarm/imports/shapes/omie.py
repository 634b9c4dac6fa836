"""Day-ahead prices of OMIE, the market of Spain and Portugal: its files ``marginalpdbc_YYYYMMDD.1``, also several of
them one below the other.

``MARGINALPDBC;``, a line ``year;month;day;period;price of Portugal;price of Spain;`` for each period [€/MWh], and ``*``
(OMIE, "Modelo de ficheros para la distribución pública de información", 6.18). Periods are counted through the day of
Madrid: hours until 30 September 2025, 23 to 25 of them, quarter-hours since, 92 to 100.
"""

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from schemas.errors import Code, Fault, InputError, shorten
from twinswarm.imports.imported import Imported
from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Kind
from twinswarm.imports.shapes import table
from twinswarm.imports.shapes.shape import Shape, Wanted
from twinswarm.imports.sheet import Sheet, decoded

if TYPE_CHECKING:
    import pandas as pd

NAME = "omie"
_HEAD = "MARGINALPDBC"
_ROW = re.compile(r"(?P<date>\d{4};\d{1,2};\d{1,2});(?P<period>0*[1-9]\d{0,2});(?P<PT>-?[\d.,]*);(?P<ES>-?[\d.,]*);?")
_QUARTERS = "2025-10-01"
"""The first day of quarter-hours."""
_MOST_HOURS = 25
_AREAS = {"ES": "Spain", "PT": "Portugal"}


def recognises(file: RawFile) -> bool:
    return file.begin.startswith(f"{_HEAD};")


def read(wanted: Wanted) -> Imported:
    """Raises InputError for lines of another form, and where the prices of Spain and Portugal differ and neither is
    chosen."""
    rows = _rows(wanted)
    area = _area(rows, wanted)
    cells = rows[["date", "period", area]]
    wanted.notes.read.append(f"prices of {_AREAS[area]}, €/MWh, by periods of the day of Madrid")
    options = replace(
        wanted.options,
        time_column="date+period",
        column=area,
        unit="€/MWh",
        time_zone=wanted.options.time_zone or "Europe/Madrid",
    )
    return table.imported(Sheet(wanted.file, cells, 1, ";"), replace(wanted, options=options), NAME, sure=True)


def _rows(wanted: Wanted) -> "pd.DataFrame":
    """Date, period and both prices of the lines that have them, by the index of the line."""
    import pandas as pd

    text = decoded(wanted.file, wanted.options, wanted.notes)
    lines = pd.Series(text.splitlines(), dtype=str).str.strip()
    filled = lines[~lines.isin({"", "*", f"{_HEAD};", _HEAD})]
    rows = filled.str.extract(f"^{_ROW.pattern}$")
    wrong = filled[rows["date"].isna()]
    if len(wrong):
        what = "is not year;month;day;period;price of Portugal;price of Spain"
        raise InputError(
            Fault(f"{wanted.file.path}: row {int(str(index)) + 1}", what, shorten(line), code=Code.FORMAT)
            for index, line in wrong.head(3).items()
        )
    if rows.empty:
        raise wanted.file.refuse("has no prices", code=Code.EMPTY)
    rows["date"] = rows["date"].str.replace(";", "-")
    _check_complete(rows, wanted)
    return rows


def _check_complete(rows: "pd.DataFrame", wanted: Wanted) -> None:
    """Raises InputError for a first day of quarter-hours that is cut off, and would be taken for one of hours."""
    import pandas as pd

    days = pd.to_datetime(rows["date"], errors="coerce")  # what is no date is told later
    periods = rows["period"].astype(int)[days >= _QUARTERS].groupby(days).max()
    if len(periods) and periods.iloc[0] <= _MOST_HOURS:
        what = f"ends at period {periods.iloc[0]} of {periods.index[0]:%Y-%m-%d}, and days have quarter-hours since "
        what += f"{_QUARTERS}; is it cut off?"
        raise wanted.file.refuse(what, code=Code.EMPTY)


def _area(rows: "pd.DataFrame", wanted: Wanted) -> str:
    """ES or PT."""
    said = wanted.options.area
    if said is not None:
        if said.upper() not in _AREAS:
            raise InputError.one(
                "--area", f"the file has {', '.join(_AREAS)}; say one of them", said, code=Code.UNKNOWN
            )
        return said.upper()
    differ = rows.index[rows["ES"] != rows["PT"]]
    if len(differ):
        first = rows.loc[differ[0]]
        what = (
            f"the file has {' and '.join(_AREAS)}; say one of them: prices differ in {len(differ)} of {len(rows)} "
            f"periods, in row {int(differ[0]) + 1} they are {first['ES']} and {first['PT']} €/MWh"
        )
        raise InputError.one("--area", what, code=Code.MISSING)
    wanted.notes.read.append("the prices of Spain and Portugal are the same in all periods")
    return "ES"


SHAPE = Shape(NAME, "day-ahead prices of OMIE, marginalpdbc", frozenset({Kind.PRICE}), read, recognises)
