"""Where a value was written: file, line, column of a table; and what a fault says of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import Code, Fault

Path_ = tuple[str | int, ...]
"""Path of a field in the site, by names and places in lists."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file, and the places of what is below it."""

    file: Path
    line: int | None = None
    """Counted from 1. None: not known, as in a resolved site, which is JSON of one line."""
    mark: int = 0
    """Where in the line it begins: tells two places of one line apart."""
    column: str | None = None
    """Name of a column of a table."""
    parts: "Mapping[str | int, Place] | Callable[[str | int], Place | None] | None" = None

    def part(self, name: str | int) -> "Place | None":
        """The place of a field or an entry; None: it is not known apart from this one."""
        if self.parts is None:
            return None
        return self.parts(name) if callable(self.parts) else self.parts.get(name)

    def __str__(self) -> str:
        line = "" if self.line is None else f": line {self.line}"
        return f"{self.file}{line}" + ("" if self.column is None else f", column {self.column}")


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault at a path of the site, before it is known that it is the same as others."""

    path: Path_
    what: str
    received: str | None = None
    place: Place | None = None
    """None: where the path was written."""
    code: Code = field(default=Code.INVALID, kw_only=True)


def locate(root: Place, path: Path_) -> tuple[Place, bool]:
    """The nearest known place above or at a path, and whether it is the path's own."""
    here = root
    for name in path:
        below = here.part(name)
        if below is None:
            return here, False
        here = below
    return here, True


@dataclass
class Faults:
    """Collects the faults of one site. Each is told once, with the number of fields that share it."""

    root: Place
    _found: dict[tuple[object, ...], tuple[Place, Finding]] = field(default_factory=dict)
    _also: dict[tuple[object, ...], list[Path_]] = field(default_factory=dict)
    _elsewhere: dict[Path_, Place] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, *findings: Finding) -> None:
        for finding in findings:
            place, own = (finding.place, True) if finding.place is not None else self._located(finding.path)
            # Anchors make one line part of many devices, and many chargers read one file.
            shared = place.line is not None and (own or place.file != self.root.file)
            same = finding.path[-1:] if place.file == self.root.file else None
            key = (
                (place.file, place.line, place.mark, place.column, same, finding.what, finding.received)
                if shared
                else (finding.path, finding.what, finding.received, place.file, place.line, place.column)
            )
            if key not in self._found:
                self._found[key] = (place, finding)
                self._also[key] = []
            elif finding.path != self._found[key][1].path and finding.path not in self._also[key]:
                self._also[key].append(finding.path)

    def place(self, path: Path_) -> Place | None:
        """Where a path was written; None: not known."""
        found, own = locate(self.root, path)
        return found if own else None

    def put(self, path: Path_, place: Place) -> None:
        """The value at a path was read from another place."""
        self._elsewhere[path] = place

    def faults(self) -> list[Fault]:
        """As they are shown, in the order in which they were found."""
        return [self._shown(key) for key in self._found]

    def _located(self, path: Path_) -> tuple[Place, bool]:
        for length in range(len(path), 0, -1):
            if path[:length] in self._elsewhere:
                return locate(self._elsewhere[path[:length]], path[length:])
        return locate(self.root, path)

    def _shown(self, key: tuple[object, ...]) -> Fault:
        (place, finding), also = self._found[key], self._also[key]
        path, what = dotted(finding.path), finding.what
        if place.file == self.root.file:
            where = f"{place}: {path}" if path else str(place)
            more = f" [the same in {len(also) + 1} places, also {_listed(also)}]" if also else ""
        else:
            where = str(place)
            more = f" [for {path} of {self.root.file}{f' and {len(also)} more' if also else ''}]" if path else ""
        return Fault(where, f"{what}{more}", finding.received, code=finding.code)


def _listed(paths: Sequence[Path_], most: int = 3) -> str:
    shown = ", ".join(map(dotted, paths[:most]))
    return shown if len(paths) <= most else f"{shown} …"


def dotted(path: Path_) -> str:
    return ".".join(map(str, path))
