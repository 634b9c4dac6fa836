"""What an import writes: a table for the site, and beside it a small file of where it comes from."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from schemas.errors import Code, InputError
from schemas.participant import software
from sites.loader.csv_table import MAX_ROWS
from twinswarm.imports.imported import COLUMNS, Imported, ImportedSessions
from twinswarm.imports.options import Kind, Options
from twinswarm.imports.statistics import sessions_statistics, statistics_of
from twinswarm.imports.vehicles import Placed


def table_of(imported: Imported) -> str:
    """The series as a table: times of UTC, a column for each. Raises InputError for more rows than a site takes."""
    grids = list(imported.series.values())
    first = grids[0]
    count = len(first.values)
    if count > MAX_ROWS:
        what = f"has {count} values of {first.step_s} s, and a profile at most {MAX_ROWS}; say --step 15min or longer"
        raise InputError.one(f"the {imported.kind.value}", what, code=Code.RANGE)
    step = timedelta(seconds=first.step_s)
    # At full precision: what was measured is what is written.
    columns = [grid.values.tolist() for grid in grids]
    lines = [",".join(("time", *(COLUMNS[name] for name in imported.series)))]
    for place, row in enumerate(zip(*columns, strict=True)):
        lines.append(",".join((_iso(first.start + place * step), *(repr(round(value, 9)) for value in row))))
    return "\n".join(lines) + "\n"


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def profiles_of(imported: Imported, file: str) -> dict[str, dict[str, Any]]:
    """The profiles of a site that stand in the written table, as they are written in site.yaml."""
    found = {}
    for name in imported.series:
        entry: dict[str, Any] = {"type": "time", "file": file, "column": COLUMNS[name]}
        if imported.interval_label is not None:
            entry["interval_label"] = imported.interval_label.value
        if imported.time_offset_s and name in {"ghi", "dni", "dhi"}:
            entry["time_offset_s"] = imported.time_offset_s
        found[name] = entry
    return found


def provenance(imported: Imported, options: Options) -> str:
    """The small file beside the table, as JSON."""
    value = {
        "software": software(),
        "kind": imported.kind.value,
        "shape": imported.shape,
        "sources": list(imported.sources),
        "options": options.said(),
        **imported.notes.to_json(),
        "statistics": {name: statistics_of(grid, imported.kind) for name, grid in imported.series.items()},
    }
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def sessions_provenance(found: ImportedSessions, placed: Sequence[Placed], options: Options) -> str:
    """The small file beside a table of sessions, as JSON."""
    value = {
        "software": software(),
        "kind": Kind.SESSIONS.value,
        "shape": found.shape,
        "sources": list(found.sources),
        "options": options.said(),
        **found.notes.to_json(),
        "statistics": sessions_statistics(placed),
    }
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def rows_text(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A comma-separated table."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def write_all(contents: Mapping[Path, str | bytes]) -> None:
    """Writes all files, each whole or not at all. Raises InputError naming the one that cannot be written."""
    for path, content in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(path.name + ".partial")
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
            partial.replace(path)
        except OSError as error:
            raise InputError.one(str(path), f"cannot be written: {error.strerror}", code=Code.UNWRITABLE) from None


@contextmanager
def taken_back_if_refused(files: Iterable[Path]) -> Iterator[None]:
    """Whatever ends the import, a site that would not be valid among it: the files are again as they were."""
    before = {path: path.read_bytes() if path.exists() else None for path in files}
    try:
        yield
    except BaseException:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                write_all({path: content})
        raise
