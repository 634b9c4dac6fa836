"""A file as a table of text: delimited text or an Excel sheet, with its header found."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.errors import Code, InputError, shorten
from sites.loader.nearest import did_you_mean
from sites.loader.table_form import SEPARATORS, encoding_of
from twinswarm.imports.notes import Notes
from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Options

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 2_000_000
MAX_COLUMNS = 2_000
MAX_CELLS = 20_000_000
MOST_LINES_ABOVE = 100
_SAMPLE_LINES = 400
_NUMBER = re.compile(r"\s*[-+]?[\d.,'\u00a0 ]*\d[\d.,]*\s*([eE][-+]?\d+)?\s*")
_DATE = re.compile(r"\s*\d{1,4}[-./]\d{1,2}[-./]\d{1,4}|\s*\d{4}-\d{2}|\s*\d{8}[ T:]?\d{0,6}\s*$|\s*\d{1,2}:\d{2}")


@dataclass(frozen=True)
class Sheet:
    """``cells`` are text, without blanks around it; empty where there is none. ``line`` is that of the first row."""

    file: RawFile
    cells: "pd.DataFrame"
    line: int
    separator: str | None = None
    """None: cells came as numbers and times, so that their decimal sign is a point."""

    @property
    def columns(self) -> list[str]:
        return [str(name) for name in self.cells.columns]

    def listed(self) -> str:
        """The columns with their numbers, and a value of each."""
        first = self.cells.iloc[0]
        return ", ".join(
            f"{n} {name!r} ({shorten(first.iloc[n - 1], 24)})" for n, name in enumerate(self.columns[:40], 1)
        )

    def pick(self, wanted: str, option: str) -> str:
        """The column of a name or number. Raises InputError with the list of all."""
        if wanted in self.columns:
            return wanted
        folded = [name for name in self.columns if name.casefold() == wanted.casefold()]
        if len(folded) == 1:
            return folded[0]
        if wanted.isdigit() and 1 <= int(wanted) <= len(self.columns):
            return self.columns[int(wanted) - 1]
        what = f"{self.file.path.name} has no such column{did_you_mean(wanted, self.columns)}; it has {self.listed()}"
        raise InputError.one(option, what, wanted, code=Code.UNKNOWN)


def read_sheet(file: RawFile, options: Options, notes: Notes) -> Sheet:
    """Raises InputError for what is no table, or is larger than the bounds."""
    sheet = _from_workbook(file, options, notes) if file.workbook else _from_text(file, options, notes)
    if sheet.cells.size > MAX_CELLS or len(sheet.cells) > MAX_ROWS:
        raise file.refuse(
            f"has {len(sheet.cells)} rows of {len(sheet.columns)} cells; at most {MAX_ROWS} rows and {MAX_CELLS} cells "
            "are read",
            code=Code.RANGE,
        )
    return sheet


def decoded(file: RawFile, options: Options, notes: Notes) -> str:
    """The text of a file. Raises InputError where the encoding that was said does not fit."""
    encoding = options.encoding or encoding_of(file.raw)
    try:
        text = file.raw.decode("utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding)
    except LookupError:
        raise InputError.one("--encoding", "is not known", encoding, code=Code.UNKNOWN) from None
    except UnicodeDecodeError as error:
        line = file.raw[: error.start].count(b"\n") + 1
        raise file.refuse(f"line {line} is not {encoding} text; say --encoding, such as cp1252 or utf-16") from None
    if "\0" in text[:100_000]:
        raise file.refuse("holds NUL bytes: it is no text, or UTF-16 without its mark; say --encoding utf-16-le")
    if options.encoding is None and encoding != "utf-8":
        notes.read.append(f"the text is {encoding}")
    return text


def _from_text(file: RawFile, options: Options, notes: Notes) -> Sheet:
    import pandas as pd

    text = decoded(file, options, notes)
    if text.count("\n") > MAX_ROWS + MOST_LINES_ABOVE and text.count("\r") >= 0:
        raise file.refuse(
            f"has {text.count(chr(10))} lines; at most {MAX_ROWS} are read; thin it out, or split it by year",
            code=Code.RANGE,
        )
    lines = text[: 2**20].splitlines()[:_SAMPLE_LINES]
    separator = _separator(lines, options)
    if separator is None:
        what = f"has no columns: no line is divided by {', '.join(SEPARATORS.values())}; it begins {lines[0][:60]!r}"
        raise file.refuse(f"{what}; say --separator")
    header, width = _header_line(lines, separator, options)
    below = next(csv.reader([lines[header + 1]], delimiter=separator), []) if header + 1 < len(lines) else []
    titles = [] if header < 0 else next(csv.reader([lines[header]], delimiter=separator), [])
    if len(titles) < 2 and _is_data(below):
        titles = []
    notes.read.append(
        f"columns are separated by {SEPARATORS.get(separator, repr(separator))}"
        + ("" if not header else f", the header is line {header + 1}" if titles else ", there is no header")
    )
    names = _names(titles, width)
    if width > MAX_COLUMNS:
        raise file.refuse(f"has {width} columns; at most {MAX_COLUMNS} are read", code=Code.RANGE)
    begin = 0
    for _ in range(header + 1):
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
            skip_blank_lines=True,
            on_bad_lines="error",
            engine="c",
        )
    except pd.errors.EmptyDataError:
        raise file.refuse("has a header and no rows", code=Code.EMPTY) from None
    except pd.errors.ParserError as error:
        raise file.refuse(_readable(str(error), header + 1)) from None
    if cells.empty:
        raise file.refuse("has a header and no rows", code=Code.EMPTY)
    cells.columns = pd.Index(names)
    return Sheet(file, _tidy(cells), header + 2, separator)


def _readable(error: str, above: int) -> str:
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", error)
    if found:
        wanted, line, saw = (int(one) for one in found.groups())
        return f"line {line + above} has {saw} cells where the header has {wanted}"
    return f"is not delimited text: {error.removeprefix('Error tokenizing data. C error: ')}"


def _next_line(text: str, begin: int) -> int:
    match = re.compile(r"\r\n|\n|\r").search(text, begin)
    return len(text) if match is None else match.end()


def _separator(lines: Sequence[str], options: Options) -> str | None:
    """The sign that divides most lines into equally many cells, in the order of how sure a sign is."""
    if options.separator is not None:
        return {"tab": "\t", "\\t": "\t"}.get(options.separator, options.separator)
    # What stands between quotation marks divides nothing.
    filled = [re.sub(r'"[^"]*"', '""', line) for line in lines if line.strip()]
    for sign in SEPARATORS:
        widths = Counter(line.count(sign) + 1 for line in filled)
        width, often = widths.most_common(1)[0]
        if width >= 2 and often >= 0.6 * len(filled):
            return sign
    # A short table below a long head: what divides the last lines.
    tail = filled[-3:]
    for sign in SEPARATORS:
        if tail and all(sign in line for line in tail) and len({line.count(sign) for line in tail}) == 1:
            return sign
    return None


def _header_line(lines: Sequence[str], separator: str, options: Options) -> tuple[int, int]:
    """Index of the header, and the width of the table: the last line above the data.

    Where there is none, the index is that of the line above the data, -1 at the top.
    """
    rows = [next(csv.reader([line], delimiter=separator), []) for line in lines]
    width = Counter(len(row) for row in rows if row).most_common(1)[0][0]
    if options.skip_lines is not None:
        header = min(options.skip_lines, len(rows) - 1)
        return (header - 1 if _is_data(rows[header]) else header), max(width, len(rows[header]))
    data = next((n for n, row in enumerate(rows) if len(row) >= min(width, 2) and _is_data(row)), None)
    above = [n for n, row in enumerate(rows[:data]) if len(row) >= min(width, 2) and any(cell.strip() for cell in row)]
    if data is not None and not above:
        return data - 1, width
    header = 0 if not above else above[0] if data is None else above[-1]
    # A line of units below the names: the names come first, if they are as many.
    if len(above) > 1 and above[-2] == header - 1 and len(rows[above[-2]]) == len(rows[header]):
        empty = sum(not cell.strip() for cell in rows[header])
        if empty > sum(not cell.strip() for cell in rows[above[-2]]):
            header = above[-2]
    return header, max(width, len(rows[header]))


def _is_data(row: Sequence[str]) -> bool:
    """Whether a row has a date or a number and no more than a few words."""
    filled = [cell for cell in row if cell.strip()]
    dated = any(_DATE.match(cell) for cell in filled)
    numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in filled)
    times = sum(bool(re.fullmatch(r"\s*\d{1,2}:\d{2}\s*-?\s*(\d{1,2}:\d{2})?\s*", cell)) for cell in filled)
    if times > 20:  # a header of clock times
        return False
    return bool(filled) and (dated or numbers == len(filled)) and (numbers > 0 or dated)


def _names(header: Sequence[str], width: int) -> list[str]:
    """Names of all columns: empty ones by their number, those that stand there twice with it."""
    given = [name.strip().strip("\ufeff") for name in header] + [""] * (width - len(header))
    counts = Counter(given)
    return [
        name if name and counts[name] == 1 else f"{name} #{n}" if name else f"column {n}"
        for n, name in enumerate(given, 1)
    ]


def _tidy(cells: "pd.DataFrame") -> "pd.DataFrame":
    """Without blanks around cells, without rows and columns that are empty."""
    cells = cells.fillna("")
    for place in range(cells.shape[1]):
        column = cells.iloc[:, place]
        cells.isetitem(place, column.str.strip().str.replace("\u00a0", " ", regex=False))
    filled = (cells != "").any(axis=1)
    named = [
        not str(name).startswith("column ") or bool((cells.iloc[:, n] != "").any())
        for n, name in enumerate(cells.columns)
    ]
    return cells.loc[filled, named] if not all(named) else cells.loc[filled]


def _from_workbook(file: RawFile, options: Options, notes: Notes) -> Sheet:
    import pandas as pd
    from python_calamine import CalamineError, CalamineWorkbook

    _check_extent(file)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(file.raw))
        names = book.sheet_names
        name = _sheet_name(names, options)
        rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    except (CalamineError, OSError, ValueError) as error:
        raise file.refuse(f"cannot be read as an Excel workbook: {error}") from None
    notes.read.append(f"sheet {name!r}" + (f" of {len(names)}: {', '.join(names)}" if len(names) > 1 else ""))
    if len(names) > 1 and options.sheet is None:
        notes.assumed.append(f"the first sheet, {name!r}, is the one that is wanted (--sheet)")
    if len(rows) > MAX_ROWS or any(len(row) > MAX_COLUMNS for row in rows[:10]):
        raise file.refuse(f"has more than {MAX_ROWS} rows or {MAX_COLUMNS} columns", code=Code.RANGE)
    texts = [[_text(cell) for cell in row] for row in rows]
    filled = [n for n, row in enumerate(texts) if any(row)]
    if len(filled) < 2:
        raise file.refuse(f"the sheet {name!r} has no rows below a header", code=Code.EMPTY)
    sample = texts[:_SAMPLE_LINES]
    data = next((n for n, row in enumerate(sample) if sum(map(bool, row)) >= 2 and _is_data(row)), None)
    above = [n for n in filled if (data is None or n < data) and sum(map(bool, texts[n])) >= 2]
    header = options.skip_lines if options.skip_lines is not None else above[-1] if above else filled[0]
    if header:
        notes.read.append(f"the header is row {header + 1}")
    width = max(len(row) for row in texts)
    cells = pd.DataFrame(texts[header + 1 :], columns=pd.Index(_names(texts[header], width)), dtype=str)
    return Sheet(file, _tidy(cells), header + 2)


def _check_extent(file: RawFile) -> None:
    """Raises InputError where a cell lies so far off that the sheet around it would not fit into memory.

    The library makes room for every cell up to the last one.
    """
    import zipfile

    if file.raw[:2] != b"PK":
        return
    with zipfile.ZipFile(io.BytesIO(file.raw)) as book:
        for name in book.namelist():
            if not name.startswith("xl/worksheets/"):
                continue
            rows = columns = 1
            for letters, digits in re.findall(rb'<c [^>]*?r="([A-Z]{1,3})(\d{1,7})"', book.read(name)):
                rows = max(rows, int(digits))
                columns = max(columns, sum((letter - 64) * 26**n for n, letter in enumerate(reversed(letters))))
            if rows * columns > MAX_CELLS or columns > MAX_COLUMNS:
                what = f"{name} reaches to row {rows} and column {columns}; at most {MAX_CELLS} cells are read"
                raise file.refuse(what, code=Code.RANGE)


def _sheet_name(names: Sequence[str], options: Options) -> str:
    if options.sheet is None:
        return names[0]
    if options.sheet in names:
        return options.sheet
    if options.sheet.isdigit() and 1 <= int(options.sheet) <= len(names):
        return names[int(options.sheet) - 1]
    raise InputError.one(
        "--sheet", f"there is no such sheet; there are {', '.join(names)}", options.sheet, code=Code.UNKNOWN
    )


def _text(cell: Any) -> str:
    """A cell of a workbook as text; a time is rounded to the second, which its number of days hardly meets."""
    from datetime import date, datetime, time, timedelta

    if isinstance(cell, datetime):
        return (cell + timedelta(microseconds=500_000)).replace(microsecond=0).isoformat(" ")
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        minutes = round(cell.total_seconds() / 60)
        return f"{minutes // 60:02d}:{minutes % 60:02d}"
    if isinstance(cell, float):
        return repr(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    return str(cell).strip()
