"""Any table of charging sessions."""

from twinswarm.imports.imported import ImportedSessions
from twinswarm.imports.options import Kind
from twinswarm.imports.sessions import sessions_of
from twinswarm.imports.shapes.shape import Shape, Wanted
from twinswarm.imports.sheet import read_sheet

NAME = "sessions-table"


def read(wanted: Wanted) -> ImportedSessions:
    """Raises InputError."""
    sheet = read_sheet(wanted.file, wanted.options, wanted.notes)
    return ImportedSessions(NAME, sessions_of(sheet, wanted.home, wanted.options, wanted.notes), wanted.notes)


SHAPE = Shape(NAME, "any table of sessions with begin, end and energy", frozenset({Kind.SESSIONS}), read)
