"""The models of SunSpec as the SunSpec Alliance publishes them: the files that come with its package pysunspec2."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from services.sunspec.numbers import SunspecError


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a model's top group. ``offset``: registers from the model's identifier on."""

    name: str
    offset: int
    size: int
    type: str
    scale: str | int | None
    """The point of its scale factor, or that factor's power of ten."""
    units: str
    writable: bool
    values: tuple[int, ...]
    """Numbers that an enumeration has; empty: any."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A model: the points of its top group by name. ``size``: registers, identifier and length among them, without
    groups that repeat."""

    id: int
    label: str
    points: Mapping[str, Point]
    size: int


@cache
def definition(model: int) -> Definition:
    """Raises SunspecError for a model that is not published."""
    file = files("sunspec2").joinpath(f"models/json/model_{model}.json")
    if not file.is_file():
        raise SunspecError(f"model {model} is none of the published ones")
    group = json.loads(file.read_text("utf-8"))["group"]
    points: dict[str, Point] = {}
    size = 0
    for point in group["points"]:
        points[point["name"]] = _point(point, size)
        size += point["size"]
    return Definition(model, group.get("label", group["name"]), points, _size(group))


def _size(group: Mapping[str, Any]) -> int:
    fixed = [each for each in group.get("groups", ()) if "count" not in each]
    size: int = sum(point["size"] for point in group["points"])
    return size + sum(_size(each) for each in fixed)


def _point(point: Mapping[str, Any], offset: int) -> Point:
    symbols = point.get("symbols", ()) if point["type"].startswith("enum") else ()
    return Point(
        point["name"],
        offset,
        point["size"],
        point["type"],
        point.get("sf"),
        str(point.get("units", "")),
        point.get("access") == "RW",
        tuple(symbol["value"] for symbol in symbols),
    )
