"""Changes of single fields in a site file that leave its comments and everything else as they are."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.errors import Code, InputError
from sites.loader.bounded import MAX_TEXT_BYTES, read_bytes
from sites.loader.text import decoded

Change = tuple[tuple[str, ...], Any]
"""Names of fields from the top, and the value that is put there; None takes the field away."""


def edited(path: Path, changes: list[Change]) -> str:
    """The text of a valid YAML site file with the changes. Raises InputError for a field that is in no group."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # a group that is on one line stays there
    yaml.indent(mapping=2, sequence=4, offset=2)
    data = yaml.load(decoded(read_bytes(path, MAX_TEXT_BYTES), path))
    for names, value in changes:
        _set(data, names, value, path)
    buffer = io.StringIO()
    yaml.dump(data, buffer)
    return buffer.getvalue()


def _set(data: Any, names: tuple[str, ...], value: Any, path: Path) -> None:
    *above, last = names
    for name in above:
        if not isinstance(data, dict):
            break
        if name not in data:
            data[name] = _flow({}, flow=False)
        data = data[name]
    if not isinstance(data, dict):
        raise InputError.one(f"{path}: {'.'.join(names)}", "is no group of fields", code=Code.FORMAT)
    if value is None:
        data.pop(last, None)
    else:
        data[last] = _flow(value)
        if isinstance(value, Mapping):
            _without_remark(data, last)


def _without_remark(data: Any, name: str) -> None:
    """Takes away what was said of the old group in its own line; lines below belong to what follows."""
    places = data.ca.items.get(name)
    remark = None if places is None else places[2]
    if remark is not None:
        below = remark.value.partition("\n")[2]
        remark.value = "\n" + below if below else "\n"


def _flow(value: Any, *, flow: bool = True) -> Any:
    """A group on one line, as ``{type: time, file: load.csv}``."""
    from ruamel.yaml.comments import CommentedMap

    if not isinstance(value, Mapping):
        return value
    group = CommentedMap({name: _flow(part) for name, part in value.items()})
    if flow:
        group.fa.set_flow_style()
    return group
