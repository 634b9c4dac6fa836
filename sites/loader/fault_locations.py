"""Faults of the site's models, by the path that the user wrote, with what is allowed in words."""

import types
from collections.abc import Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from schemas.errors import Code, shorten
from schemas.topics import SITE_PATTERN
from sites.loader.nearest import did_you_mean
from sites.loader.places import Finding, Path_

TAGS = ("kind", "type")
"""Fields that tell the members of a union apart; pydantic puts their value into the path of a fault."""

PATTERNS = {
    SITE_PATTERN: "small letters a-z, digits and hyphens, 31 at most",
    r"[a-z0-9-]{1,31}": "small letters a-z, digits and hyphens, 31 at most",
    r"[a-z0-9_]{1,64}": "small letters a-z, digits and underscores, 64 at most",
}
"""The characters of names, in words."""


def findings(error: ValidationError, data: Any, model: Any, below: Path_ = ()) -> list[Finding]:
    """The faults of validating ``data`` as ``model``. ``below``: path of ``data`` in what the user wrote."""
    found = []
    for item in error.errors(include_url=False):
        path, kind = list(_as_written(item["loc"], data)), item["type"]
        received: str | None = shorten(item["input"])
        what = item["msg"].removeprefix("Value error, ")
        if kind == "missing":
            what, received = "is missing", None
        elif kind == "extra_forbidden":
            what = unknown_field(str(item["loc"][-1]), _fields(model, item["loc"][:-1]))
        elif kind in {"union_tag_not_found", "union_tag_invalid"}:
            tag = str(item["ctx"]["discriminator"]).strip("'")
            path.append(tag)
            given = item["input"].get(tag) if isinstance(item["input"], dict) else None
            received = None if given is None else shorten(given)
            allowed_tags = item["ctx"].get("expected_tags") or ", ".join(map(repr, _tags(model, item["loc"])))
            what = f"{'is missing' if given is None else 'is unknown'}; allowed are {allowed_tags}"
        elif kind == "string_pattern_mismatch":
            what = pattern_words(str(item["ctx"]["pattern"]), what)
        elif kind == "value_error" and isinstance(item["input"], dict):
            received = None  # The message names the values; the whole part would only hide them.
        elif kind in {"model_type", "dict_type", "model_attributes_type"}:
            what = "should be a group of fields"
        found.append(Finding((*below, *path), what, received, code=_code(kind, missing=received is None)))
    return found


_RANGES = ("greater_than", "less_than", "too_long", "too_short", "finite_number", "string_too")


def _code(kind: str, *, missing: bool) -> Code:
    if kind == "missing" or (kind == "union_tag_not_found" and missing):
        return Code.MISSING
    if kind in {"extra_forbidden", "union_tag_invalid"}:
        return Code.UNKNOWN
    if kind == "value_error" and missing:
        return Code.CONFLICT
    return Code.RANGE if kind.startswith(_RANGES) or kind.endswith(_RANGES) else Code.INVALID


def unknown_field(name: str, allowed: Sequence[str]) -> str:
    near = did_you_mean(name, allowed)
    return f"unknown field{near}" if near or not allowed else f"unknown field; there are {', '.join(allowed)}"


def pattern_words(pattern: str, otherwise: str) -> str:
    words = PATTERNS.get(pattern.removeprefix("^").removesuffix("$"))
    return otherwise if words is None else f"is no name that is allowed: {words}"


def _as_written(location: tuple[int | str, ...], data: Any) -> "list[int | str]":
    """A fault's location without the tags of unions and the mark of a dictionary's key."""
    path: list[int | str] = []
    skipped = False
    for place, part in enumerate(location):
        if part == "[key]":
            continue
        is_tag = isinstance(data, dict) and part in [data.get(tag) for tag in TAGS]
        if is_tag and not skipped and (place + 1 < len(location) or part not in data):
            skipped = True
            continue
        skipped = False
        path.append(part)
        if (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        ):
            data = data[part]  # type: ignore[index]
        else:
            data = None
    return path


def _options(annotation: Any) -> list[Any]:
    """The types that an annotation allows, without None."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in {Union, types.UnionType}:
        return [option for part in get_args(annotation) if part is not type(None) for option in _options(part)]
    return [annotation]


def _descend(options: list[Any], part: int | str) -> list[Any]:
    found = []
    for option in options:
        if isinstance(option, type) and issubclass(option, BaseModel):
            if part in [field.default for name, field in option.model_fields.items() if name in TAGS]:
                return [option]
            if part in option.model_fields:
                found += _options(option.model_fields[str(part)].annotation)
        elif get_origin(option) in {dict, tuple}:
            found += _options(get_args(option)[1 if get_origin(option) is dict else 0])
    return found


def _at(model: Any, location: Sequence[int | str]) -> list[Any]:
    options = _options(model)
    for part in location:
        options = _descend(options, part)
    return [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]


def _fields(model: Any, location: Sequence[int | str]) -> list[str]:
    return [name for option in _at(model, location) for name in option.model_fields]


def _tags(model: Any, location: Sequence[int | str]) -> list[str]:
    return [
        field.default for option in _at(model, location) for name, field in option.model_fields.items() if name in TAGS
    ]
