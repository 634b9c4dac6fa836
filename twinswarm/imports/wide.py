"""Tables with a row for each day and a column for each of its intervals, made into one row for each interval.

So e-distribuzione's load curves (96 quarter-hours) and Terna's hours are written.
"""

import re
from dataclasses import dataclass, replace

from schemas.errors import Code, InputError
from twinswarm.imports.clock import looks_like_times, read_clock
from twinswarm.imports.dates import foot_of
from twinswarm.imports.notes import Notes
from twinswarm.imports.options import Options, Stamp
from twinswarm.imports.sheet import Sheet

LEAST = 23
"""Columns of a day of hours that begins summer time."""
_CLOCK = re.compile(
    r"\D{0,12}?(\d{1,2})[:.](\d{2})(?:[:.]\d{2})?"
    r"(?: ?(?:-|\u2013) ?(\d{1,2})[:.](\d{2})(?:[:.]\d{2})?)?(?: #\d+)?\D*"
)
TIME, VALUE = "time", "value"


@dataclass(frozen=True)
class Melted:
    sheet: Sheet
    """With the columns `TIME` and `VALUE`, empty cells left out."""
    stamp: Stamp


def melted(sheet: Sheet, date_column: str | None, options: Options, notes: Notes) -> Melted | None:
    """None: the table has no column for each interval of a day. Raises InputError for rows without a date."""
    import pandas as pd

    clocks = {name: found for name in sheet.columns if (found := _CLOCK.fullmatch(name)) is not None}
    if len(clocks) < LEAST:
        return None
    dates = _date_column(sheet, frozenset(clocks), date_column)
    first = next(iter(clocks.values()))
    spans = first[3] is not None
    stamp = Stamp.START if spans or int(first[1]) * 60 + int(first[2]) == 0 else Stamp.END
    notes.read.append(f"a row is a day, by {dates!r}, with {len(clocks)} columns for its intervals")
    table = sheet.cells[[dates, *clocks]]
    table = table.iloc[: len(table) - foot_of(table[dates], table, notes)]
    days = table[dates].str.extract(r"^(\S+)")[0].fillna("")
    # A date that cannot be read is told by its row, before there is a row for each interval.
    read_clock(days, f"{sheet.file.path}, column {dates}", sheet.line, options, Notes())
    texts = {name: f" {int(found[1]):02d}:{found[2]}" for name, found in clocks.items()}
    parts = [
        pd.DataFrame(
            {
                TIME: days + text,
                VALUE: table[name],
                "row": table.index,
                "place": place,
                "where": [sheet.place(int(row), name) for row in table.index],
                "numeric": sheet.came_as_numbers(name).loc[table.index],
            }
        )
        for place, (name, text) in enumerate(texts.items())
    ]
    long = pd.concat(parts).sort_values(["row", "place"], kind="stable")
    long = long[long[VALUE] != ""].reset_index(drop=True)
    if stamp is Stamp.END:
        # The last interval ends at 00:00, which is that of the next day.
        midnight = long[TIME].str.endswith(" 00:00")
        long[TIME] = long[TIME].where(~midnight, long[TIME].str.replace(" 00:00", " 24:00", regex=False))
    numeric = pd.DataFrame({VALUE: long["numeric"]})
    return Melted(replace(sheet, cells=long[[TIME, VALUE]], numeric=numeric, places=long["where"]), stamp)


def _date_column(sheet: Sheet, clocks: frozenset[str], wanted: str | None) -> str:
    if wanted is not None:
        return sheet.pick(wanted, "--time-column")
    dated = [name for name in sheet.columns if name not in clocks and looks_like_times(sheet.cells[name])]
    if len(dated) > 1:  # a number of the meter is the same in all rows
        dated = [name for name in dated if sheet.cells[name].nunique() > 1] or dated
    if len(dated) != 1:
        found = "no column of dates that can be read" if not dated else f"{len(dated)} columns of dates"
        what = f"has a column for each interval of a day, and {found}; say --time-column; it has {sheet.listed()}"
        raise InputError.one(str(sheet.file.path), what, code=Code.MISSING)
    return dated[0]
