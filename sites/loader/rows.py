"""A row of a table as the fields of a model."""

from collections.abc import Collection
from typing import Any

from sites.loader.csv_table import Table, cells_of
from sites.loader.places import Finding, Path_


def record_of(
    table: Table,
    row: int,
    fields: Collection[str],
    path: Path_,
    text: Collection[str],
    whole: Collection[str] = (),
) -> tuple[dict[str, Any], list[Finding]]:
    """The cells of a row that belong to ``fields`` and are not empty, and the faults of those that are no numbers.

    ``text``: fields that are words; ``whole``: those that are integers.
    """
    record: dict[str, Any] = {}
    faults: list[Finding] = []
    for name, cell in cells_of(table, row).items():
        if name not in fields or cell == "":
            continue
        value: float | str | None = cell if name in text else table.number(cell)
        if value is None:
            faults += table.counted([(row, table.no_number(cell), cell)], name, path)
        else:
            record[name] = int(value) if name in whole and value == int(float(value)) else value
    return record, faults
