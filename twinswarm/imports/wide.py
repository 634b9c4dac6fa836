"""Tables with a row for each day and a column for each of its intervals, made into one row for each interval.

So e-distribuzione's load curves (96 quarter-hours) and Terna's hours are written.
"""

import re
from dataclasses import dataclass

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
    """None: the table has no column for each interval of a day."""
    import pandas as pd

    clocks = {name: found for name in sheet.columns if (found := _CLOCK.fullmatch(name)) is not None}
    if len(clocks) < LEAST:
        return None
    dates = date_column or next(name for name in sheet.columns if name not in clocks and _dated(sheet, name))
    first = next(iter(clocks.values()))
    spans = first[3] is not None
    stamp = Stamp.START if spans or int(first[1]) * 60 + int(first[2]) == 0 else Stamp.END
    notes.read.append(f"a row is a day, by {dates!r}, with {len(clocks)} columns for its intervals")
    texts = {name: f" {int(found[1]):02d}:{found[2]}" for name, found in clocks.items()}
    table = sheet.cells[[dates, *clocks]].reset_index(drop=True)
    days = table[dates].str.extract(r"^(\S+)")[0]
    parts = [
        pd.DataFrame({TIME: days + text, VALUE: table[name], "row": table.index, "place": place})
        for place, (name, text) in enumerate(texts.items())
    ]
    long = pd.concat(parts).sort_values(["row", "place"], kind="stable")
    long = long[long[VALUE] != ""]
    if stamp is Stamp.END:
        # The last interval ends at 00:00, which is that of the next day.
        midnight = long[TIME].str.endswith(" 00:00")
        long[TIME] = long[TIME].where(~midnight, long[TIME].str.replace(" 00:00", " 24:00", regex=False))
    cells = long[[TIME, VALUE]].reset_index(drop=True)
    return Melted(Sheet(sheet.file, cells, sheet.line, sheet.separator), stamp)


def _dated(sheet: Sheet, name: str) -> bool:
    from twinswarm.imports.clock import looks_like_times

    return looks_like_times(sheet.cells[name])
