"""A file as a table of text: delimited text or an Excel sheet, with its header found."""

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.errors import Code, InputError, shorten
from sites.loader.nearest import did_you_mean
from sites.loader.table_form import encoding_of
from twinswarm.imports import delimited
from twinswarm.imports.bounds import MAX_CELLS, MAX_COLUMNS, MAX_ROWS, SAMPLE_LINES
from twinswarm.imports.head import filled, first_of_data, has_units_below, header_above, names_of, with_units
from twinswarm.imports.notes import Notes
from twinswarm.imports.opening import BROKEN_ARCHIVE, RawFile
from twinswarm.imports.options import Options

if TYPE_CHECKING:
    import pandas as pd

_FIRST_ROWS = 40


@dataclass(frozen=True)
class Sheet:
    """``cells`` are text, without blanks around it; empty where there is none. ``line`` is that of the first row."""

    file: RawFile
    cells: "pd.DataFrame"
    line: int
    separator: str | None = None
    """None: a workbook."""
    numeric: "pd.DataFrame | None" = None
    """Of a workbook, which cells came as numbers, so that their decimal sign is a point."""
    places: "pd.Series | None" = None
    """Of a table that was made of another one, where each of its rows stood there."""
    above: tuple[str, ...] = ()
    """The lines above the header."""

    @property
    def columns(self) -> list[str]:
        return [str(name) for name in self.cells.columns]

    def listed(self) -> str:
        """The columns with their numbers, and a value of each."""
        first = [""] * len(self.columns) if self.cells.empty else self.cells.iloc[0].tolist()
        return ", ".join(f"{n} {name!r} ({shorten(first[n - 1], 24)})" for n, name in enumerate(self.columns[:40], 1))

    def pick(self, wanted: str, option: str) -> str:
        """The column of a name or number, or of a name above its unit. Raises InputError with the list of all."""
        if wanted in self.columns:
            return wanted
        folded = wanted.casefold()
        for fits in (
            [name for name in self.columns if name.casefold() == folded],
            [name for name in self.columns if folded and name.casefold().startswith(f"{folded} ")],
        ):
            if len(fits) == 1:
                return fits[0]
        if wanted.isdecimal() and 1 <= int(wanted) <= len(self.columns):
            return self.columns[int(wanted) - 1]
        what = f"{self.file.path.name} has no such column{did_you_mean(wanted, self.columns)}; it has {self.listed()}"
        raise InputError.one(option, what, wanted, code=Code.UNKNOWN)

    def came_as_numbers(self, column: str) -> "pd.Series":
        """Which cells of a column came as numbers."""
        import pandas as pd

        if self.numeric is None:
            return pd.Series(False, index=self.cells.index)
        return self.numeric.loc[self.cells.index, column]

    def place(self, index: int, column: str) -> str:
        """Where a cell stands in the file."""
        if self.places is not None:
            return str(self.places[index])
        return f"row {index + self.line}, column {column}"


def read_sheet(file: RawFile, options: Options, notes: Notes) -> Sheet:
    """Raises InputError for what is no table, or is larger than the bounds."""
    sheet = _from_workbook(file, options, notes) if file.workbook else _from_text(file, options, notes)
    if sheet.cells.size > MAX_CELLS or len(sheet.cells) > MAX_ROWS:
        raise file.refuse(
            f"has {len(sheet.cells)} rows of {len(sheet.columns)} cells; at most {MAX_ROWS} rows and {MAX_CELLS} cells "
            "are read",
            code=Code.RANGE,
        )
    if sheet.cells.empty:
        raise delimited.no_rows(file)
    return sheet


def decoded(file: RawFile, options: Options, notes: Notes) -> str:
    """The text of a file. Raises InputError where the encoding that was said does not fit."""
    encoding = options.encoding or encoding_of(file.raw)
    try:
        text = file.raw.decode("utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding)
    except UnicodeDecodeError as error:
        line = file.raw[: error.start].count(b"\n") + 1
        raise file.refuse(f"line {line} is not {encoding} text; say --encoding, such as cp1252 or utf-16") from None
    except (LookupError, ValueError):  # a codec that is none of texts, a NUL in the name
        raise InputError.one("--encoding", "is not known", encoding, code=Code.UNKNOWN) from None
    if "\0" in text[:100_000]:
        raise file.refuse("holds NUL bytes: it is no text, or UTF-16 without its mark; say --encoding utf-16-le")
    if options.encoding is None and encoding != "utf-8":
        notes.read.append(f"the text is {encoding}")
    return text


def _from_text(file: RawFile, options: Options, notes: Notes) -> Sheet:
    found = delimited.cells_of(file, decoded(file, options, notes), options, notes)
    return Sheet(file, _tidy(found.cells), found.line, found.separator, above=found.above)


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


def first_rows(file: RawFile) -> str:
    """The first rows of the first sheet as lines of cells with semicolons, to recognise a shape by."""
    _, rows = _rows(file, Options(), _FIRST_ROWS)
    return "\n".join(_line([_text(cell) for cell in row]) for row in rows)


def _from_workbook(file: RawFile, options: Options, notes: Notes) -> Sheet:
    """Raises InputError for what is no workbook, has no such sheet, or a sheet without rows."""
    import pandas as pd

    names, rows = _rows(file, options, None)
    name = _sheet_name(names, options)
    notes.read.append(f"sheet {name!r}" + (f" of {len(names)}: {', '.join(names)}" if len(names) > 1 else ""))
    if len(names) > 1 and options.sheet is None:
        notes.assumed.append(f"the first sheet, {name!r}, is the one that is wanted (--sheet)")
    if len(rows) > MAX_ROWS or any(len(row) > MAX_COLUMNS for row in rows[:10]):
        raise file.refuse(f"has more than {MAX_ROWS} rows or {MAX_COLUMNS} columns", code=Code.RANGE)
    texts = [[_text(cell) for cell in row] for row in rows]
    titles, last = _head(texts, options, notes)
    if not any(any(row) for row in texts[last + 1 :]):
        others = f"; say --sheet: {', '.join(names)}" if len(names) > 1 else ""
        raise file.refuse(f"the sheet {name!r} has no rows below a header{others}", code=Code.EMPTY)
    columns = pd.Index(names_of(titles, max(len(row) for row in texts)))
    numeric = [[isinstance(cell, int | float) for cell in row] for row in rows[last + 1 :]]
    return Sheet(
        file,
        _tidy(pd.DataFrame(texts[last + 1 :], columns=columns, dtype=str)),
        last + 2,
        numeric=pd.DataFrame(numeric, columns=columns, dtype=bool),
        above=tuple(_line(row) for row in texts[: max(last, 0)]),
    )


def _line(row: Sequence[str]) -> str:
    return ";".join(" ".join(cell.split()) for cell in row)


def _head(texts: Sequence[Sequence[str]], options: Options, notes: Notes) -> tuple[Sequence[str], int]:
    """The titles of the columns, and the index of the last row that belongs to them."""
    sample = texts[:SAMPLE_LINES]

    def is_wide(row: Sequence[str]) -> bool:
        return filled(row) >= 2

    data = first_of_data(sample, is_wide)
    header = header_above(sample, data, is_wide)
    if options.skip_lines is not None:
        header = min(options.skip_lines, len(texts) - 1)
    elif header is None:
        header = next((n for n, row in enumerate(texts) if filled(row)), -1)
    if header > 0:
        notes.read.append(f"the header is row {header + 1}")
    if has_units_below(sample, header, data):
        return with_units(sample[header], sample[header + 1]), header + 1
    return texts[header] if texts else (), header


def _rows(file: RawFile, options: Options, most: int | None) -> tuple[list[str], list[list[Any]]]:
    """The names of the sheets, and the rows of the one that is wanted."""
    from python_calamine import CalamineError, CalamineWorkbook

    _check_extent(file)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(file.raw))
        names = book.sheet_names
        if not names:
            raise file.refuse("is a workbook without sheets", code=Code.EMPTY)
        return names, book.get_sheet_by_name(_sheet_name(names, options)).to_python(skip_empty_area=False, nrows=most)
    except (CalamineError, OSError, ValueError) as error:
        raise _unreadable(file, error) from None


def _check_extent(file: RawFile) -> None:
    """Raises InputError where a cell lies so far off that the sheet around it would not fit into memory.

    The library makes room for every cell up to the last one.
    """
    if file.raw[:2] != b"PK":
        return
    try:
        with zipfile.ZipFile(io.BytesIO(file.raw)) as book:
            for name in book.namelist():
                if name.startswith("xl/worksheets/"):
                    _check_reach(file, name, book.read(name))
    except BROKEN_ARCHIVE as error:
        raise _unreadable(file, error) from None


def _check_reach(file: RawFile, name: str, content: bytes) -> None:
    rows = columns = 1
    for letters, digits in re.findall(rb'<c [^>]*?r="([A-Z]{1,3})(\d{1,7})"', content):
        rows = max(rows, int(digits))
        columns = max(columns, sum((letter - 64) * 26**n for n, letter in enumerate(reversed(letters))))
    if rows * columns > MAX_CELLS or columns > MAX_COLUMNS:
        what = f"{name} reaches to row {rows} and column {columns}; at most {MAX_CELLS} cells are read"
        raise file.refuse(what, code=Code.RANGE)


def _unreadable(file: RawFile, error: Exception) -> InputError:
    return file.refuse(f"cannot be read as an Excel workbook: {error}")


def _sheet_name(names: Sequence[str], options: Options) -> str:
    if options.sheet is None:
        return names[0]
    if options.sheet in names:
        return options.sheet
    if options.sheet.isdecimal() and 1 <= int(options.sheet) <= len(names):
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
        return repr(int(cell)) if cell.is_integer() and abs(cell) < 1e19 else repr(cell)
    return str(cell).strip()
