"""Sums of floats that are the same in every version of Python."""

from collections.abc import Iterable
from functools import reduce
from operator import add


def sum_in_order(values: Iterable[float]) -> float:
    """The values added from left to right, each addition rounded.

    Since Python 3.12 the built-in ``sum`` of floats carries a correction along: its last digit may be another one than
    in 3.11, and so is all of a day that follows from it.
    """
    return reduce(add, values, 0.0)
