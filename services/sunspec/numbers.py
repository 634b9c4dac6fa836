"""One point of a SunSpec model in its registers: types, and the numbers that mean that there is none."""

import math
import struct
from collections.abc import Sequence

from schemas.errors import TwinswarmError

Number = int | float
Value = Number | str

_BITS = {"16": 1, "32": 2, "64": 4}
_SIGNED = {"int16", "int32", "int64", "sunssf"}
_UNSIGNED = {"uint16", "uint32", "uint64", "enum16", "enum32", "bitfield16", "bitfield32", "bitfield64", "count"}
_ACCUMULATED = {"acc16", "acc32", "acc64"}
_FLOATS = {"float32": ">f", "float64": ">d"}
NUMBERS = _SIGNED | _UNSIGNED | _ACCUMULATED | set(_FLOATS)
"""Types that are numbers. The others are text, padding and addresses of networks."""


class SunspecError(TwinswarmError):
    """What a device offers is not SunSpec, or cannot be read or written as it says; the text says where and why."""


def decode(type_: str, registers: Sequence[int]) -> Value | None:
    """The number or text in the registers; None: not implemented. The scale factor is not in it yet."""
    data = struct.pack(f">{len(registers)}H", *registers)
    if type_ == "string":
        return data.split(b"\0", 1)[0].decode("utf-8", "replace").strip() or None
    if type_ in _FLOATS:
        (number,) = struct.unpack(_FLOATS[type_], data)
        return number if math.isfinite(number) else None
    if type_ not in NUMBERS:
        return None
    raw = int.from_bytes(data, "big", signed=type_ in _SIGNED)
    return None if raw == _absent(type_, len(registers)) else raw


def encode(type_: str, size: int, value: Value | None) -> list[int]:
    """The registers of a number without its scale factor, or of a text; None: not implemented. Raises SunspecError."""
    if type_ == "string":
        data = ("" if value is None else str(value)).encode()[: 2 * size].ljust(2 * size, b"\0")
    elif type_ in _FLOATS:
        data = struct.pack(_FLOATS[type_], math.nan if value is None else value)
    elif type_ not in NUMBERS:
        data = bytes(2 * size)
    else:
        data = _integer(type_, size, value)
    return list(struct.unpack(f">{size}H", data))


def _integer(type_: str, size: int, value: Value | None) -> bytes:
    absent = _absent(type_, size)
    number = absent if value is None else round(value) if isinstance(value, float) else int(value)
    if type_ in _ACCUMULATED:
        number %= 1 << (16 * size)  # counters begin anew when they are full
    try:
        data = number.to_bytes(2 * size, "big", signed=type_ in _SIGNED)
    except OverflowError:
        raise SunspecError(f"{number} does not fit into {type_}") from None
    if value is not None and number == absent and type_ not in _ACCUMULATED:
        raise SunspecError(f"{number} means in {type_} that there is none")
    return data


def _absent(type_: str, size: int) -> int:
    if type_ in _ACCUMULATED:
        return 0
    bits = 16 * size
    return -(1 << (bits - 1)) if type_ in _SIGNED else (1 << bits) - 1
