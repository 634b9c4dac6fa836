"""Profiles whose values stand in a table."""

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
    missing = [name for name in ("column", "time_column") if getattr(wanted, name, None) not in (None, *table.columns)]
    if missing:
        return (
            INVALID,
            here,
            [
                Finding(
                    (*path, name), table.missing(getattr(wanted, name)), repr(getattr(wanted, name)), code=Code.UNKNOWN
                )
                for name in missing
            ],
        )
    values, faults = table.numbers(wanted.column, path)
    data: dict[str, Any] = {"type": wanted.type, "values": values}
    if isinstance(wanted, TimeFile):
        times = table.times(wanted.time_column, path)
        if isinstance(times, list):
            faults += times
        else:
            data["start"], data["step_s"] = times
    return (INVALID if faults else data), _places(here, table, wanted.column), faults


def _places(here: Place | None, table: Table, column: str) -> Place | None:
    """Each value in its line of the table, the rest where the site names the file."""
    if here is None:
        return None

    def value(index: str | int) -> Place | None:
        return table.place(index, column) if isinstance(index, int) and index < len(table.rows) else None

    values = Place(here.file, here.line, here.mark, None, value)
    return Place(here.file, here.line, here.mark, None, {"values": values})
