"""Reading files back in tests: the import of a text or of bytes, and its energy."""

from datetime import tzinfo
from pathlib import Path

from twinswarm.imports.imported import Imported
from twinswarm.imports.options import Kind, Options
from twinswarm.imports.reading import read_file
from twinswarm.imports.regular import Grid


def read_back(
    tmp_path: Path,
    content: bytes | str,
    zone: tzinfo | None,
    kind: Kind = Kind.LOAD,
    name: str = "own.csv",
    **said: object,
) -> Imported:
    """Series as `twinswarm import` reads them at a site of this zone."""
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_file(file, kind, zone, Options(**said))  # type: ignore[arg-type]
    assert isinstance(found, Imported)
    return found


def energy_kwh(found: Grid | Imported) -> float:
    """The energy of a load, or the sum of hourly values."""
    grid = next(iter(found.series.values())) if isinstance(found, Imported) else found
    return float(grid.values.sum()) * grid.step_s / 3600
