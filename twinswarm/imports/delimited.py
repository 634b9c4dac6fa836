"""Delimited text as rows of cells, with its header found."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError
from sites.loader.table_form import SEPARATORS
from twinswarm.imports.bounds import MAX_COLUMNS, MAX_ROWS, SAMPLE_LINES
from twinswarm.imports.head import (
    filled,
    first_of_data,
    has_units_below,
    header_above,
    is_data,
    is_number,
    names_of,
    with_units,
)
from twinswarm.imports.notes import Notes
from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Options

if TYPE_CHECKING:
    import pandas as pd

_MOST_LINES_ABOVE = 100
_MOST_LINES_OF_A_ROW = 5
_PAGE = re.compile(r"<(!doctype html|html|head|meta|style|table|\?xml)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Delimited:
    """The cells below the header, the line of the first row, and the lines above the header."""

    cells: "pd.DataFrame"
    line: int
    separator: str
    above: tuple[str, ...]


def cells_of(file: RawFile, text: str, options: Options, notes: Notes) -> Delimited:
    """Raises InputError for what is no delimited text, or has rows that do not fit its header."""
    if _PAGE.match(text.lstrip()):
        raise file.refuse("is a page of HTML or XML and no table; open it in a spreadsheet, and save it as CSV or xlsx")
    if text.count("\n") > MAX_ROWS + _MOST_LINES_ABOVE:
        raise file.refuse(
            f"has {text.count(chr(10))} lines; at most {MAX_ROWS} are read; thin it out, or split it by year",
            code=Code.RANGE,
        )
    lines = re.split(r"\r\n|\n|\r", text[: 2**20])[:SAMPLE_LINES]
    separator = _separator(file, lines, options)
    rows, ends = _rows(file, lines, separator)
    header, width = _header_line(rows, options)
    titles = rows[header] if header >= 0 else []
    below = rows[header + 1] if header + 1 < len(rows) else []
    if len(titles) < 2 and is_data(below):
        titles = []
    notes.read.append(
        f"columns are separated by {SEPARATORS.get(separator, repr(separator))}"
        + ("" if not header else f", the header is line {header + 1}" if titles else ", there is no header")
    )
    data = next((n for n, row in enumerate(rows) if n > header and is_data(row)), None)
    last = header
    if titles and has_units_below(rows, header, data):
        titles, last = with_units(titles, below), header + 1
    named = max((n for n, title in enumerate(titles, 1) if title.strip()), default=width)
    allowed = max(len(titles), named)
    # The parser cuts rows off that are wider than the first one it meets; they are to be refused instead.
    width = max(width, allowed, *(len(row) for row in rows[last + 1 :]))
    if width > MAX_COLUMNS:
        raise file.refuse(f"has {width} columns; at most {MAX_COLUMNS} are read", code=Code.RANGE)
    above = ends[last] if last >= 0 else 0
    cells = _cells_below(file, text, above, separator, width)
    if width > allowed:
        _check_beside(file, cells, named, above, separator)
    cells.columns = names_of(titles, width)
    head = lines[: ends[header - 1]] if header > 0 else []
    return Delimited(cells, above + 1, separator, tuple(head))


def _cells_below(file: RawFile, text: str, above: int, separator: str, width: int) -> "pd.DataFrame":
    """The cells below so many lines, a row for each line, so that a row is found again by its number."""
    import pandas as pd

    begin = 0
    for _ in range(above):
        begin = _next_line(text, begin)
    try:
        cells = pd.read_csv(
            io.StringIO(text[begin:]),
            sep=separator,
            header=None,
            names=range(width),
            index_col=False,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            skip_blank_lines=False,
            on_bad_lines="error",
            engine="c",
        )
    except pd.errors.EmptyDataError:
        raise no_rows(file) from None
    except pd.errors.ParserError as error:
        raise file.refuse(_readable(str(error), above, separator)) from None
    return cells


def _check_beside(file: RawFile, cells: "pd.DataFrame", named: int, above: int, separator: str) -> None:
    """Raises InputError where rows have more in them than the header has names: which value belongs to which?"""
    beside = cells.iloc[:, named:].fillna("").apply(lambda column: column.str.strip() != "")
    wrong = beside.any(axis=1)
    given = cells.loc[(cells.fillna("") != "").any(axis=1)]
    marks = given.iloc[:, named:].fillna("").apply(lambda column: column.str.fullmatch(r"[^\d.,]*[^\W\d_][^\d.,]*"))
    if marks.shape[1] == 1 and bool(marks.to_numpy().all()):
        return  # a column of marks, as of estimated values, that has no name
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        saw = named + max(n for n, found in enumerate(beside.iloc[row], 1) if found)
        raise file.refuse(_too_wide(above + row + 1, saw, named, separator))


def _too_wide(line: int, saw: int, named: int, separator: str) -> str:
    why = "; a decimal comma between commas that separate?" if separator == "," else ""
    return f"line {line} has {saw} cells where the header has {named}{why}"


def no_rows(file: RawFile) -> InputError:
    return file.refuse("has a header and no rows", code=Code.EMPTY)


def _readable(error: str, above: int, separator: str) -> str:
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", error)
    if found:
        wanted, line, saw = (int(one) for one in found.groups())
        return _too_wide(line + above, saw, wanted, separator)
    found = re.search(r"EOF inside string starting at row (\d+)", error)
    if found:
        return f"line {int(found[1]) + above + 1} begins a text with a quotation mark, which nothing ends"
    return f"is not delimited text: {error.removeprefix('Error tokenizing data. C error: ')}"


def _next_line(text: str, begin: int) -> int:
    match = re.compile(r"\r\n|\n|\r").search(text, begin)
    return len(text) if match is None else match.end()


def _separator(file: RawFile, lines: Sequence[str], options: Options) -> str:
    """The sign that divides most lines into equally many cells, in the order of how sure a sign is."""
    if options.separator is not None:
        return _said_separator(options.separator)
    # What stands between quotation marks divides nothing.
    full = [re.sub(r'"[^"]*"', '""', line) for line in lines if line.strip()]
    for sign in SEPARATORS:
        widths = Counter(line.count(sign) + 1 for line in full)
        width, often = widths.most_common(1)[0]
        if width >= 2 and often >= 0.6 * len(full):
            return sign
    # A short table below a long head: what divides the last lines.
    tail = full[-3:]
    for sign in SEPARATORS:
        if tail and all(sign in line for line in tail) and len({line.count(sign) for line in tail}) == 1:
            return sign
    first = next(line for line in lines if line.strip())
    what = f"has no columns: no line is divided by {', '.join(SEPARATORS.values())}; it begins {first[:60]!r}"
    if sum(is_number(line) for line in full) > 0.8 * len(full):
        what = f"{what}; values need their times beside them, in a column of their own"
    raise file.refuse(f"{what}; say --separator")


def _said_separator(said: str) -> str:
    sign = {"tab": "\t", "\\t": "\t"}.get(said, said)
    if len(sign) != 1 or not sign.isascii() or sign in '"\r\n\0':
        raise InputError.one("--separator", "one sign, or tab, is allowed", said, code=Code.INVALID)
    return sign


def _rows(file: RawFile, lines: Sequence[str], separator: str) -> tuple[list[list[str]], list[int]]:
    """Rows of cells, and how many lines there are to the end of each: a cell with a line break lies on several."""
    rows: list[list[str]] = []
    ends: list[int] = []
    while (place := ends[-1] if ends else 0) < len(lines):
        count = _lines_of_row(lines[place : place + _MOST_LINES_OF_A_ROW], separator)
        try:
            rows.append(_divided(lines[place : place + count], separator))
        except csv.Error as error:
            raise file.refuse(f"line {place + 1} cannot be divided into cells: {error}") from None
        ends.append(place + count)
    return rows, ends


def _divided(lines: Sequence[str], separator: str) -> list[str]:
    return next(csv.reader(["\n".join(lines)], delimiter=separator), [])


def _lines_of_row(lines: Sequence[str], separator: str) -> int:
    """Over how many lines the quotation marks of the first one reach; 1 where nothing ends them nearby, or they stand
    amid a text, as those of inches."""
    marks = 0
    for count, line in enumerate(lines, 1):
        marks += line.count('"')
        if marks % 2 == 0:
            try:
                _divided(lines[:count], separator)
            except csv.Error:
                return 1
            return count
    return 1


def _header_line(rows: Sequence[Sequence[str]], options: Options) -> tuple[int, int]:
    """Index of the header, and the width of the table: the last line above the data.

    Where there is none, the index is that of the line above the data, -1 at the top.
    """
    width = Counter(len(row) for row in rows if row).most_common(1)[0][0]
    if options.skip_lines is not None:
        header = min(options.skip_lines, len(rows) - 1)
        return (header - 1 if is_data(rows[header]) else header), max(width, len(rows[header]))

    def is_wide(row: Sequence[str]) -> bool:
        return len(row) >= min(width, 2)

    data = first_of_data(rows, is_wide)
    if data is None:
        first = next((n for n, row in enumerate(rows) if is_wide(row) and filled(row)), 0)
        return first, max(width, len(rows[first]))
    names = header_above(rows, data, is_wide)
    if names is None:
        return data - 1, width
    return names, max(width, len(rows[names]))
