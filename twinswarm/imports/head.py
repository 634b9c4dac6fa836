"""Where the header of a table is, and what its columns are called."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

_NUMBER = re.compile(r"\s*[-+]?[\d.,'\u00a0 ]*\d[\d.,]*\s*([eE][-+]?\d+)?\s*")
_TIME = r"\d{1,2}:\d{2}(:\d{2})?( ?[AaPp]\.?[Mm]\.?)?"
_CLOCK_TIME = re.compile(rf"\s*{_TIME}\s*-?\s*({_TIME})?\s*")
_MOST_CLOCK_TIMES = 20
_FOLLOW = 2
"""So many rows after the first one are looked at."""
_DATE = re.compile(r"\s*\d{1,4}[-./]\d{1,2}[-./]\d{1,4}|\s*\d{4}-\d{2}|\s*\d{8}[ T:]?\d{0,6}\s*$|\s*\d{1,2}:\d{2}")


def is_data(row: Sequence[str]) -> bool:
    """Whether a row has a date or a number and no more than a few words."""
    filled = [cell for cell in row if cell.strip()]
    dated = any(_DATE.match(cell) for cell in filled)
    numbers = sum(is_number(cell) for cell in filled)
    if sum(_CLOCK_TIME.fullmatch(cell) is not None for cell in filled) > _MOST_CLOCK_TIMES:
        return False  # a header of clock times
    if not dated and _are_counted(filled):
        return False  # a header of the numbers of intervals
    return bool(filled) and (dated or numbers == len(filled)) and (numbers > 0 or dated)


def _are_counted(cells: Sequence[str]) -> bool:
    """Whether cells are 0, 1, 2, … or 1, 2, 3, … to the end of a day."""
    if len(cells) <= _MOST_CLOCK_TIMES or cells[0].strip() not in {"0", "00", "1", "01"}:
        return False
    return all(cell.strip().zfill(3) == f"{n:03d}" for n, cell in enumerate(cells, int(cells[0])))


IsWide = Callable[[Sequence[str]], bool]
"""Whether a row has as many cells as one of a table."""


def header_above(rows: Sequence[Sequence[str]], data: int | None, is_wide: IsWide) -> int | None:
    """The row of the names: the last wide one above the data, or the one above it where that says the units.

    None: there is no wide row above the data.
    """
    above = [n for n, row in enumerate(rows[:data]) if is_wide(row) and filled(row)]
    if len(above) > 1 and above[-2] == above[-1] - 1 and has_units_below(rows, above[-2], data):
        return above[-2]
    return above[-1] if above else None


def first_of_data(rows: Sequence[Sequence[str]], is_wide: IsWide) -> int | None:
    """The first row of the data: those after it are data, too.

    A line above the header may look like data, such as that of a meter's number or a period, but what follows it does
    not.
    """
    full = [(n, row) for n, row in enumerate(rows) if filled(row)]
    data = [place for place, (_, row) in enumerate(full) if is_wide(row) and is_data(row)]
    followed = (place for place in data if all(is_data(row) for _, row in full[place + 1 :][:_FOLLOW]))
    return full[next(followed, data[0])][0] if data else None


def is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None


def has_units_below(rows: Sequence[Sequence[str]], names: int, data: int | None) -> bool:
    """Whether a line of units stands below the names: with fewer cells, and none above the times."""
    units = names + 1
    if data is None or names < 0 or units >= data or len(rows[units]) != len(rows[names]):
        return False
    dated = [place for place, cell in enumerate(rows[data][: len(rows[units])]) if _DATE.match(cell)]
    return (
        bool(dated) and not any(rows[units][n].strip() for n in dated) and 0 < filled(rows[units]) < filled(rows[names])
    )


def filled(row: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in row)


def with_units(names: Sequence[str], units: Sequence[str]) -> list[str]:
    return [f"{name} {unit}".strip() for name, unit in zip(names, units, strict=True)]


def names_of(header: Sequence[str], width: int) -> list[str]:
    """Names of all columns: empty ones by their number, those that stand there twice with it."""
    given = [" ".join(name.strip("\ufeff").split()) for name in header] + [""] * (width - len(header))
    counts = Counter(given)
    return [
        name if name and counts[name] == 1 else f"{name} #{n}" if name else f"column {n}"
        for n, name in enumerate(given, 1)
    ]
