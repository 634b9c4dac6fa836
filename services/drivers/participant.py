"""A real device behind a link as a participant, in wall time."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from schemas.limits import Limits
from schemas.messages import (
    Ack,
    Alarm,
    BessTelemetry,
    Birth,
    ChargerTelemetry,
    Limit,
    MeterTelemetry,
    Phase,
    PluggedVehicle,
    PvTelemetry,
    Setpoint,
    Severity,
    Telemetry,
    TimeMode,
)
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic, software
from schemas.site import Bess, Charger, Device, Pv, Site
from schemas.topics import Channel, Kind, topic_filter
from services.drivers.doubts import Doubts
from services.drivers.link import Link, Measured
from services.drivers.obedience import PATIENCE, Obedience
from services.drivers.registers import Registers
from services.drivers.standing_alarms import StandingAlarms
from twin_devices.discharge_caps import USED_UP, DischargeCaps
from twin_devices.phase_switcher import PhaseSwitcher
from twin_devices.setpoints import Clipped, SetpointHandler, clip_limit, clip_power

DRIVEN = frozenset({Kind.CHARGER, Kind.BESS, Kind.PV, Kind.METER})
"""The kinds that a driver can be for."""
SILENT, TROUBLE = "hardware_silent", "hardware_trouble"
"""Codes of alarms: nothing is measured; something is, and the device is not as it was told to be, or cannot be read."""
MAY_BE_OLD = ("soc_frac", "available_kw")
"""Values that are believed beside a newer power, for ``max_age_s`` after they can be read no more."""


def most_kw(spec: Device) -> float | None:
    """The most that can flow through a device in either direction; None: not known."""
    if isinstance(spec, Pv):
        return spec.rated_kw
    return max(spec.max_charge_kw, spec.max_discharge_kw) if isinstance(spec, Charger | Bess) else None


class Driver:
    """Set-points, expiry and fallback are handled as by the twins; powers and energies are the device's own.

    Telemetry goes out with what was measured, at once when the device is heard again. While the measured power is older
    than ``max_age_s``, or the device says that it is offline, there is none: the EMS then plans without the device, and
    the alarm ``hardware_silent`` says why. The device is commanded all the same, for it may hear without being heard.

    Hardware and protocols count seconds of the machine, however fast the run's time passes: so do ``max_age_s`` and the
    patience with what a device does (`services.drivers.obedience`).
    """

    def __init__(self, site: Site, device: str, link: Link, *, max_age_s: float) -> None:
        self.site, self.device = site.site, device
        spec = site.devices[device]
        self.kind = Kind(spec.kind)
        self._spec, self._link = spec, link
        self._outside = Limits()
        self._groups = site.limited_groups(device)
        self._max_age_s = max_age_s
        self._pace = 1.0
        self.sources = (link,)
        self._setpoints = SetpointHandler(spec.reverts_to, self._clip)
        self._doubts = Doubts(site, device)
        self._registers = Registers(most_kw=most_kw(spec) or self._doubts.most_kw)
        self._obedience = Obedience(limit=isinstance(spec, Pv), most_kw=most_kw(spec) or 0.0)
        self._measured = Measured()
        self._measured_at: datetime | None = None
        """When a power came last."""
        self._read_at: dict[str, datetime] = {}
        """When the values of ``MAY_BE_OLD`` came last."""
        self._unread: set[str] = set()
        """Those that should have come with the newest measurement, and did not."""
        switches = isinstance(spec, Charger) and spec.phase_switch is not None
        self._switcher = PhaseSwitcher(spec.nameplate) if isinstance(spec, Charger) and switches else None
        self._has_one_phase = False
        """The vehicle at the plug was seen to charge on one phase where three were asked."""
        self._caps = DischargeCaps(site.zone)
        self._assumed = site.assumed_vehicle(device)
        self._vehicle: tuple[datetime | None, float, float] | None = None
        """Of the vehicle at the plug: since when, if that was seen, and the registers when it was seen first."""
        self._seen_unplugged = False
        self._alarms = StandingAlarms()
        self._silent = False
        """Whether nothing is measured now; the alarm of that may stand for longer."""

    @property
    def subscriptions(self) -> tuple[str, ...]:
        own = topic_filter(self.site, self.kind, self.device, Channel.SETPOINT)
        return (own, topic_filter(self.site, Kind.LIMITER, channel=Channel.LIMIT))

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
            time_modes=(TimeMode.WALL,),
            fallback=self._spec.reverts_to,
            software=f"{software()} driver {self._link.name}",
        )

    @property
    def registers(self) -> dict[str, float]:
        return self._registers.values

    def continue_registers(self, registers: Mapping[str, float]) -> None:
        self._registers.begin_with(registers)

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        self._pace = turn.pace
        for received in inbox:
            if isinstance(received.body, Limit):
                self._outside.receive(received)
        setpoints = [received.body for received in inbox if isinstance(received.body, Setpoint)]
        acks = [ack for setpoint in setpoints for ack in self._receive(setpoint, turn.t)]
        for given in turn.inputs:
            assert isinstance(given.value, Measured)
            self._take(self._doubts.without(given.value, given.at, turn.boot), given.at)
        self._command(turn)
        sent = [Outgoing(own_topic(self, Channel.ACK), ack) for ack in acks]
        was_silent = self._silent
        sent += self._look(turn.t)
        if not self._silent and (turn.phase is Phase.SENSE or was_silent):
            sent.append(Outgoing(own_topic(self, Channel.TELEMETRY), self._telemetry(turn.t)))
        return sent

    def wake_at(self, now: datetime) -> datetime | None:
        """At the end of a set-point or a limit, however rarely telemetry is sent."""
        switch = None if self._switcher is None else self._switcher.next_change(now)
        changes = (self._setpoints.next_change(), self._outside.next_change(now), switch)
        return min((change for change in changes if change is not None), default=None)

    # ---- set-points

    def _receive(self, setpoint: Setpoint, at: datetime) -> list[Ack]:
        ack, *given_up = self._setpoints.receive(setpoint, at)
        if ack.accepted and self._switcher is not None:
            ack = self._switcher.answered(ack, setpoint, at)
        return [ack, *given_up]

    def _clip(self, setpoint: Setpoint) -> Clipped:
        spec = self._spec
        if not self._link.commanded or not spec.nameplate.commanded:
            return Clipped(None, "this device cannot be commanded: its driver or its description has no command for it")
        if isinstance(spec, Pv):
            return clip_limit(setpoint, spec.rated_kw)
        assert isinstance(spec, Charger | Bess)
        clipped = clip_power(setpoint, self.kind.value, -spec.max_discharge_kw, spec.max_charge_kw)
        if clipped.value_kw is not None and clipped.value_kw < 0 and self._discharge_left_kwh() <= 0:
            return Clipped(0.0, USED_UP)
        return clipped

    def _command(self, turn: Turn) -> None:
        if not self._link.commanded:
            return
        wanted_kw = self._wanted_kw(turn.t)
        # A fallback has no end; the end of a set-point is its last instant, or the next set-point's first.
        end = None if self._setpoints.target.fallback is not None else self._setpoints.next_change()
        for_s = None if end is None else (end - turn.t).total_seconds() / turn.pace
        if self._switcher is None:
            self._link.command(wanted_kw, for_s)
        else:
            self._switcher.follow(turn.t, wanted_kw, self._setpoints.target)
            wanted_kw = self._switcher.possible_kw(wanted_kw, self._switcher.phases)
            self._link.command(wanted_kw, for_s, self._switcher.phases)
        self._obedience.asked(wanted_kw, turn.t)

    def _wanted_kw(self, at: datetime) -> float:
        """The power, or an inverter's limit. A fallback flows in no direction in which a limit from outside holds."""
        spec, target = self._spec, self._setpoints.target_at(at)
        if isinstance(spec, Pv):
            wanted_kw = target.value_or(idle_kw=0.0, uncontrolled_kw=spec.rated_kw, unknown_kw=spec.rated_kw)
            flow_kw = -wanted_kw
        else:
            uncontrolled_kw = spec.nameplate.uncontrolled_kw if isinstance(spec, Charger) else 0.0
            flow_kw = wanted_kw = target.value_or(idle_kw=0.0, uncontrolled_kw=uncontrolled_kw, unknown_kw=0.0)
            wanted_kw = self._within_caps(wanted_kw, at)
        free = target.fallback is None or self._outside.let_flow(flow_kw, self._groups, at)
        return wanted_kw if free else 0.0

    @property
    def _max_age(self) -> timedelta:
        """In the run's time."""
        return timedelta(seconds=self._max_age_s * self._pace)

    def _discharge_left_kwh(self) -> float:
        return self._caps.left_kwh(self._registers.values["energy_export_kwh"])

    def _within_caps(self, wanted_kw: float, at: datetime) -> float:
        """The power that the caps of what a vehicle gives back allow until the next look, with what was measured last.

        What has flowed since is not known: the power is such that it fits even if nothing is heard for as long as a
        measurement may be old. While nothing is heard for longer, nothing is given.
        """
        left_kwh = self._discharge_left_kwh()
        if wanted_kw >= 0 or left_kwh == math.inf:
            return wanted_kw
        if self._why_silent(at) is not None:
            return 0.0
        unseen_h = (self._max_age + timedelta(seconds=self._spec.telemetry_period_s)) / timedelta(hours=1)
        allowed_kw = max(wanted_kw, -left_kwh / unseen_h)
        least_kw = self._spec.min_power_kw if isinstance(self._spec, Charger) else 0.0
        return allowed_kw if -allowed_kw >= least_kw else 0.0

    # ---- measurements

    def _take(self, new: Measured, at: datetime) -> None:
        given = {name: value for name, value in new if value is not None}
        self._measured = self._measured.model_copy(update=given)
        self._unread = (self._unread | new.unread) - given.keys()
        self._read_at |= dict.fromkeys(given.keys() & set(MAY_BE_OLD), at)
        begun = self._registers.take(new, at)
        if self._vehicle is not None:
            since, imported, exported = self._vehicle
            imported += begun.get("energy_import_kwh", 0.0)
            self._vehicle = (since, imported, exported + begun.get("energy_export_kwh", 0.0))
        if new.power_kw is not None:
            if self._switcher is not None and new.phases is None:
                self._measured = self._measured.model_copy(update={"phases": None})
            self._measured_at = at
            self._obedience.measured(new.power_kw, at, self._pace)
        given_kwh = self._registers.values["energy_export_kwh"]
        self._caps.settle(at, given_kwh)
        if new.phases == 1 and self._switcher is not None and self._switcher.phases == 3:
            self._has_one_phase = self._has_one_phase or not self._phases_settle_at(at)
        if new.plugged is False:
            self._vehicle, self._seen_unplugged, self._has_one_phase = None, True, False
            if self._switcher is not None:
                self._switcher.decide_again()
            self._caps.unplug(given_kwh, at)
        elif new.plugged and self._vehicle is None:
            registers = self._registers.values
            since = at if self._seen_unplugged else None
            self._vehicle = (since, registers["energy_import_kwh"], registers["energy_export_kwh"])
            self._caps.plug("", None, self._assumed, given_kwh, at)

    def _look(self, at: datetime) -> list[Outgoing]:
        """The alarms that begin or are over now: that the device is not heard, or that it does not do as it is told."""
        self._drop_what_is_old(at)
        why, read = self._why_silent(at), self._reading_trouble
        troubles = (read, self._obedience.trouble, self._phase_trouble(at)) if why is None else ()
        self._silent = why is not None
        found = {SILENT: why, TROUBLE: "; ".join(each for each in troubles if each)}
        now = {code: text for code, text in found.items() if text}
        because = {SILENT: read, TROUBLE: now.get(TROUBLE, "")}
        topic = own_topic(self, Channel.ALARM)
        changed = self._alarms.change(now, because, at, self._pace)
        return [Outgoing(topic, self._alarm(code, text)) for code, text in changed.items()]

    @property
    def _reading_trouble(self) -> str:
        return "; ".join(each for each in (self._measured.trouble, self._doubts.trouble) if each)

    def _drop_what_is_old(self, at: datetime) -> None:
        """A value that can be read no more is not that of a device that is measured on for ever."""
        for name in self._unread & self._read_at.keys():
            if at - self._read_at[name] > self._max_age:
                self._measured = self._measured.model_copy(update={name: None})

    def _phase_trouble(self, at: datetime) -> str | None:
        """That a charger is on three phases where one was asked; of fewer than three the vehicle may be the reason."""
        switcher, measured = self._switcher, self._measured.phases
        if switcher is None or measured != 3 or switcher.phases == 3 or self._phases_settle_at(at):
            return None
        return "one phase was asked, and three have current"

    def _phases_settle_at(self, at: datetime) -> bool:
        """Whether what is measured may still be of before a switch."""
        switcher = self._switcher
        return switcher is not None and not switcher.is_settled(at - PATIENCE * self._pace)

    def _alarm(self, code: str, text: str | None) -> Alarm:
        said = text or f"over: {self.device} {'is heard again' if code == SILENT else 'has no trouble any more'}"
        active = text is not None
        return Alarm(code=code, severity=Severity.WARNING, active=active, device=self.device, text=said[:500])

    def _why_silent(self, at: datetime) -> str | None:
        measured = self._measured
        if measured.online is False:
            return f"{self.device} says that it is offline"
        if self._measured_at is not None and at - self._measured_at <= self._max_age and self._complete:
            return None
        because = f": {trouble}" if (trouble := self._reading_trouble) else ""
        if self._measured_at is None:
            return f"{self.device} has not been heard yet{because}"
        if not self._complete:
            if "soc_frac" in self._read_at:
                return f"{self.device} has said no soc_frac for more than {self._max_age_s:g} s{because}"
            return f"{self.device} has not said its soc_frac yet{because}"
        age_s = (at - self._measured_at).total_seconds() / self._pace
        return f"the power of {self.device} is {age_s:.0f} s old, and {self._max_age_s:g} are allowed{because}"

    @property
    def _complete(self) -> bool:
        return self.kind is not Kind.BESS or self._measured.soc_frac is not None

    def _phases_at(self, at: datetime) -> dict[str, Any]:
        """Telemetry of a charger that switches its phases: those that have current, else those that were asked."""
        switcher = self._switcher
        if switcher is None:
            return {}
        settled = self._measured.phases is not None and not self._phases_settle_at(at)
        return {
            "phases": self._measured.phases if settled else switcher.phases,
            "phases_held_until": switcher.held_until(at),
            "phases_switched": switcher.take_switched() or None,
        }

    def _telemetry(self, at: datetime) -> Telemetry:
        measured, registers = self._measured, self._registers.values
        power_kw = measured.power_kw
        assert power_kw is not None
        common: dict[str, Any] = {"power_kw": power_kw, **registers}
        if self.kind is Kind.BESS:
            assert measured.soc_frac is not None, "it is not sent before that is known"
            return BessTelemetry(**common, soc_frac=measured.soc_frac)
        if self.kind is Kind.PV:
            available_kw = measured.available_kw
            return PvTelemetry(**common, available_kw=max(0.0, -power_kw) if available_kw is None else available_kw)
        if self.kind is Kind.CHARGER:
            return ChargerTelemetry(**common, vehicle=self._plugged_vehicle(), **self._phases_at(at))
        return MeterTelemetry(**common)

    def _plugged_vehicle(self) -> PluggedVehicle | None:
        if self._vehicle is None:
            return None
        since, imported, exported = self._vehicle
        registers = self._registers.values
        return PluggedVehicle(
            arrival=since,
            soc_frac=self._measured.soc_frac,
            charged_kwh=registers["energy_import_kwh"] - imported,
            discharged_kwh=registers["energy_export_kwh"] - exported,
            phases=1 if self._has_one_phase else None,
            discharged_day_kwh=self._caps.given_today_kwh(registers["energy_export_kwh"])
            if self._caps.capped_by_day
            else None,
        )

    def snapshot(self) -> Json:
        vehicle = self._vehicle
        return {
            "setpoints": self._setpoints.snapshot(),
            "registers": self._registers.snapshot(),
            "vehicle": None if vehicle is None else [vehicle[0] and vehicle[0].isoformat(), *vehicle[1:]],
            "caps": self._caps.snapshot(),
            "phases": None if self._switcher is None else self._switcher.snapshot(),
            "outside": self._outside.snapshot(),
            "raised": sorted(self._alarms.raised),
        }

    def restore(self, state: Json) -> None:
        self._setpoints.restore(state["setpoints"])
        self._registers.restore(state["registers"])
        vehicle = state["vehicle"]
        if vehicle is None:
            self._vehicle = None
        else:
            since, imported, exported = vehicle
            self._vehicle = (None if since is None else datetime.fromisoformat(since), imported, exported)
        if "caps" in state:  # a checkpoint of an earlier version has none
            self._caps.restore(state["caps"])
        if self._switcher is not None and state.get("phases") is not None:
            self._switcher.restore(state["phases"])
        self._outside.restore(state["outside"])
        self._alarms.restore(state["raised"])
        self._silent = SILENT in self._alarms.raised
        self._measured, self._measured_at = Measured(), None
