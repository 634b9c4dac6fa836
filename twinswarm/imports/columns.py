"""Which columns of a table hold times and values."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError
from twinswarm.imports.clock import are_halves, looks_like_hours, looks_like_times
from twinswarm.imports.dates import HALF
from twinswarm.imports.interval_numbers import Numbers, are_numbers, holds_numbers
from twinswarm.imports.notes import Notes
from twinswarm.imports.numbers import looks_numeric
from twinswarm.imports.options import Kind, Options, Stamp
from twinswarm.imports.sheet import Sheet
from twinswarm.imports.table_unit import unit_column, unit_line
from twinswarm.imports.units import Unit, unit_in, unit_named, units_of

if TYPE_CHECKING:
    import pandas as pd

_START = re.compile(
    r"\b(von|from|ab|da|desde|d(é|e)but|anfang\w*|beginn?\w*|inizio|inicio|van|fra|fr(å|a)n|du|od|za(č|c)(á|a)tek|"
    r"kezdet\w*)\b|start|MTU",
    re.IGNORECASE,
)
_END = re.compile(
    r"\b(bis|end(ing)?|ende|endzeit\w*|enddatum|\w+ende|to|until|stop|fine?|finish|hasta|a|tot|till?|au|do|konec|"
    r"eind\w*|slut\w*|v(é|e)ge)\b",
    re.IGNORECASE,
)
_TIME_OF_DAY = re.compile(
    r"\b(uhr\w*|\w*zeit|von|bis|(\w*)time|hours?|stunde|ora|ore|hora|heure|da|a)\b", re.IGNORECASE
)
_DOTTED = re.compile(r"(?:[01]?\d|2[0-4])\.[0-5]\d(?:\.[0-5]\d)?(?: ?-.*)?")
_SPAN_END = rf"[\d:.]+(?: ?{HALF})?"
_NO_TIME = re.compile(r"\b(revision|export\w*|erstellt|created|updated)\b", re.IGNORECASE)
"""Of a row, not of what it measures."""
_NO_VALUE = re.compile(
    r"status|flag|qualit|sequence|z(ä|ae)hlpunkt|zählernr|meter ?id|\bpod\b|\bid\b|currency|area|ersatzwert|obis|"
    "nummer",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class TimeColumn:
    cells: "pd.Series"
    name: str
    stamp: Stamp | None
    """As far as the header says it."""
    columns: frozenset[str]
    """All columns that hold times, of which none is of values."""
    numbers: Numbers | None = None
    """Numbers of the intervals of the day, where ``cells`` are dates alone."""


def time_column(sheet: Sheet, options: Options, notes: Notes) -> TimeColumn:
    """The column of times, or a date and a time of day joined. Raises InputError with the list of columns."""
    names = sheet.columns
    if options.time_column is not None:
        chosen = [sheet.pick(one.strip(), "--time-column") for one in options.time_column.split("+")]
        if len(chosen) == 2 and are_numbers(sheet.cells[chosen[1]]):
            return _by_numbers(sheet, chosen[0], chosen[1], chosen)
        cells = sheet.cells[chosen[0]]
        for name in chosen[1:]:
            cells = cells + " " + sheet.cells[name]
        return TimeColumn(cells, " + ".join(chosen), _stamp(chosen[-1]), frozenset(chosen))
    dated = [name for name in names if looks_like_times(sheet.cells[name])]
    # 20240506 is a date, or what a counter of Wh shows.
    dated = [name for name in dated if not _names_unit(name, Kind.LOAD)] or dated
    if not dated:
        what = f"has no column of times that can be read; say --time-column; it has {sheet.listed()}"
        raise InputError.one(str(sheet.file.path), what, code=Code.MISSING)
    hours = [name for name in names if name not in dated and _holds_hours(sheet, name)]
    date = _only_date(sheet, dated, clock=not hours)
    if hours and not _has_clock(sheet, date):
        begins = [name for name in hours if _stamp(name) is not Stamp.END]
        hour = (begins or hours)[0]
        span = sheet.cells[hour].str.extract(rf"^({_SPAN_END})\s*-\s*{_SPAN_END}$")[0]
        clock, halves = with_half(sheet, hour, span.fillna(sheet.cells[hour]))
        notes.read.append(f"times are of the columns {' and '.join(map(repr, (date, hour, *halves)))}")
        stamp = Stamp.START if span.notna().all() or (len(hours) > 1 and begins) else _stamp(hour)
        name = " + ".join((date, hour, *halves))
        return TimeColumn(sheet.cells[date] + " " + clock, name, stamp, frozenset((*dated, *hours)))
    numbered = [name for name in names if name not in dated and holds_numbers(sheet.cells[name], name)]
    if len(numbered) == 1 and not _has_clock(sheet, date):
        notes.read.append(f"times are of the columns {date!r} and {numbered[0]!r}, intervals by their numbers")
        return _by_numbers(sheet, date, numbered[0], [*dated, *numbered])
    cells, halves = with_half(sheet, date, sheet.cells[date])
    notes.read.append(f"times are of the column {' and '.join(map(repr, (date, *halves)))}")
    # Begin and end side by side say what the begin is.
    ends = any(_stamp(name) is Stamp.END for name in dated)
    stamp = Stamp.START if ends and _stamp(date) is not Stamp.END else _stamp(date)
    return TimeColumn(cells, " + ".join((date, *halves)), stamp, frozenset(dated))


def with_half(sheet: Sheet, name: str, cells: "pd.Series") -> tuple["pd.Series", list[str]]:
    """Times of day with the AM or PM of the next column, and its name, where it holds nothing else."""
    after = sheet.columns[sheet.columns.index(name) + 1 :][:1]
    if not after or not are_halves(sheet.cells[after[0]]) or cells.str.contains(HALF, regex=True).any():
        return cells, []
    return (cells + " " + sheet.cells[after[0]]).str.strip(), after


def _by_numbers(sheet: Sheet, date: str, number: str, taken: Sequence[str]) -> TimeColumn:
    numbers = Numbers(sheet.cells[number])
    return TimeColumn(sheet.cells[date], f"{date} + {number}", Stamp.START, frozenset(taken), numbers)


def _only_date(sheet: Sheet, dated: Sequence[str], *, clock: bool) -> str:
    """Of several columns with dates the one of the begin. ``clock``: with a time of day, rather than without. Raises
    InputError where that cannot be known."""
    fits = [name for name in dated if _stamp(name) is not Stamp.END] or list(dated)
    for tells in (
        lambda name: _NO_TIME.search(_words(name)) is None,
        lambda name: sheet.cells[name].nunique() > 1,  # the day of an export is the same in all rows
        lambda name: _stamp(name) is Stamp.START,
        lambda name: _has_clock(sheet, name) is clock,
    ):
        fits = [name for name in fits if tells(name)] or fits
    if any((sheet.cells[name] != sheet.cells[fits[0]]).any() for name in fits[1:]):
        what = f"{len(fits)} columns of times may be meant; say --time-column NAME or NUMBER: {sheet.listed()}"
        raise InputError.one(str(sheet.file.path), what, code=Code.MISSING)
    return fits[0]


def _has_clock(sheet: Sheet, name: str) -> bool:
    return bool(sheet.cells[name].str.contains(r"\d[:h]\d{2}", regex=True).any())


def _holds_hours(sheet: Sheet, name: str) -> bool:
    """Whether a column is of times of day. 12.30 is one only where the header says so, else it is a number."""
    cells = sheet.cells[name]
    if looks_like_hours(cells):
        return True
    filled = cells[cells != ""]
    return (
        _TIME_OF_DAY.search(_words(name)) is not None
        and filled.nunique() > 1
        and bool(filled.str.fullmatch(_DOTTED).all())
    )


def _stamp(header: str) -> Stamp | None:
    words = _words(header)
    if _START.search(words):
        return Stamp.START
    return Stamp.END if _END.search(words) else None


def _words(header: str) -> str:
    """interval_endLocal as interval end Local."""
    return re.sub(r"_|(?<=[a-zäöü])(?=[A-ZÄÖÜ])", " ", header)


def value_column(sheet: Sheet, kind: Kind, taken: frozenset[str], options: Options, notes: Notes) -> tuple[str, Unit]:
    """The column of values and its unit. Raises InputError with the list of columns where there are several."""
    if options.column is not None:
        column = sheet.pick(options.column, "--column")
    else:
        column = _only_column(sheet, kind, taken, options)
        notes.read.append(f"values are of the column {column!r}")
    if options.unit is not None:
        return column, unit_named(options.unit, kind)
    unit = unit_in(column, kind) or _unit_below(sheet, column, kind)
    if unit is None and (above := unit_line(sheet, kind)) is not None:
        notes.read.append(f"the unit is {above[0].name}, by the line {above[1]!r} above the header")
        return column, above[0]
    if unit is None:
        what = f"its header {column!r} names no unit; say --unit: {', '.join(units_of(kind))}"
        raise InputError.one(f"{sheet.file.path}, column {column}", what, code=Code.MISSING)
    notes.read.append(f"the unit is {unit.name}")
    return column, unit


def _unit_below(sheet: Sheet, column: str, kind: Kind) -> Unit | None:
    """The unit that stands in a column of its own, or behind every number."""
    words = sheet.cells[column].str.extract(r"\d ?(kWh|kW|MWh|MW|Wh|W)$")[0].dropna()
    alone = len(words) and words.nunique() == 1 and kind not in {Kind.PRICE, Kind.CO2}
    behind = unit_in(words.iloc[0], kind) if alone else None
    return behind or unit_column(sheet, kind)


def _only_column(sheet: Sheet, kind: Kind, taken: frozenset[str], options: Options) -> str:
    numeric = [
        name
        for name in sheet.columns
        if name not in taken and not _NO_VALUE.search(name) and looks_numeric(sheet.cells[name])
    ]
    if not numeric:
        what = f"has no column of numbers beside its times; it has {sheet.listed()}"
        raise InputError.one(str(sheet.file.path), what, code=Code.EMPTY)
    named = [name for name in numeric if options.unit is None and _names_unit(name, kind)]
    candidates: Sequence[str] = named or numeric
    if len(candidates) > 1:
        filled = [name for name in candidates if _has_values(sheet, name)]
        candidates = filled if len(filled) == 1 else candidates
    if len(candidates) > 1:
        what = f"{len(candidates)} columns may be meant; say --column NAME or NUMBER: {sheet.listed()}"
        raise InputError.one(str(sheet.file.path), what, code=Code.MISSING)
    return candidates[0]


def _names_unit(header: str, kind: Kind) -> bool:
    try:
        return unit_in(header, kind) is not None
    except InputError:
        return True  # another currency: told when the column is chosen


def _has_values(sheet: Sheet, name: str) -> bool:
    """Whether a column holds more than blanks and zeros."""
    return bool(sheet.cells[name].str.contains("[1-9]", regex=True).any())
