"""A known shape of files: how it is recognised and read."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo

from twinswarm.imports.imported import Imported, ImportedSessions
from twinswarm.imports.notes import Notes
from twinswarm.imports.opening import RawFile
from twinswarm.imports.options import Kind, Options


@dataclass(frozen=True)
class Wanted:
    """What is to be read, and as what. ``home``: the zone of the site, None where there is none."""

    file: RawFile
    kind: Kind
    home: tzinfo | None
    options: Options
    notes: Notes


@dataclass(frozen=True)
class Shape:
    """``recognises`` says whether a file is unmistakably of this shape; None: it has to be named."""

    name: str
    title: str
    kinds: frozenset[Kind]
    read: Callable[[Wanted], Imported | ImportedSessions]
    recognises: Callable[[RawFile], bool] | None = None
