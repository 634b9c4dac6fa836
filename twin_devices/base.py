"""What all twins share: time, set-points with their validity, registers, telemetry. A kind of device adds its physics.

The simplest twin, and the one to copy for a new kind of device, is `twin_devices.meter`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from schemas.messages import Ack, Birth, Phase, Segment, Setpoint, Telemetry, TimeMode
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic, software
from schemas.site import Device, Site
from schemas.topics import Channel, Kind, topic_filter
from twin_devices.ledger import Ledger
from twin_devices.orders import Orders, order_for


@dataclass(frozen=True, slots=True)
class Wish:
    """What a device makes of a set-point: the value [kW] that it will follow, and why that differs; or a refusal."""

    value_kw: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The part of telemetry that is alike in all devices. Pass its fields on by name."""

    power_kw: float
    energy_import_kwh: float
    energy_export_kwh: float
    segments: tuple[Segment, ...] | None


class Twin(ABC):
    """A simulated device. Its power is piecewise constant; between two changes everything is integrated exactly.

    Lock-step: at SENSE it integrates up to t and tells; a set-point whose validity ends at t itself is followed until
    the next integration, because the one that replaces it comes in APPLY of the same t. Wall time: both come at any
    instants, and an expiry at t holds at t.
    """

    kind: Kind

    def __init__(self, site: Site, device: str, spec: Device) -> None:
        self.site = site.site
        self.device = device
        self._telemetry_topic = own_topic(self, Channel.TELEMETRY)
        self._ack_topic = own_topic(self, Channel.ACK)
        self._spec = spec
        self._orders = Orders(spec.reverts_to)
        self._epoch = 0
        self._ledger: Ledger | None = None
        self._base_kwh = (0.0, 0.0)
        """What the registers of import and export had counted before this life. Kept apart from the life's own
        energies, so that these have the same bits whatever the registers began with."""
        self._now: datetime | None = None

    # What a kind of device adds.

    @abstractmethod
    def _power_kw(self, at: datetime, *, away: bool) -> float:
        """The power just after ``at``. ``away``: the device is not there, and its power is 0.

        Called at each change and, besides, at any instant that somebody is interested in: the latter must not alter
        the trajectory.
        """

    @abstractmethod
    def _next_change(self, after: datetime) -> datetime | None:
        """The next instant at which the power may change by itself; None: never."""

    @abstractmethod
    def _judge(self, setpoint: Setpoint) -> Wish:
        """Whether the set-point is of the right kind, and within the nameplate."""

    @abstractmethod
    def _telemetry(self, at: datetime, reading: Reading) -> Telemetry: ...

    def _ack(self, setpoint: Setpoint, wish: Wish, at: datetime) -> Ack:
        """The answer to an accepted set-point, once the device has settled."""
        return Ack(id=setpoint.id, accepted=True, applied_kw=wish.value_kw, reason=wish.reason)

    @property
    def registers(self) -> dict[str, float]:
        """The registers [kWh], by their names in telemetry. They go on in the next life."""
        energies = (0.0, 0.0) if self._ledger is None or self._now is None else self._ledger.registers(self._now)
        imported, exported = (base + energy for base, energy in zip(self._base_kwh, energies, strict=True))
        return {"energy_import_kwh": imported, "energy_export_kwh": exported}

    def continue_registers(self, registers: Mapping[str, float]) -> None:
        """Counts on from the registers of an earlier life. To be called before the first turn."""
        self._base_kwh = (registers.get("energy_import_kwh", 0.0), registers.get("energy_export_kwh", 0.0))

    def _dead_time_s(self) -> float:
        return 0.0

    def _own_state(self) -> Json:
        return None

    def _restore_own(self, state: Json) -> None:  # noqa: B027 - most twins have no state of their own
        pass

    # The participant protocol.

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return (topic_filter(self.site, self.kind, self.device, Channel.SETPOINT),)

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return {
            Phase.SENSE: Cadence(period_s=self._spec.telemetry_period_s),
            Phase.APPLY: Cadence(on_message=True),
        }

    def birth(self) -> Birth:
        return Birth(
            nameplate=self._spec.nameplate,
            telemetry_period_s=self._spec.telemetry_period_s,
            time_modes=(TimeMode.LOCKSTEP, TimeMode.WALL),
            fallback=self._spec.reverts_to,
            software=software(),
        )

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        wall, sense = turn.mode is TimeMode.WALL, turn.phase is Phase.SENSE
        if not wall and not sense and turn.t == self._now:
            at = turn.t  # Everything that happens at this instant has happened.
        else:
            at = self._advance(turn.t, away=turn.gap and sense)
            self._settle(at, expire=wall)
        sent = [
            Outgoing(self._ack_topic, self._answer(received.body, at, expire=wall))
            for received in inbox
            if isinstance(received.body, Setpoint)
        ]
        if sense:
            assert self._ledger is not None
            pieces = self._ledger.tell(at)
            reading = Reading(self._ledger.power_kw, **self.registers, segments=None if wall else pieces)
            sent.append(Outgoing(self._telemetry_topic, self._telemetry(at, reading)))
        return sent

    def snapshot(self) -> Json:
        return {
            "now": None if self._now is None else self._now.isoformat(),
            "epoch": self._epoch,
            "base_kwh": list(self._base_kwh),
            "orders": self._orders.snapshot(),
            "ledger": None if self._ledger is None else self._ledger.snapshot(),
            "own": self._own_state(),
        }

    def restore(self, state: Json) -> None:
        self._now = None if state["now"] is None else datetime.fromisoformat(state["now"])
        self._epoch = state["epoch"]
        imported, exported = state.get("base_kwh", (0.0, 0.0))
        self._base_kwh = (imported, exported)
        self._orders.restore(state["orders"])
        self._ledger = None if state["ledger"] is None else Ledger.restored(state["ledger"])
        self._restore_own(state["own"])

    # Time.

    def _advance(self, until: datetime, *, away: bool) -> datetime:
        """Integrates up to ``until``, change by change. Returns the instant reached: time never runs backwards."""
        if self._now is None:
            self._now = until
            self._ledger = Ledger(until)
        while self._now < until:
            self._settle(self._now, expire=True, away=away)
            self._now = min(until, self._orders.next_change() or until, self._next_change(self._now) or until)
        return self._now

    def _settle(self, at: datetime, *, expire: bool, away: bool = False) -> None:
        """Everything that happens at the instant ``at``."""
        assert self._ledger is not None
        self._orders.settle(at, expire=expire)
        self._ledger.change(at, self._power_kw(at, away=away))

    def _answer(self, setpoint: Setpoint, at: datetime, *, expire: bool) -> Ack:
        """Takes a set-point in force, or refuses it."""

        def refused(reason: str) -> Ack:
            return Ack(id=setpoint.id, accepted=False, reason=reason)

        if setpoint.epoch < self._epoch:
            return refused(f"epoch {setpoint.epoch} is below {self._epoch}, which was seen before")
        self._epoch = setpoint.epoch
        wish = self._judge(setpoint)
        if wish.value_kw is None:
            return refused(wish.reason or "not possible")
        if setpoint.valid_until <= at:
            return refused(f"valid_until {setpoint.valid_until.isoformat()} is not after {at.isoformat()}")
        dead_time_s = self._dead_time_s()
        order = order_for(wish.value_kw, at, setpoint.valid_from, setpoint.valid_until, dead_time_s, setpoint.fallback)
        if order is None:
            return refused(f"it would be over before the dead time of {dead_time_s} s")
        if self._orders.full:
            return refused("too many set-points lie ahead")
        self._orders.receive(order)
        self._settle(at, expire=expire)
        return self._ack(setpoint, wish, at)
