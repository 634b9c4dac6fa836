"""Errors of a site's forecast, walked forward over a long time: load meters, inverters and the forecast alone.

They are the participants of ``twinswarm run`` in its run loop; nobody plans, so a year takes minutes.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from schemas.cycle import Course
from schemas.messages import Phase, PvTelemetry, Quantity, Series, Telemetry, ValueSeries
from schemas.participant import Json, Received
from schemas.site import ForecastKind, Pv, Site
from twinswarm.simulation.forecast_walk import forecast_devices, walk_forecast

LEADS = tuple(timedelta(hours=h) for h in (0.25, 1, 4, 12, 24))
"""From the step in which a forecast is made to the step that it is about."""


@dataclass
class ErrorSums:
    """Errors of one quantity at one lead, in sums. Powers in kW."""

    count: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    measured: float = 0.0
    pinball: dict[float, float] = field(default_factory=dict)
    """By level."""
    below: dict[float, int] = field(default_factory=dict)
    """By level: how often the measured value did not lie above the quantile."""

    def add(self, measured: float, expected: float, quantiles: dict[float, float]) -> None:
        self.count += 1
        self.absolute += abs(measured - expected)
        self.squared += (measured - expected) ** 2
        self.measured += measured
        for level, value in quantiles.items():
            over = measured - value
            self.pinball[level] = self.pinball.get(level, 0.0) + max(level * over, (level - 1) * over)
            self.below[level] = self.below.get(level, 0) + (measured <= value)

    @property
    def mae_kw(self) -> float:
        return self.absolute / self.count

    @property
    def nrmse(self) -> float | None:
        """Root of the mean squared error over the mean of what was measured; None where that is 0."""
        mean = self.measured / self.count
        return math.sqrt(self.squared / self.count) / mean if mean > 0 else None

    @property
    def pinball_kw(self) -> float | None:
        """Mean over the levels; None without quantiles."""
        if not self.pinball:
            return None
        return math.fsum(self.pinball.values()) / len(self.pinball) / self.count

    def to_json(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "mae_kw": self.mae_kw,
            "nrmse": self.nrmse,
            "pinball_kw": self.pinball_kw,
            "below_frac": {f"{level:g}": below / self.count for level, below in self.below.items()},
        }


@dataclass(frozen=True)
class Walk:
    """A walk forward with one kind of forecast."""

    kind: ForecastKind
    errors: dict[tuple[str, timedelta], ErrorSums]
    """By device and lead."""
    learned: Json
    """The forecast's state when the time began that was to be kept; None: it did not."""


def walked(
    site: Site,
    kind: ForecastKind,
    course: Course,
    count_from: datetime,
    keep_at: datetime | None = None,
    on_step: Callable[[], None] | None = None,
) -> Walk:
    """Walks ``course`` with the site's load and PV. Errors of steps from ``count_from`` on count; what was learned
    before ``keep_at`` is kept.

    Every step has the forecast that was published last by then. Of PV the steps count in which there was some.
    Raises TwinswarmError.
    """
    walking = site.model_copy(update={"forecast": site.forecast.model_copy(update={"kind": kind})})
    inverters = [name for name, device in forecast_devices(site).items() if isinstance(device, Pv)]
    log = _Log(course, count_from, inverters, on_step)
    learned: Json = None

    def phase_is_over(n: int, phase: Phase, time: datetime, state: Callable[[], Json]) -> None:
        nonlocal learned
        log.phase_is_over(phase, time)
        if phase is Phase.COMMIT and n > 0 and time + course.step == keep_at:
            learned = state()

    walk_forecast(walking, course, phase_is_over, log.receive)
    return Walk(kind, log.errors, learned)


class _Log:
    """Sets what was expected beside what was measured."""

    def __init__(
        self, course: Course, count_from: datetime, inverters: Collection[str], on_step: Callable[[], None] | None
    ) -> None:
        self._inverters = inverters
        self._step, self._from, self._on_step = course.step, count_from, on_step
        self._end = course.t_end
        self._series: dict[str, ValueSeries] = {}
        self._expected: dict[tuple[str, timedelta, datetime], tuple[float, dict[float, float]]] = {}
        self.errors: dict[tuple[str, timedelta], ErrorSums] = {}

    def receive(self, received: Received) -> None:
        body = received.body
        if isinstance(body, Series):
            for series in body.series:
                if series.device is not None and series.quantity in (Quantity.LOAD, Quantity.PV):
                    self._series[series.device] = series
        elif isinstance(body, Telemetry):
            measured = body.available_kw if isinstance(body, PvTelemetry) else body.power_kw
            self._measure(received.topic.device, received.stamp.ts, measured)

    def _measure(self, device: str, time: datetime, measured: float) -> None:
        for lead in LEADS:
            found = self._expected.pop((device, lead, time), None)
            if found is not None and self._from <= time < self._end and (measured > 0 or device not in self._inverters):
                self.errors.setdefault((device, lead), ErrorSums()).add(measured, *found)

    def phase_is_over(self, phase: Phase, time: datetime) -> None:
        """After MEASURE the forecast of this step is there."""
        if phase is not Phase.MEASURE:
            return
        for device, series in self._series.items():
            for lead in LEADS:
                if lead % self._step:
                    continue
                target = time + lead
                value = series.at(target)
                if value is not None:
                    place = (target - series.start) // timedelta(seconds=series.step_s)
                    quantiles = {each.level: each.values[place] for each in series.quantiles or ()}
                    self._expected[device, lead, target] = value, quantiles
        if self._on_step is not None:
            self._on_step()
