"""The sites that come with the program, by name, and the file that a user's path or name means."""

import re
from importlib.resources import files
from pathlib import Path

from schemas.errors import Code, InputError

TEMPLATE = "init_template"
"""Folder of the site that `sites.loader.template` writes out; not a site to run by name."""


def data_folder() -> Path:
    """Folder of all the sites in the box."""
    return Path(str(files("sites"))) / "data"


def builtin_sites() -> tuple[str, ...]:
    """Names of the sites in the box."""
    return tuple(sorted(f.name for f in data_folder().iterdir() if (f / "site.yaml").is_file() and f.name != TEMPLATE))


def site_path(path_or_name: str | Path) -> Path:
    """The file of a site given by path, by folder or by its name in the box. Raises InputError if there is none."""
    if (
        isinstance(path_or_name, str)
        and re.fullmatch(r"[A-Za-z0-9_-]+", path_or_name)
        and path_or_name in builtin_sites()
    ):
        return data_folder() / path_or_name / "site.yaml"
    path = Path(path_or_name)
    if path.is_dir():
        path = path / "site.yaml"
    if not path.exists():
        what = f"there is no such file; sites in the box are {', '.join(builtin_sites())}"
        raise InputError.one(str(path), what, code=Code.NOT_FOUND)
    return path
