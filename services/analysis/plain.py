"""Values of results in the types that JSON has."""

import dataclasses
from datetime import date, timedelta
from enum import Enum
from typing import Any


def to_json(value: object) -> Any:
    """For ``json.dumps``: times as ISO 8601, durations in seconds, floats as they are."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value.value if isinstance(value, Enum) else value
