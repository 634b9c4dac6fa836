"""The online forecast: what the meters and inverters measure corrects what is expected of them, in every step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages import (
    MeterRole,
    Phase,
    PvTelemetry,
    QuantileValues,
    Quantity,
    Series,
    Telemetry,
    ValueSeries,
)
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic
from schemas.plausibility import PowerBounds, bounds_of
from schemas.site import (
    ClearSky,
    DayProfile,
    ForecastKind,
    Irradiance,
    Meter,
    PowerProfile,
    Pv,
    Site,
    TimeProfile,
    profile_mean,
    step_start,
)
from schemas.topics import Channel, Kind, topic_filter
from services.forecast.daily import DailySeries
from services.forecast.error_quantiles import ErrorQuantiles
from services.forecast.forecast import Forecast, PvPower
from services.forecast.models import DayBefore, LoadByWeekday, Measured, Model, PvByClearSky
from services.forecast.step_means import StepMeans
from services.forecast.window import Window, days_to_cover, fitting

TAKE_IN_S = 60.0
"""Wall time: how often telemetry is taken in."""
WALL_DELAY_S = 1.0
"""Wall time: what the devices measure at the step's beginning has arrived by then, and the EMS plans a second later."""
DECIMALS = 3
"""Published powers are rounded to 1 W: every step has a message."""


@dataclass
class _Learner:
    """What is known of one device."""

    quantity: Quantity
    kind: Kind
    model: Model
    means: StepMeans
    errors: ErrorQuantiles
    bounds: PowerBounds | None
    """Beyond them a telemetry is not believed."""

    def take_in(self, received: Received, step_s: int) -> None:
        body = received.body
        if not isinstance(body, Telemetry):
            return
        power_kw = body.available_kw if isinstance(body, PvTelemetry) else body.power_kw
        signed_kw = -power_kw if isinstance(body, PvTelemetry) else power_kw
        if self.bounds is not None and not self.bounds.allow(signed_kw):
            return
        self._learn(self.means.add(received.stamp.ts, step_s, power_kw))

    def _learn(self, over: Measured | None) -> None:
        if over is not None:
            self.errors.observe(over.start, over.power_kw)
            self.model.observe(over)

    def series(self, device: str, window: Window) -> ValueSeries:
        times = list(window.steps)
        self._learn(self.means.end_before(window.start))
        values = self.model.expected(times, self.means.running)
        return ValueSeries(
            quantity=self.quantity,
            device=device,
            start=window.start,
            step_s=window.step_s,
            values=tuple(round(value, DECIMALS) for value in values),
            quantiles=self._quantiles(times, values, window.step_s) or None,
        )

    def _quantiles(self, times: list[datetime], values: list[float], step_s: int) -> tuple[QuantileValues, ...]:
        if not self.errors.levels:
            return ()
        offsets = self.errors.offsets(len(times), step_s)
        columns: list[list[float]] = [[] for _ in self.errors.levels]
        for i, (time, value) in enumerate(zip(times, values, strict=True)):
            low, high = self.model.bounds(time)
            unit = self.model.spread(time)
            if unit == 0:
                for column in columns:
                    column.append(round(value, DECIMALS))
                continue
            for column, offset in zip(columns, offsets[i], strict=True):
                column.append(round(min(max(value + unit * offset, low), high), DECIMALS))
        return tuple(
            QuantileValues(level=level, values=tuple(column))
            for level, column in zip(self.errors.levels, columns, strict=True)
        )

    def expect(self, published: ValueSeries) -> None:
        """What was published is what errors are counted against."""

        def of(time: datetime) -> tuple[float, float] | None:
            value = published.at(time)
            return None if value is None else (value, self.model.spread(time))

        self.errors.expect(published.start, published.step_s, of)

    def snapshot(self) -> Json:
        return {"model": self.model.snapshot(), "means": self.means.snapshot(), "errors": self.errors.snapshot()}

    def restore(self, state: Json) -> None:
        self.model.restore(state["model"])
        self.means.restore(state["means"])
        self.errors.restore(state["errors"])


class OnlineForecast(Forecast):
    """Publishes what `Forecast` does, with load and PV learned from telemetry: at the roll call, then at MEASURE of
    every step.

    It subscribes to the load meters and inverters that the site describes. Their series begin with the running step,
    of which the EMS has its own measurement. Before anything was measured they are the profiles'.
    With the kind ``persistence`` each is that of the day before instead.
    """

    def __init__(self, site: Site, pv_power: PvPower) -> None:
        super().__init__(site, pv_power)
        self._learners = _learners(site, pv_power)
        self._step_s: int | None = None

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return tuple(
            topic_filter(self.site, learner.kind, name, Channel.TELEMETRY) for name, learner in self._learners.items()
        )

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        step_s = float(self._site.time.step_s)
        return {
            Phase.SENSE: Cadence(period_s=TAKE_IN_S),
            Phase.MEASURE: Cadence(period_s=step_s, delay_s=WALL_DELAY_S),
        }

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        """Learns from the inbox; the series at the roll call, and at MEASURE of every step that is not the end."""
        for received in inbox:
            learner = self._learners.get(received.topic.device)
            if learner is not None and learner.kind is received.topic.kind:
                learner.take_in(received, turn.step_s)
        ended = turn.t_end is not None and turn.t >= turn.t_end
        if turn.phase is not Phase.ROLLCALL and (turn.phase is not Phase.MEASURE or ended):
            return []
        start = step_start(turn.t, timedelta(seconds=turn.step_s), self._site.zone)

        def build(days: int) -> Series:
            whole = Window.of_days(turn.t, days, turn.step_s, self._site.zone)
            return self._learned(whole, start)

        series = fitting(build, days_to_cover(self._site.ems), f"{self.kind}/{self.device}")
        for found in series.series:
            if (learner := self._learners.get(found.device or "")) is not None:
                learner.expect(found)
        return [Outgoing(own_topic(self, Channel.SERIES), series)]

    def _learned(self, whole: Window, start: datetime) -> Series:
        """The series of the whole window by the profiles, with those of the learners in their place from now on."""
        now = whole.within(start, whole.end)
        assert now is not None, "the running step lies in the window"
        learned = []
        for name, learner in self._learners.items():
            source = self._forecasts.get(name)
            known = self._known(source, now) if isinstance(source, PowerProfile) else now
            if known is not None:
                learned.append(learner.series(name, known))
        profiles = self._series(whole)
        return profiles.model_copy(update={"series": (*profiles.series, *learned)})

    def _is_by_profile(self, device: str) -> bool:
        return device not in self._learners

    def continue_from(self, before: DailySeries) -> None:
        """Keeps what was learned under other profiles."""
        if isinstance(before, OnlineForecast):
            self._restore_learned(before.snapshot()["learned"])

    def snapshot(self) -> Json:
        learned = {name: learner.snapshot() for name, learner in self._learners.items()}
        return super().snapshot() | {"kind": self._site.forecast.kind.value, "learned": learned}

    def restore(self, state: Json) -> None:
        super().restore(state)
        if state.get("kind") == self._site.forecast.kind:  # what another kind learned is of no use
            self._restore_learned(state["learned"])

    def _restore_learned(self, learned: Json) -> None:
        for name, known in learned.items():
            if name in self._learners:
                self._learners[name].restore(known)


def _learners(site: Site, pv_power: PvPower) -> dict[str, _Learner]:
    """By device, in the order of their names."""
    found, learned = {}, site.forecast.learned
    for name, device in sorted(site.devices.items()):
        if isinstance(device, Meter) and device.role is MeterRole.LOAD and "load" in learned:
            quantity, kind, model = Quantity.LOAD, Kind.METER, _load_model(site, device)
        elif isinstance(device, Pv) and "pv" in learned:
            quantity, kind, model = Quantity.PV, Kind.PV, _pv_model(site, device, pv_power)
        else:
            continue
        bounds = bounds_of(device.nameplate, site)
        errors = ErrorQuantiles(site.forecast.quantiles)
        found[name] = _Learner(quantity, kind, model, StepMeans(site.zone), errors, bounds)
    return found


def _load_model(site: Site, meter: Meter) -> Model:
    profile = next((site.profiles[name] for _, name in meter.expected), None)

    def prior(time: datetime) -> float | None:
        if profile is None or (isinstance(profile, TimeProfile) and not profile.begin <= time < profile.end):
            return None
        return profile_mean(profile, time, time + timedelta(seconds=site.time.step_s), site.zone)

    if site.forecast.kind is ForecastKind.PERSISTENCE:
        return DayBefore(site.zone, prior)
    days = [] if profile is None else [profile.values]
    if isinstance(profile, DayProfile):
        days += profile.variants.values()
    most_kw = max(0.0, *(value for day in days for value in day))
    return LoadByWeekday(site.zone, prior, most_kw, site.forecast.correction_decay_h * 3600)


def _pv_model(site: Site, pv: Pv, pv_power: PvPower) -> Model:
    """The clear sky is that of the ``forecast`` source's plane; a profile in its place is taken as that of a clear sky.

    A source of irradiance is a weather forecast, from which clearness begins.
    """
    expected = clear = pv_power(site, pv.forecast, pv.rated_kw)
    if site.forecast.kind is ForecastKind.PERSISTENCE:
        return DayBefore(site.zone, expected, lambda _: pv.rated_kw)
    source = pv.forecast
    spans = [
        profile
        for _, name in (source.profiles_used if isinstance(source, Irradiance) else ())
        if isinstance(profile := site.profiles[name], TimeProfile)
    ]
    if isinstance(source, Irradiance):
        plane = {name: getattr(source, name) for name in ClearSky.model_fields if name != "type"}
        clear = pv_power(site, ClearSky(**plane), pv.rated_kw)

    def weather(time: datetime) -> float | None:
        known = isinstance(source, Irradiance) and all(span.begin <= time < span.end for span in spans)
        return expected(time) if known else None

    return PvByClearSky(site.zone, clear, weather, pv.rated_kw, site.forecast.correction_decay_h * 3600)
