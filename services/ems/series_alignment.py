"""Series on the window's steps: the value in force, the mean of finer ones, and what is assumed beyond their end."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from schemas.messages import ValueSeries
from services.ems.stores import Array


def on_steps(series: ValueSeries, start: datetime, step_s: int, steps: int) -> Array:
    """Mean of the series in each step, shape (steps,); NaN where it does not cover the whole step."""
    offset = (start - series.start).total_seconds()
    if series.step_s == step_s and offset >= 0 and offset % step_s == 0:
        told = series.values[int(offset // step_s) :][:steps]
        return np.array(told if len(told) == steps else told + (math.nan,) * (steps - len(told)))
    values = np.array(series.values)
    begins = offset + step_s * np.arange(steps)
    if series.step_s % step_s == 0 and offset % step_s == 0:
        index = np.floor_divide(begins, series.step_s).astype(np.int64)
        inside = (index >= 0) & (index < len(values))
        return np.where(inside, values[np.clip(index, 0, len(values) - 1)], np.nan)
    edges = np.arange(len(values) + 1) * float(series.step_s)
    total = np.concatenate([[0.0], np.cumsum(values * series.step_s)])
    mean = (np.interp(begins + step_s, edges, total) - np.interp(begins, edges, total)) / step_s
    return np.where((begins >= 0) & (begins + step_s <= edges[-1]), mean, np.nan)


def day_before(time: datetime, zone: ZoneInfo) -> datetime:
    """The same local hour a day earlier, in UTC."""
    local = time.astimezone(zone)
    return (local.replace(tzinfo=None) - timedelta(days=1)).replace(tzinfo=zone).astimezone(time.tzinfo)


def extended(series: ValueSeries, start: datetime, step_s: int, steps: int, zone: ZoneInfo) -> Array:
    """As `on_steps`; beyond the series' end the value of the same local hour a day earlier, as often as needed."""
    values = on_steps(series, start, step_s, steps)
    for step in np.isnan(values).nonzero()[0].tolist():
        time = start + timedelta(seconds=step * step_s)
        while time >= series.end:
            time = day_before(time, zone)
        values[step] = on_steps(series, time, step_s, 1)[0]
    return values


def latest(found: Sequence[ValueSeries]) -> ValueSeries | None:
    """The series that begins last, of several of one quantity and device."""
    return max(found, key=lambda series: series.start, default=None)
