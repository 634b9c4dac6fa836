"""The numbers of the caps of what vehicles give back: one account per store and kind of cap, step by step."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.ems.problem import Problem, Stay

Array = NDArray[np.float64]
SESSION, DAY = "session", "day"
CAPS = (SESSION, DAY)


class PlacedStay(Protocol):
    """A stay with the first and the last step in which it has a part."""

    @property
    def stay(self) -> Stay: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


@dataclass(slots=True)
class _Period:
    """Steps that share a cap."""

    key: tuple[str, datetime]
    first: int
    last: int
    kwh: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """``refill_kwh`` comes to the account at the start of a step, ``most_kwh`` is in it at its end. Shapes (steps,)."""

    refill_kwh: Array
    most_kwh: Array
    holds: NDArray[np.bool_]


def allowances_of(placed: Iterable[PlacedStay], problem: Problem) -> dict[str, Allowance]:
    """By kind of cap, those that the stays of one slot have, in the order of their arrival."""
    placed = list(placed)
    periods = {SESSION: list(_sessions(placed)), DAY: _days(placed, problem)}
    return {kind: _allowance(found, problem.steps) for kind, found in periods.items() if found}


def _sessions(placed: Iterable[PlacedStay]) -> Iterator[_Period]:
    for place in placed:
        if place.stay.discharge_kwh < math.inf:
            key = (place.stay.vehicle, place.stay.departure)
            yield _Period(key, place.first, place.last, place.stay.discharge_kwh)


def _days(placed: Iterable[PlacedStay], problem: Problem) -> list[_Period]:
    """A vehicle that comes again on the same day goes on with what its first stay has left."""
    found: list[_Period] = []
    for place in placed:
        first = place.first
        for day in place.stay.discharge_days:
            seconds = (day.end - problem.start).total_seconds()
            last = min(math.ceil(seconds / problem.step_s) - 1, place.last)
            if last < first:
                continue
            key = (place.stay.vehicle, day.end)
            if found and place.stay.vehicle and found[-1].key == key:
                found[-1].last = last
            else:
                found.append(_Period(key, first, last, day.kwh))
            first = last + 1
    return found


def _allowance(periods: Iterable[_Period], steps: int) -> Allowance:
    """At the end of a period its account is closed: what is left may not be used in the next one."""
    refill, most = np.zeros((2, steps))
    holds = np.zeros(steps, dtype=np.bool_)
    for period in periods:
        refill[period.first] = period.kwh
        most[period.first : period.last] = period.kwh
        holds[period.first : period.last + 1] = True
    return Allowance(refill, most, holds)


def least_left_kwh(allowances: Iterable[Allowance]) -> float:
    """What may be given in the first step; infinite without a cap there."""
    return min((float(each.refill_kwh[0]) for each in allowances if each.holds[0]), default=math.inf)
