"""The window of a plan: its steps, counted from local midnight as prices and forecasts are."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.participant import Turn
from schemas.site import Horizon, Site, month_after, next_midnight, step_start
from services.ems.problem import Values
from services.ems.stores import Array


@dataclass(frozen=True, slots=True)
class Window:
    start: datetime
    step_s: int
    steps: int

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.step_s * self.steps)

    def at(self, step: int) -> datetime:
        return self.start + timedelta(seconds=self.step_s * step)


def window_start(time: datetime, step_s: int, zone: ZoneInfo) -> datetime:
    """Start of the step that contains ``time``, counted from local midnight as prices and forecasts are."""
    return step_start(time, timedelta(seconds=step_s), zone)


def next_month(time: datetime, zone: ZoneInfo) -> datetime:
    """Begin of the local month after that of ``time``, in UTC."""
    first = month_after(time.astimezone(zone).date())
    return datetime(first.year, first.month, first.day, tzinfo=zone).astimezone(UTC)


def window_of(site: Site, turn: Turn) -> Window:
    """The window that is wanted at ``turn.t``, as far as the horizon reaches."""
    start = window_start(turn.t, turn.step_s, site.zone)
    if site.ems.horizon is Horizon.DAY:
        length_s = (next_midnight(start, site.zone) - start).total_seconds()
    else:
        length_s = site.ems.rolling_h * 3600
    return Window(start, turn.step_s, max(1, math.ceil(length_s / turn.step_s)))


def values_of(values: Array) -> Values:
    return tuple(values.tolist())
