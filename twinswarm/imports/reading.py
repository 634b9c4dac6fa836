"""One file read as one kind of values."""

from dataclasses import replace
from datetime import tzinfo
from pathlib import Path

from twinswarm.imports.imported import Imported, ImportedSessions
from twinswarm.imports.notes import Notes
from twinswarm.imports.opening import open_raw
from twinswarm.imports.options import Kind, Options
from twinswarm.imports.shapes import plain_shape, shape_of
from twinswarm.imports.shapes.shape import Wanted


def read_file(path: Path, kind: Kind, home: tzinfo | None, options: Options) -> Imported | ImportedSessions:
    """Raises InputError naming the file, the place, the value received and how to say what it is."""
    file = open_raw(path)
    notes = Notes()
    shape, recognised = shape_of(file, kind, options.shape)
    if recognised:
        notes.read.append(
            f"recognised as {shape.name}: {shape.title} (--as {plain_shape(kind).name} reads it as any table)"
        )
    elif options.shape is not None:
        notes.read.append(f"read as {shape.name}: {shape.title}")
    result = shape.read(Wanted(file, kind, home, options, notes))
    return replace(result, shape=shape.name, sources=({"file": path.name, "sha256": file.sha256},))
