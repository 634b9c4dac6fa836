"""A site of very small participants: quick enough for hundreds of attacks, with energies that show every mistake.

Devices integrate power over real time; the network twin books register differences; the EMS answers what it measured,
so a message that is lost, doubled or mixed up changes every number after it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from schemas.messages import (
    Ack,
    BessNameplate,
    BessTelemetry,
    Birth,
    EmsMode,
    Fallback,
    MeterNameplate,
    MeterRole,
    NetworkTelemetry,
    Phase,
    Plan,
    PlanStatus,
    Quantity,
    Series,
    ServiceNameplate,
    Setpoint,
    TimeMode,
    ValueSeries,
)
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic
from schemas.topics import Channel, Kind, Topic, topic_filter

SITE = "tiny"


class Tiny:
    kind: Kind
    cadence: Mapping[Phase, Cadence] = {}
    site = SITE
    subscriptions: tuple[str, ...] = ()

    def __init__(self, device: str) -> None:
        self.device = device

    def birth(self) -> Birth:
        return Birth(nameplate=ServiceNameplate(), time_modes=(TimeMode.LOCKSTEP,), software="tiny")


class Store(Tiny):
    """Integrates its set-point; its telemetry is its register."""

    kind = Kind.BESS

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self.subscriptions = (str(Topic(SITE, Kind.BESS, device, Channel.SETPOINT)),)
        self.power_kw = 0.0
        self.energy_kwh = 0.0
        self.t: datetime | None = None

    def birth(self) -> Birth:
        nameplate = BessNameplate(
            capacity_kwh=1e5,
            max_charge_kw=1e4,
            max_discharge_kw=1e4,
            charge_efficiency=1.0,
            discharge_efficiency=1.0,
            soc_min_frac=0.0,
            soc_max_frac=1.0,
        )
        return Birth(nameplate=nameplate, time_modes=(TimeMode.LOCKSTEP,), software="tiny")

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        out = []
        if turn.phase is Phase.SENSE:
            if self.t is not None and not turn.gap:
                self.energy_kwh += self.power_kw * (turn.t - self.t).total_seconds() / 3600
            if turn.gap:
                self.power_kw = 0.0
            self.t = turn.t
            telemetry = BessTelemetry(
                power_kw=self.power_kw, energy_import_kwh=self.energy_kwh, energy_export_kwh=0.0, soc_frac=0.5
            )
            out.append(Outgoing(own_topic(self, Channel.TELEMETRY), telemetry))
        for received in inbox:
            assert isinstance(received.body, Setpoint)
            assert turn.phase is Phase.APPLY, "a set-point applies in its step or not at all"
            assert received.body.valid_from == turn.t
            assert received.body.power_kw is not None
            self.power_kw = received.body.power_kw
            out.append(Outgoing(own_topic(self, Channel.ACK), Ack(id=received.body.id, accepted=True)))
        return out

    def snapshot(self) -> Json:
        return [self.power_kw, self.energy_kwh, self.t and self.t.isoformat()]

    def restore(self, state: Json) -> None:
        self.power_kw, self.energy_kwh = state[0], state[1]
        self.t = state[2] and datetime.fromisoformat(state[2])


class Prices(Tiny):
    kind = Kind.TARIFF

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        del inbox
        if turn.phase is not Phase.ROLLCALL:
            return []
        price = ValueSeries(quantity=Quantity.PURCHASE_PRICE, start=turn.t0, step_s=900, values=(0.1, 0.2, 0.3))
        return [Outgoing(own_topic(self, Channel.SERIES), Series(series=(price,)))]

    def snapshot(self) -> Json:
        return None

    def restore(self, state: Json) -> None:
        pass


class Pcc(Tiny):
    """Books register differences per (device, boot)."""

    kind = Kind.NETWORK
    subscriptions = (topic_filter(SITE, channel=Channel.TELEMETRY, kind=Kind.BESS),)

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self.seen: dict[str, float] = {}
        self.import_kwh = 0.0

    def birth(self) -> Birth:
        return Birth(nameplate=MeterNameplate(role=MeterRole.PCC), time_modes=(TimeMode.LOCKSTEP,), software="tiny")

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        for received in inbox:
            assert isinstance(received.body, BessTelemetry)
            register = received.body.energy_import_kwh
            assert register is not None
            key = f"{received.topic.device}/{received.stamp.boot}"
            self.import_kwh += register - self.seen.get(key, 0.0)
            self.seen[key] = register
        if turn.phase is not Phase.MEASURE:
            return []
        telemetry = NetworkTelemetry(
            power_kw=0.0,
            energy_import_kwh=self.import_kwh,
            energy_export_kwh=0.0,
            losses_kw=0.0,
            losses_kwh=0.0,
            residual_kwh=0.0,
            voltages_pu={},
            loadings_frac={},
        )
        return [Outgoing(own_topic(self, Channel.TELEMETRY), telemetry)]

    def snapshot(self) -> Json:
        return [self.seen, self.import_kwh]

    def restore(self, state: Json) -> None:
        self.seen, self.import_kwh = dict(state[0]), state[1]


class Chaotic(Tiny):
    """An EMS whose set-points depend on every digit of everything that it was handed."""

    kind = Kind.EMS
    subscriptions = (topic_filter(SITE, channel=Channel.TELEMETRY), topic_filter(SITE, channel=Channel.SERIES))

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self.state = 0.5
        self.devices: list[str] = []

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        if turn.phase is Phase.SENSE:
            self.devices = []
        for received in inbox:
            if isinstance(received.body, BessTelemetry):
                self.devices.append(received.topic.device)
                self.state = (
                    self.state * 3.7 * (1 - self.state) + (received.body.energy_import_kwh or 0.0)
                ) % 0.9 + 0.05
            elif isinstance(received.body, NetworkTelemetry):
                self.state = (self.state + (received.body.energy_import_kwh or 0.0)) % 0.9 + 0.05
            elif isinstance(received.body, Series):
                self.state = (self.state + received.body.series[0].values[1]) % 0.9 + 0.05
        if turn.phase is not Phase.DECIDE:
            return []
        out = []
        for device in sorted(self.devices):
            self.state = self.state * 3.7 * (1 - self.state) % 0.9 + 0.05
            body = Setpoint(
                id=f"{turn.n}.{device}",
                epoch=0,
                valid_from=turn.t,
                valid_until=turn.t.fromtimestamp(turn.t.timestamp() + turn.step_s, turn.t.tzinfo),
                power_kw=10 * self.state,
                fallback=Fallback.IDLE,
            )
            out.append(Outgoing(Topic(SITE, Kind.BESS, device, Channel.SETPOINT), body))
        plan = Plan(
            epoch=0, mode=EmsMode.CONTROL, status=PlanStatus.OPTIMAL, start=turn.t, step_s=900, objective_eur=0.0
        )
        out.append(Outgoing(own_topic(self, Channel.PLAN), plan))
        return out

    def snapshot(self) -> Json:
        return [self.state, self.devices]

    def restore(self, state: Json) -> None:
        self.state, self.devices = state[0], list(state[1])


class Archive:
    """The inbox of the recorder below: arrives, waits, is committed. Survives its process, as a database does."""

    def __init__(self) -> None:
        self.arrived: dict[tuple[str, str, int], bytes] = {}
        self.committed: dict[tuple[str, str, int], tuple[int, bytes]] = {}

    def add(self, received: Received, payload: bytes) -> None:
        key = (str(received.topic), received.stamp.boot, received.stamp.seq)
        assert self.arrived.setdefault(key, payload) == payload, (
            f"two contents under one identity {key}: {payload!r} {self.arrived[key]!r}"
        )

    def reject(self, topic: str, payload: bytes, reason: str) -> None:
        raise AssertionError(f"{topic}: {reason}")

    def flush(self) -> None:
        pass

    def missing(self, wanted: Sequence) -> bool:  # type: ignore[type-arg]
        return any((w.topic, w.boot, seq) not in self.arrived for w in wanted for seq in range(w.first, w.last + 1))

    def take(self, run: str, turn: Turn, wanted: Sequence) -> list[Received]:  # type: ignore[type-arg]
        del run
        if turn.phase is Phase.COMMIT:
            for w in wanted:
                for seq in range(w.first, w.last + 1):
                    key = (w.topic, w.boot, seq)
                    self.committed.setdefault(key, (turn.n, self.arrived[key]))
        return []


class Recorder(Tiny):
    kind = Kind.RECORDER
    subscriptions = (f"twin/v2/{SITE}/#",)

    def __init__(self, device: str, inbox: Archive) -> None:
        super().__init__(device)
        self.inbox = inbox

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        del turn
        assert not inbox
        return []

    def snapshot(self) -> Json:
        return None

    def restore(self, state: Json) -> None:
        pass
