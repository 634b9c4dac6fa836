"""Charging sessions of one charger from a table of those of all."""

from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from schemas.errors import Code, shorten
from schemas.site import ChargingSession
from sites.loader.csv_table import Table
from sites.loader.fault_locations import findings
from sites.loader.nearest import did_you_mean
from sites.loader.places import Finding, Path_
from sites.loader.rows import record_of
from sites.loader.tables import Tables
from sites.loader.validation import validated
from sites.written import SessionsFile

TEXT_COLUMNS = frozenset({"vehicle", "arrival", "departure", "announced_departure"})


def resolved_sessions(given: Any, path: Path_, tables: Tables) -> tuple[Any, list[Finding]]:
    """The data of a charger's sessions; none, with their faults, where they cannot be read."""
    if not isinstance(given, dict):
        return given, []
    wanted, faults = validated(SessionsFile, given, path)
    if faults:
        return [], faults
    table, faults = tables.table(wanted, path)
    if table is None:
        return [], faults
    if faults := _column_faults(table, path):
        return [], faults
    mine = [row for row, cell in enumerate(table.cells("charge_point")) if cell.strip() == wanted.charge_point]
    if not mine:
        there_are = sorted({cell.strip() for cell in table.cells("charge_point")})
        near = did_you_mean(wanted.charge_point, there_are)
        what = f"no row of {table.file.name} has this charge_point{near}; there are {_some(there_are)}"
        return [], [Finding((*path, "charge_point"), what, repr(wanted.charge_point), code=Code.UNKNOWN)]
    sessions = []
    for row in mine:
        record, bad_cells = record_of(table, row, ChargingSession.model_fields.keys(), path, text=TEXT_COLUMNS)
        faults += bad_cells or _faults(record, table, row, path)
        sessions.append(record)
    return ([] if faults else sessions), faults


def _some(names: list[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


def _column_faults(table: Table, path: Path_) -> list[Finding]:
    """Columns beyond a session's fields and the charge point are refused."""
    fields = ChargingSession.model_fields
    needed = ["charge_point", *(name for name, info in fields.items() if info.is_required())]
    there_are = ", ".join(table.columns)
    return [
        *(
            Finding(
                path, f"column {name} is missing; the header has {there_are}", None, table.header(), code=Code.MISSING
            )
            for name in needed
            if name not in table
        ),
        *(
            Finding(
                path, f"unknown column{did_you_mean(name, fields)}", shorten(name), table.header(), code=Code.UNKNOWN
            )
            for name in table.columns
            if name not in fields and name != "charge_point"
        ),
    ]


def _faults(record: dict[str, Any], table: Table, row: int, path: Path_) -> list[Finding]:
    try:
        ChargingSession.model_validate_json(to_json(record), strict=True)
    except ValidationError as error:
        return [
            Finding(
                path,
                found.what,
                found.received,
                table.place(row, str(found.path[0]) if found.path else None),
                code=found.code,
            )
            for found in findings(error, record, ChargingSession)
        ]
    return []
