"""A participant of constant power that notes its turns, and a site's worth of what the wall-time tests need."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from schemas.messages import (
    Ack,
    Birth,
    Fallback,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    Phase,
    Run,
    RunId,
    ServiceNameplate,
    Setpoint,
    Stamp,
    TimeMode,
)
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic
from schemas.topics import Channel, Kind, Topic, topic_filter
from schemas.wire import encode

SITE = "lab"
T0 = datetime(2026, 3, 2, tzinfo=UTC)
WALL0 = datetime(2026, 11, 1, 12, tzinfo=UTC)
RUN1: RunId = "20261101T120000.000000Z-0001"
RUN2: RunId = "20261101T130000.000000Z-0002"
RUN0: RunId = "20261101T110000.000000Z-0000"
SESSION_TOPIC = Topic(SITE, Kind.CLOCK, "clock", Channel.RUN)
SETPOINTS = Topic(SITE, Kind.METER, "probe", Channel.SETPOINT)


def at(seconds: float) -> datetime:
    """Run time."""
    return T0 + timedelta(seconds=seconds)


def machine(seconds: float) -> datetime:
    return WALL0 + timedelta(seconds=seconds)


def session(
    *, speed: float = 1.0, hours: float | None = 1.0, ended_after_s: float | None = None, simulated: bool = True
) -> Run:
    return Run(
        mode=TimeMode.WALL,
        step_s=900,
        t0=T0,
        t_end=None if hours is None else T0 + timedelta(hours=hours),
        wall0=WALL0,
        speed=speed,
        simulated=simulated,
        ended=None if ended_after_s is None else machine(ended_after_s),
    )


_SEQ = count(1)


def setpoint(name: str, *, run: RunId | None = RUN1, boot: str = "ems", seq: int | None = None) -> bytes:
    body = Setpoint(id=name, epoch=0, valid_from=T0, valid_until=at(900), power_kw=1.0, fallback=Fallback.IDLE)
    return encode(Stamp(ts=T0, run=run, boot=boot, seq=next(_SEQ) if seq is None else seq), body)


class Probe:
    """6 kW from its first turn on: 0.1 kWh a minute. Not while it is away."""

    site = SITE
    kind = Kind.METER
    device = "probe"

    def __init__(self, cadence: Mapping[Phase, Cadence] | None = None) -> None:
        self._cadence = cadence or {
            Phase.SENSE: Cadence(period_s=60.0),
            Phase.APPLY: Cadence(on_message=True),
        }
        self.turns: list[Turn] = []
        self.handed: list[tuple[Phase, str]] = []
        self._energy_kwh = 0.0
        self._at: datetime | None = None

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return (topic_filter(self.site, self.kind, self.device, Channel.SETPOINT),)

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return self._cadence

    def birth(self) -> Birth:
        return Birth(
            nameplate=MeterNameplate(role=MeterRole.LOAD) if self.kind is Kind.METER else ServiceNameplate(),
            telemetry_period_s=60.0,
            time_modes=(TimeMode.WALL,),
            software="probe",
        )

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        self.turns.append(turn)
        if self._at is not None and not turn.gap:
            self._energy_kwh += 6.0 * (turn.t - self._at).total_seconds() / 3600
        self._at = turn.t
        sent: list[Outgoing] = []
        for received in inbox:
            assert isinstance(received.body, Setpoint)
            self.handed.append((turn.phase, received.body.id))
            sent.append(Outgoing(own_topic(self, Channel.ACK), Ack(id=received.body.id, accepted=True)))
        if turn.phase is Phase.SENSE:
            telemetry = MeterTelemetry(power_kw=6.0, energy_import_kwh=self._energy_kwh, energy_export_kwh=0.0)
            sent.append(Outgoing(own_topic(self, Channel.TELEMETRY), telemetry))
        return sent

    def snapshot(self) -> Json:
        return {"energy_kwh": self._energy_kwh, "at": None if self._at is None else self._at.isoformat()}

    def restore(self, state: Json) -> None:
        self._energy_kwh = state["energy_kwh"]
        self._at = None if state["at"] is None else datetime.fromisoformat(state["at"])
