"""Tables that are wider than the console, in parts: no number is cut."""

import sys
from collections.abc import Iterator, Sequence
from copy import copy

from rich.console import Console
from rich.measure import Measurement, measure_renderables
from rich.table import Column, Table
from rich.text import TextType


def parts_of(table: Table, console: Console) -> Iterator[Table]:
    """The table itself if it fits. Otherwise tables with the columns that name its rows and as many of the others as
    fit, in their order; one that is too wide stands alone beside the names.

    Text is wrapped between words; a column of numbers (justified right, or not to be wrapped) keeps its width.
    """
    room = console.width if table.width is None else min(console.width, table.width)
    if room == (table.width or room) and _width(table, console) <= room:
        yield table
        return
    columns = [_narrow(column, console) for column in table.columns]
    names, others = columns[: (count := _naming(table))], columns[count:]
    begun, title = list[Column](), table.title
    for column in others:
        if begun and _width(_part(table, [*names, *begun, column]), console) > room:
            yield _filled(_part(table, [*names, *begun], title), room, console)
            begun, title = [], None
        begun.append(column)
    yield _filled(_part(table, [*names, *begun], title, table.caption), room, console)


def _naming(table: Table) -> int:
    """How many of the first columns it takes to tell the rows apart; no numbers among them."""
    for count in range(1, len(table.columns)):
        names = {tuple(map(str, cells)) for cells in zip(*(c.cells for c in table.columns[:count]), strict=True)}
        if len(names) == table.row_count or table.columns[count].justify == "right":
            return count
    return 1


def _narrow(column: Column, console: Console) -> Column:
    """As narrow as it may be, with the bounds of its width."""
    endless = console.options.update_width(sys.maxsize)
    whole = measure_renderables(console, endless, [column.header, *column.cells])
    least = whole.maximum if column.no_wrap or column.justify == "right" else whole.minimum
    if column.overflow == "fold":
        least = Measurement.get(console, endless, column.header).minimum
    narrow = copy(column)
    narrow.width, narrow.min_width, narrow.max_width = least, least, whole.maximum
    return narrow


def _part(
    table: Table, columns: Sequence[Column], title: TextType | None = None, caption: TextType | None = None
) -> Table:
    part = copy(table)
    part.columns = Table(*map(copy, columns)).columns
    part.width, part.title, part.caption = None, title, caption
    return part


def _filled(part: Table, room: int, console: Console) -> Table:
    """With its columns of text as wide as there is room for, the narrowest first."""
    for _ in range(room - _width(part, console)):
        narrow = [column for column in part.columns if (column.width or 0) < (column.max_width or 0)]
        if not narrow:
            break
        least = min(narrow, key=lambda column: column.width or 0)
        least.width = (least.width or 0) + 1
    part.width = _width(part, console)
    return part


def _width(table: Table, console: Console) -> int:
    """That it takes where there is no end of space."""
    return Measurement.get(console, console.options.update_width(sys.maxsize), table).maximum
