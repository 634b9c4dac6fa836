"""One file read as one kind of values."""

from dataclasses import replace
from datetime import tzinfo
from pathlib import Path

from schemas.errors import Code, Fault, InputError
from twinswarm.imports.imported import Imported, ImportedSessions
from twinswarm.imports.notes import Notes
from twinswarm.imports.opening import open_raw
from twinswarm.imports.options import Kind, Options
from twinswarm.imports.shapes import plain_shape, shape_of
from twinswarm.imports.shapes.shape import Wanted

_SESSIONS = frozenset({"sessions-table", "elaad", "ocpp-transactions"})
_AREAS = frozenset({"entsoe", "smard"})
_SERIES = _AREAS | {"table", "energy-charts-table", "german-meter", "austrian-meter", "italian-meter"}
_USED_BY = {
    "column": _SERIES | _SESSIONS,
    "time_column": _SERIES | _SESSIONS,
    "unit": _SERIES | _SESSIONS,
    "reading": _SERIES | {"green-button"},
    "area": _AREAS | {"omie"},
    "annual_kwh": frozenset[str](),
}
"""Shapes that use an option; those of others say by themselves what it would say."""


def read_file(path: Path, kind: Kind, home: tzinfo | None, options: Options) -> Imported | ImportedSessions:
    """Raises InputError naming the file, the place, the value received and how to say what it is."""
    file = open_raw(path)
    notes = Notes()
    shape, recognised = shape_of(file, kind, options.shape)
    if recognised:
        plain = "" if kind is Kind.WEATHER else f" (--as {plain_shape(kind).name} reads it as any table)"
        notes.read.append(f"recognised as {shape.name}: {shape.title}{plain}")
    elif options.shape is not None:
        notes.read.append(f"read as {shape.name}: {shape.title}")
    _refuse_unused(shape.name, options)
    if options.year is not None and shape.name != "pvgis-tmy":
        notes.read.append("the file has its own years: --year is of typical years and standard profiles")
    result = shape.read(Wanted(file, kind, home, options, notes))
    return replace(result, shape=shape.name, sources=({"file": path.name, "sha256": file.sha256},))


def _refuse_unused(shape: str, options: Options) -> None:
    """Raises InputError for what is said, and would change nothing."""
    faults = [
        Fault(
            f"--{name.replace('_', '-')}",
            f"has no effect on files of the shape {shape}; leave it away, or name another shape with --as",
            str(value),
            code=Code.CONFLICT,
        )
        for name, used in _USED_BY.items()
        if shape not in used and (value := getattr(options, name)) is not None
    ]
    if faults:
        raise InputError(faults)
