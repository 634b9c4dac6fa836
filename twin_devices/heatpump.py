"""The heat pump's twin, with its thermal buffer and the building that takes heat from it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages import Ack, Fallback, HeatPumpTelemetry, Setpoint
from schemas.participant import Json
from schemas.plain import fields_of
from schemas.site import HeatPump as HeatPumpSpec
from schemas.site import Site
from schemas.topics import Kind
from twin_devices.base import Reading, Twin
from twin_devices.energy_meter import HOUR
from twin_devices.physics.converter import feasible_power_kw
from twin_devices.physics.heat import heat_after, hours_until, losses_kwh
from twin_devices.setpoints import Clipped, clip_power

_FAR_H = 24.0 * 365
"""A level that is further away than this many hours is no change to wait for."""
_RESTART = 0.1
"""A buffer that got full takes heat again when it is so far below the top of the comfort band, as part of the band."""


@dataclass(frozen=True, slots=True)
class _Flows:
    """What is constant in a piece of time: electrical power, its COP, the heat wanted and the heat given [kW]."""

    power_kw: float
    cop: float
    temp_outdoor_c: float
    demand_kw: float
    served_kw: float

    @property
    def heat_kw(self) -> float:
        return self.power_kw * self.cop

    @property
    def net_kw(self) -> float:
        return self.heat_kw - self.served_kw


@dataclass(frozen=True, slots=True)
class _Heat:
    """Heat in the buffer and its registers [kWh]."""

    stored: float
    produced: float = 0.0
    served: float = 0.0
    unserved: float = 0.0
    lost: float = 0.0


class HeatPump(Twin):
    """Without a set-point a thermostat with hysteresis: full power from the band's lower end on, until its upper end.

    A set-point is the electrical power. Below the smallest power the compressor pauses; a full buffer (SOC 1) takes no
    heat until it is well within the band again. An empty buffer gives what the heat pump delivers, and what the
    building lacks is counted. Between two changes (set-point, profile, a level that matters) all is evaluated in closed
    form from the last change, so no number depends on how often somebody asks.
    """

    kind = Kind.HEATPUMP

    def __init__(self, site: Site, device: str, spec: HeatPumpSpec) -> None:
        super().__init__(site, device, spec, dead_time_s=spec.dead_time_s)
        self._plate = spec.nameplate
        self._zone = site.zone
        self._temp_outdoor = site.profiles[spec.temp_outdoor_profile]
        self._demand = site.profiles[spec.heat_demand_profile]
        self._running = False
        """The thermostat's state; under a set-point whether the compressor runs."""
        self._full = False
        """Under a set-point: the buffer got full and is not yet ready to take heat again."""
        self._flows: _Flows | None = None
        self._since: datetime | None = None
        self._heat = _Heat(spec.initial_soc_frac * spec.buffer_kwh)
        """At ``_since``."""
        self._stop: datetime | None = None
        """When the heat meets the next level that matters, cut to a whole microsecond."""

    def _power_kw(self, at: datetime, *, away: bool) -> float:
        plate = self._plate
        temp_c = self._temp_outdoor.at(at, self._zone)
        demand_kw = max(self._demand.at(at, self._zone), 0.0)
        cop = plate.cop(temp_c)
        heat = self._heat_at(at)
        power_kw = 0.0 if away else self._wanted_kw(heat.stored, cop, demand_kw)
        lacking = power_kw * cop < demand_kw and self._down_at(0.0, heat.stored, power_kw * cop - demand_kw)
        flows = _Flows(power_kw, cop, temp_c, demand_kw, power_kw * cop if lacking else demand_kw)
        if flows != self._flows or (self._stop is not None and at >= self._stop):
            self._flows, self._since, self._heat = flows, at, heat
            self._stop = self._next_level(at)
        return power_kw

    def _wanted_kw(self, stored_kwh: float, cop: float, demand_kw: float) -> float:
        """By the set-point in force, or by the thermostat."""
        if self._by_thermostat:
            self._full = False
            return self._by_thermostat_kw(stored_kwh, cop, demand_kw)
        asked_kw = self._setpoints.target.value_or(idle_kw=0.0, uncontrolled_kw=0.0, unknown_kw=0.0)
        power_kw = feasible_power_kw(asked_kw, self._plate.max_power_kw, 0.0, self._plate.min_power_kw)
        if self._full:
            self._full = not self._down_at(self._restart_kwh, stored_kwh, 0.0 - demand_kw)
        elif power_kw > 0:
            self._full = self._up_at(self._plate.buffer_kwh, stored_kwh, power_kw * cop - demand_kw)
        if self._full:
            power_kw = 0.0
        self._running = power_kw > 0
        return power_kw

    def _by_thermostat_kw(self, stored_kwh: float, cop: float, demand_kw: float) -> float:
        full_kw, size = self._plate.max_power_kw, self._plate.buffer_kwh
        low, high = self._plate.soc_min_frac * size, self._plate.soc_max_frac * size
        if self._running:
            self._running = not self._up_at(high, stored_kwh, full_kw * cop - demand_kw)
        else:
            self._running = self._down_at(low, stored_kwh, 0.0 - demand_kw)
        return full_kw if self._running else 0.0

    @property
    def _restart_kwh(self) -> float:
        low, high = self._plate.soc_min_frac, self._plate.soc_max_frac
        return (high - _RESTART * (high - low)) * self._plate.buffer_kwh

    def _up_at(self, level_kwh: float, stored_kwh: float, net_kw: float) -> bool:
        """Whether the heat is at or above a level, or rises to it within a microsecond."""
        return stored_kwh >= level_kwh or self._is_there(level_kwh, stored_kwh, net_kw)

    def _down_at(self, level_kwh: float, stored_kwh: float, net_kw: float) -> bool:
        """Whether the heat is at or below a level, or falls to it within a microsecond."""
        return stored_kwh <= level_kwh or self._is_there(level_kwh, stored_kwh, net_kw)

    def _is_there(self, level_kwh: float, stored_kwh: float, net_kw: float) -> bool:
        return not _whole_microseconds(hours_until(stored_kwh, net_kw, self._plate.loss_frac_per_h, level_kwh))

    def _next_level(self, at: datetime) -> datetime | None:
        """When the next level is met at which something changes."""
        assert self._flows is not None
        size, stored, net_kw = self._plate.buffer_kwh, self._heat.stored, self._flows.net_kw
        levels: list[float] = []
        if self._by_thermostat:
            levels.append((self._plate.soc_max_frac if self._running else self._plate.soc_min_frac) * size)
        elif self._full:
            levels.append(self._restart_kwh)
        elif self._flows.power_kw > 0:
            levels.append(size)
        if self._flows.served_kw == self._flows.demand_kw:
            levels.append(0.0)
        hours = min(
            (hours_until(stored, net_kw, self._plate.loss_frac_per_h, level) for level in levels if level != stored),
            default=_FAR_H,
        )
        return at + timedelta(microseconds=max(_whole_microseconds(hours), 1)) if hours < _FAR_H else None

    @property
    def _by_thermostat(self) -> bool:
        """Without an EMS, and where a value is to be held that never was."""
        target = self._setpoints.target
        unknown = target.fallback is Fallback.HOLD and target.value_kw is None
        return target.fallback is Fallback.UNCONTROLLED or unknown

    def _heat_at(self, at: datetime) -> _Heat:
        before, flows = self._heat, self._flows
        if flows is None or self._since is None or at <= self._since:
            return before
        hours, loss = (at - self._since) / HOUR, self._plate.loss_frac_per_h
        return _Heat(
            stored=min(max(heat_after(before.stored, flows.net_kw, loss, hours), 0.0), self._plate.buffer_kwh),
            produced=before.produced + flows.heat_kw * hours,
            served=before.served + flows.served_kw * hours,
            unserved=before.unserved + (flows.demand_kw - flows.served_kw) * hours,
            lost=before.lost + losses_kwh(before.stored, flows.net_kw, loss, hours),
        )

    def _next_change(self, after: datetime) -> datetime:
        changes = [self._temp_outdoor.next_change(after, self._zone), self._demand.next_change(after, self._zone)]
        if self._stop is not None and self._stop > after:
            changes.append(self._stop)
        return min(changes)

    def _clip(self, setpoint: Setpoint) -> Clipped:
        if not self._plate.controllable:
            return Clipped(None, "this heat pump is not controllable: it follows its thermostat")
        return clip_power(setpoint, self.kind, 0.0, self._plate.max_power_kw)

    def _foresee(self, ack: Ack, setpoint: Setpoint, at: datetime) -> Ack:
        """The power that will flow once the dead time is over, as far as can be said now."""
        assert ack.applied_kw is not None
        least_kw = self._plate.min_power_kw
        applied_kw = feasible_power_kw(ack.applied_kw, self._plate.max_power_kw, 0.0, least_kw)
        reasons = [] if ack.reason is None else [ack.reason]
        if applied_kw != ack.applied_kw:
            reasons.append(f"less than the smallest power, {least_kw} kW, is asked")
        if applied_kw > 0 and self._full:
            applied_kw = 0.0
            reasons.append("the buffer is full")
        return Ack(id=ack.id, accepted=True, applied_kw=applied_kw, reason="; ".join(reasons) or None)

    def _telemetry(self, at: datetime, reading: Reading) -> HeatPumpTelemetry:
        heat, flows = self._heat_at(at), self._flows
        assert flows is not None
        return HeatPumpTelemetry(
            power_kw=reading.power_kw,
            energy_import_kwh=reading.energy_import_kwh,
            energy_export_kwh=reading.energy_export_kwh,
            segments=reading.segments,
            soc_frac=heat.stored / self._plate.buffer_kwh,
            heat_kw=flows.heat_kw,
            cop=flows.cop,
            temp_outdoor_c=flows.temp_outdoor_c,
            heat_demand_kw=flows.demand_kw,
            heat_kwh=heat.produced,
            heat_served_kwh=heat.served,
            heat_unserved_kwh=heat.unserved,
        )

    def _own_state(self) -> Json:
        return {
            "running": self._running,
            "full": self._full,
            "flows": None if self._flows is None else fields_of(self._flows),
            "since": None if self._since is None else self._since.isoformat(),
            "heat": fields_of(self._heat),
            "stop": None if self._stop is None else self._stop.isoformat(),
        }

    def _restore_own(self, state: Json) -> None:
        self._running, self._full = state["running"], state["full"]
        self._flows = None if state["flows"] is None else _Flows(**state["flows"])
        self._since = None if state["since"] is None else datetime.fromisoformat(state["since"])
        self._heat = _Heat(**state["heat"])
        self._stop = None if state["stop"] is None else datetime.fromisoformat(state["stop"])


def _whole_microseconds(hours: float) -> int:
    """A level that is met at 00:15 but for rounding is met at 00:15, as in `twin_devices.storage`."""
    return int(min(hours, _FAR_H) * 3.6e9 + 1e-3)
