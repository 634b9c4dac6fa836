"""Text of a site file to plain data, with the line of every field: YAML 1.2's core types, or JSON.

ruamel.yaml reads and composes; what it composes knows its lines. Values are made of it here, because its own
constructors guess beyond the core types (dates, base 60 with ``%YAML 1.1``) and take an anchor that contains itself
for nothing.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.errors import Code, Fault, InputError, shorten
from sites.loader.bounded import MAX_RESOLVED_BYTES, MAX_TEXT_BYTES, read_bytes
from sites.loader.places import Place

MAX_DEPTH = 64
"""Deepest nesting of groups and lists."""
MAX_VALUES = 500_000
"""Nodes of a description, every use of an anchor counted."""
MAX_DIGITS = 30

_TAG = "tag:yaml.org,2002:"
_CORE: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (f"{_TAG}{name}", re.compile(pattern))
    for name, pattern in (
        ("bool", r"true|True|TRUE|false|False|FALSE"),
        ("int", r"[-+]?[0-9]+"),
        ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        ("null", r"~|null|Null|NULL|"),
        ("merge", r"<<"),
    )
)
"""YAML 1.2, section 10.3.2, without octal and hexadecimal numbers; and merge keys, which 1.1 had."""

_VALUE: dict[str, Callable[[str], Any]] = {
    "bool": lambda text: text.lower() == "true",
    "int": int,
    # float() reads "inf" and "nan"; YAML writes them with a dot.
    "float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
    "null": lambda _: None,
    "str": str,
}


def decoded(raw: bytes, path: Path) -> str:
    """UTF-8 text without a byte order mark. Raises InputError naming line and byte."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        what = f"is not UTF-8 text: byte 0x{raw[error.start]:02X} at byte {error.start}; save it as UTF-8"
        raise InputError([Fault(f"{path}: line {line}", what, code=Code.FORMAT)]) from None


def read_yaml(path: Path) -> tuple[Any, Place]:
    """Plain data of one YAML document, and where everything stands. Raises InputError naming line and column."""
    from ruamel.yaml import YAML
    from ruamel.yaml.composer import MaxDepthExceededError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.nodes import ScalarNode
    from ruamel.yaml.resolver import VersionedResolver
    from ruamel.yaml.tag import Tag

    class CoreResolver(VersionedResolver):
        """Types of plain scalars, whatever version the document says it is of."""

        def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
            if kind is ScalarNode and implicit[0]:
                for tag, pattern in _CORE:
                    if pattern.fullmatch(value):
                        return Tag(suffix=tag)
                return self.DEFAULT_SCALAR_TAG
            return super().resolve(kind, value, (False, implicit[1]) if kind is ScalarNode else implicit)

    text = decoded(read_bytes(path, MAX_TEXT_BYTES), path)
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = CoreResolver
    yaml.max_depth = MAX_DEPTH
    try:
        return _Reader(path).read(yaml.compose(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}: line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        what = error.problem or "is not YAML"
        if isinstance(error, MaxDepthExceededError):
            what = f"is nested too deeply; {MAX_DEPTH} groups and lists within one another are allowed"
        raise InputError([Fault(place, what, code=Code.FORMAT)]) from None
    except YAMLError as error:
        raise InputError.one(str(path), f"is not YAML: {' '.join(str(error).split())}", code=Code.FORMAT) from None
    except RecursionError:
        raise InputError.one(str(path), "is nested too deeply", code=Code.FORMAT) from None


class _Reader:
    """Makes values and places of composed nodes. What an anchor names is made once, and counted at every use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made: dict[int, tuple[Any, Place, int]] = {}
        self._open: set[int] = set()

    def read(self, node: Any) -> tuple[Any, Place]:
        if node is None:
            return None, Place(self._path)
        data, place, _ = self._value(node)
        return data, Place(self._path, None, 0, None, place.parts)

    def _fault(self, node: Any, what: str, code: Code = Code.FORMAT) -> InputError:
        mark = node.start_mark
        return InputError([Fault(f"{self._path}: line {mark.line + 1}, column {mark.column + 1}", what, code=code)])

    def _value(self, node: Any) -> tuple[Any, Place, int]:
        if id(node) in self._made:
            return self._made[id(node)]
        if id(node) in self._open:
            raise self._fault(node, "contains itself by an anchor (found a recursive object)")
        self._open.add(id(node))
        data: Any
        parts: dict[str | int, Place] = {}
        size = 1
        tag = str(node.tag)
        if tag == f"{_TAG}map" and node.id == "mapping":
            data, size = self._mapping(node, parts)
        elif tag == f"{_TAG}seq" and node.id == "sequence":
            data = []
            for index, below in enumerate(node.value):
                value, parts[index], count = self._value(below)
                data.append(value)
                size += count
        elif node.id == "scalar" and tag.removeprefix(_TAG) in _VALUE:
            data = self._scalar(node, tag.removeprefix(_TAG))
        elif tag == f"{_TAG}merge":
            data = str(node.value)
        else:
            raise self._fault(node, f"the tag {tag!r} is not allowed")
        if size > MAX_VALUES:
            raise self._fault(
                node, f"is more than {MAX_VALUES} values, the most that is read, its anchors counted", Code.RANGE
            )
        self._open.discard(id(node))
        mark = node.start_mark
        made = data, Place(self._path, mark.line + 1, mark.column, None, parts or None), size
        self._made[id(node)] = made
        return made

    def _scalar(self, node: Any, kind: str) -> Any:
        text = str(node.value)
        if kind == "int" and len(text) > MAX_DIGITS:
            raise self._fault(node, f"a number of {len(text)} digits")
        try:
            value = _VALUE[kind](text)
        except ValueError:
            raise self._fault(node, f"{shorten(text)} is not of the type {kind!r} that its tag says") from None
        if kind == "str" and not text.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in text):
            raise self._fault(node, "holds half of a surrogate pair, which is no character")
        return value

    def _mapping(self, node: Any, parts: dict[str | int, Place]) -> tuple[dict[str, Any], int]:
        own: dict[str, tuple[Any, Place]] = {}
        merged: dict[str, Any] = {}
        size = 1
        for key, below in node.value:
            if str(key.tag) == f"{_TAG}merge":
                size += self._merge(below, merged, parts)
                continue
            if key.id != "scalar":
                raise self._fault(key, "a field's name is a word")
            name = str(key.value)
            if name in own:
                raise self._fault(key, f"{name!r} stands twice, first in line {own[name][1].line}", Code.DUPLICATE)
            value, place, count = self._value(below)
            mark = key.start_mark
            own[name] = value, Place(self._path, mark.line + 1, mark.column, None, place.parts)
            size += count
        for name, (_, place) in own.items():
            parts[name] = place
        return merged | {name: value for name, (value, _) in own.items()}, size

    def _merge(self, node: Any, merged: dict[str, Any], parts: dict[str | int, Place]) -> int:
        """Takes over the fields of one group or several; of a field that is in several the first counts."""
        size = 0
        for group in node.value if node.id == "sequence" else (node,):
            if group.id != "mapping":
                raise self._fault(group, "<< takes over the fields of a group, or of a list of groups")
            value, place, count = self._value(group)
            size += count
            for name, field in value.items():
                if name not in merged:
                    merged[name] = field
                    below = place.part(name)
                    if below is not None:
                        parts[name] = below
        return size


def read_json(path: Path) -> tuple[Any, Place]:
    """Plain data of a resolved site. Raises InputError naming line and column, or the name that stands twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(pairs)
        if len(data) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError.one(str(path), f"{twice!r} stands twice in one object", code=Code.DUPLICATE)
        return data

    text = decoded(read_bytes(path, MAX_RESOLVED_BYTES), path)
    try:
        return json.loads(text, object_pairs_hook=once), Place(path)
    except json.JSONDecodeError as error:
        raise InputError(
            [Fault(f"{path}: line {error.lineno}, column {error.colno}", error.msg, code=Code.FORMAT)]
        ) from None
    except (RecursionError, ValueError) as error:
        raise InputError.one(str(path), f"cannot be read as JSON: {error}", code=Code.FORMAT) from None
