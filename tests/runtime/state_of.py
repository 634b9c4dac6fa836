"""What an object holds, attribute by attribute, as one comparable value: to find what a snapshot forgot."""

from collections import deque
from collections.abc import Mapping, Set
from datetime import date, datetime, timedelta
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import BaseModel

_PLAIN = (str, bytes, int, float, bool, type(None), datetime, date, timedelta, Enum, ZoneInfo, range)
_CODE = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, type)


def state_of(value: Any, without: Set[str] = frozenset(), depth: int = 0) -> Any:
    """Nested dictionaries and lists down to plain values, floats by their bits, ``without`` some attributes."""
    assert depth < 30, "an object that holds itself"
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, _CODE):
        return "code"
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.tobytes().hex()]
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    if isinstance(value, Mapping):
        return {repr(key): state_of(each, without, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | deque):
        return [state_of(each, without, depth + 1) for each in value]
    if isinstance(value, Set):
        return sorted(repr(each) for each in value)
    return {
        name: state_of(each, without, depth + 1) for name, each in attributes_of(value).items() if name not in without
    }


def attributes_of(value: Any) -> dict[str, Any]:
    names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    found = {name: getattr(value, name) for name in names if hasattr(value, name)}
    return found | dict(getattr(value, "__dict__", {}))


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Paths of what differs between two of these values."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = [*one, *(name for name in other if name not in one)]
        return [
            found
            for name in names
            for found in differences(one.get(name), other.get(name), f"{path}.{name}".strip("."))
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = zip(one, other, strict=True)
        return [found for i, (a, b) in enumerate(pairs) for found in differences(a, b, f"{path}[{i}]")]
    return [] if one == other else [path]
