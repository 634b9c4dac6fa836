"""The power that a converter is set to: follows its target along a ramp, sampled in sub-steps of the ramp."""

from datetime import datetime, timedelta

from schemas.participant import Json
from twin_devices.physics.ramp import ramp_duration_s, ramp_mean_kw


class RampLimiter:
    """Sub-steps count from the ramp's start, so that nobody else's instants enter."""

    def __init__(self, rate_kw_per_s: float | None, sub_step_s: float) -> None:
        self._rate = rate_kw_per_s
        self._sub_step = timedelta(microseconds=max(1, round(sub_step_s * 1e6)))
        self._from_kw = 0.0
        self._to_kw = 0.0
        self._start: datetime | None = None

    def stop(self) -> None:
        """At once at 0 kW, for good or until `set_target`."""
        self._from_kw = self._to_kw = 0.0
        self._start = None

    def set_target(self, at: datetime, target_kw: float, actual_kw: float) -> None:
        """From ``at`` on towards another target, from the power that really flows."""
        if target_kw != self._to_kw:
            self._from_kw, self._to_kw, self._start = actual_kw, target_kw, at

    def power_kw(self, at: datetime) -> float:
        """The mean of the ramp over the sub-step that contains ``at``."""
        if self._rate is None or self._start is None:
            return self._to_kw
        sub_step_s = self._sub_step.total_seconds()
        begin_s = (at - self._start) // self._sub_step * sub_step_s
        return ramp_mean_kw(self._from_kw, self._to_kw, self._rate, begin_s, begin_s + sub_step_s)

    def next_change(self, after: datetime) -> datetime | None:
        """The next sub-step's start while the ramp lasts."""
        if self._rate is None or self._start is None:
            return None
        begun = (after - self._start) // self._sub_step
        duration_s = ramp_duration_s(self._from_kw, self._to_kw, self._rate)
        if begun * self._sub_step.total_seconds() >= duration_s:
            return None
        return self._start + (begun + 1) * self._sub_step

    def snapshot(self) -> Json:
        return {
            "from_kw": self._from_kw,
            "to_kw": self._to_kw,
            "start": None if self._start is None else self._start.isoformat(),
        }

    def restore(self, state: Json) -> None:
        self._from_kw, self._to_kw = state["from_kw"], state["to_kw"]
        self._start = None if state["start"] is None else datetime.fromisoformat(state["start"])
