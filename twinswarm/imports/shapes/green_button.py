"""Green Button: interval readings of the Energy Services Provider Interface (NAESB REQ.21, espi.xsd), XML.

An IntervalReading has a timePeriod with start (seconds since 1970, UTC) and duration, and a value; ReadingType has uom
(72: Wh, 38: W), powerOfTenMultiplier and flowDirection (1: to the customer, 19: from the customer).
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC
from typing import Any, NamedTuple

from schemas.errors import Code, InputError
from twinswarm.imports.counters import power_of
from twinswarm.imports.imported import Imported
from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Kind, Reading
from twinswarm.imports.regular import on_grid, ordered, resampled, without_holes
from twinswarm.imports.shapes.shape import Shape, Wanted

_WH, _W = "72", "38"
_REVERSE = "19"
_CUMULATIVE = {"1", "2", "3", "9"}
"""Values of ``accumulationBehaviour`` (ESPI 1.1): bulk quantity, continuous cumulative, cumulative, summation."""
_FAR_S = 4_102_444_800


def recognises(file: RawFile) -> bool:
    return "naesb.org/espi" in file.begin or "<IntervalBlock" in file.begin


def read(wanted: Wanted) -> Imported:
    """Raises InputError for what is no such file, or has several reading types."""
    import numpy as np

    root = _root(wanted.file)
    kind = _kind_of(root, wanted)
    where = str(wanted.file.path)
    rows = _rows(root, wanted.file)
    factor = kind.kilo * wanted.options.factor
    what = f"{'Wh' if kind.energy else 'W'} times {kind.kilo * 1000:g}"
    by = wanted.home or UTC
    starts, spans = np.array([row.start_s for row in rows]), np.array([row.duration_s for row in rows])
    values = np.array([row.value for row in rows])
    if kind.counter:
        wanted.notes.read.append(f"{len(rows)} readings of a counter, {what}, each of the end of its interval")
        times, values = ordered(starts + spans, values, where, wanted.options, wanted.notes)
        grid = power_of(times, values, where, wanted.options, wanted.notes, factor)
    else:
        if len(durations := sorted(set(spans.tolist()))) != 1:
            raise InputError.one(where, "has readings of several durations", durations[:5], code=Code.INVALID)
        wanted.notes.read.append(f"{len(rows)} readings of {durations[0]} s, {what}")
        times, values = ordered(starts, values * factor, where, wanted.options, wanted.notes)
        grid = on_grid(times, values, where, wanted.notes, energy=kind.energy, span_s=durations[0])
    grid = without_holes(grid, by, where, wanted.options, wanted.notes)
    if wanted.options.step_s is not None and grid.step_s != wanted.options.step_s:
        grid = resampled(grid, wanted.options.step_s, by, wanted.notes)
    return Imported(wanted.kind, SHAPE.name, {wanted.kind.value: grid}, wanted.notes)


class _Kind(NamedTuple):
    """What the readings are. ``kilo``: the factor to kWh or kW."""

    energy: bool
    counter: bool
    kilo: float


class _Row(NamedTuple):
    start_s: int
    duration_s: int
    value: float


def _kind_of(root: Any, wanted: Wanted) -> _Kind:
    """Of the one ReadingType. Raises InputError where there are several, or it is none that is read here."""
    file = wanted.file
    kinds = [element for element in root.iter() if _name(element) == "ReadingType"]
    uom = _one(kinds, "uom", file)
    if uom not in {_WH, _W}:
        raise file.refuse("needs one type of reading in Wh (uom 72) or W (uom 38)", f"uom {uom}", code=Code.INVALID)
    direction = _one(kinds, "flowDirection", file)
    if direction == _REVERSE and wanted.kind is Kind.LOAD:
        what = "has what was fed in (flowDirection 19), which is no load"
        raise file.refuse(what, f"flowDirection {direction}", code=Code.INVALID)
    power = _one(kinds, "powerOfTenMultiplier", file) or "0"
    if re.fullmatch(r"[+-]?\d{1,2}", power) is None:
        raise file.refuse("powerOfTenMultiplier is a power of ten: -3, 0, 3", power)
    behaviour = _one(kinds, "accumulationBehaviour", file)
    counter = uom == _WH and behaviour in _CUMULATIVE
    if wanted.options.reading is not None:
        counter = uom == _WH and wanted.options.reading is Reading.COUNTER
    return _Kind(uom == _WH, counter, 10.0 ** int(power) / 1000.0)


def _one(kinds: Sequence[Any], field: str, file: RawFile) -> str | None:
    """The value that all types of reading have in a field. Raises InputError for several."""
    found = sorted({_text(kind, field) or "" for kind in kinds})
    if len(found) > 1:
        what = f"has readings of several types, {field} {' and '.join(one or 'none' for one in found)}; export one"
        raise file.refuse(what, code=Code.CONFLICT)
    return found[0] or None if found else None


def _rows(root: Any, file: RawFile) -> list[_Row]:
    """Raises InputError naming the reading that cannot be read."""
    rows = []
    for number, one in enumerate((each for each in root.iter() if _name(each) == "IntervalReading"), 1):
        texts = {field: _text(one, field) or "" for field in ("start", "duration", "value")}
        try:
            row = _Row(int(texts["start"]), int(texts["duration"]), float(texts["value"]))
        except ValueError:
            row = None
        if row is None or not (0 <= row.start_s < _FAR_S and row.duration_s >= 0 and math.isfinite(row.value)):
            what = f"reading {number}: start and duration are seconds, up to the year 2100, and value is a number"
            raise file.refuse(what, ", ".join(f"{field} {text or 'none'}" for field, text in texts.items()))
        rows.append(row)
    if not rows:
        raise file.refuse("has no IntervalReading", code=Code.EMPTY)
    return rows


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
