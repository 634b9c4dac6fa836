"""A dataclass as plain values."""

from dataclasses import fields
from typing import Any


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, as they are: ``dataclasses.asdict`` copies each, which up to Python 3.11 takes
    ten times as long."""
    return {field.name: getattr(value, field.name) for field in fields(value)}
