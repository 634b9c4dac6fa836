"""Tables of a site: columns of numbers and times, rows of fields; faults name file, line and column."""

import csv
import io
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from schemas.errors import Code, Fault, InputError, shorten
from sites.loader.bounded import MAX_TABLE_BYTES, read_unpacked
from sites.loader.moments import moment_of
from sites.loader.nearest import did_you_mean
from sites.loader.places import Finding, Path_, Place
from sites.loader.table_form import COMMA_NUMBER, SEPARATORS, encoding_of, form_of, said
from sites.written import TableFile

MOST_CELLS = 10
"""So many different faulty cells of a column are reported; the rest is counted."""
MAX_ROWS = 400_000
"""As many as a profile may have values."""
MAX_CELLS = 4_000_000
MAX_CELL_CHARACTERS = 1000


@dataclass(frozen=True)
class Table:
    """A file in memory: ``rows[i]`` stands in ``lines[i]`` of the file and has as many cells as ``columns``."""

    file: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    header_line: int = 1
    decimal: str = "."

    def place(self, row: int, column: str | None = None) -> Place:
        return Place(self.file, self.lines[row], 0, column)

    def header(self) -> Place:
        return Place(self.file, self.header_line)

    @cached_property
    def _position(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.columns)}

    def __contains__(self, column: str) -> bool:
        return column in self._position

    def missing(self, column: str) -> str:
        """The fault of a column that the table does not have."""
        return (
            f"{self.file.name} has no such column{did_you_mean(column, self.columns)}; it has {', '.join(self.columns)}"
        )

    def cells(self, column: str) -> list[str]:
        """Raises KeyError when there is no such column."""
        position = self._position[column]
        return [row[position] for row in self.rows]

    def number(self, cell: str) -> float | None:
        """A finite number; None if it is none."""
        return number(cell if self.decimal == "." else cell.replace(",", "."))

    def no_number(self, cell: str) -> str:
        """The fault of a cell that is no number."""
        if self.decimal == "." and COMMA_NUMBER.fullmatch(cell.strip()):
            return 'has a decimal comma; say decimal: "," beside file, and separator: ";" if that is the separator'
        if cell.strip() == "":
            return "is empty where a finite number is wanted"
        if self.decimal == "," and "." in cell:
            return 'is not a finite number with a decimal comma, as decimal: "," says'
        return "is not a finite number"

    def numbers(self, column: str, path: Path_) -> tuple[tuple[float, ...], list[Finding]]:
        """A column of finite numbers, or the cells that are none: ten different ones, then how many."""
        values, faulty = [], []
        for row, cell in enumerate(self.cells(column)):
            value = self.number(cell)
            if value is None:
                faulty.append((row, self.no_number(cell), cell))
            else:
                values.append(value)
        return tuple(values), self.counted(faulty, column, path)

    def times(self, column: str, path: Path_) -> tuple[datetime, int] | list[Finding]:
        """Start and step [s] of a column of equally spaced times, or every gap and disorder."""
        moments: list[datetime] = []
        faulty: list[tuple[int, str, str]] = []
        cells = self.cells(column)
        for row, cell in enumerate(cells):
            moment, what = moment_of(cell)
            if moment is None:
                faulty.append((row, what, cell))
            else:
                moments.append(moment)
        if faulty:
            return self.counted(faulty, column, path)
        if len(moments) < 2:
            what = f"column {column} needs two times at least, to know their step; there is {len(moments)}"
            return [Finding(path, what, None, Place(self.file))]
        step = moments[1] - moments[0]
        for row in range(1, len(moments)):
            before, now = moments[row - 1], moments[row]
            if now <= before:
                faulty.append((row, f"is not after {cells[row - 1]}", cells[row]))
            elif now - before != step:
                what = f"follows {cells[row - 1]} by {_seconds(now - before)} s where the step is {_seconds(step)} s"
                faulty.append((row, what, cells[row]))
        if step.total_seconds() % 1:
            faulty.append((1, "the step is not a whole number of seconds", cells[1]))
        if faulty:
            return self.counted(faulty, column, path)
        return moments[0], int(step.total_seconds())

    def counted(self, faulty: Sequence[tuple[int, str, str]], column: str | None, path: Path_) -> list[Finding]:
        """Faults of (row, what, cell): equal ones once with their number, ten at most, then how many there are."""
        first: dict[tuple[str, str], int] = {}
        counts: Counter[tuple[str, str]] = Counter()
        for row, what, cell in faulty:
            # How a column is written is one mistake, however many its cells.
            key = (what, "" if "decimal comma" in what or "with its zone" in what else cell)
            first.setdefault(key, row)
            counts[key] += 1
        cells = {row: cell for row, _, cell in faulty}
        found = []
        for key, row in list(first.items())[:MOST_CELLS]:
            more = f" [and {counts[key] - 1} more cells of this column]" if counts[key] > 1 else ""
            found.append(
                Finding(path, f"{key[0]}{more}", shorten(cells[row]), self.place(row, column), code=Code.FORMAT)
            )
        rest = sum(counts[key] for key in list(first)[MOST_CELLS:])
        if rest:
            found.append(Finding(path, f"and {rest} more such faults", None, Place(self.file)))
        return found


def _seconds(span: object) -> str:
    return f"{span.total_seconds():g}"  # type: ignore[attr-defined]


def number(cell: str) -> float | None:
    """A finite number written with a decimal point; None if it is none."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in cell else None


def read_csv(path: Path, form: TableFile) -> Table:
    """Reads a table with a header, gzipped if its name ends in ``.gz``.

    Raises InputError when it cannot be read, is too large, is empty, is not written as ``form`` says, or a row has not
    as many cells as the header. Where the file seems to be written otherwise in more than one way, the fault says all
    of them.
    """
    raw = read_unpacked(path, MAX_TABLE_BYTES)
    try:
        return _table(_decoded(raw, path, form), path, form)
    except InputError as error:
        if error.code is not Code.FORMAT:
            raise
        guess = form_of(raw)
        otherwise = {name for name in TableFile.model_fields if name in guess and guess[name] != getattr(form, name)}
        first, *rest = error.faults
        if all(f"{name}: " in first.what for name in otherwise):
            raise
        what = f"{first.what}; all in all the file seems to be written with {said(guess)}"
        raise InputError([replace(first, what=what), *rest]) from None


def _table(text: str, path: Path, form: TableFile) -> Table:
    """Raises InputError as `read_csv`."""
    # Line by line, so that a file of millions of rows is given up before it is in memory a second time.
    lines = itertools.islice(io.StringIO(text, newline=""), form.skip_lines, None)
    reader = csv.reader(lines, delimiter=form.separator, strict=True)
    numbered: list[tuple[int, list[str]]] = []
    cells = 0
    try:
        for row in reader:
            line = reader.line_num + form.skip_lines
            if not row:
                continue
            cells += len(row)
            if len(numbered) > MAX_ROWS or cells > MAX_CELLS:
                what = f"has more than {MAX_ROWS} rows or {MAX_CELLS} cells, the most that is read"
                raise InputError([Fault(f"{path}: line {line}", what, code=Code.RANGE)])
            if any(len(cell) > MAX_CELL_CHARACTERS for cell in row):
                what = f"has a cell of more than {MAX_CELL_CHARACTERS} characters"
                raise InputError([Fault(f"{path}: line {line}", what, code=Code.FORMAT)])
            numbered.append((line, row))
    except csv.Error as error:
        raise InputError.one(
            f"{path}: line {reader.line_num + form.skip_lines}", f"is not CSV: {error}", code=Code.FORMAT
        ) from None
    if len(numbered) < 2:
        what = f"needs a header and one row at least; it has {len(numbered)} such lines"
        raise InputError.one(
            str(path), f"{what} below the {form.skip_lines} skipped ones" if form.skip_lines else what, code=Code.EMPTY
        )
    header_line, header = numbered[0]
    columns = tuple(name.strip() for name in header)
    _check_separator(path, form, form.separator.join(header), header_line, columns)
    faults = [
        Fault(
            f"{path}: line {header_line}",
            f"{columns.count(name)} columns have this name",
            shorten(name),
            code=Code.DUPLICATE,
        )
        for name in dict.fromkeys(columns)
        if columns.count(name) > 1
    ]
    faults += _uneven(path, header_line, columns, numbered[1:])
    if faults:
        raise InputError(faults)
    return Table(
        file=path,
        columns=columns,
        rows=tuple(tuple(row) for _, row in numbered[1:]),
        lines=tuple(line for line, _ in numbered[1:]),
        header_line=header_line,
        decimal=form.decimal,
    )


def _decoded(raw: bytes, path: Path, form: TableFile) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") and form.encoding != "utf-16":
        raise InputError(
            [Fault(str(path), "is UTF-16 by its first two bytes; say encoding: utf-16 beside file", code=Code.FORMAT)]
        )
    try:
        text = raw.decode("utf-8-sig" if form.encoding == "utf-8" else form.encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        what = f"is not {form.encoding} text: byte 0x{raw[error.start]:02X} at byte {error.start}"
        other = encoding_of(raw)
        sign = raw[error.start : error.start + 1].decode(other, "replace")
        if form.encoding == "utf-8" and sign.isprintable() and sign != "\N{REPLACEMENT CHARACTER}":
            what += f", which is {sign!r} in {other}; say encoding: {other} beside file, or save it as UTF-8"
        elif other != form.encoding:
            what += f"; say encoding: {other} beside file"
        raise InputError([Fault(f"{path}: line {line}", what, code=Code.FORMAT)]) from None
    if "\0" in text[:10_000]:
        raise InputError(
            [
                Fault(
                    f"{path}: line {text[: text.index(chr(0))].count(chr(10)) + 1}",
                    "holds NUL bytes: it is no text, or UTF-16 without its mark; save it as UTF-8",
                    code=Code.FORMAT,
                )
            ]
        )
    return text


def _check_separator(path: Path, form: TableFile, line: str, number_: int, columns: Sequence[str]) -> None:
    """Raises InputError when another separator than the one said makes columns of the header."""
    if len(columns) > 1:
        return
    for sign, name in SEPARATORS.items():
        if sign != form.separator and sign in line:
            said = '"\\t"' if sign == "\t" else f'"{sign}"'
            what = (
                f"columns are separated by {name}, of which the header has {line.count(sign)}, and not by "
                f"{SEPARATORS[form.separator]}; say separator: {said} beside file"
            )
            raise InputError([Fault(f"{path}: line {number_}", what, shorten(line), code=Code.FORMAT)])


def _uneven(
    path: Path, header_line: int, columns: Sequence[str], rows: Iterable[tuple[int, Sequence[str]]]
) -> list[Fault]:
    """Rows of another number of cells than the header: equal numbers once, with how many rows there are."""
    by_count: dict[int, list[tuple[int, Sequence[str]]]] = {}
    total = 0
    for line, row in rows:
        total += 1
        if len(row) != len(columns):
            by_count.setdefault(len(row), []).append((line, row))
    faults = []
    for count, uneven in by_count.items():
        line, row = uneven[0]
        more = f" [and {len(uneven) - 1} more such rows]" if len(uneven) > 1 else ""
        what = f"has {count} cells where the header has {len(columns)}{more}"
        if len(uneven) == total and count > len(columns):
            what = f"has {count} cells, and so have all rows, where line {header_line} has {len(columns)}: "
            if any(number(cell) is not None for cell in row):
                what += "if commas are both separators and in numbers, write the numbers with points"
            else:
                what += f"if the header stands further down, say skip_lines: {header_line} beside file"
        faults.append(Fault(f"{path}: line {line}", what, shorten(list(row)), code=Code.FORMAT))
    return faults


def cells_of(table: Table, row: int) -> Mapping[str, str]:
    """The cells of a row by column, without blanks around them."""
    return {name: cell.strip() for name, cell in zip(table.columns, table.rows[row], strict=True)}
