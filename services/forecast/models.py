"""The models of load and PV power that learn from measurements: by weekday, by a clear sky, by the day before."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from schemas.participant import Json
from schemas.sums import sum_in_order
from services.forecast.correction import Correction

QUARTER_S = 900
PowerAt = Callable[[datetime], float]
"""Power [kW] of the step that begins at an instant."""
Prior = Callable[[datetime], float | None]
"""The same as far as it is known."""

WEEK_RATE = 0.3
"""Part of a weekday's deviation that is learned from one week to the next."""
FIRST_RATE = 2 / 3
"""The same of the first week: what was expected before counts half of what is measured."""
HOUR_RATE = 0.03
"""Part of the clearness' deviation that a quarter-hour of full sun adds to its hour of the day."""
FIRST_SCALE_FRAC = 0.1
"""Usual deviation that is assumed before one is known, of the largest power that is known."""
LEAST_SCALE_FRAC = 0.03
"""Least usual deviation of a load, of the largest that is known."""
FIRST_CLEARNESS_SCALE, LEAST_CLEARNESS_SCALE = 0.15, 0.1
FAINT_FRAC = 0.02
"""Below this part of the rating a clear sky says nothing of the clouds."""
CLEAREST = 1.4
"""Most that a plant may give of the model of a clear sky, which has one air temperature and mean haze: at 45° N the
typical year of PVGIS gives up to 1.35 of it on cold, clean days."""
CLEAREST_LEVEL, CLEAREST_STEP = 0.97, 0.02
"""The plant's own clear sky is this quantile of what it gives of the model, and moves by such steps."""
STRONG_FRAC = 0.2
"""From this part of the rating on it says all."""


class Measured(NamedTuple):
    """Mean power [kW, a magnitude for PV] of a step."""

    start: datetime
    step_s: int
    power_kw: float


class Model(Protocol):
    """Learns from each step that is over, and says what is expected."""

    def observe(self, measured: Measured) -> None: ...

    def expected(self, times: list[datetime], running: Measured | None) -> list[float]:
        """Power [kW] of the steps that begin at ``times``, within `bounds`. ``running``: the step that is not over."""
        ...

    def spread(self, time: datetime) -> float:
        """Unit of errors at that time [kW]; 0: there can be none worth counting."""
        ...

    def bounds(self, time: datetime) -> tuple[float, float]:
        """Least and most that is ever expected [kW]."""
        ...

    def snapshot(self) -> Json: ...

    def restore(self, state: Json) -> None: ...


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])


class LoadByWeekday:
    """Load: the mean of this quarter-hour of this weekday, and a correction by the last hours.

    ``prior``: what is expected of a quarter-hour of the week that was not seen yet; it counts half of a week. Where it
    knows nothing, that is the mean of the other weekdays, or what was measured last. Expected are at most the largest
    load that was believed so far, or the prior's, and at least 0, or the smallest.
    """

    def __init__(self, zone: ZoneInfo, prior: Prior, prior_most_kw: float, decay_s: float) -> None:
        self._zone, self._prior = zone, prior
        self._slots: dict[int, float] = {}
        """Mean load by quarter-hour of the week."""
        self._decay_s = decay_s
        self._lowest, self._highest = 0.0, prior_most_kw
        self._last_kw: float | None = None
        first, least = FIRST_SCALE_FRAC * prior_most_kw, LEAST_SCALE_FRAC * prior_most_kw
        self._correction = Correction(decay_s, first, least)

    def observe(self, measured: Measured) -> None:
        if self._last_kw is None and self._highest <= 0:
            self._begin_with(measured.power_kw)
        base = self._base(measured.start)
        deviation = self._correction.cut(measured.power_kw - base)
        self._correction.observe(measured.start, measured.step_s, deviation)
        seen = self._slot(measured.start) in self._slots
        rate = WEEK_RATE if seen else 1.0 if self._prior(measured.start) is None else FIRST_RATE
        if measured.step_s < QUARTER_S and seen:
            rate *= measured.step_s / QUARTER_S
        self._slots[self._slot(measured.start)] = base + rate * deviation
        self._last_kw = base + deviation
        self._lowest, self._highest = min(self._lowest, self._last_kw), max(self._highest, self._last_kw)

    def _begin_with(self, power_kw: float) -> None:
        self._last_kw = power_kw
        self._lowest, self._highest = min(0.0, power_kw), max(0.0, power_kw)
        self._correction.scale = FIRST_SCALE_FRAC * max(abs(power_kw), 1.0)
        self._correction.least_scale = LEAST_SCALE_FRAC * max(abs(power_kw), 1.0)

    def expected(self, times: list[datetime], running: Measured | None) -> list[float]:
        if self._last_kw is None and self._highest <= 0 and running is not None:
            self._begin_with(running.power_kw)
        correction = self._correction
        if running is not None:
            deviation = running.power_kw - self._base(running.start)
            correction = correction.with_running(running.start, running.step_s, deviation)
        bounds = self._lowest, self._highest
        return [_within(self._base(time) + correction.ahead(time), bounds) for time in times]

    def spread(self, time: datetime) -> float:
        del time
        return max(self._correction.scale, 1e-3)

    def bounds(self, time: datetime) -> tuple[float, float]:
        del time
        return self._lowest, self._highest

    def _slot(self, time: datetime) -> int:
        local = time.astimezone(self._zone)
        return local.weekday() * 96 + local.hour * 4 + local.minute // 15

    def _base(self, time: datetime) -> float:
        slot = self._slot(time)
        known = self._slots.get(slot)
        if known is not None:
            return known
        if (expected := self._prior(time)) is not None:
            return expected
        alike = [kw for day in range(7) if (kw := self._slots.get(day * 96 + slot % 96)) is not None]
        if alike:
            return sum_in_order(alike) / len(alike)
        return self._last_kw or 0.0

    def snapshot(self) -> Json:
        return {
            "slots": {str(slot): kw for slot, kw in self._slots.items()},
            "bounds": [self._lowest, self._highest],
            "last_kw": self._last_kw,
            "correction": self._correction.snapshot(),
        }

    def restore(self, state: Json) -> None:
        self._slots = {int(slot): kw for slot, kw in state["slots"].items()}
        self._lowest, self._highest = state["bounds"]
        self._last_kw = state["last_kw"]
        self._correction = Correction.restored(state["correction"], self._decay_s)


class PvByClearSky:
    """PV: the power of a clear sky times a clearness.

    The clearness is that of ``weather``, a forecast of the power (1, a clear sky, where it knows nothing), plus what
    was learned of this hour of the day, which holds shadows and haze too, plus a correction by the last hours. It is
    between 0 and that of the clearest skies that the plant has shown, which is 1 at first, `CLEAREST` at most, and
    moves by less than a hundredth with each quarter-hour but for those above it. So no value is above this plant's
    clear sky, above its rating, or below 0. ``clear`` is at most the rating.
    """

    def __init__(self, zone: ZoneInfo, clear: PowerAt, weather: Prior, rated_kw: float, decay_s: float) -> None:
        self._zone, self._clear_of, self._weather = zone, clear, weather
        self._rated_kw = rated_kw
        self._hours = [0.0] * 24
        """Deviation of the clearness by local hour."""
        self._clearest = 1.0
        self._decay_s = decay_s
        self._correction = Correction(decay_s, FIRST_CLEARNESS_SCALE, LEAST_CLEARNESS_SCALE)
        self._kept: dict[datetime, float] = {}
        """Clear-sky power by time: it is asked for again and again."""

    def observe(self, measured: Measured) -> None:
        if (found := self._deviation(measured)) is None:
            return
        deviation, weight = found
        above = measured.power_kw > self._clearest * self._clear(measured.start)
        moved = self._clearest + weight * CLEAREST_STEP * (CLEAREST_LEVEL if above else CLEAREST_LEVEL - 1)
        self._clearest = _within(moved, (1.0, CLEAREST))
        self._correction.observe(measured.start, measured.step_s, deviation, weight)
        hour = measured.start.astimezone(self._zone).hour
        rate = weight * HOUR_RATE * measured.step_s / QUARTER_S
        self._hours[hour] += min(rate, 1.0) * self._correction.cut(deviation)

    def _deviation(self, measured: Measured) -> tuple[float, float] | None:
        """Measured clearness less what is expected without a correction, and how much it says; None: nothing."""
        clear = self._clear(measured.start)
        if clear < FAINT_FRAC * self._rated_kw:
            return None
        clearness = _within(measured.power_kw / clear, (0.0, CLEAREST))
        return clearness - self._clearness(measured.start, clear), min(clear / (STRONG_FRAC * self._rated_kw), 1.0)

    def expected(self, times: list[datetime], running: Measured | None) -> list[float]:
        correction = self._correction
        if running is not None and (found := self._deviation(running)) is not None:
            correction = correction.with_running(running.start, running.step_s, *found)
        values = []
        for time in times:
            clear = self._clear(time)
            clearness = 0.0 if clear <= 0 else self._clearness(time, clear) + correction.ahead(time)
            values.append(min(clear * _within(clearness, (0.0, self._clearest)), self._rated_kw))
        return values

    def spread(self, time: datetime) -> float:
        clear = self._clear(time)
        return clear * self._correction.scale if clear >= FAINT_FRAC * self._rated_kw else 0.0

    def bounds(self, time: datetime) -> tuple[float, float]:
        return 0.0, min(self._clearest * self._clear(time), self._rated_kw)

    def _clearness(self, time: datetime, clear_kw: float) -> float:
        expected = self._weather(time)
        weather = 1.0 if expected is None else min(expected / clear_kw, CLEAREST)
        return weather + self._hours[time.astimezone(self._zone).hour]

    def _clear(self, time: datetime) -> float:
        known = self._kept.get(time)
        if known is None:
            if len(self._kept) >= 2000:
                self._kept.clear()
            known = self._kept[time] = min(max(self._clear_of(time), 0.0), self._rated_kw)
        return known

    def snapshot(self) -> Json:
        return {"hours": list(self._hours), "clearest": self._clearest, "correction": self._correction.snapshot()}

    def restore(self, state: Json) -> None:
        self._hours = list(state["hours"])
        self._clearest = state["clearest"]
        self._correction = Correction.restored(state["correction"], self._decay_s)


class DayBefore:
    """Persistence: the power of the same local time on the last day that was measured.

    ``prior``: what holds before a day was. ``most``: what is never exceeded.
    """

    def __init__(self, zone: ZoneInfo, prior: Prior, most: PowerAt | None = None) -> None:
        self._zone, self._prior, self._most = zone, prior, most
        self._day: dict[int, float] = {}
        self._usual_kw = 1.0
        self._lowest_kw = 0.0

    def observe(self, measured: Measured) -> None:
        before = self._expected(measured.start)
        self._usual_kw += 0.01 * (min(abs(measured.power_kw - before), 5 * self._usual_kw) - self._usual_kw)
        self._day[self._slot(measured.start)] = measured.power_kw
        self._lowest_kw = min(self._lowest_kw, measured.power_kw)

    def expected(self, times: list[datetime], running: Measured | None) -> list[float]:
        values = [_within(self._expected(time), self.bounds(time)) for time in times]
        if running is not None and running.start in times:
            values[times.index(running.start)] = running.power_kw
        return values

    def spread(self, time: datetime) -> float:
        del time
        return max(self._usual_kw, 1e-3)

    def bounds(self, time: datetime) -> tuple[float, float]:
        return self._lowest_kw, float("inf") if self._most is None else max(self._most(time), 0.0)

    def _slot(self, time: datetime) -> int:
        local = time.astimezone(self._zone)
        return local.hour * 3600 + local.minute * 60 + local.second

    def _expected(self, time: datetime) -> float:
        known = self._day.get(self._slot(time))
        if known is not None:
            return known
        return self._prior(time) or 0.0

    def snapshot(self) -> Json:
        return {"day": {str(slot): kw for slot, kw in self._day.items()}, "usual_kw": self._usual_kw}

    def restore(self, state: Json) -> None:
        self._day = {int(slot): kw for slot, kw in state["day"].items()}
        self._usual_kw = state["usual_kw"]
        self._lowest_kw = min(0.0, *self._day.values()) if self._day else 0.0
