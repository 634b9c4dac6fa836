"""Base of all twins: time, set-points with their validity, registers, telemetry. A kind of device adds its physics.

The simplest twin, and the one to copy for a new kind of device, is `twin_devices.meter`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from schemas.kinds import COMMANDED_KINDS
from schemas.limits import Limits
from schemas.messages import Ack, Birth, Limit, Phase, Segment, Setpoint, Telemetry, TimeMode
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic, software
from schemas.site import Device, Site
from schemas.topics import Channel, Kind, topic_filter
from twin_devices.energy_meter import EnergyMeter
from twin_devices.scenario import Script
from twin_devices.setpoints import Clipped, SetpointHandler


class Reading(NamedTuple):
    """The part of telemetry that is alike in all devices. Pass its fields on by name."""

    power_kw: float
    energy_import_kwh: float
    energy_export_kwh: float
    segments: tuple[Segment, ...] | None


class Twin(ABC):
    """A simulated device. Its power is piecewise constant; between two changes everything is integrated exactly.

    Lock-step: at SENSE it integrates up to t and sends telemetry; a set-point whose validity ends at t itself is
    followed until the next integration, because the one that replaces it comes in APPLY of the same t. Wall time: both
    come at any instants, and an expiry at t holds at t.
    """

    kind: Kind

    def __init__(self, site: Site, device: str, spec: Device, *, dead_time_s: float = 0.0) -> None:
        self.site = site.site
        self.device = device
        self._telemetry_topic = own_topic(self, Channel.TELEMETRY)
        self._ack_topic = own_topic(self, Channel.ACK)
        self._alarm_topic = own_topic(self, Channel.ALARM)
        self._spec = spec
        self._setpoints = SetpointHandler(spec.reverts_to, self._clip, dead_time_s=dead_time_s)
        self._energy_meter: EnergyMeter | None = None
        self._outside = Limits()
        self._groups = site.limited_groups(device)
        self._base_kwh = (0.0, 0.0)
        """What the registers of import and export had counted before this life. Kept apart from the life's own
        energies, so that these have the same bits whatever the registers began with."""
        self._now: datetime | None = None
        self._script = Script(site.scenario, self.kind, device)

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
    def _clip(self, setpoint: Setpoint) -> Clipped:
        """Brings a set-point within the nameplate, or refuses it because it is not of the right kind."""

    @abstractmethod
    def _telemetry(self, at: datetime, reading: Reading) -> Telemetry: ...

    def _foresee(self, ack: Ack, setpoint: Setpoint, at: datetime) -> Ack:
        """The answer to an accepted set-point, once the device has settled; ``ack`` names the value after the clip."""
        del setpoint, at
        return ack

    def _script_changed(self, at: datetime) -> None:  # noqa: B027 - most twins look at their script as they go
        """An event has come by command."""

    @property
    def registers(self) -> dict[str, float]:
        """The registers [kWh], by their names in telemetry. They go on in the next life."""
        meter, now = self._energy_meter, self._now
        energies = (0.0, 0.0) if meter is None or now is None else meter.registers(now)
        imported, exported = (base + energy for base, energy in zip(self._base_kwh, energies, strict=True))
        return {"energy_import_kwh": imported, "energy_export_kwh": exported}

    def continue_registers(self, registers: Mapping[str, float]) -> None:
        """Counts on from the registers of an earlier life. To be called before the first turn."""
        self._base_kwh = (registers.get("energy_import_kwh", 0.0), registers.get("energy_export_kwh", 0.0))

    def _own_state(self) -> Json:
        return None

    def _restore_own(self, state: Json) -> None:  # noqa: B027 - most twins have no state of their own
        pass

    # A second face, beside MQTT (`services.outward`). All of it in wall time, at the instant of the last turn.

    @property
    def epoch(self) -> int:
        """The highest epoch of set-points that was seen."""
        return self._setpoints.epoch

    def reading(self, at: datetime) -> Telemetry | None:
        """Telemetry of now, for who asks between two that are published; None: the device is not there."""
        if self._energy_meter is None or self._script.is_offline(at):
            return None
        return self._telemetry(at, Reading(self._energy_meter.power_kw, **self.registers, segments=None))

    def command(self, setpoint: Setpoint, at: datetime) -> list[Ack]:
        """Follows a set-point that came at the device itself: accepted, clipped and ended as one that came by MQTT."""
        return self._receive(setpoint, at, expire=True)

    def withdraw(self, at: datetime, reason: str) -> list[Ack]:
        """Gives up all set-points and says so; the fallback holds."""
        acks = self._setpoints.withdraw(reason)
        if self._energy_meter is not None:
            self._settle(at, expire=True)
        return acks

    # The participant protocol.

    @property
    def subscriptions(self) -> tuple[str, ...]:
        own = tuple(
            topic_filter(self.site, self.kind, self.device, channel) for channel in (Channel.SETPOINT, Channel.EVENT)
        )
        if self.kind not in COMMANDED_KINDS:
            return own
        return (*own, topic_filter(self.site, Kind.LIMITER, channel=Channel.LIMIT))

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
            # Everything that happens at this instant has happened, but for what came.
            if not inbox:
                return []
            at = turn.t
        else:
            at = self._advance(turn.t, away=turn.gap and sense)
            self._settle(at, expire=wall)
        events = self._script.receive(inbox, at)
        if events:
            self._script_changed(at)
            self._settle(at, expire=wall)
        offline = self._script.is_offline(at)
        if not offline:
            events += self._script.over(at)
        sent = [Outgoing(self._alarm_topic, alarm) for alarm in events]
        if offline:
            return sent
        if limits := [received for received in inbox if isinstance(received.body, Limit)]:
            for received in limits:
                self._outside.receive(received)
            self._settle(at, expire=wall)
        sent += [
            Outgoing(self._ack_topic, ack)
            for received in inbox
            if isinstance(received.body, Setpoint)
            for ack in self._receive(received.body, at, expire=wall)
        ]
        if sense:
            assert self._energy_meter is not None
            segments = self._energy_meter.take_segments(at)
            reading = Reading(self._energy_meter.power_kw, **self.registers, segments=None if wall else segments)
            sent.append(Outgoing(self._telemetry_topic, self._telemetry(at, reading)))
        return sent

    def snapshot(self) -> Json:
        return {
            "now": None if self._now is None else self._now.isoformat(),
            "base_kwh": list(self._base_kwh),
            "setpoints": self._setpoints.snapshot(),
            "outside": self._outside.snapshot(),
            "events": self._script.snapshot(),
            "meter": None if self._energy_meter is None else self._energy_meter.snapshot(),
            "own": self._own_state(),
        }

    def restore(self, state: Json) -> None:
        self._now = None if state["now"] is None else datetime.fromisoformat(state["now"])
        imported, exported = state["base_kwh"]
        self._base_kwh = (imported, exported)
        self._setpoints.restore(state["setpoints"])
        self._energy_meter = None if state["meter"] is None else EnergyMeter.restored(state["meter"])
        self._outside.restore(state["outside"])
        self._script.restore(state["events"])
        self._restore_own(state["own"])

    # Limits from outside.

    def _may_flow(self, kw: float, at: datetime) -> bool:
        """Whether a fallback of ``kw`` stays within the limits from outside."""
        return self._outside.let_flow(kw, self._groups, at)

    # Time.

    def _advance(self, until: datetime, *, away: bool) -> datetime:
        """Integrates up to ``until``, change by change. Returns the instant reached: time never runs backwards."""
        if self._now is None:
            self._now = until
            self._energy_meter = EnergyMeter(until)
        while self._now < until:
            self._settle(self._now, expire=True, away=away)
            now = self._now
            changes = (
                self._setpoints.next_change(),
                self._next_change(now),
                self._outside.next_change(now),
                self._script.next_change(now),
            )
            self._now = min([until, *(change for change in changes if change is not None)])
        return self._now

    def _settle(self, at: datetime, *, expire: bool, away: bool = False) -> None:
        """Everything that happens at the instant ``at``."""
        assert self._energy_meter is not None
        self._setpoints.settle(at, expire=expire)
        self._energy_meter.change(at, self._power_kw(at, away=away or self._script.is_offline(at)))

    def _receive(self, setpoint: Setpoint, at: datetime, *, expire: bool) -> list[Ack]:
        """Follows a set-point from when it is to be followed on, or refuses it."""
        ack, *given_up = self._setpoints.receive(setpoint, at)
        if not ack.accepted:
            return [ack]
        self._settle(at, expire=expire)
        return [self._foresee(ack, setpoint, at), *given_up]
