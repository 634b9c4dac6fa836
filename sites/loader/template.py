"""The template that ``twinswarm init`` writes: a commented site to start from, with its profiles."""

from pathlib import Path

from schemas.errors import Code, Fault, InputError
from sites.loader.box import TEMPLATE, data_folder


def write_template(directory: Path) -> list[Path]:
    """Writes ``site.yaml`` and its CSV files into ``directory``, which is made if need be; returns their paths.

    Raises InputError, having written nothing, when one of the files is there already or the folder cannot be made.
    """
    contents = {directory / source.name: source.read_bytes() for source in _sources()}
    if there := [path for path in contents if path.exists()]:
        raise InputError(
            Fault(str(path), "is there already; it is not overwritten", code=Code.EXISTS) for path in there
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            path.write_bytes(content)
    except OSError as error:
        raise InputError.one(str(directory), f"cannot be written: {error.strerror}", code=Code.UNWRITABLE) from None
    return list(contents)


def _sources() -> list[Path]:
    folder = data_folder() / TEMPLATE
    return sorted(path for path in folder.iterdir() if path.suffix in {".yaml", ".csv"})
