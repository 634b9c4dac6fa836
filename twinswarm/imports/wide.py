"""Tables with a row for each day and a column for each of its intervals, made into one row for each interval.

The heads of the columns are times of day, as in e-distribuzione's load curves (96 quarter-hours) and Terna's hours, or
numbers, as of Spanish distributors (``H1`` to ``H25``) and British suppliers (``HH1`` to ``HH48``).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError
from twinswarm.imports.clock import looks_like_times, read_clock
from twinswarm.imports.columns import TimeColumn
from twinswarm.imports.dates import HALF, foot_of
from twinswarm.imports.interval_numbers import Numbers, numbered_columns
from twinswarm.imports.notes import Notes
from twinswarm.imports.options import Options, Stamp
from twinswarm.imports.sheet import Sheet

if TYPE_CHECKING:
    import pandas as pd

LEAST = 23
"""Columns of a day of hours that begins summer time."""
_CLOCK = re.compile(
    rf"\D{{0,12}}?(?P<hour>\d{{1,2}})[:.](?P<minute>\d{{2}})(?:[:.]\d{{2}})?(?P<half> ?{HALF})?"
    rf"(?: ?(?P<span>[-\u2013]) ?\d{{1,2}}[:.]\d{{2}}(?:[:.]\d{{2}})?(?: ?{HALF})?)?(?: #\d+)?\D*"
)
TIME, NUMBER, VALUE = "time", "number", "value"
_NAMES = {1: "hours", 2: "half-hours", 4: "quarter-hours"}


@dataclass(frozen=True)
class Melted:
    sheet: Sheet
    """With the columns `TIME` and `VALUE`, and `NUMBER` where the heads are numbers; empty cells left out."""
    times: TimeColumn


def melted(sheet: Sheet, options: Options, notes: Notes) -> Melted | None:
    """None: the table has no column for each interval of a day. Raises InputError for rows without a date."""
    clocks = {name: found for name in sheet.columns if (found := _CLOCK.fullmatch(name)) is not None}
    return _by_clock(sheet, clocks, options, notes) if len(clocks) >= LEAST else _by_numbers(sheet, options, notes)


def _by_clock(sheet: Sheet, clocks: Mapping[str, re.Match[str]], options: Options, notes: Notes) -> Melted:
    dates = _date_column(sheet, frozenset(clocks), options.time_column)
    texts = {name: _clock_text(found) for name, found in clocks.items()}
    first = next(iter(clocks))
    stamp = Stamp.START if clocks[first]["span"] or texts[first] == " 00:00" else Stamp.END
    notes.read.append(f"a row is a day, by {dates!r}, with {len(clocks)} columns for its intervals")
    table = _without_foot(sheet, [dates, *clocks], notes)
    days = table[dates].str.replace(r"[ T]+\d{1,2}:\d{2}.*$", "", regex=True)
    # A date that cannot be read is told by its row, before there is a row for each interval.
    read_clock(days, f"{sheet.file.path}, column {dates}", sheet.line, options, Notes())
    long = _long(sheet, table, days, texts)
    times = long[TIME] + long[NUMBER]
    if stamp is Stamp.END:
        # The last interval ends at 00:00, which is that of the next day.
        midnight = times.str.endswith(" 00:00")
        times = times.where(~midnight, times.str.replace(" 00:00", " 24:00", regex=False))
    long[TIME] = times
    return Melted(_sheet(sheet, long, [TIME, VALUE]), TimeColumn(long[TIME], TIME, stamp, frozenset({TIME})))


def _clock_text(found: re.Match[str]) -> str:
    """Hour and minute of a head, with a blank before."""
    hour = int(found["hour"])
    if found["half"]:
        hour = hour % 12 + (12 if found["half"].strip()[0] in "Pp" else 0)
    return f" {hour:02d}:{found['minute']}"


def _by_numbers(sheet: Sheet, options: Options, notes: Notes) -> Melted | None:
    """None: no heads are such numbers, one of the columns is chosen, or the rows are no whole days."""
    found = numbered_columns(sheet.columns) if options.column is None else None
    if found is None:
        return None
    heads, per_hour = found
    dates = _date_column(sheet, frozenset(heads), options.time_column)
    own = Notes()
    table = _without_foot(sheet, [dates, *heads], own)
    clock = read_clock(table[dates], f"{sheet.file.path}, column {dates}", sheet.line, options, Notes())
    if (clock.local_s % 86_400 != 0).any():
        return None
    notes.add(own)
    first, *_, last = heads
    notes.read.append(f"a row is a day, by {dates!r}")
    notes.assumed.append(
        f"the columns {first!r} to {last!r} are the {_NAMES[per_hour]} of the day (--column takes one of them alone)"
    )
    long = _long(sheet, table, table[dates], {name: str(number) for name, number in heads.items()})
    numbers = Numbers(long[NUMBER], per_hour)
    times = TimeColumn(long[TIME], TIME, Stamp.START, frozenset({TIME, NUMBER}), numbers)
    return Melted(_sheet(sheet, long, [TIME, NUMBER, VALUE]), times)


def _without_foot(sheet: Sheet, columns: list[str], notes: Notes) -> "pd.DataFrame":
    table = sheet.cells[columns]
    return table.iloc[: len(table) - foot_of(table[columns[0]], table, notes)]


def _long(sheet: Sheet, table: "pd.DataFrame", days: "pd.Series", heads: Mapping[str, str]) -> "pd.DataFrame":
    """A row for each filled cell, in the order of the days. ``heads``: what the column of a name says of its interval,
    to be the column `NUMBER`."""
    import pandas as pd

    parts = [
        pd.DataFrame(
            {
                TIME: days,
                NUMBER: head,
                VALUE: table[name],
                "row": table.index,
                "place": place,
                "where": [sheet.place(int(row), name) for row in table.index],
                "numeric": sheet.came_as_numbers(name).loc[table.index],
            }
        )
        for place, (name, head) in enumerate(heads.items())
    ]
    long = pd.concat(parts).sort_values(["row", "place"], kind="stable")
    return long[long[VALUE] != ""].reset_index(drop=True)


def _sheet(sheet: Sheet, long: "pd.DataFrame", columns: list[str]) -> Sheet:
    import pandas as pd

    return replace(sheet, cells=long[columns], numeric=pd.DataFrame({VALUE: long["numeric"]}), places=long["where"])


def _date_column(sheet: Sheet, heads: frozenset[str], wanted: str | None) -> str:
    if wanted is not None:
        return sheet.pick(wanted, "--time-column")
    dated = [name for name in sheet.columns if name not in heads and looks_like_times(sheet.cells[name])]
    if len(dated) > 1:  # a number of the meter is the same in all rows
        dated = [name for name in dated if sheet.cells[name].nunique() > 1] or dated
    if len(dated) != 1:
        found = "no column of dates that can be read" if not dated else f"{len(dated)} columns of dates"
        what = f"has a column for each interval of a day, and {found}; say --time-column; it has {sheet.listed()}"
        raise InputError.one(str(sheet.file.path), what, code=Code.MISSING)
    return dated[0]
