"""Payloads that nobody would send: values, names and bytes of sound messages are others; deep, large, none at all."""

import json
import random
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from schemas.wire import MAX_PAYLOAD_BYTES

VALUES = [
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e308", "-1e308", "22500", "-22500", "-0.0", "1e-320"),
    *("null", "true", '"5"', "[]", "{}", "[[[[]]]]", '"\\u0000"', '"2260-01-01T00:00:00Z"', '"1970-01-01T00:00:00Z"'),
    *(str(2**53), str(2**64), str(-1), "0", "1", '"idle"', '"hold"', '"full"', '"' + "x" * 500 + '"'),
]


NUMBERS = (0, -0.0, 1, -1, 1e-9, 0.5, 100, 1e3, -1e3, 22_500, 5e5, 1e6, -1e6, 2**53, 1e300, -1e300)
WORDS = ("ev1", "ems", "idle", "hold", "full", "offline", "fault", "pcc", "load", "x", "x" * 64, "\u0000", "💡", "")
DAYS = (-20_000, -1, -0.04, 0, 0.04, 1, 3, 80_000)
"""From now on, of a time."""
MONSTERS = (
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"x" * MAX_PAYLOAD_BYTES,
    b"x" * 2**20,
    b"\xff\xfe\x00" * 100,
    b"",
    b"null",
)


def bent(message: Mapping[str, Any], chance: random.Random, now: datetime) -> bytes:
    """The message with up to four values that are others of their type, at any depth: its form is sound."""
    found = json.loads(json.dumps(message))
    leaves = list(_leaves(found))
    for holder, key in chance.sample(leaves, min(len(leaves), chance.randint(1, 4))):
        value = holder[key]
        if isinstance(value, bool):
            holder[key] = not value
        elif isinstance(value, int | float):
            number = chance.choice((*NUMBERS, -value, 1000 * value))
            holder[key] = int(number) if isinstance(value, int) and abs(number) < 2**63 else number
        elif isinstance(value, str) and value.endswith("Z") and value[:2] == "20":
            time = now + timedelta(days=chance.choice(DAYS))
            holder[key] = time.isoformat().replace("+00:00", "Z")
        elif isinstance(value, str) and key not in ("run", "boot", "contract"):
            holder[key] = chance.choice(WORDS)
    return json.dumps(found).encode()


def _leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where each value that holds no others stands: what holds it, and its name or place there."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(inner, dict | list):
            yield from _leaves(inner)
        else:
            yield value, key


def spoilt(message: Mapping[str, Any], chance: random.Random, *, favoured: str | None = None) -> bytes:
    """The message with up to three fields that are others, and now and then bytes. ``favoured``: often this field."""
    fields = {name: json.dumps(value) for name, value in message.items()}
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(list(fields))
        match chance.randrange(4):
            case 0:
                fields[name] = chance.choice(VALUES)
            case 1:
                fields[name + "x"] = fields.pop(name)
            case 2:
                fields["contract"] = chance.choice(VALUES)
            case _:
                fields[favoured or chance.choice(list(fields))] = chance.choice(VALUES)
    text = bytearray(("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode())
    if chance.random() < 0.3:
        for _ in range(chance.randint(1, 5)):
            text[chance.randrange(len(text))] = chance.randrange(256)
    return bytes(text)
