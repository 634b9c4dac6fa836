"""Means of what a device measures, step by step."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.participant import Json
from schemas.site import step_start
from services.forecast.models import Measured


class StepMeans:
    """The mean power [kW] of each step by its samples, and that of the running one so far."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._start: datetime | None = None
        self._step_s = 0
        self._sum_kw, self._count = 0.0, 0

    def add(self, ts: datetime, step_s: int, power_kw: float) -> Measured | None:
        """Takes in a sample. Returns the step that is over with it. One of an earlier step is left out."""
        start = step_start(ts, timedelta(seconds=step_s), self._zone)
        if self._start is not None and start < self._start:
            return None
        over = self.running if start != self._start else None
        if start != self._start:
            self._start, self._step_s, self._sum_kw, self._count = start, step_s, 0.0, 0
        self._sum_kw += power_kw
        self._count += 1
        return over

    def end_before(self, start: datetime) -> Measured | None:
        """Ends the running step if it began before ``start``, although no later sample has come. Returns it."""
        over = self.running
        if over is None or over.start >= start:
            return None
        self._start = None
        return over

    @property
    def running(self) -> Measured | None:
        """The step of the last sample; None: there was none."""
        if self._start is None:
            return None
        return Measured(self._start, self._step_s, self._sum_kw / self._count)

    def snapshot(self) -> Json:
        start = None if self._start is None else self._start.isoformat()
        return [start, self._step_s, self._sum_kw, self._count]

    def restore(self, state: Json) -> None:
        start, self._step_s, self._sum_kw, self._count = state
        self._start = None if start is None else datetime.fromisoformat(start)
