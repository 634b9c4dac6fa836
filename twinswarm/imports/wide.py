"""Tables with a row for each day and a column for each of its intervals, made into one row for each interval.

The heads of the columns are times of day, as in e-distribuzione's load curves (96 quarter-hours) and Terna's hours, or
numbers, as of Spanish distributors (``H1`` to ``H25``) and British suppliers (``HH1`` to ``HH48``).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError
from twinswarm.imports.clock import looks_like_hours, looks_like_times, read_clock
from twinswarm.imports.columns import TimeColumn
from twinswarm.imports.dates import HALF, foot_of
from twinswarm.imports.duplicates import FEW
from twinswarm.imports.interval_numbers import Numbers, heads_beside, holds_numbers, numbered_columns
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
_OWN = "cells of "
"""Before the names of columns that are the file's own."""
_NAMES = {1: "hours", 2: "half-hours", 4: "quarter-hours"}


@dataclass(frozen=True)
class Melted:
    """``sheet`` has a row for each filled cell, in the order of the days."""

    sheet: Sheet
    times: TimeColumn
    column: str
    """That of the values, named by the first head and the last one."""
    heads: tuple[str, ...]
    """The columns that were its intervals."""
    rows: "pd.Series"
    """Of which row of the table each value is."""


def melted(sheet: Sheet, options: Options, notes: Notes) -> Melted | None:
    """None: the table has no column for each interval of a day, or another of its columns is chosen.

    Raises InputError for rows without a date.
    """
    clocks = {name: found for name in sheet.columns if (found := _CLOCK.fullmatch(name)) is not None}
    if len(clocks) < LEAST:
        return _by_numbers(sheet, options, notes)
    if options.column is None:
        return _by_clock(sheet, clocks, options, notes)
    if sheet.pick(options.column, "--column") not in clocks:
        return None
    what = f"has no effect on a table with a column for each interval of a day, {_range(clocks)}; leave it away"
    raise InputError.one("--column", what, options.column, code=Code.CONFLICT)


def _by_clock(sheet: Sheet, clocks: Mapping[str, re.Match[str]], options: Options, notes: Notes) -> Melted:
    dates = _date_column(sheet, frozenset(clocks), options.time_column)
    texts = {name: _clock_text(found) for name, found in clocks.items()}
    first = next(iter(clocks))
    stamp = Stamp.START if clocks[first]["span"] or texts[first] == " 00:00" else Stamp.END
    notes.read.append(f"a row is a day, by {dates!r}, with {len(clocks)} columns for its intervals")
    table = _without_foot(sheet, dates, notes)
    days = table[dates].str.replace(r"[ T]+\d{1,2}:\d{2}.*$", "", regex=True)
    # A date that cannot be read is told by its row, before there is a row for each interval.
    read_clock(days, f"{sheet.file.path}, column {dates}", sheet.line, options, Notes())
    long, column = _long(sheet, table, dates, texts)
    times = days.loc[long["row"]].reset_index(drop=True) + long["head"]
    if stamp is Stamp.END:
        # The last interval ends at 00:00, which is that of the next day.
        midnight = times.str.endswith(" 00:00")
        times = times.where(~midnight, times.str.replace(" 00:00", " 24:00", regex=False))
    return _melted(sheet, long, column, TimeColumn(times, f"{dates} + heads", stamp, frozenset()), texts)


def _melted(sheet: Sheet, long: "pd.DataFrame", column: str, times: TimeColumn, heads: Iterable[str]) -> Melted:
    import pandas as pd

    numeric = pd.DataFrame({column: long["numeric"]})
    cells = long.drop(columns=["head", "row", "place", "where", "numeric"])
    own = replace(sheet, cells=cells.set_axis([name.removeprefix(_OWN) for name in cells], axis=1))
    return Melted(replace(own, numeric=numeric, places=long["where"]), times, column, tuple(heads), long["row"])


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
    if options.time_column is not None and "+" in options.time_column and options.time_column not in sheet.columns:
        return None
    dates = _date_column(sheet, frozenset(heads), options.time_column)
    if _has_time_of_day(sheet, dates, frozenset(heads)):
        return None
    own = Notes()
    table = _without_foot(sheet, dates, own)
    clock = read_clock(table[dates], f"{sheet.file.path}, column {dates}", sheet.line, options, Notes())
    if (clock.local_s % 86_400 != 0).any():
        return None
    if beside := heads_beside(sheet.columns, heads):
        what = (
            f"has {', '.join(map(repr, beside))} beside the columns {_range(heads)} of the intervals of a day; of "
            "which interval is it? Name all of them by their numbers, counted through, 1 to 25 where the clock changes"
        )
        raise InputError.one(str(sheet.file.path), what, code=Code.CONFLICT)
    notes.add(own)
    notes.read.append(f"a row is a day, by {dates!r}")
    notes.assumed.append(
        f"the columns {_range(heads)} are the {_NAMES[per_hour]} of the day (--column takes one of them alone)"
    )
    long, column = _long(sheet, table, dates, {name: str(number) for name, number in heads.items()})
    days = table[dates].loc[long["row"]].reset_index(drop=True)
    times = TimeColumn(days, f"{dates} + heads", Stamp.START, frozenset(), Numbers(long["head"], per_hour, len(heads)))
    return _melted(sheet, long, column, times, heads)


def _range(heads: Iterable[str]) -> str:
    first, *_, last = heads
    return f"{first!r} to {last!r}"


def _has_time_of_day(sheet: Sheet, dates: str, heads: frozenset[str]) -> bool:
    """Whether a column beside the heads says the time of day of several rows of a date, so that a row is no day."""
    others = [name for name in sheet.columns if name not in heads]
    return bool(sheet.cells[dates].duplicated().any()) and any(
        looks_like_hours(sheet.cells[name]) or holds_numbers(sheet.cells[name], name) for name in others
    )


def _without_foot(sheet: Sheet, dates: str, notes: Notes) -> "pd.DataFrame":
    table = sheet.cells
    return table.iloc[: len(table) - foot_of(table[dates], table, notes)]


def _long(sheet: Sheet, table: "pd.DataFrame", dates: str, heads: Mapping[str, str]) -> tuple["pd.DataFrame", str]:
    """A row for each filled cell, in the order of the days, and the name of its column of values.

    ``heads``: what the column of a name says of its interval, to be the column ``head``. Where a date is there several
    times, columns that may tell its rows apart are kept.
    """
    import pandas as pd

    first, *_, last = heads
    column = f"{first} to {last}"
    telling = [
        name
        for name in (table.columns if table[dates].duplicated().any() else ())
        if name not in heads and name != dates and 1 < table[name].nunique() <= FEW
    ]
    parts = [
        pd.DataFrame(
            {
                "head": head,
                _OWN + column: table[name],
                "row": table.index,
                "place": place,
                "where": [sheet.place(int(row), name) for row in table.index],
                "numeric": sheet.came_as_numbers(name).loc[table.index],
            }
            | {_OWN + other: table[other] for other in telling}
        )
        for place, (name, head) in enumerate(heads.items())
    ]
    long = pd.concat(parts).sort_values(["row", "place"], kind="stable")
    return long[long[_OWN + column] != ""].reset_index(drop=True), column


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
