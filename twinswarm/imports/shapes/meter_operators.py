"""Load curves of meter operators in Germany, Austria and Italy: what such tables have in common is said for them.

Germany and Austria: semicolons, kWh of quarter-hours, local times. Italy (e-distribuzione's *curve di
carico*): a row for each day and 96 columns of quarter-hours, kWh, local times.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from twinswarm.imports.imported import Imported
from twinswarm.imports.options import Kind, Reading
from twinswarm.imports.shapes import table
from twinswarm.imports.shapes.shape import Shape, Wanted
from twinswarm.imports.sheet import read_sheet
from twinswarm.imports.table_unit import names_a_unit

_GERMAN = re.compile(r"(zählpunkt|messlokation|malo|melo|obis)[^\n]*[;\t]|[12]-\d:[12]\.(8|29|9)\.\d", re.IGNORECASE)
_ITALIAN = re.compile(r"giorno[^\n]*\b00[:.]\d\d[^\n]*\b23[:.]\d\d", re.IGNORECASE)


def _read(zone: str, unit: str | None, name: str) -> Callable[[Wanted], Imported]:
    def read(wanted: Wanted) -> Imported:
        said = wanted.options
        # A building's meter is where the building is.
        options = replace(said, time_zone=said.time_zone or (zone if wanted.home is None else None))
        sheet = read_sheet(wanted.file, options, wanted.notes)
        if unit is not None:
            if said.unit is None and not names_a_unit(sheet, wanted.kind):
                wanted.notes.assumed.append(f"values are {unit} of each interval, as is usual there (--unit)")
                options = replace(options, unit=unit)
            options = replace(options, reading=said.reading or Reading.INTERVAL)
        return table.imported(sheet, replace(wanted, options=options), name)

    return read


_POWER = frozenset({Kind.LOAD, Kind.PV})
SHAPES = (
    Shape(
        "german-meter", "load curve of a German meter operator", _POWER, _read("Europe/Berlin", None, "german-meter"),
        lambda file: _GERMAN.search(file.begin) is not None,
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
