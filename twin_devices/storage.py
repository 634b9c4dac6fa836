"""Base of the twins of a battery and of a charger: a converter that drives a store, within all limits."""

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas.messages import Ack, Fallback, Setpoint
from schemas.participant import Json
from schemas.plain import fields_of
from schemas.site import Bess, Charger, Site
from twin_devices.base import Twin
from twin_devices.discharge_caps import USED_UP
from twin_devices.energy_meter import HOUR
from twin_devices.physics.converter import feasible_power_kw, taper_limit_kw
from twin_devices.physics.storage import Store, hours_to_bound, soc_after, soc_rate_per_h
from twin_devices.ramp_limiter import RampLimiter
from twin_devices.setpoints import Clipped, clip_power

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_FAR_H = 24.0 * 365
"""A bound that is further away than this many hours is no change to wait for."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the converter and of what is connected to it: powers [kW, magnitudes] and the taper near full."""

    store: Store
    max_charge_kw: float
    max_discharge_kw: float
    min_power_kw: float = 0.0
    taper_start_frac: float | None = None
    taper_end_power_frac: float = 0.0
    bound_by: str = "the vehicle allows no more"
    """What an answer says of a power that is above ``max_charge_kw``."""

    def power_kw(self, asked_kw: float, sampled_soc_frac: float) -> float:
        """The part of the requested power that is possible, the SOC's bounds aside."""
        charge_kw = self.max_charge_kw
        if self.taper_start_frac is not None:
            charge_kw = taper_limit_kw(sampled_soc_frac, charge_kw, self.taper_start_frac, self.taper_end_power_frac)
        return feasible_power_kw(asked_kw, charge_kw, self.max_discharge_kw, self.min_power_kw)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of constant power [kW] from ``since`` on.

    ``asked_kw`` would flow but for the SOC's bounds: it does until ``stop``, the last whole microsecond before the
    bound is met (the wire knows no finer time; what is missing is less than 1e-6 s times the power), then nothing does.
    """

    since: datetime
    soc_frac: float
    sampled_soc_frac: float
    """At the last instant of the taper's grid."""
    asked_kw: float
    power_kw: float
    stop: datetime | None
    store: Store

    def soc_at(self, at: datetime) -> float:
        return soc_after(self.store, self.soc_frac, self.power_kw, (at - self.since) / HOUR)


def piece_from(
    at: datetime,
    soc_frac: float,
    sampled_soc_frac: float,
    asked_kw: float,
    store: Store,
    discharge_left_kwh: float = math.inf,
) -> Piece:
    """The stretch that begins at ``at``; of 0 kW when the bound is less than a microsecond away.

    ``discharge_left_kwh``: AC energy that may still be given, another bound."""
    hours = hours_to_bound(store, soc_frac, asked_kw)
    if asked_kw < 0:
        hours = min(hours, discharge_left_kwh / -asked_kw)
    stop = at + timedelta(microseconds=_whole_microseconds(hours)) if hours < _FAR_H else None
    return Piece(at, soc_frac, sampled_soc_frac, asked_kw, 0.0 if stop == at else asked_kw, stop, store)


def _whole_microseconds(hours: float) -> int:
    # A nanosecond of mercy: a bound that is met at 00:15 but for rounding is met at 00:15. The SOC is cut at its bound,
    # so that at most 1e-9 s times the power is lost.
    return int(hours * 3.6e9 + 1e-3)


class StorageTwin(Twin):
    """The trajectory depends on changes alone (set-points, arrivals, bounds, the grids of ramp and taper), because SOC
    is evaluated from the last change and kept in no other place.

    A fallback flows in no direction in which a limit from outside holds."""

    def __init__(self, site: Site, device: str, spec: Bess | Charger) -> None:
        super().__init__(site, device, spec, dead_time_s=spec.dead_time_s)
        self._storage = spec
        self._piece: Piece | None = None
        self._ramp = RampLimiter(spec.ramp_kw_per_s, spec.sub_step_s)
        self._grid = timedelta(microseconds=max(1, round(spec.sub_step_s * 1e6)))

    @abstractmethod
    def _connect_or_disconnect(self, at: datetime) -> None:
        """Connects or disconnects the store: sets ``_piece`` by `_connect` or to None."""

    @abstractmethod
    def _limits(self, *, uncontrolled: bool) -> Limits:
        """Limits of the store that is connected, under a set-point or without an EMS."""

    @abstractmethod
    def _uncontrolled_kw(self) -> float:
        """The power that flows without an EMS [kW]."""

    def _is_interrupted(self, at: datetime, target_kw: float) -> bool:
        """Whether nothing flows just after ``at`` whatever is asked for. Brings the converter to that instant."""
        del at, target_kw
        return False

    def _limits_on(self, setpoint: Setpoint, at: datetime) -> Limits:
        """Limits of the store that is connected while this set-point is followed."""
        del setpoint, at
        return self._limits(uncontrolled=False)

    def _discharge_left_kwh(self, at: datetime) -> float:
        """AC energy that may still be given [kWh]; infinite without a cap."""
        del at
        return math.inf

    def _connect(self, at: datetime, soc_frac: float) -> None:
        """A store is there from ``at`` on; power begins from 0."""
        self._ramp.stop()
        self._piece = piece_from(at, soc_frac, soc_frac, 0.0, self._limits_now().store)

    def take_soc(self, soc_frac: float) -> None:
        """Goes on from a measured SOC at the instant of the last turn: of a twin that runs beside the device."""
        piece, at = self._piece, self._now
        if piece is not None and at is not None:
            left_kwh = self._discharge_left_kwh(at)
            self._piece = piece_from(at, soc_frac, soc_frac, piece.asked_kw, piece.store, left_kwh)
            self._settle(at, expire=False)

    def _limits_now(self) -> Limits:
        return self._limits(uncontrolled=self._setpoints.target.fallback is Fallback.UNCONTROLLED)

    def _disconnect(self) -> None:
        self._ramp.stop()
        self._piece = None

    def _power_kw(self, at: datetime, *, away: bool) -> float:
        self._connect_or_disconnect(at)
        if self._piece is None:
            return 0.0
        target_kw = 0.0 if away else self._target_kw(at)
        interrupted = away or self._is_interrupted(at, target_kw)
        limits = self._limits_now()
        sampled = self._sample(at, self._piece, limits)
        if interrupted:
            self._ramp.stop()
            asked = 0.0
        else:
            self._ramp.set_target(at, target_kw, self._piece.power_kw)
            asked = limits.power_kw(self._ramp.power_kw(at), sampled)
        if asked != self._piece.asked_kw or limits.store != self._piece.store:
            left_kwh = self._discharge_left_kwh(at)
            self._piece = piece_from(at, self._piece.soc_at(at), sampled, asked, limits.store, left_kwh)
        elif self._piece.power_kw != 0 and self._piece.stop is not None and at >= self._piece.stop:
            self._piece = replace(
                self._piece, since=at, soc_frac=self._piece.soc_at(at), sampled_soc_frac=sampled, power_kw=0.0
            )
        elif sampled != self._piece.sampled_soc_frac:
            self._piece = replace(self._piece, sampled_soc_frac=sampled)
        return self._piece.power_kw

    def _target_kw(self, at: datetime) -> float:
        """The power that set-point or fallback ask for [kW]."""
        target = self._setpoints.target
        target_kw = target.value_or(idle_kw=0.0, uncontrolled_kw=self._uncontrolled_kw(), unknown_kw=0.0)
        if target.fallback is not None and self._outside and not self._may_flow(target_kw, at):
            return 0.0
        return target_kw

    def _sample(self, at: datetime, piece: Piece, limits: Limits) -> float:
        """The SOC that the taper goes by: that of the last instant of a grid in absolute time."""
        if limits.taper_start_frac is None or (at - _EPOCH) % self._grid:
            return piece.sampled_soc_frac
        return piece.soc_at(at)

    def _next_change(self, after: datetime) -> datetime | None:
        piece = self._piece
        if piece is None:
            return None
        changes = [self._ramp.next_change(after), self._next_sample(after, piece)]
        if piece.power_kw != 0 and piece.stop is not None and piece.stop > after:
            changes.append(piece.stop)
        return min((change for change in changes if change is not None), default=None)

    def _next_sample(self, after: datetime, piece: Piece) -> datetime | None:
        """The next instant of the taper's grid at which its limit may be another one."""
        start = self._limits_now().taper_start_frac
        if start is None:
            return None
        soc = piece.soc_at(after)
        if piece.sampled_soc_frac > start or soc > start:
            # At rest, and sampled since, nothing moves the limit.
            wanted = piece.power_kw != 0 or piece.sampled_soc_frac != soc
            return self._grid_after(after) if wanted else None
        rate = soc_rate_per_h(piece.store, piece.power_kw)
        if rate <= 0:
            return None
        hours = (start - piece.soc_frac) / rate
        return self._grid_after(max(after, piece.since + hours * HOUR)) if hours < _FAR_H else None

    def _grid_after(self, instant: datetime) -> datetime:
        return _EPOCH + ((instant - _EPOCH) // self._grid + 1) * self._grid

    def _clip(self, setpoint: Setpoint) -> Clipped:
        return clip_power(setpoint, self.kind, 0.0 - self._storage.max_discharge_kw, self._storage.max_charge_kw)

    def _foresee(self, ack: Ack, setpoint: Setpoint, at: datetime) -> Ack:
        """The power that will flow once dead time and ramp are over, as far as can be said now."""
        assert ack.applied_kw is not None
        applied_kw, reason = self._foreseen(ack.applied_kw, setpoint, at)
        if applied_kw == ack.applied_kw and reason is None:
            return ack
        reasons = [text for text in (ack.reason, reason) if text is not None]
        return Ack(id=ack.id, accepted=True, applied_kw=applied_kw, reason="; ".join(reasons) or None)

    def _foreseen(self, value_kw: float, setpoint: Setpoint, at: datetime) -> tuple[float, str | None]:
        if value_kw == 0:
            return 0.0, None
        if self._piece is None:
            return 0.0, "no vehicle is plugged"
        limits = self._limits_on(setpoint, at)
        applied_kw = limits.power_kw(value_kw, self._piece.sampled_soc_frac)
        if not _whole_microseconds(min(_FAR_H, hours_to_bound(limits.store, self._piece.soc_at(at), applied_kw))):
            return 0.0, "the SOC is at its bound"
        left_h = self._discharge_left_kwh(at) / -applied_kw if applied_kw < 0 else math.inf
        if not _whole_microseconds(min(_FAR_H, left_h)):
            return 0.0, USED_UP
        if applied_kw == 0:
            return 0.0, f"less than the smallest power, {limits.min_power_kw} kW, is possible or asked"
        return applied_kw, None if applied_kw == value_kw else limits.bound_by

    def _own_state(self) -> Json:
        piece = self._piece
        return {
            "ramp": self._ramp.snapshot(),
            "piece": None
            if piece is None
            else {
                **fields_of(piece),
                "store": fields_of(piece.store),
                "since": piece.since.isoformat(),
                "stop": None if piece.stop is None else piece.stop.isoformat(),
            },
        }

    def _restore_own(self, state: Json) -> None:
        self._ramp.restore(state["ramp"])
        piece = state["piece"]
        self._piece = (
            None
            if piece is None
            else Piece(
                **{
                    **piece,
                    "since": datetime.fromisoformat(piece["since"]),
                    "stop": None if piece["stop"] is None else datetime.fromisoformat(piece["stop"]),
                    "store": Store(**piece["store"]),
                }
            )
        )
