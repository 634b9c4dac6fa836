"""Text of a site file to plain data: YAML 1.2's core types, duplicate keys refused, faults with line and column."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from schemas.errors import Fault, InputError


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without what YAML 1.1 guesses.

    By 1.1 ``18:00`` is the number 1080 (base 60), ``no`` is false, and ``1e-4`` is text. Times and dates stay text
    here, for the site's models to read; any tag other than the core ones is a fault.
    """


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConstructorError(None, None, "a field's name is a word", key_node.start_mark)
        if key_node.value in seen:
            first = seen[key_node.value].line + 1
            raise ConstructorError(
                None, None, f"{key_node.value!r} stands twice, first in line {first}", key_node.start_mark
            )
        seen[key_node.value] = key_node.start_mark
    loader.flatten_mapping(node)
    return {str(key.value): loader.construct_object(value, deep=True) for key, value in node.value}


def _sequence(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


def _integer(_: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > 30:
        raise ConstructorError(None, None, f"a number of {len(node.value)} digits", node.start_mark)
    return int(node.value)


def _number(_: _Loader, node: yaml.ScalarNode) -> float:
    # float() reads "inf" and "nan"; YAML writes them with a dot.
    return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _truth(_: _Loader, node: yaml.ScalarNode) -> bool:
    return str(node.value).lower() == "true"


def _nothing(_: _Loader, __: yaml.ScalarNode) -> None:
    return None


def _text(_: _Loader, node: yaml.ScalarNode) -> str:
    return str(node.value)


def _unknown(_: _Loader, node: yaml.Node) -> Any:
    raise ConstructorError(None, None, f"the tag {node.tag!r} is not allowed", node.start_mark)


_TAG = "tag:yaml.org,2002:"
_Loader.yaml_constructors = {
    f"{_TAG}map": _mapping,
    f"{_TAG}seq": _sequence,
    f"{_TAG}int": _integer,
    f"{_TAG}float": _number,
    f"{_TAG}bool": _truth,
    f"{_TAG}null": _nothing,
    f"{_TAG}str": _text,
    None: _unknown,
}
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", r"<<", "<"),
):
    # An empty scalar has no first character; PyYAML looks it up under "".
    _Loader.add_implicit_resolver(
        f"{_TAG}{_tag}", re.compile(rf"^(?:{_pattern})$"), ["" if first == "\0" else first for first in _first]
    )


def read_text(path: Path) -> str:
    """Raises InputError for a file that cannot be read as UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError.one(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError.one(str(path), f"is not UTF-8 text: {error.reason} at byte {error.start}") from None


def read_yaml(path: Path) -> Any:
    """Plain data of one YAML document. Raises InputError naming line and column."""
    text = read_text(path)
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  it derives from the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}: line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        raise InputError([Fault(place, error.problem or "is not YAML")]) from None
    except yaml.YAMLError as error:
        raise InputError.one(str(path), f"is not YAML: {error}") from None
    except RecursionError:
        raise InputError.one(str(path), "is nested too deeply") from None


def read_json(path: Path) -> Any:
    """Plain data of a resolved site. Raises InputError naming line and column, or the name that stands twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(pairs)
        if len(data) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError.one(str(path), f"{twice!r} stands twice in one object")
        return data

    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise InputError([Fault(f"{path}: line {error.lineno}, column {error.colno}", error.msg)]) from None
    except (RecursionError, ValueError) as error:
        raise InputError.one(str(path), f"cannot be read as JSON: {error}") from None
