"""What a feed delivered: values on a regular grid, with holes where there are none."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from schemas.site import IntervalLabel, TimeProfile

MAX_VALUES = 40_000
"""A year of quarter-hours, and some."""
LEAST_STEP_S, MOST_STEP_S = 60, 86_400


class BadAnswerError(Exception):
    """An answer that has no values that can be used; its text says why."""


@dataclass(frozen=True)
class Reading:
    """``values[i]`` is labelled ``start + i·step_s``; None: a hole."""

    start: datetime
    step_s: int
    values: tuple[float | None, ...]
    interval_label: IntervalLabel | None

    @property
    def holes(self) -> tuple[datetime, ...]:
        step = timedelta(seconds=self.step_s)
        return tuple(self.start + i * step for i, value in enumerate(self.values) if value is None)

    def profile(self, origin: str) -> tuple[TimeProfile, int]:
        """As a profile, and how many holes had to be filled: with the value of a day before, else of a day after,
        else with the one before."""
        values = list(self.values)
        day = 86_400 // self.step_s
        filled = 0
        for i, value in enumerate(self.values):
            if value is None:
                filled += 1
                near = (values[j] for j in (i - day, i + day, i - 1) if 0 <= j < len(values))
                values[i] = next((known for known in near if known is not None), None)
        first = next(value for value in values if value is not None)
        complete = tuple(first if value is None else value for value in values)
        profile = TimeProfile(
            start=self.start,
            step_s=self.step_s,
            values=complete,
            interval_label=self.interval_label,
            origin=origin,
        )
        return profile, filled


def reading_of(
    pairs: Iterable[tuple[datetime, float | None]], interval_label: IntervalLabel | None, what: str
) -> Reading:
    """The reading of times and values in any order; of two values of one time the later one counts.

    The step is the least difference of times that comes often: a source may pass from hours to quarter-hours, and then
    an hour's value holds in each of its quarters. Raises BadAnswerError. ``what``: the source, for its text.
    """
    found = dict(pairs)
    times = sorted(time for time, value in found.items() if value is not None)
    if len(times) < 2:
        raise BadAnswerError(f"{what} has {len(times)} values, too few to know their step")
    if len(found) > MAX_VALUES:
        raise BadAnswerError(f"{what} has {len(found)} values, and at most {MAX_VALUES} are taken")
    for time in times:
        value = found[time]
        assert value is not None
        if not math.isfinite(value) or abs(value) > 1e6:
            raise BadAnswerError(f"{what} has the value {value:g} at {time.isoformat()}")
    steps = _steps(times)
    step_s = min(steps.values())
    if not LEAST_STEP_S <= step_s <= MOST_STEP_S:
        raise BadAnswerError(f"{what} has values every {step_s} s; {LEAST_STEP_S} to {MOST_STEP_S} s are allowed")
    start = times[0]
    count = int((times[-1] - start).total_seconds() + steps[times[-1].date()]) // step_s
    if count > MAX_VALUES:
        raise BadAnswerError(f"{what} spans {count} steps of {step_s} s, and at most {MAX_VALUES} are taken")
    values: list[float | None] = [None] * count
    for time in times:
        offset = (time - start).total_seconds()
        if offset % step_s:
            raise BadAnswerError(f"{what} has a value at {time.isoformat()}, off its steps of {step_s} s")
        begin = int(offset // step_s)
        for i in range(begin, min(begin + steps[time.date()] // step_s, count)):
            values[i] = found[time]
    return Reading(start, step_s, tuple(values), interval_label)


def _steps(times: list[datetime]) -> dict[object, int]:
    """By day of UTC the step of its values [s]: the most frequent difference to the next one."""
    by_day: dict[object, Counter[int]] = {}
    for time, following in pairwise(times):
        by_day.setdefault(time.date(), Counter())[int((following - time).total_seconds())] += 1
    overall = Counter[int]()
    for counts in by_day.values():
        overall += counts
    usual = overall.most_common(1)[0][0]
    by_day.setdefault(times[-1].date(), Counter())
    return {day: (counts.most_common(1)[0][0] if counts.total() > 1 else usual) for day, counts in by_day.items()}
