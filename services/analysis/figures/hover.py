"""Values under the pointer: what the report's small script needs, as plain JSON."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Column:
    """Values of one name, one for each row of its table."""

    name: str
    unit: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that a pointer can point at."""

    labels: Sequence[str]
    """What each row is of: a settlement period, a day, a share of the time."""
    edges: Sequence[float]
    """Where the rows begin and end on the horizontal axis; of cells, the columns of the map."""
    cells: Sequence[int] = ()
    """Of a map of day and time of day, by row: its column times ``rows`` plus its place from below."""
    rows: int = 0
    """Places from below to the top of a map."""


@dataclass(frozen=True, slots=True)
class Area:
    """A drawing within a picture."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom as shares of the picture."""
    x: tuple[float, float]
    y: tuple[float, float]
    table: str
    columns: tuple[Column, ...]
    cells: bool
    """Whether it is a map of cells, else steps along the horizontal axis."""


def hover_data(areas: Iterable[Sequence[Area]], tables: Mapping[str, Table]) -> dict[str, Any]:
    """The areas of every picture, and each table with every column once, however many pictures show it."""
    used: dict[str, dict[str, Column]] = {}
    placed = []
    for of_picture in areas:
        placed.append([_placed(area) for area in of_picture])
        for area in of_picture:
            used.setdefault(area.table, {}).update({column.name: column for column in area.columns})
    return {
        "pictures": placed,
        "tables": {
            name: {
                "labels": list(tables[name].labels),
                "edges": [round(edge, _DIGITS) for edge in tables[name].edges],
                "cells": list(tables[name].cells),
                "rows": tables[name].rows,
                "columns": {
                    column.name: {"unit": column.unit, "values": [_short(value) for value in column.values]}
                    for column in columns.values()
                },
            }
            for name, columns in used.items()
        },
    }


def _placed(area: Area) -> dict[str, Any]:
    return {
        "box": [round(share, 5) for share in area.box],
        "x": [float(value) for value in area.x],
        "y": [float(value) for value in area.y],
        "table": area.table,
        "columns": [column.name for column in area.columns],
        "cells": area.cells,
    }


def _short(value: float | None) -> float | None:
    """Rounded for reading; a NaN is no JSON."""
    return None if value is None or math.isnan(value) else round(value, _DIGITS)
