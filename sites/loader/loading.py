"""Reads a site description: YAML with its CSV files, or a resolved site as JSON. All faults at once."""

from pathlib import Path

from schemas.errors import Code, InputError
from schemas.site import Site
from sites.description import SiteDescription
from sites.loader.box import site_path
from sites.loader.cross_checks import check_references
from sites.loader.holiday_dates import add_holidays
from sites.loader.parts import read_parts
from sites.loader.tables import Tables
from sites.loader.text import read_json, read_yaml


def load_site(path_or_name: str | Path, case: str | None = None) -> Site:
    """The site of a description, as it is or under one of its cases. Raises InputError, see `load_description`."""
    return load_description(path_or_name).under(case)


def load_description(path_or_name: str | Path) -> SiteDescription:
    """The site and its cases in a file (``.yaml``, ``.yml`` or ``.json``), in a folder's ``site.yaml``, or in the box.

    A bare word that is a name of `builtin_sites` means that one; write ``./word`` for a folder of the same name.
    Profiles are inlined: what is returned needs no file any more. Raises InputError with every fault of the
    description, each with file, line, field, rule and value; where the text itself cannot be read, with line and
    column.
    """
    path = site_path(path_or_name)
    data, root = read_json(path) if path.suffix == ".json" else read_yaml(path)
    if not isinstance(data, dict):
        raise InputError.one(
            str(path), "should be a group of fields such as site, location, devices", data, code=Code.FORMAT
        )
    parts = read_parts(data, root, Tables(path.parent))
    add_holidays(parts)
    check_references(parts)
    if parts.faults:
        raise InputError(parts.faults.faults())
    # Every part is valid and so is what they refer to: nothing is checked a second time.
    return SiteDescription.model_construct(**parts.fields)
