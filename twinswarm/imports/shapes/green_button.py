"""Green Button: interval readings of the Energy Services Provider Interface (NAESB REQ.21, espi.xsd), XML.

An IntervalReading has a timePeriod with start (seconds since 1970, UTC) and duration, and a value; ReadingType has uom
(72: Wh, 38: W), powerOfTenMultiplier and flowDirection (1: to the customer, 19: from the customer).
"""

from datetime import UTC
from typing import Any

from schemas.errors import Code, InputError
from twinswarm.imports.imported import Imported
from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Kind
from twinswarm.imports.regular import on_grid, ordered, resampled, without_holes
from twinswarm.imports.shapes.shape import Shape, Wanted

_WH, _W = "72", "38"


def recognises(file: RawFile) -> bool:
    return "naesb.org/espi" in file.begin or "<IntervalBlock" in file.begin


def read(wanted: Wanted) -> Imported:
    """Raises InputError for what is no such file, or has several reading types."""
    import numpy as np

    root = _root(wanted.file)
    kinds = [element for element in root.iter() if _name(element) == "ReadingType"]
    uoms = {_text(kind, "uom") for kind in kinds}
    multipliers = {int(_text(kind, "powerOfTenMultiplier") or 0) for kind in kinds}
    if len(uoms) != 1 or len(multipliers) != 1 or not uoms <= {_WH, _W}:
        what = "needs one type of reading in Wh (uom 72) or W (uom 38)"
        raise wanted.file.refuse(what, f"uom {sorted(map(str, uoms))}", code=Code.INVALID)
    energy = uoms == {_WH}
    factor = 10.0 ** multipliers.pop() / 1000.0 * wanted.options.factor
    readings = [element for element in root.iter() if _name(element) == "IntervalReading"]
    try:
        rows = [
            (int(_text(one, "start") or ""), int(_text(one, "duration") or ""), float(_text(one, "value") or ""))
            for one in readings
        ]
    except ValueError as error:
        raise wanted.file.refuse(f"has a reading without start, duration or value: {error}") from None
    if not rows:
        raise wanted.file.refuse("has no IntervalReading", code=Code.EMPTY)
    durations = {duration for _, duration, _ in rows}
    where = str(wanted.file.path)
    if len(durations) != 1:
        raise InputError.one(where, "has readings of several durations", sorted(durations)[:5], code=Code.INVALID)
    span = durations.pop()
    wanted.notes.read.append(f"{len(rows)} readings of {span} s, {'Wh' if energy else 'W'} times {factor * 1000:g}")
    times, values = ordered(
        np.array([start for start, _, _ in rows]), np.array([value * factor for *_, value in rows]), where,
        wanted.options, wanted.notes,
    )  # fmt: skip
    by = wanted.home or UTC
    grid = on_grid(times, values, where, wanted.notes, energy=energy, span_s=span)
    grid = without_holes(grid, by, where, wanted.options, wanted.notes)
    if wanted.options.step_s is not None:
        grid = resampled(grid, wanted.options.step_s, by, wanted.notes)
    return Imported(wanted.kind, SHAPE.name, {wanted.kind.value: grid}, wanted.notes)


def _root(file: RawFile) -> Any:
    """Raises InputError for what is no XML, or has entities, of which a bomb is made."""
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        return fromstring(file.raw, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise file.refuse(f"is no XML that is read here: {type(error).__name__} {error}"[:300]) from None


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _text(element: Any, name: str) -> str | None:
    return next((one.text for one in element.iter() if _name(one) == name), None)


SHAPE = Shape(
    "green-button", "interval readings of Green Button, XML", frozenset({Kind.LOAD, Kind.PV}), read, recognises
)
