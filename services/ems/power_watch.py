"""Devices that do not do what they acknowledged: an alarm, and a plan with what they really do (`ems.power_watch`).

A set-point's ack says which power will flow while it is valid. Twice the device's lag after that began, and in wall
time a telemetry interval later, for a telemetry may be a mean over one, what it measures should be that power, to
within a tenth of it and 0.5 kW, on the mean of all telemetries until the next decision. If it is not, the device is
planned with the power that it showed in that direction, at least a tenth of its rating (and its smallest power), so
that it is asked again. When it follows close to that bound the bound grows by half, up to the rating, where the alarm
ends. After the n-th failure it has to follow 2^(n-1) times, at most 32 times, before the bound grows: a car that takes
less than its charger offers is not asked for more in every other settlement period. A bound belongs to the vehicle at
the plug, and goes with it.

A device that gives less even than what it showed does a part of whatever it is asked: a car on one phase takes a third.
Where the plan uses all that it does at its rating, it is then asked for its rating: what flows at that is known. Where
less is planned it is asked for that, for how much more would flow is a guess, and too much may break a limit. When it
does more than that part it is taken at its word again.

All times are the device's own: it stamps its acks and telemetries, and it begins a set-point by its clock. A set-point
that was acknowledged before the vehicle came, or is over, says nothing. A store near the end of its SOC, a vehicle
above the SOC from which on its charger's birth states a taper, or one without a known SOC that takes nothing, may do
less than was acknowledged: that says nothing either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas.messages import Ack, Alarm, BessNameplate, ChargerNameplate, Setpoint, Severity, Telemetry, TimeMode
from schemas.participant import Json, Received, Turn
from services.ems.lag import lag_s
from services.ems.problem import BessUnit, ChargerUnit, Problem
from services.ems.system_state import DeviceState

NOT_FOLLOWED = "setpoint_not_followed"
TOLERANCE_KW, TOLERANCE_FRAC = 0.5, 0.1
LEAST_FRAC = 0.1
"""The least bound, as a part of the rating."""
GROWTH = 1.5
PATIENCE_MOST = 32
"""So many times at most a device has to follow before its bound grows."""
FULL_FRAC = 0.02
"""So near the end of its SOC a store is not expected to follow."""
NEAR_FRAC = 0.9
"""From this part of a bound on a power says that the device can do it."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The power [kW] that a device's ack says will flow, and the mean of what it measured in that time."""

    kw: float
    begins: datetime
    until: datetime
    measured_kw: float = 0.0
    samples: int = 0

    def with_sample(self, kw: float) -> "Promise":
        count = self.samples + 1
        return replace(self, measured_kw=self.measured_kw + (kw - self.measured_kw) / count, samples=count)


@dataclass(frozen=True, slots=True)
class Shown:
    """Bounds of what a device is planned with [kW, magnitudes]; None: its rating."""

    store: str
    """The vehicle at the plug; empty: a BESS."""
    charge_kw: float | None = None
    discharge_kw: float | None = None
    failed: int = 0
    """How often it did not follow since it last followed at its rating."""
    followed: int = 0
    """How often it followed close to its bound since that bound holds."""
    part: float | None = None
    """The part that it does of whatever it is asked; None: all, up to its bound."""

    @property
    def bounded(self) -> bool:
        return self.charge_kw is not None or self.discharge_kw is not None


class PowerWatch:
    """Remembers acks and what came of them.

    ``active`` None: in wall time only, for in lock-step twins do what they acknowledge. Where it is not active it
    learns nothing and changes nothing.
    """

    def __init__(self, active: bool | None) -> None:
        self._active = active
        self._asked: dict[str, tuple[str, datetime, datetime]] = {}
        """By device, the newest set-point's id and validity."""
        self._promises: dict[str, Promise] = {}
        self._shown: dict[str, Shown] = {}

    def _is_active(self, turn: Turn) -> bool:
        return turn.mode is TimeMode.WALL if self._active is None else self._active

    def receive(self, inbox: Sequence[Received], devices: Mapping[str, DeviceState], turn: Turn) -> None:
        """Takes in set-points, acks and telemetries of ``devices``, which are known with their births."""
        if not self._is_active(turn):
            return
        for received in inbox:
            if isinstance(body := received.body, Setpoint):
                self._asked[received.topic.device] = (body.id, body.valid_from, body.valid_until)
        for received in inbox:
            name, body = received.topic.device, received.body
            if isinstance(body, Ack) and body.accepted and body.applied_kw is not None:
                self._promises[name] = self._promised(name, body.id, body.applied_kw, received.stamp.ts, turn)
            elif isinstance(body, Telemetry) and name in self._promises and name in devices:
                known, promise, ts = devices[name], self._promises[name], received.stamp.ts
                if known.boot == received.stamp.boot and promise.begins + _late(known, turn) < ts <= promise.until:
                    self._promises[name] = promise.with_sample(body.power_kw)

    def _promised(self, name: str, setpoint: str, kw: float, at: datetime, turn: Turn) -> Promise:
        identifier, begins, until = self._asked.get(name, ("", at, at))
        if identifier != setpoint:  # of somebody whose set-points do not come here
            begins, until = at, at + timedelta(seconds=2 * turn.step_s)
        return Promise(kw, max(begins, at), until)

    def observe(self, present: Mapping[str, DeviceState], turn: Turn) -> list[Alarm]:
        """Compares what each device measured with its promise. The alarms that begin or end with it."""
        alarms = []
        for name, known in present.items() if self._is_active(turn) else ():
            before, promise = self._shown.get(name), self._promises.get(name)
            after = self._compared(name, known)
            if after is None:
                self._shown.pop(name, None)
            else:
                self._shown[name] = after
            is_active = after is not None and after.bounded
            if is_active != (before is not None and before.bounded):
                alarms.append(_alarm(name, promise, is_active))
            if name in self._promises:  # what was measured is judged once
                self._promises[name] = replace(self._promises[name], measured_kw=0.0, samples=0)
        return alarms

    def _compared(self, name: str, known: DeviceState) -> Shown | None:
        """What the device has shown by now; None: nothing but that it follows."""
        plate, store = known.birth.nameplate, _store_of(known)
        if not isinstance(plate, BessNameplate | ChargerNameplate) or store is None:
            self._promises.pop(name, None)
            return None
        shown = self._shown.get(name)
        if shown is None or shown.store != store:
            shown = Shown(store)
        promise = self._promises.get(name)
        if promise is None or promise.samples == 0 or _says_nothing(known, promise):
            return _or_none(shown)
        plate_rating = (plate.max_discharge_kw, plate.max_charge_kw)
        least = plate.smallest_kw if isinstance(plate, ChargerNameplate) else 0.0
        return _or_none(_judged(shown, promise, plate_rating, least))

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

    def asked_for(self, planned_kw: Mapping[str, float], present: Mapping[str, DeviceState]) -> dict[str, float]:
        """What devices are asked for [kW], by device: their rating where they do a part and the plan uses all of it."""
        return {name: self._asked_kw(name, kw, present.get(name)) for name, kw in planned_kw.items()}

    def _asked_kw(self, name: str, planned_kw: float, known: DeviceState | None) -> float:
        shown = self._shown.get(name)
        plate = None if known is None else known.birth.nameplate
        if shown is None or shown.part is None or not isinstance(plate, BessNameplate | ChargerNameplate):
            return planned_kw
        if planned_kw > 0 and shown.charge_kw is not None and planned_kw >= NEAR_FRAC * shown.charge_kw:
            return plate.max_charge_kw
        if planned_kw < 0 and shown.discharge_kw is not None and -planned_kw >= NEAR_FRAC * shown.discharge_kw:
            return -plate.max_discharge_kw
        return planned_kw

    def in_words(self, device: str) -> str | None:
        """With what the device is planned instead of its rating; None: with that."""
        shown = self._shown.get(device)
        if shown is None or not shown.bounded:
            return None
        bounds = (("charging", shown.charge_kw), ("discharging", shown.discharge_kw))
        ways = [f"{way} at most {kw:.2f} kW" for way, kw in bounds if kw is not None]
        part = (
            "" if shown.part is None else f" and asked for more there, as it does {shown.part:.0%} of what it is asked"
        )
        return f"it did not do what it acknowledged: planned with {' and '.join(ways)}{part}"

    def snapshot(self) -> Json:
        promises = {
            name: [each.kw, each.begins.isoformat(), each.until.isoformat(), each.measured_kw, each.samples]
            for name, each in self._promises.items()
        }
        shown = {
            name: [each.store, each.charge_kw, each.discharge_kw, each.failed, each.followed, each.part]
            for name, each in self._shown.items()
        }
        asked = {
            name: [key, begins.isoformat(), until.isoformat()] for name, (key, begins, until) in self._asked.items()
        }
        return {"asked": asked, "promises": promises, "shown": shown}

    def restore(self, state: Json) -> None:
        """A checkpoint of an earlier version has no validity with its promises; then nothing is known of them."""
        moment = datetime.fromisoformat
        asked, promises = state.get("asked", {}), state.get("promises", {}) if "asked" in state else {}
        self._asked = {name: (key, moment(begins), moment(until)) for name, (key, begins, until) in asked.items()}
        self._promises = {
            name: Promise(kw, moment(begins), moment(until), measured_kw, samples)
            for name, (kw, begins, until, measured_kw, samples) in promises.items()
        }
        self._shown = {name: Shown(*each) for name, each in state.get("shown", {}).items()}


def _judged(shown: Shown, promise: Promise, ratings: tuple[float, float], least_kw: float) -> Shown:
    """What is known of a device after what it measured. ``ratings``: of discharging and charging [kW]."""
    charges, asked_kw = promise.kw > 0, abs(promise.kw)
    rating = ratings[charges]
    flows = max(promise.measured_kw if charges else -promise.measured_kw, 0.0)
    bound = shown.charge_kw if charges else shown.discharge_kw
    failed, followed, part = shown.failed, shown.followed, shown.part
    expected = asked_kw * (part or 1.0)
    tolerance = max(TOLERANCE_KW, TOLERANCE_FRAC * expected)
    if part is not None and abs(flows - expected) <= tolerance:
        return shown
    if expected - flows > tolerance:
        does_less_again = bound is not None and asked_kw <= bound / NEAR_FRAC
        if (does_less_again or part is not None) and flows >= LEAST_FRAC * asked_kw:
            part = flows / asked_kw
            bound = part * rating
        else:
            part, bound = None, max(flows, LEAST_FRAC * rating, least_kw)
        failed, followed = failed + 1, 0
    elif part is not None:  # it does more than the part
        part, bound, followed = None, max(flows, bound or 0.0), 0
    elif asked_kw >= NEAR_FRAC * rating:
        bound, failed, followed = None, 0, 0
    elif bound is not None and asked_kw >= NEAR_FRAC * bound:
        followed += 1
        if followed >= min(2 ** (failed - 1), PATIENCE_MOST):
            bound, followed = bound * GROWTH, 0
    bound = None if bound is not None and bound >= rating else bound
    shown = replace(shown, failed=failed, followed=followed, part=part)
    return replace(shown, charge_kw=bound) if charges else replace(shown, discharge_kw=bound)


def _alarm(name: str, promise: Promise | None, active: bool) -> Alarm:
    measured = None if promise is None else promise.measured_kw
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


def _late(known: DeviceState, turn: Turn) -> timedelta:
    """Time after the beginning of a set-point from which on a telemetry is of that set-point alone."""
    plate, period_s = known.birth.nameplate, known.birth.telemetry_period_s
    if not isinstance(plate, BessNameplate | ChargerNameplate):
        return timedelta(0)
    lag = 2 * lag_s(plate.dead_time_s, plate.ramp_kw_per_s, plate.draws_kw + plate.gives_kw)
    return timedelta(seconds=lag + (0.0 if turn.mode is TimeMode.LOCKSTEP else period_s or 0.0))


def _or_none(shown: Shown) -> Shown | None:
    return shown if shown.bounded or shown.failed else None


def _store_of(known: DeviceState) -> str | None:
    """Which store the device drives; None: no vehicle is there."""
    if isinstance(known.birth.nameplate, BessNameplate):
        return ""
    vehicle = None if known.telemetry is None else known.telemetry.plugged
    return None if vehicle is None else f"vehicle {vehicle.vehicle} {known.plugged and known.plugged.since.isoformat()}"


def _says_nothing(known: DeviceState, promise: Promise) -> bool:
    """Whether the store may take or give another power than was acknowledged."""
    plate, body = known.birth.nameplate, known.telemetry
    if body is None or promise.kw == 0:
        return True
    soc = body.stored_frac
    if isinstance(plate, BessNameplate):
        return soc is not None and _at_end(soc, promise.kw, plate.soc_min_frac, plate.soc_max_frac)
    vehicle = body.plugged
    if vehicle is None or known.plugged is None or known.plugged.since > promise.begins:
        return True
    if soc is None:
        return abs(promise.measured_kw) < TOLERANCE_KW
    assert isinstance(plate, ChargerNameplate)
    taper = plate.taper_start_soc_frac
    most = 1.0 if vehicle.soc_max_frac is None else vehicle.soc_max_frac
    tapers = promise.kw > 0 and taper is not None and soc >= taper
    return tapers or _at_end(soc, promise.kw, vehicle.soc_min_frac or 0.0, most)


def _at_end(soc: float, kw: float, least: float, most: float) -> bool:
    return soc >= most - FULL_FRAC if kw > 0 else soc <= least + FULL_FRAC
