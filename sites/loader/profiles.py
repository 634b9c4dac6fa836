"""Profiles whose values stand in a table."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from schemas.errors import Code
from sites.loader.csv_table import Table
from sites.loader.places import Finding, Path_, Place
from sites.loader.tables import Tables
from sites.loader.validation import INVALID, validated
from sites.written import DayFile, TimeFile

_WRITTEN = Annotated[DayFile | TimeFile, Field(discriminator="type")]


def resolved_profile(
    given: Any, path: Path_, here: Place | None, tables: Tables
) -> tuple[Any, Place | None, list[Finding]]:
    """The data of a profile with its values, and where they stand; `INVALID` with the faults of the reference."""
    if not isinstance(given, dict) or "values" in given:
        return given, here, []
    wanted, faults = validated(_WRITTEN, given, path)
    if faults:
        return INVALID, here, faults
    table, faults = tables.table(wanted, path)
    if table is None:
        return INVALID, here, faults
    columns = _columns(wanted)
    if missing := [(where, column) for where, column in columns.items() if column not in table]:
        return (
            INVALID,
            here,
            [_missing(table, (*path, *where), column, given=where[0] in given) for where, column in missing],
        )
    values, faults = table.numbers(wanted.column, path)
    data: dict[str, Any] = {"type": wanted.type, "values": values}
    if isinstance(wanted, TimeFile):
        data["origin"] = f"{wanted.file}, column {wanted.column}"
        times = table.times(wanted.time_column, path)
        if isinstance(times, list):
            faults += times
        else:
            data["start"], data["step_s"] = times[0] + timedelta(seconds=wanted.time_offset_s), times[1]
            data["interval_label"] = wanted.interval_label
    else:
        data["variants"] = {}
        for name, column in wanted.variants.items():
            data["variants"][name.value], wrong = table.numbers(column, (*path, "variants", name.value))
            faults += wrong
    return (INVALID if faults else data), _places(here, table, columns), faults


def _missing(table: Table, path: Path_, column: str, *, given: bool) -> Finding:
    """A column that the table does not have. A default that nobody wrote was not received."""
    if given:
        return Finding(path, table.missing(column), repr(column), code=Code.UNKNOWN)
    what = (
        f"is not given, and {table.file.name} has no column {column}; it has {', '.join(table.columns)}: "
        f"say {path[-1]}: NAME beside file"
    )
    return Finding(path, what, code=Code.MISSING)


def _columns(wanted: DayFile | TimeFile) -> dict[Path_, str]:
    """By the field that names it, every column that is read."""
    if isinstance(wanted, TimeFile):
        return {("column",): wanted.column, ("time_column",): wanted.time_column}
    return {("column",): wanted.column} | {("variants", name.value): column for name, column in wanted.variants.items()}


def _places(here: Place | None, table: Table, columns: Mapping[Path_, str]) -> Place | None:
    """Each value in its line of the table, the rest where the site names the file."""
    if here is None:
        return None

    def of(column: str) -> Place:
        def value(index: str | int) -> Place | None:
            return table.place(index, column) if isinstance(index, int) and index < len(table.rows) else None

        return Place(here.file, here.line, here.mark, None, value)

    variants: dict[str | int, Place] = {
        where[1]: of(column) for where, column in columns.items() if where[0] == "variants"
    }
    parts: dict[str | int, Place] = {
        "values": of(columns[("column",)]),
        "variants": Place(here.file, here.line, here.mark, None, variants),
    }
    for name in ("column", "time_column"):
        below = here.part(name)
        if below is not None:
            parts[name] = below
    return Place(here.file, here.line, here.mark, None, parts)
