"""The cables of a network: each from a row of the site file or of a table, however it says what the cable is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.errors import Code, shorten
from schemas.site import Cable
from schemas.site.wiring import Ends
from sites.loader.conductors import MAX_TEMP_C, OHM_PER_KM_20C, TYPES, Conductor, plain_type
from sites.loader.csv_table import Table
from sites.loader.fault_locations import unknown_field
from sites.loader.nearest import did_you_mean
from sites.loader.places import Finding, Path_, Place
from sites.loader.rows import record_of
from sites.loader.tables import Tables
from sites.loader.validation import INVALID, validated
from sites.written import CableOfConductor, CableOfType, CablesFile

_FORMS: dict[type[Cable | CableOfType | CableOfConductor], tuple[str, ...]] = {
    Cable: ("r_mohm", "x_mohm"),
    CableOfType: ("type",),
    CableOfConductor: ("material", "mm2", "insulation"),
}
"""What a row is known by. A row in a file may hold other things for its reader, such as the length of a cable of which
the impedance is given."""

FIELDS = frozenset(name for form in _FORMS for name in form.model_fields)
TEXT_FIELDS = frozenset({"from_node", "to_node", "type", "material", "insulation"})
WHOLE_FIELDS = frozenset({"parallel"})
WAYS = "r_mohm and x_mohm, or type, or material and mm2"


@dataclass(frozen=True)
class CableRow:
    """One cable as it was written. ``cable`` is `INVALID` where it has faults, ``ends`` None where one is not known."""

    cable: Any
    ends: Ends | None
    path: Path_
    place: Place | None
    """A row of a table."""


class _CableError(Exception):
    """A fault of one field of a cable that is valid by itself."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(what)
        self.name = name
        self.what = what


def read_cables(given: Any, path: Path_, tables: Tables) -> tuple[list[CableRow] | None, list[Finding]]:
    """All cables of a list, or of the table that a reference names; None where they are not known at all."""
    if isinstance(given, list):
        rows, faults = [], []
        for index, row in enumerate(given):
            found, wrong = _of_list(row, (*path, index))
            rows.append(found)
            faults += wrong
        return rows, faults
    if not isinstance(given, dict):
        return None, [Finding(path, "should be a list of cables, or {file: NAME.csv}", shorten(given))]
    wanted, faults = validated(CablesFile, given, path)
    if faults:
        return None, faults
    table, faults = tables.table(wanted, path)
    if table is None:
        return None, faults
    return _of_table(table, path)


def _of_list(row: Any, path: Path_) -> tuple[CableRow, list[Finding]]:
    if not isinstance(row, dict):
        return CableRow(INVALID, None, path, None), [Finding(path, "should be a group of fields", shorten(row))]
    cable, wrong = _cable(row)
    if (wrong_way := len(_ways_in(row)) != 1) or wrong:
        wrong += [
            Finding((name,), unknown_field(name, sorted(FIELDS)), shorten(row[name]), code=Code.UNKNOWN)
            for name in row
            if name not in FIELDS and wrong_way
        ]
    faults = [Finding((*path, *fault.path), fault.what, fault.received, code=fault.code) for fault in wrong]
    return CableRow(cable, _ends(row), path, None), faults


def _of_table(table: Table, path: Path_) -> tuple[list[CableRow] | None, list[Finding]]:
    ways = _ways_in(table.columns)
    there_are = ", ".join(table.columns)
    if not ways:
        near = "".join(did_you_mean(name, FIELDS - set(table.columns)) for name in table.columns if name not in FIELDS)
        what = f"has no columns {WAYS}{near}; the header has {there_are}"
        return None, [Finding(path, what, None, table.header(), code=Code.MISSING)]
    if len(ways) == 1:
        missing = [
            Finding(
                path, f"column {name} is missing; the header has {there_are}", None, table.header(), code=Code.MISSING
            )
            for name, info in ways[0].model_fields.items()
            if info.is_required() and name not in table
        ]
        if missing:
            return None, missing
    rows: list[CableRow] = []
    faults: list[Finding] = []
    for row in range(len(table.rows)):
        record, bad_cells = record_of(table, row, FIELDS, path, TEXT_FIELDS, WHOLE_FIELDS)
        if bad_cells:
            cable, wrong = INVALID, bad_cells
        else:
            cable, found = _cable(record, of_table=True)
            wrong = [
                Finding(
                    path,
                    fault.what,
                    fault.received,
                    table.place(row, str(fault.path[0]) if fault.path else None),
                    code=fault.code,
                )
                for fault in found
            ]
        rows.append(CableRow(cable, _ends(record), path, table.place(row)))
        faults += wrong
    return rows, faults


def _ways_in(names: Mapping[str, Any] | tuple[str, ...]) -> list[type[Cable | CableOfType | CableOfConductor]]:
    """In which ways a row (or a table's columns) says what the cable is; one is right."""
    return [form for form, marks in _FORMS.items() if any(mark in names for mark in marks)]


def _ends(row: Mapping[str, Any]) -> Ends | None:
    ends = row.get("from_node"), row.get("to_node")
    return ends if all(isinstance(end, str) and end for end in ends) else None  # type: ignore[return-value]


def _cable(row: Mapping[str, Any], *, of_table: bool = False) -> tuple[Any, list[Finding]]:
    """The cable or `INVALID`, and the faults by their field. ``of_table``: what belongs to no way, or to another, is
    for the reader.
    """
    ways = _ways_in(row)
    if len(ways) != 1:
        marks = [mark for form in ways for mark in _FORMS[form] if mark in row]
        what = f"says in more than one way what the cable is: {', '.join(marks)}" if marks else "says not what it is"
        return INVALID, [Finding((), f"{what}; one of these is wanted: {WAYS}")]
    (form,) = ways
    given = {name: value for name, value in row.items() if not of_table or name in form.model_fields}
    cable, faults = validated(form, given, ())
    if faults or isinstance(cable, Cable):
        return cable, faults
    try:
        data = _by_conductor(cable)
    except _CableError as error:
        return INVALID, [Finding((error.name,), error.what, shorten(getattr(cable, error.name)))]
    return validated(Cable, data, ())


def _by_conductor(cable: CableOfType | CableOfConductor) -> dict[str, Any]:
    conductor = _conductor(cable)
    most_c = MAX_TEMP_C[conductor.insulation]
    temp_c = most_c if cable.conductor_temp_c is None else cable.conductor_temp_c
    if temp_c > most_c:
        raise _CableError(
            "conductor_temp_c", f"is above {most_c:g} °C, which is what {conductor.insulation} insulation bears"
        )
    km = cable.length_m / 1e3
    return {
        "from_node": cable.from_node,
        "to_node": cable.to_node,
        "r_mohm": conductor.ohm_per_km(temp_c) * km / cable.parallel * 1e3,
        "x_mohm": cable.x_ohm_per_km * km / cable.parallel * 1e3,
        "ampacity_a": conductor.ampacity_a * cable.parallel if cable.ampacity_a is None else cable.ampacity_a,
        "r0_factor": cable.r0_factor,
        "x0_factor": cable.x0_factor,
    }


def _conductor(cable: CableOfType | CableOfConductor) -> Conductor:
    if isinstance(cable, CableOfType):
        wanted = plain_type(cable.type)
        if wanted not in TYPES:
            families = ", ".join(dict.fromkeys(name.split()[0] for name in TYPES))
            what = f"is no known type{did_you_mean(wanted, TYPES)}; there are {families} with 4 or 5 equal cores"
            raise _CableError("type", f"{what}; or give material and mm2")
        return TYPES[wanted]
    sections = OHM_PER_KM_20C[cable.material]
    if cable.mm2 not in sections:
        there_are = ", ".join(f"{mm2:g}" for mm2 in sections)
        raise _CableError("mm2", f"is no standard cross-section of {cable.material}; there are {there_are}")
    return Conductor(cable.material, cable.mm2, cable.insulation)
