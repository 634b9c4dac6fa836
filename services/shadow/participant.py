"""The shadow: a participant that runs the twin beside one real device, and publishes where the two differ."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas.messages import (
    Alarm,
    Birth,
    Estimate,
    Phase,
    PluggedVehicle,
    Prediction,
    Quantity,
    Series,
    ServiceNameplate,
    Severity,
    Telemetry,
    TimeMode,
    ValueSeries,
)
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic, software
from schemas.plausibility import bounds_of
from schemas.presence import SKEW_S
from schemas.register_reading import RegisterReading
from schemas.site import Site
from schemas.site.references import shadow_of
from schemas.topics import Channel, Kind, topic_filter
from services.history.prices import prices_of
from services.shadow.beside import ChargerBeside, twin_beside
from services.shadow.cost import Throughput
from services.shadow.parting import Parted, PartingTest
from services.shadow.soc_filter import SocFilter, described
from twin_devices.physics.storage import Store

PARTED = "shadow_parted"
"""Code of the alarm."""
PUBLISHED_EVERY = timedelta(seconds=60)
"""In wall time, at most; in lock-step with every telemetry."""
_HOUR = timedelta(hours=1)
_LAG_MOST = timedelta(seconds=SKEW_S)
"""A telemetry that took so much longer than the fastest one: the device's clock was set."""
_PRICES_KEPT = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class _Mark:
    """An instant from which energies are counted: the device's and the twin's registers [kWh] since then."""

    ts: datetime
    drawn_kwh: float = 0.0
    given_kwh: float = 0.0
    twin_net_kwh: float = 0.0
    """The twin's import minus export at that instant."""

    def grown(self, drawn_kwh: float, given_kwh: float) -> "_Mark":
        return replace(self, drawn_kwh=self.drawn_kwh + drawn_kwh, given_kwh=self.given_kwh + given_kwh)


class Shadow:
    """Reads what its device is asked and measures; nobody acts on what it says.

    The twin is given the same set-points and limits, and at the end of every settlement step the SOC that follows from
    the device's measured energies and SOC (`services.shadow.soc_filter`). The test of the description is
    `services.shadow.parting`.
    """

    kind = Kind.SHADOW

    def __init__(self, site: Site, device: str) -> None:
        self.site, self.device = site.site, shadow_of(device)
        self._of, self._of_kind = device, Kind(site.devices[device].kind)
        self._twin = twin_beside(site, device)
        self._bounds = bounds_of(site.devices[device].nameplate, site)
        self._filter = SocFilter()
        self._test: PartingTest | None = None
        """Built at the first turn, which knows the length of a step."""
        self._throughput = Throughput()
        self._prices: tuple[ValueSeries, ...] = ()
        self._reading: RegisterReading | None = None
        self._plugged: PluggedVehicle | None = None
        """The vehicle of the last telemetry."""
        self._window: _Mark | None = None
        """Since the SOC was filtered last; None: not known what has flowed since."""
        self._shown: _Mark | None = None
        """Since a prediction was published last."""
        self._lag: timedelta | None = None
        """In wall time: the least time from a telemetry's ``ts`` to its arrival."""
        self._raised: tuple[str, ...] = ()
        """The parameters of the alarm that stands, the likeliest first."""

    @property
    def subscriptions(self) -> tuple[str, ...]:
        own = tuple(
            topic_filter(self.site, self._of_kind, self._of, channel)
            for channel in (Channel.SETPOINT, Channel.TELEMETRY)
        )
        return (
            *own,
            topic_filter(self.site, Kind.LIMITER, channel=Channel.LIMIT),
            topic_filter(self.site, Kind.TARIFF, channel=Channel.SERIES),
        )

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return {Phase.MEASURE: Cadence(on_message=True)}

    def birth(self) -> Birth:
        return Birth(nameplate=ServiceNameplate(), time_modes=(TimeMode.LOCKSTEP, TimeMode.WALL), software=software())

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        if turn.phase is Phase.ROLLCALL:
            return []
        if self._test is None:
            self._test = PartingTest(timedelta(seconds=turn.step_s))
        if turn.mode is TimeMode.LOCKSTEP and turn.phase is Phase.SENSE:
            self._twin.act(turn, ())
        commands, sent = [], []
        for received in inbox:
            if isinstance(received.body, Telemetry):
                sent += self._compare(turn, received, received.body)
            elif isinstance(received.body, Series):
                self._take_prices(received.body, turn.t)
            else:
                commands.append(received)
        if commands:
            self._twin.act(replace(turn, phase=Phase.APPLY), commands)
        return sent

    # ---- the device against its twin

    def _compare(self, turn: Turn, received: Received, body: Telemetry) -> list[Outgoing]:
        if self._reading is not None and received.stamp.ts <= self._reading.ts:
            return []
        if turn.mode is TimeMode.WALL:
            self._twin.act(replace(turn, phase=Phase.SENSE, t=self._measured_at(received.stamp.ts, turn.t)), ())
        self._count(received, body)
        ts, before, self._plugged = received.stamp.ts, self._plugged, body.plugged
        store, soc = self._twin.store_with(body.plugged), body.stored_frac
        if store is None or soc is None:
            if isinstance(self._twin, ChargerBeside):
                self._twin.unplug()
            self._filter.stop()
            self._window = self._shown = None
            return []
        if not self._goes_on(before, body):
            self._begin(ts, body, store, soc)
            return []
        return [*self._publish(turn, ts, body, store, soc), *self._close_window(turn, ts, store, soc)]

    def _measured_at(self, ts: datetime, now: datetime) -> datetime:
        """When it was measured, by the clock by which set-points arrive here: however long a message has been on its
        way, and whatever the device's clock shows, the least delay that was seen is none."""
        lag = now - ts
        if self._lag is None or not self._lag <= lag <= self._lag + _LAG_MOST:
            self._lag = lag
        return ts + self._lag

    def _goes_on(self, before: PluggedVehicle | None, body: Telemetry) -> bool:
        """Whether it is the same store, and known what has flowed through it since it was measured last."""
        if self._window is None or self._filter.soc_frac is None:
            return False
        if body.plugged is None:
            return True
        return before is not None and not body.unplugged and body.plugged.continues(before)

    def _begin(self, ts: datetime, body: Telemetry, store: Store, soc_frac: float) -> None:
        self._filter.begin(soc_frac)
        if isinstance(self._twin, ChargerBeside):
            assert body.plugged is not None
            self._twin.plug(body.plugged, store, soc_frac)
        else:
            self._twin.take_soc(soc_frac)
        self._window = self._shown = _Mark(ts, twin_net_kwh=self._twin_net_kwh)

    def _count(self, received: Received, body: Telemetry) -> None:
        """Adds what the device's registers have grown by; where that is doubtful, everything begins anew."""
        stamp, before = received.stamp, self._reading
        registers = (body.power_kw, body.energy_import_kwh, body.energy_export_kwh)
        if before is None:
            self._reading = RegisterReading.first(stamp.ts, stamp.boot, *registers)
            return
        self._reading = before.following(stamp.ts, stamp.boot, *registers)
        grown = before.grown_until(self._reading)
        doubtful = before.boot != stamp.boot or before.doubt_until(self._reading, self._bounds) is not None
        if grown is None or doubtful:
            self._window = self._shown = None
            return
        self._window = None if self._window is None else self._window.grown(*grown)
        self._shown = None if self._shown is None else self._shown.grown(*grown)

    @property
    def _twin_net_kwh(self) -> float:
        registers = self._twin.registers
        return registers["energy_import_kwh"] - registers["energy_export_kwh"]

    def _publish(self, turn: Turn, ts: datetime, body: Telemetry, store: Store, soc_frac: float) -> list[Outgoing]:
        since, window, test = self._shown, self._window, self._test
        assert since is not None and window is not None and test is not None
        length = ts - since.ts
        if turn.mode is TimeMode.WALL and length < PUBLISHED_EVERY:
            return []
        hours = length / _HOUR
        predicted_kw = (self._twin_net_kwh - since.twin_net_kwh) / hours
        measured_kw = (since.drawn_kwh - since.given_kwh) / hours
        expected = self._filter.expected(store, window.drawn_kwh, window.given_kwh)
        assert expected is not None
        self._shown = _Mark(ts, twin_net_kwh=self._twin_net_kwh)
        said = Prediction(
            device=self._of,
            interval_s=length.total_seconds(),
            predicted_kw=predicted_kw,
            measured_kw=measured_kw,
            residual_kw=measured_kw - predicted_kw,
            predicted_soc_frac=expected,
            measured_soc_frac=soc_frac,
            residual_soc_frac=soc_frac - expected,
            estimates=self._estimates(store) or None,
            parted=None if test.parted is None else test.parted.parameter,
            cost_eur_per_month=self._cost(test.parted),
        )
        return [Outgoing(own_topic(self, Channel.PREDICTION), said, ts=ts if turn.mode is TimeMode.WALL else None)]

    def _estimates(self, store: Store) -> dict[str, Estimate]:
        assert self._test is not None
        found = {}
        for name, value in described(store).items():
            interval = self._test.evidence.interval(name, value)
            if interval is not None:
                found[name] = Estimate(described=value, value=interval[0], low=interval[1], high=interval[2])
        return found

    def _cost(self, parted: Parted | None) -> float | None:
        if parted is None:
            return None
        return self._throughput.cost_eur_per_month(parted.parameter, parted.ratio)

    # ---- the test, once a settlement step

    def _close_window(self, turn: Turn, ts: datetime, store: Store, soc_frac: float) -> list[Outgoing]:
        window, test = self._window, self._test
        assert window is not None and test is not None
        step = timedelta(seconds=turn.step_s)
        if (ts - turn.t0) // step == (window.ts - turn.t0) // step:
            return []
        length = ts - window.ts
        residual = self._filter.step(store, window.drawn_kwh, window.given_kwh, length / _HOUR, soc_frac)
        price = prices_of(self._prices).mean(Quantity.PURCHASE_PRICE, window.ts, ts)
        if price is not None:
            self._throughput.add(length, window.drawn_kwh, window.given_kwh, price)
        self._window = _Mark(ts)
        assert self._filter.soc_frac is not None
        self._twin.take_soc(min(max(self._filter.soc_frac, 0.0), 1.0))
        if residual is None:
            return []
        test.add(residual)
        return self._alarms(test.parted, store)

    def _alarms(self, parted: Parted | None, store: Store) -> list[Outgoing]:
        """Raised when they part, and again when more is known of the parameter; over when they do not differ."""
        now = () if parted is None else parted.candidates
        before, self._raised = self._raised, now
        if now == before:
            return []
        if parted is not None:
            said = self._parting(parted, store)
        else:
            said = self._alarm(before[0], f"over: {self._of} is as described again")
        return [Outgoing(own_topic(self, Channel.ALARM), said)]

    def _parting(self, parted: Parted, store: Store) -> Alarm:
        value = described(store)[parted.parameter]
        measured, cost = value * parted.ratio, self._cost(parted)
        or_in = f" (or {', '.join(parted.or_in)}: not told apart yet)" if parted.or_in else ""
        costs = "" if cost is None else f"; about {cost:.2f} € a month"
        text = f"{self._of}: {parted.parameter}{or_in} is {measured:.4g}, described {value:.4g}{costs}"
        return self._alarm(parted.parameter, text, measured, value)

    def _alarm(self, parameter: str, text: str, value: float | None = None, limit: float | None = None) -> Alarm:
        return Alarm(
            code=PARTED,
            severity=Severity.WARNING,
            active=value is not None,
            device=self._of,
            element=parameter,
            value=value,
            limit=limit,
            text=text[:500],
        )

    def _take_prices(self, said: Series, now: datetime) -> None:
        kept = [series for series in self._prices if series.end > now - _PRICES_KEPT]
        new = [series for series in said.series if series.quantity is Quantity.PURCHASE_PRICE and series not in kept]
        self._prices = (*kept, *new)

    # ---- state

    def snapshot(self) -> Json:
        return {
            "twin": self._twin.snapshot(),
            "filter": self._filter.snapshot(),
            "step_s": None if self._test is None else self._test.interval.total_seconds(),
            "test": None if self._test is None else self._test.snapshot(),
            "throughput": self._throughput.snapshot(),
            "prices": [json.loads(series.model_dump_json()) for series in self._prices],
            "reading": None if self._reading is None else self._reading.snapshot(),
            "plugged": None if self._plugged is None else json.loads(self._plugged.model_dump_json()),
            "window": _mark_to_json(self._window),
            "shown": _mark_to_json(self._shown),
            "lag_s": None if self._lag is None else self._lag.total_seconds(),
            "raised": list(self._raised),
        }

    def restore(self, state: Json) -> None:
        self._twin.restore(state["twin"])
        self._filter.restore(state["filter"])
        self._test = None
        if state["step_s"] is not None:
            self._test = PartingTest(timedelta(seconds=state["step_s"]))
            self._test.restore(state["test"])
        self._throughput.restore(state["throughput"])
        self._prices = tuple(ValueSeries.model_validate_json(json.dumps(each)) for each in state["prices"])
        self._reading = None if state["reading"] is None else RegisterReading.restored(state["reading"])
        plugged = state["plugged"]
        self._plugged = None if plugged is None else PluggedVehicle.model_validate_json(json.dumps(plugged))
        self._window, self._shown = _mark_from_json(state["window"]), _mark_from_json(state["shown"])
        self._lag = None if state["lag_s"] is None else timedelta(seconds=state["lag_s"])
        self._raised = tuple(state["raised"])


def _mark_to_json(mark: _Mark | None) -> Json:
    return None if mark is None else [mark.ts.isoformat(), mark.drawn_kwh, mark.given_kwh, mark.twin_net_kwh]


def _mark_from_json(state: Json) -> _Mark | None:
    return None if state is None else _Mark(datetime.fromisoformat(state[0]), *state[1:])
