"""The tables of one site, each read once however many of its fields name it."""

from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import Fault, InputError
from sites.loader.csv_table import Table, read_csv
from sites.loader.places import Finding, Path_, Place
from sites.written import TableFile

_FORM = tuple(name for name in TableFile.model_fields if name != "file")


@dataclass
class Tables:
    """``folder`` is the site file's; names of files are relative to it."""

    folder: Path
    _read: dict[tuple[object, ...], Table | InputError] = field(default_factory=dict)

    def table(self, wanted: TableFile, path: Path_) -> tuple[Table | None, list[Finding]]:
        """The table that the field at ``path`` names, or its faults, which are those of every field that names it."""
        file = self.folder / wanted.file
        key = (file, *(getattr(wanted, name) for name in _FORM))
        if key not in self._read:
            try:
                self._read[key] = read_csv(file, wanted)
            except InputError as error:
                self._read[key] = error
        found = self._read[key]
        if isinstance(found, Table):
            return found, []
        return None, [_finding(fault, file, path) for fault in found.faults]


def _finding(fault: Fault, file: Path, path: Path_) -> Finding:
    """A fault of reading a file, which knows its line at most."""
    line = fault.where.removeprefix(f"{file}: line ")
    place = Place(file, int(line) if line.isdigit() else None)
    return Finding(path, fault.what, fault.received, place, code=fault.code)
