"""CSV files of a site: columns of numbers and times, rows of fields; faults name file, line and column."""

import csv
import gzip
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from schemas.errors import Fault, InputError, shorten
from sites.loader.nearest import did_you_mean

MOST_CELLS = 10
"""So many faulty cells of a column are reported; the rest is counted."""


@dataclass(frozen=True)
class Table:
    """A CSV file in memory: ``rows[i]`` stands in ``lines[i]`` of the file and has as many cells as ``columns``."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def where(self, row: int, column: str) -> str:
        return f"{self.path}: line {self.lines[row]}, column {column}"

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.columns)}

    def cells(self, column: str) -> list[str]:
        """Raises InputError when there is no such column."""
        if column not in self._place:
            raise InputError.one(
                str(self.path),
                f"there is no such column{did_you_mean(column, self.columns)}; there are {', '.join(self.columns)}",
                column,
            )
        place = self._place[column]
        return [row[place] for row in self.rows]

    def numbers(self, column: str) -> tuple[float, ...]:
        """A column of finite numbers. Raises InputError naming the cells that are none: ten of them, then how many."""
        values, faults = [], []
        for row, cell in enumerate(self.cells(column)):
            value = number(cell)
            if value is None:
                faults.append(Fault(self.where(row, column), "is not a finite number", shorten(cell)))
            else:
                values.append(value)
        raise_some(faults, self.path)
        return tuple(values)

    def times(self, column: str) -> tuple[datetime, int]:
        """Start and step [s] of a column of equally spaced times. Raises InputError naming every gap and disorder."""
        moments, faults = [], []
        cells = self.cells(column)
        for row, cell in enumerate(cells):
            moment = _moment(cell)
            if moment is None:
                what = "is not a time with its zone, such as 2018-05-14T00:15:00+02:00 or 2018-05-13T22:15:00Z"
                faults.append(Fault(self.where(row, column), what, shorten(cell)))
            else:
                moments.append(moment)
        raise_some(faults, self.path)
        if len(moments) < 2:
            raise InputError.one(str(self.path), f"column {column} needs two times at least, to know their step")
        step = moments[1] - moments[0]
        for row in range(1, len(moments)):
            before, now = moments[row - 1], moments[row]
            if now <= before:
                faults.append(Fault(self.where(row, column), f"is not after {cells[row - 1]}", shorten(cells[row])))
            elif now - before != step:
                what = f"follows {cells[row - 1]} by {_seconds(now - before)} s where the step is {_seconds(step)} s"
                faults.append(Fault(self.where(row, column), what, shorten(cells[row])))
        if step.total_seconds() % 1:
            faults.append(Fault(self.where(1, column), "the step is not a whole number of seconds", shorten(cells[1])))
        raise_some(faults, self.path)
        return moments[0], int(step.total_seconds())


def _seconds(span: object) -> str:
    return f"{span.total_seconds():g}"  # type: ignore[attr-defined]


def number(cell: str) -> float | None:
    """A finite number written with a decimal point; None if it is none."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in cell else None


def _moment(cell: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(cell.strip())
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.astimezone(UTC)


def raise_some(faults: Sequence[Fault], path: Path) -> None:
    """Raises InputError with the first ten faults and the number of the others, if there are any."""
    if faults:
        more = len(faults) - MOST_CELLS
        rest = [Fault(str(path), f"and {more} more such faults")] if more > 0 else []
        raise InputError([*faults[:MOST_CELLS], *rest])


def read_csv(path: Path) -> Table:
    """Reads a comma-separated file with a header, gzipped if its name ends in ``.gz``.

    Raises InputError when it cannot be read, is empty, or a row has not as many cells as the header.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = raw.decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError.one(str(path), "is not a gzip file") from None
    except OSError as error:
        raise InputError.one(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError.one(str(path), f"is not UTF-8 text: {error.reason} at byte {error.start}") from None
    reader = csv.reader(text.splitlines(), strict=True)
    numbered: list[tuple[int, list[str]]] = []
    try:
        numbered.extend((reader.line_num, row) for row in reader if row)
    except csv.Error as error:
        raise InputError.one(f"{path}: line {reader.line_num}", f"is not CSV: {error}") from None
    if len(numbered) < 2:
        raise InputError.one(str(path), "needs a header and one row at least")
    columns = tuple(name.strip() for name in numbered[0][1])
    faults = [
        Fault(f"{path}: line {numbered[0][0]}", "two columns have this name", name)
        for name in dict.fromkeys(columns)
        if columns.count(name) > 1
    ]
    faults += [
        Fault(f"{path}: line {line}", f"has {len(row)} cells where the header has {len(columns)}", shorten(row))
        for line, row in numbered[1:]
        if len(row) != len(columns)
    ]
    raise_some(faults, path)
    return Table(
        path=path,
        columns=columns,
        rows=tuple(tuple(row) for _, row in numbered[1:]),
        lines=tuple(line for line, _ in numbered[1:]),
    )
