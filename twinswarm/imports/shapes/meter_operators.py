"""Load curves of meter operators in Germany, Austria and Italy: what such tables have in common is said for them.

Germany and Austria: semicolons, decimal commas, kWh of quarter-hours, local times. Italy (e-distribuzione's *curve di
carico*): a row for each day and 96 columns of quarter-hours, kWh, local times.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from twinswarm.imports.imported import Imported
from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Kind, Reading
from twinswarm.imports.shapes import table
from twinswarm.imports.shapes.shape import Shape, Wanted

_GERMAN = re.compile(r"(zählpunkt|messlokation|malo|melo|obis)[^\n]*[;\t]|[12]-\d:[12]\.(8|29|9)\.\d", re.IGNORECASE)
_ITALIAN = re.compile(r"giorno[^\n]*\b00[:.]\d\d[^\n]*\b23[:.]\d\d", re.IGNORECASE)


def _read(zone: str, unit: str | None, name: str) -> Callable[[Wanted], Imported]:
    def read(wanted: Wanted) -> Imported:
        said = wanted.options
        if unit is not None and said.unit is None:
            wanted.notes.assumed.append(f"values are {unit} of each interval, as is usual there (--unit)")
            said = replace(said, unit=unit, reading=said.reading or Reading.INTERVAL)
        # A building's meter is where the building is.
        there = said.time_zone or (zone if wanted.home is None else None)
        options = replace(said, time_zone=there, decimal=said.decimal or _decimal(wanted.file))
        return replace(table.read(replace(wanted, options=options)), shape=name)

    return read


def _decimal(file: RawFile) -> str | None:
    """A comma where semicolons separate; a workbook has numbers."""
    return "," if not file.workbook and ";" in file.begin and re.search(r"\d,\d", file.begin) else None


_POWER = frozenset({Kind.LOAD, Kind.PV})
SHAPES = (
    Shape(
        "german-meter", "load curve of a German meter operator", _POWER, _read("Europe/Berlin", None, "german-meter"),
        lambda file: not file.workbook and _GERMAN.search(file.begin) is not None,
    ),
    Shape(
        "austrian-meter", "load curve of an Austrian meter operator", _POWER,
        _read("Europe/Vienna", None, "austrian-meter"), lambda _: False,
    ),
    Shape(
        "italian-meter", "load curve of e-distribuzione, a row for each day", _POWER,
        _read("Europe/Rome", "kWh", "italian-meter"), lambda file: _ITALIAN.search(file.begin) is not None,
    ),
)  # fmt: skip
