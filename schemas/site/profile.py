"""Profiles of a site: values that are constant within each quarter-hour."""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Annotated, Literal, Protocol, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from schemas.site.base import SitePart
from schemas.units import UtcTime

ProfileName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
ProfileValues = Annotated[
    tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...], Field(min_length=1, max_length=400_000, strict=False)
]


QUARTER = timedelta(minutes=15)


class DayName(StrEnum):
    """Days that may differ from the typical one. A holiday goes before its weekday, a weekday before the weekend."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"
    WEEKEND = "weekend"
    HOLIDAY = "holiday"


_WEEK = tuple(DayName)[:7]


class DayProfile(SitePart):
    """A typical day by the local clock: equal steps from 00:00, repeated every day that has no variant.

    On the day that begins summer time the values of the hour that does not exist are skipped; on the day that ends
    it those of the hour that exists twice hold twice.
    """

    type: Literal["day"] = "day"
    values: ProfileValues
    variants: dict[DayName, ProfileValues] = Field(default_factory=dict)
    """Values of other days, as many as of the typical one."""
    holidays: tuple[date, ...] = ()
    """Local days on which the variant of holidays holds; of every year that is known at least one."""

    @model_validator(mode="after")
    def _divides_the_day(self) -> Self:
        count = len(self.values)
        if 86_400 % count or (3600 % self.step_s and self.step_s % 3600):
            raise ValueError(
                f"{count} values do not divide a day into whole hours, or its hours into equal seconds; "
                "values of certain dates are of type time, with their time_column"
            )
        for name, values in self.variants.items():
            if len(values) != count:
                raise ValueError(f"the variant {name} has {len(values)} values and the typical day {count}")
        return self

    @property
    def step_s(self) -> int:
        return 86_400 // len(self.values)

    @cached_property
    def _holidays(self) -> frozenset[date]:
        return frozenset(self.holidays)

    def on(self, day: date) -> tuple[float, ...]:
        """The values of a local day."""
        if not self.variants:
            return self.values
        names = [DayName.HOLIDAY] if day in self._holidays else []
        names += [_WEEK[day.weekday()], *([DayName.WEEKEND] if day.weekday() >= _WEEK.index(DayName.SATURDAY) else [])]
        return next((self.variants[name] for name in names if name in self.variants), self.values)

    def at(self, time: datetime, zone: ZoneInfo) -> float:
        local = time.astimezone(zone)
        second = local.hour * 3600 + local.minute * 60 + local.second
        values = self.on(local.date())
        return values[second * len(values) // 86_400]

    def next_change(self, time: datetime, zone: ZoneInfo) -> datetime:
        """The next instant after ``time`` at which the value may change."""
        local = time.astimezone(zone)
        into = timedelta(
            seconds=(local.hour * 3600 + local.minute * 60 + local.second) % self.step_s, microseconds=local.microsecond
        )
        end = time + timedelta(seconds=self.step_s) - into
        if end.astimezone(zone).utcoffset() == local.utcoffset():
            return end
        # The clocks change before the step is over, and they do so at a whole quarter-hour of UTC.
        return min(end, next_quarter(time))


class IntervalLabel(StrEnum):
    """The meaning of a value's time.

    The words are those of the Solar Forecast Arbiter's ``interval_label`` (instant, beginning, ending).
    """

    INSTANT = "instant"
    """The value is of that instant: PVGIS, most reanalyses, spot readings."""
    INTERVAL_START = "interval_start"
    """The value is the mean of the step that begins then."""
    INTERVAL_END = "interval_end"
    """The value is the mean of the step that ends then: many loggers and weather services."""


class TimeProfile(SitePart):
    """Values by time: ``values[i]`` is labelled ``start + i·step_s`` and holds in the step that begins there.

    With the label ``interval_end`` it holds in the step that ends there. Instants are for weather alone, see
    `Irradiance`.
    """

    type: Literal["time"] = "time"
    start: UtcTime
    """The first label."""
    step_s: Annotated[int, Field(gt=0, le=86_400)]
    values: ProfileValues
    interval_label: IntervalLabel | None = None
    """None: not said; the values hold as with ``interval_start``. Weather has to say it."""
    origin: str = ""
    """File and column that the values were read from, for who reads a fault; empty: they were given in place."""

    @property
    def first_interval(self) -> datetime:
        """Start of the step in which the first value holds."""
        return self._before if self.interval_label is IntervalLabel.INTERVAL_END else self.start

    @property
    def begin(self) -> datetime:
        """From then on values are known. One of an instant is known for a step before and after it."""
        return self._before if self.interval_label is IntervalLabel.INSTANT else self.first_interval

    @property
    def end(self) -> datetime:
        """Until then values are known."""
        return self.first_interval + timedelta(seconds=self.step_s * len(self.values))

    @property
    def _before(self) -> datetime:
        return self.start - timedelta(seconds=self.step_s)

    def at(self, time: datetime, zone: ZoneInfo) -> float:
        """The first and the last value hold beyond the ends, so that a run may close at ``end`` exactly.

        That a run lies within its profiles is checked when the run is composed, with a clear error
        (`twinswarm.simulation.coverage`).
        """
        index = int((time - self.first_interval).total_seconds() // self.step_s)
        return self.values[min(max(index, 0), len(self.values) - 1)]

    def next_change(self, time: datetime, zone: ZoneInfo) -> datetime:
        index = (time - self.first_interval) // timedelta(seconds=self.step_s)
        return self.first_interval + timedelta(seconds=self.step_s * (index + 1))


Profile = Annotated[DayProfile | TimeProfile, Field(discriminator="type")]


class Stepwise(Protocol):
    """What has a value at every instant, and keeps it for a while: a profile, or a price that is made of one."""

    def at(self, time: datetime, zone: ZoneInfo) -> float: ...

    def next_change(self, time: datetime, zone: ZoneInfo) -> datetime:
        """The next instant after ``time`` at which the value may change."""
        ...


def profile_mean(
    profile: Stepwise,
    start: datetime,
    end: datetime,
    zone: ZoneInfo,
    value_of: Callable[[float], float] = lambda value: value,
) -> float:
    """Mean of the profile over [start, end), each of its values changed by ``value_of`` before.

    The value itself, to the last bit, where it is constant. So a profile's energy does not depend on the steps in
    which it is read.
    """
    if profile.next_change(start, zone) >= end:
        return value_of(profile.at(start, zone))
    pieces: list[tuple[float, float]] = []
    time = start
    while time < end:
        until = min(profile.next_change(time, zone), end)
        pieces.append((value_of(profile.at(time, zone)), (until - time).total_seconds()))
        time = until
    if all(value == pieces[0][0] for value, _ in pieces):
        return pieces[0][0]
    return math.fsum(value * seconds for value, seconds in pieces) / (end - start).total_seconds()


def next_quarter(time: datetime) -> datetime:
    """The next whole quarter-hour after ``time``, of UTC and of every zone's clock."""
    return time + QUARTER - timedelta(seconds=time.timestamp() % QUARTER.total_seconds())


def day_start(time: datetime, zone: ZoneInfo) -> datetime:
    """Local midnight at or before ``time``, in UTC."""
    return time.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)


@lru_cache(maxsize=64)  # asked for in every phase of a step
def step_start(time: datetime, step: timedelta, zone: ZoneInfo) -> datetime:
    """Start of the step that contains ``time``. Steps are counted from local midnight, in UTC.

    In zones at a half or a quarter of an hour from UTC, such as Asia/Kolkata, those counted from UTC would lie across
    every midnight, price and profile.
    """
    midnight = day_start(time, zone)
    return midnight + (time - midnight) // step * step


def month_after(day: date) -> date:
    """The first day of the month after that of ``day``."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def next_midnight(time: datetime, zone: ZoneInfo) -> datetime:
    """Local midnight after ``time``, 23, 24 or 25 hours after the one before, in UTC."""
    day = time.astimezone(zone).date() + timedelta(days=1)
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
