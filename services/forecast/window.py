"""The window that a series message covers: some local days from midnight on, in the run's steps."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.errors import Code, InputError
from schemas.messages import Series
from schemas.site import EmsOptions, Horizon, Profile, Stepwise, TimeProfile, day_start, next_midnight, profile_mean
from schemas.wire import MAX_PAYLOAD_BYTES

QUARTER_S = 900
STAMP_BYTES = 512
"""More than the stamp's fields ever take on the wire."""


@dataclass(frozen=True)
class Window:
    """[start, end): both local midnights, a whole number of steps apart, as steps divide the hour."""

    start: datetime
    end: datetime
    step_s: int
    zone: ZoneInfo

    @classmethod
    def of_days(cls, time: datetime, days: int, step_s: int, zone: ZoneInfo) -> "Window":
        """The local day of ``time`` and the following ones: 92, 96 or 100 quarter-hours each."""
        end = start = day_start(time, zone)
        for _ in range(days):
            end = next_midnight(end, zone)
        return cls(start, end, step_s, zone)

    @property
    def steps(self) -> Iterator[datetime]:
        step, time = timedelta(seconds=self.step_s), self.start
        while time < self.end:
            yield time
            time += step

    def means(self, value_at: Callable[[datetime], float]) -> tuple[float, ...]:
        """The mean of each step, of a function that is constant within each step or quarter-hour.

        Both count their steps from local midnight. A step that divides the quarter-hour has one sample, the value
        itself.
        """
        samples = [timedelta(seconds=s) for s in range(0, self.step_s, math.gcd(self.step_s, QUARTER_S))]
        return tuple(math.fsum(value_at(step + s) for s in samples) / len(samples) for step in self.steps)

    def profile(self, profile: Profile) -> "tuple[datetime, tuple[float, ...]] | None":
        """Start and step means of a profile within the window, as far as it is known; None if it is known nowhere."""
        known = self.known(profile)
        return None if known is None else (known.start, known.step_means(profile))

    def known(self, profile: Profile) -> "Window | None":
        """The part of the window that a profile covers."""
        return self.within(profile.begin, profile.end) if isinstance(profile, TimeProfile) else self

    def step_means(self, values: Stepwise) -> tuple[float, ...]:
        step = timedelta(seconds=self.step_s)
        return tuple(profile_mean(values, time, time + step, self.zone) for time in self.steps)

    def within(self, start: datetime, end: datetime) -> "Window | None":
        """The whole steps of this window that lie in [start, end); None if there are none."""
        step = timedelta(seconds=self.step_s)
        skipped = max(-((self.start - start) // step), 0)
        first = self.start + skipped * step
        last = self.start + min((end - self.start) // step, (self.end - self.start) // step) * step
        return Window(first, last, self.step_s, self.zone) if first < last else None


def days_to_cover(ems: EmsOptions) -> int:
    """Three local days, or as many as the horizon reaches into from the day's last step, one of 23 hours among them."""
    if ems.horizon is Horizon.DAY:
        return 3
    return max(3, math.ceil((24 + ems.rolling_h) / 23))


def fitting(build: Callable[[int], Series], days: int, who: str) -> Series:
    """The series of as many days, at most ``days``, as one message of `MAX_PAYLOAD_BYTES` holds.

    Raises InputError when not even one day fits: the site has too many devices for one message.
    """
    size = 0
    for count in range(days, 0, -1):
        series = build(count)
        size = len(series.model_dump_json(exclude_none=True)) + STAMP_BYTES
        if size <= MAX_PAYLOAD_BYTES:
            return series
    raise InputError.one(
        who, f"one day's series take {size} bytes; a message has at most {MAX_PAYLOAD_BYTES}", code=Code.RANGE
    )
