"""One part of a site against its model, strictly, as it would be read from JSON."""

from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from sites.loader.fault_locations import findings
from sites.loader.places import Finding, Path_

INVALID: Any = object()
"""Stands for a part that has faults."""


@cache
def adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


@cache
def field_types(model: type[BaseModel]) -> dict[str, Any]:
    """By field its type with all that restricts it."""
    return {
        name: Annotated[(info.annotation, *info.metadata)]
        if info.metadata and info.discriminator is None
        else (info.annotation if info.discriminator is None else Annotated[info.annotation, info])
        for name, info in model.model_fields.items()
    }


def validated(model: Any, data: Any, path: Path_) -> tuple[Any, list[Finding]]:
    """The part, or `INVALID` and its faults."""
    try:
        return adapter(model).validate_json(to_json(data, inf_nan_mode="constants"), strict=True), []
    except ValidationError as error:
        return INVALID, findings(error, data, model, path)
