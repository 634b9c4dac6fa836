"""Faults of the site's models, told by the path that the user wrote."""

import types
from collections.abc import Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from schemas.errors import Fault, shorten
from sites.loader.nearest import did_you_mean

TAGS = ("kind", "type")
"""Fields that tell the members of a union apart; pydantic puts their value into the path of a fault."""


def faults_in(
    error: ValidationError, data: Any, model: Any, where: str, below: Sequence[str | int] = ()
) -> list[Fault]:
    """The faults of validating ``data`` as ``model``, each at ``where`` and its field's path.

    ``below``: path of ``data`` in what the user wrote.
    """
    found = []
    for item in error.errors(include_url=False):
        path, kind = list(_as_written(item["loc"], data)), item["type"]
        received: str | None = shorten(item["input"])
        what = item["msg"].removeprefix("Value error, ")
        if kind == "missing":
            what, received = "is missing", None
        elif kind == "extra_forbidden":
            allowed = _fields(model, item["loc"][:-1])
            what, received = f"unknown field{did_you_mean(str(item['loc'][-1]), allowed)}", shorten(item["input"])
        elif kind in {"union_tag_not_found", "union_tag_invalid"}:
            tag = str(item["ctx"]["discriminator"]).strip("'")
            path.append(tag)
            given = item["input"].get(tag) if isinstance(item["input"], dict) else None
            received = None if given is None else shorten(given)
            allowed_tags = item["ctx"].get("expected_tags") or ", ".join(map(repr, _tags(model, item["loc"])))
            what = f"{'is missing' if given is None else 'is unknown'}; allowed are {allowed_tags}"
        elif kind == "value_error" and isinstance(item["input"], dict):
            received = None  # The message names the values; the whole part would only hide them.
        elif kind in {"model_type", "dict_type", "model_attributes_type"}:
            what = "should be a group of fields"
        found.append(Fault(place(where, [*below, *path]), what, received))
    return found


def place(where: str, path: Sequence[str | int]) -> str:
    """Where a field is: in which file or line, and its path there."""
    return f"{where}: {'.'.join(map(str, path))}" if path else where


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
