"""Devices that do not do what they acknowledged: an alarm, and a plan with what they really do (`ems.power_watch`).

A set-point's ack says which power will flow. When more than the device's lag has passed since, what it measures should
be that power, to within a tenth of it and 0.5 kW. If it is not, the device is planned with the power that it showed in
that direction, at least a tenth of its rating (and its smallest power), so that it is asked again. Each time that it
does follow close to that bound the bound grows by half, up to the rating, where it ends with its alarm. A bound belongs
to the vehicle at the plug, and goes with it.

What was acknowledged more than two settlement periods ago holds no longer. A store near the end of its SOC, or a
vehicle above the SOC from which on its charger's birth states a taper, may take less than it acknowledged: that says
nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas.messages import Ack, Alarm, BessNameplate, ChargerNameplate, Severity, TimeMode
from schemas.participant import Json, Received, Turn
from services.ems.lag import lag_s
from services.ems.problem import BessUnit, ChargerUnit, Problem
from services.ems.system_state import DeviceState

NOT_FOLLOWED = "setpoint_not_followed"
TOLERANCE_KW, TOLERANCE_FRAC = 0.5, 0.1
LEAST_FRAC = 0.1
"""The least bound, as a part of the rating."""
GROWTH = 1.5
FULL_FRAC = 0.02
"""So near the end of its SOC a store is not expected to follow."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The power [kW] that a device's ack says will flow."""

    kw: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Shown:
    """Bounds of what a device is planned with [kW, magnitudes]; None: its rating."""

    store: str
    """The vehicle at the plug; empty: a BESS."""
    charge_kw: float | None
    discharge_kw: float | None


class PowerWatch:
    """Remembers acks and what came of them. Not ``active``: it learns nothing and changes nothing."""

    def __init__(self, active: bool) -> None:
        self._active = active
        self._promises: dict[str, Promise] = {}
        self._shown: dict[str, Shown] = {}

    def receive(self, inbox: Sequence[Received]) -> None:
        """Takes in what devices acknowledge."""
        if not self._active:
            return
        for received in inbox:
            body = received.body
            if isinstance(body, Ack) and body.accepted and body.applied_kw is not None:
                self._promises[received.topic.device] = Promise(body.applied_kw, received.stamp.ts)

    def observe(self, present: Mapping[str, DeviceState], turn: Turn) -> list[Alarm]:
        """Compares each device's power with its promise. The alarms that begin or end with it."""
        alarms = []
        for name, known in present.items() if self._active else ():
            before = self._shown.get(name)
            after = self._compared(name, known, turn)
            if after is None:
                self._shown.pop(name, None)
            else:
                self._shown[name] = after
            if (before is None) != (after is None):
                alarms.append(self._alarm(name, known, after is not None))
        return alarms

    def _compared(self, name: str, known: DeviceState, turn: Turn) -> Shown | None:
        plate, body, store = known.birth.nameplate, known.telemetry, _store_of(known)
        if not isinstance(plate, BessNameplate | ChargerNameplate) or body is None or store is None:
            self._promises.pop(name, None)
            return None
        shown = self._shown.get(name)
        if shown is None or shown.store != store:
            shown = Shown(store, None, None)
        promise = self._promises.get(name)
        measured_at = turn.t if turn.mode is TimeMode.LOCKSTEP else known.telemetry_ts
        late = timedelta(seconds=2 * lag_s(plate.dead_time_s, plate.ramp_kw_per_s, plate.draws_kw + plate.gives_kw))
        if promise is None or measured_at is None or _at_its_end(known, promise.kw):
            return _or_none(shown)
        if not late < measured_at - promise.at <= timedelta(seconds=2 * turn.step_s):
            return _or_none(shown)
        charges = promise.kw > 0
        rating = plate.max_charge_kw if charges else plate.max_discharge_kw
        flows = max(body.power_kw if charges else -body.power_kw, 0.0)
        bound = shown.charge_kw if charges else shown.discharge_kw
        least = LEAST_FRAC * rating
        if isinstance(plate, ChargerNameplate):
            least = max(least, plate.min_power_kw)
        if abs(promise.kw) - flows > max(TOLERANCE_KW, TOLERANCE_FRAC * abs(promise.kw)):
            bound = min(max(flows, least), rating)
        elif bound is not None and abs(promise.kw) >= 0.9 * bound:
            bound = bound * GROWTH if bound * GROWTH < rating else None
        bound = None if bound is not None and bound >= rating else bound
        return _or_none(replace(shown, charge_kw=bound) if charges else replace(shown, discharge_kw=bound))

    def _alarm(self, name: str, known: DeviceState, active: bool) -> Alarm:
        promise = self._promises.get(name)
        measured = None if known.telemetry is None else known.telemetry.power_kw
        asked = "" if promise is None else f" acknowledged {promise.kw:.2f} kW,"
        text = f"{name}{asked} measures {measured or 0.0:.2f} kW: it is planned with what it shows"
        return Alarm(
            code=NOT_FOLLOWED,
            severity=Severity.WARNING,
            active=active,
            device=name,
            value=measured,
            limit=None if promise is None else promise.kw,
            text=text if active else f"{name} follows its set-points again, or its vehicle has left",
        )

    def within(self, problem: Problem) -> Problem:
        """The problem with the bounds that devices have shown."""
        if not self._shown:
            return problem
        return replace(
            problem,
            bess=tuple(self._bounded_bess(unit) for unit in problem.bess),
            chargers=tuple(self._bounded_charger(unit) for unit in problem.chargers),
        )

    def _bounded_bess(self, unit: BessUnit) -> BessUnit:
        charge, discharge = self._most_kw(unit.device, unit.max_charge_kw, unit.max_discharge_kw)
        return replace(unit, max_charge_kw=charge, max_discharge_kw=discharge)

    def _bounded_charger(self, unit: ChargerUnit) -> ChargerUnit:
        """Only the vehicle that is there has shown something."""
        stays = tuple(
            replace(stay, max_charge_kw=charge, max_discharge_kw=discharge)
            for stay in unit.stays[:1]
            for charge, discharge in (self._most_kw(unit.device, stay.max_charge_kw, stay.max_discharge_kw),)
        )
        return replace(unit, stays=(*stays, *unit.stays[1:]))

    def _most_kw(self, device: str, charge_kw: float, discharge_kw: float) -> tuple[float, float]:
        shown = self._shown.get(device)
        if shown is None:
            return charge_kw, discharge_kw
        charge = charge_kw if shown.charge_kw is None else min(charge_kw, shown.charge_kw)
        return charge, discharge_kw if shown.discharge_kw is None else min(discharge_kw, shown.discharge_kw)

    def in_words(self, device: str) -> str | None:
        """With what the device is planned instead of its rating; None: with that."""
        shown = self._shown.get(device)
        if shown is None:
            return None
        bounds = (("charging", shown.charge_kw), ("discharging", shown.discharge_kw))
        ways = [f"{way} at most {kw:.2f} kW" for way, kw in bounds if kw is not None]
        return f"it did not do what it acknowledged: planned with {' and '.join(ways)}"

    def snapshot(self) -> Json:
        return {
            "promises": {name: [promise.kw, promise.at.isoformat()] for name, promise in self._promises.items()},
            "shown": {name: [each.store, each.charge_kw, each.discharge_kw] for name, each in self._shown.items()},
        }

    def restore(self, state: Json) -> None:
        promises = state.get("promises", {})
        self._promises = {name: Promise(kw, datetime.fromisoformat(at)) for name, (kw, at) in promises.items()}
        self._shown = {name: Shown(*each) for name, each in state.get("shown", {}).items()}


def _or_none(shown: Shown) -> Shown | None:
    return None if shown.charge_kw is None and shown.discharge_kw is None else shown


def _store_of(known: DeviceState) -> str | None:
    """Which store the device drives; None: no vehicle is there."""
    if isinstance(known.birth.nameplate, BessNameplate):
        return ""
    vehicle = None if known.telemetry is None else known.telemetry.plugged
    return None if vehicle is None else f"vehicle {vehicle.vehicle} {known.plugged and known.plugged.since.isoformat()}"


def _at_its_end(known: DeviceState, kw: float) -> bool:
    """Whether the store may take or give less than was acknowledged because of its SOC."""
    plate, body = known.birth.nameplate, known.telemetry
    soc = None if body is None else body.stored_frac
    if body is None or soc is None or kw == 0:
        return kw == 0
    if isinstance(plate, BessNameplate):
        return soc >= plate.soc_max_frac - FULL_FRAC if kw > 0 else soc <= plate.soc_min_frac + FULL_FRAC
    vehicle = body.plugged
    assert isinstance(plate, ChargerNameplate)
    if vehicle is None:
        return True
    most = 1.0 if vehicle.soc_max_frac is None else vehicle.soc_max_frac
    least = 0.0 if vehicle.soc_min_frac is None else vehicle.soc_min_frac
    if kw < 0:
        return soc <= least + FULL_FRAC
    taper = plate.taper_start_soc_frac
    return soc >= most - FULL_FRAC or (taper is not None and soc >= taper)
