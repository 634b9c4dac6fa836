"""Lists of numbers on the command line: ``0,40,80``."""

import math

from schemas.errors import Code, InputError


def numbers_of(text: str, where: str) -> list[float]:
    """Not negative. Raises InputError."""
    found: list[float] = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise InputError.one(where, "numbers of 0 or more, such as 0,40,80, are allowed", text, code=Code.FORMAT)
        found.append(value)
    return found


def counts_of(text: str, where: str) -> list[int]:
    """Whole numbers. Raises InputError."""
    found = numbers_of(text, where)
    if any(value != int(value) for value in found):
        raise InputError.one(where, "whole numbers such as 0,2,4 are allowed", text, code=Code.FORMAT)
    return [int(value) for value in found]
