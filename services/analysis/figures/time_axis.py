"""Time axes: hours with the local clock for runs of days, local days for longer ones."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Protocol
from zoneinfo import ZoneInfo

from matplotlib.axes import Axes

_HOUR = timedelta(hours=1)
_MOST_LABELS = 12


class TimeAxis(Protocol):
    """The horizontal axis of a panel."""

    edges: list[float]

    def apply(self, axes: Axes, *, labelled: bool) -> None:
        """Sets limits and ticks; their labels only where ``labelled``."""
        ...


class Period(Protocol):
    """A settlement period, or another piece of time that values hold in."""

    @property
    def time(self) -> datetime: ...

    @property
    def length_s(self) -> float: ...


class ClockAxis:
    """Hours since the start, labelled with the local clock, so that days of 23 and 25 hours are drawn as they are."""

    def __init__(self, quarters: Sequence[Period], zone: str) -> None:
        self.zone = ZoneInfo(zone)
        self.start = quarters[0].time
        last = quarters[-1]
        self.end = last.time + timedelta(seconds=last.length_s)
        self.edges = [self._hours(q.time) for q in quarters] + [self._hours(self.end)]

    def _hours(self, time: datetime) -> float:
        return (time - self.start) / _HOUR

    def apply(self, axes: Axes, *, labelled: bool) -> None:
        length = (self.end - self.start) / _HOUR
        every = next((hours for hours in (1, 2, 3, 6, 12) if length / hours <= _MOST_LABELS + 1), None)
        ticks, labels = self._days() if every is None else self._clock(every)
        axes.set_xticks(ticks, labels if labelled else [""] * len(ticks))
        axes.set_xlim(self.edges[0], self.edges[-1])
        if labelled:
            axes.set_xlabel(f"local time ({self.zone.key}), {_period(self.start, self.end, self.zone)}")

    def _clock(self, every: int) -> tuple[list[float], list[str]]:
        ticks, labels = [], []
        time = self.start.replace(minute=0, second=0, microsecond=0)
        while time <= self.end:
            clock = time.astimezone(self.zone)
            # The hour that exists twice is labelled once: two labels would lie on one another.
            if time >= self.start and clock.hour % every == 0 and clock.minute == 0 and not clock.fold:
                ticks.append(self._hours(time))
                end_of_day = clock.hour == 0 and time == self.end
                labels.append("24:00" if end_of_day else f"{clock:%H:%M}")
            time += timedelta(minutes=30)
        return ticks, labels

    def _days(self) -> tuple[list[float], list[str]]:
        ticks, labels = [], []
        day = self.start.astimezone(self.zone).date()
        while (midnight := datetime(day.year, day.month, day.day, tzinfo=self.zone)) <= self.end:
            if midnight >= self.start:
                ticks.append(self._hours(midnight))
                labels.append(f"{day:%d.%m.}")
            day += timedelta(days=1)
        return ticks, labels


class DayAxis:
    """Local days, each as wide as the others; a label is below the middle of its day."""

    def __init__(self, quarters: Sequence[Period], zone: str) -> None:
        self.zone = ZoneInfo(zone)
        self.start = quarters[0].time
        self.end = quarters[-1].time + timedelta(seconds=quarters[-1].length_s)
        self.first = self.start.astimezone(self.zone).date()
        self.rows = round(24 * _HOUR / timedelta(seconds=quarters[0].length_s))
        self.days = (quarters[-1].time.astimezone(self.zone).date() - self.first).days + 1
        self.edges = [float(day) for day in range(self.days + 1)]
        self.cells = [self._cell(quarter.time) for quarter in quarters]
        """Of each quarter: its day times ``rows`` plus its place in the local day."""

    @property
    def clock_changes(self) -> bool:
        return self.start.astimezone(self.zone).utcoffset() != self.end.astimezone(self.zone).utcoffset()

    def _cell(self, time: datetime) -> int:
        clock = time.astimezone(self.zone)
        minutes = clock.hour * 60 + clock.minute
        return (clock.date() - self.first).days * self.rows + minutes * self.rows // (24 * 60)

    def apply(self, axes: Axes, *, labelled: bool) -> None:
        self.ticks(axes, _MOST_LABELS, labelled=labelled)
        axes.set_xlim(0, self.days)
        if labelled:
            axes.set_xlabel(f"local day ({self.zone.key}), {_period(self.start, self.end, self.zone)}")

    def ticks(self, axes: Axes, most: int, *, labelled: bool) -> None:
        """At most ``most`` days with a tick; the first of months, where that gives half as many or more."""
        firsts = [day for day in range(self.days) if (self.first + timedelta(days=day)).day == 1]
        marked = firsts if 2 * len(firsts) >= most else range(self.days)
        days = marked[:: ceil(len(marked) / most)]
        labels = [f"{self.first + timedelta(days=day):%d.%m.}" if labelled else "" for day in days]
        axes.set_xticks([day + 0.5 for day in days], labels)


def _period(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    first = start.astimezone(zone).date()
    last = (end - timedelta(seconds=1)).astimezone(zone).date()
    return f"{first}" if first == last else f"{first} to {last}"
