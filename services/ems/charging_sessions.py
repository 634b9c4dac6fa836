"""Charging sessions as the problem sees them: what a vehicle says, what the site assumes, what the charger counted.

A session can be planned when its departure and the energy that it still wants are known or assumed. The capacity and
the SOC may stay unknown: then the level of the store is the energy since plug-in, with the efficiencies of the
nameplate. Where the SOC is not measured, a session is never discharged below what it held on arrival: the vehicle
gives back at most what the charger has counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from schemas.messages import (
    Assumption,
    ChargerNameplate,
    ExpectedChargingSession,
    PluggedVehicle,
    Provenance,
    VehicleValue,
)
from schemas.site import AssumedVehicle
from services.ems.departure_history import DepartureHistory
from services.ems.discharge_caps import discharge_left
from services.ems.problem import Stay
from services.ems.system_state import Counted


@dataclass(frozen=True, slots=True)
class PlannedTime:
    """The window that is planned, and the end of its first step."""

    start: datetime
    first_end: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be assumed at one charger. ``zone``: of local hours."""

    assume: AssumedVehicle | None
    zone: ZoneInfo
    departures: DepartureHistory | None = None
    """When vehicles leave; None: when it is announced or assumed."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of a charger that can be planned, and what is to be said of them in the plan."""

    stays: tuple[Stay, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    unplannable: str | None = None
    """Why nothing can be planned for the vehicle that is plugged."""
    leaves: datetime | None = None
    """When that vehicle leaves, if it is known or assumed."""


@dataclass
class _Values:
    """The values of one session: said by the vehicle, else assumed. Remembers which assumptions were made use of."""

    said: PluggedVehicle | ExpectedChargingSession
    policy: Policy
    arrival: datetime
    now: datetime
    made: dict[VehicleValue, Assumption] = field(default_factory=dict)

    def number(self, value: VehicleValue) -> float | None:
        """A value without which a default of the contract holds, or None."""
        number: float | None = getattr(self.said, value)
        if number is not None:
            if self._is_assumed(value):
                self._note(value, number=number)
            return number
        number = getattr(self.policy.assume, value, None)
        if number is not None:
            self._note(value, number=number)
        return number

    def said_number(self, value: VehicleValue) -> float | None:
        """A value if the vehicle said it."""
        return None if getattr(self.said, value) is None else self.number(value)

    def departure(self) -> datetime | None:
        departure = self._learned_departure()
        if departure is not None:
            self._note(VehicleValue.DEPARTURE, time=departure)
            return departure
        departure = self.said.departure
        assume = self.policy.assume
        if departure is None and assume is not None:
            departure = assume.departure_after(self.arrival, self.policy.zone)
        elif not self._is_assumed(VehicleValue.DEPARTURE):
            return departure
        if departure is not None:
            self._note(VehicleValue.DEPARTURE, time=departure)
        return departure

    def _learned_departure(self) -> datetime | None:
        """By the site's own history, and never after what is announced as long as that lies ahead.

        Without a reported arrival the stay counts from when the vehicle was first seen.
        """
        if self.policy.departures is None:
            return None
        announced = None if self._is_assumed(VehicleValue.DEPARTURE) else self.said.departure
        now = max(self.now, self.arrival)
        learned = self.policy.departures.planned(self.said.vehicle, self.arrival, announced, now)
        if learned is None or announced is None or announced <= now:
            return learned
        return learned if learned < announced else None

    def _is_assumed(self, value: VehicleValue) -> bool:
        said = self.said
        return isinstance(said, PluggedVehicle) and said.source(value) is Provenance.ASSUMED

    def _note(self, value: VehicleValue, number: float | None = None, time: datetime | None = None) -> None:
        self.made[value] = Assumption(value=value, number=number, time=time, arrival=self.arrival)


def sessions_of(
    plate: ChargerNameplate,
    plugged: PluggedVehicle | None,
    counted: Counted | None,
    expected: Sequence[ExpectedChargingSession],
    window: PlannedTime,
    policy: Policy,
) -> Sessions:
    """The vehicle that is plugged, then the sessions that are expected after it.

    An expected session of the plugged vehicle, or one that should have begun, is what is plugged, if it overlaps with
    it; another that overlaps begins when the plugged vehicle leaves. With nothing plugged, a session that should begin
    in this step or should have begun is expected for the next step. A plugged vehicle whose departure has passed is
    expected to leave at the end of this step. An expected session of which too little is known is left out.
    """
    stays: list[Stay] = []
    assumptions: list[Assumption] = []
    unplannable, leaves, free = None, None, window.first_end
    if plugged is not None:
        arrival = counted.since if counted is not None else plugged.arrival or window.start
        values = _Values(plugged, policy, arrival, window.start)
        departure = values.departure()
        if departure is not None:
            leaves = departure if departure > window.start else window.first_end
            free = max(leaves, window.start)
        stay = _stay(plate, values, counted, window.start, leaves, window.end)
        if isinstance(stay, Stay):
            stays.append(stay)
            assumptions += values.made.values()
        else:
            unplannable = stay
            if departure is None:
                return Sessions(unplannable=unplannable)
    for session in sorted(expected, key=lambda s: (s.arrival, s.departure or s.arrival, s.vehicle or "")):
        if session.arrival >= window.end:
            break  # as all after it
        values = _Values(session, policy, session.arrival, window.start)
        arrival, departure = max(session.arrival, free), values.departure()
        if plugged is not None and session.arrival < free:
            known = session.vehicle is not None and session.vehicle == plugged.vehicle
            if known or session.arrival <= window.start:
                continue
        if departure is None or departure <= arrival or arrival >= window.end:
            continue
        stay = _stay(plate, values, None, arrival, departure, window.end)
        if isinstance(stay, Stay):
            stays.append(stay)
            assumptions += values.made.values()
            free = departure
    return Sessions(tuple(stays), tuple(assumptions), unplannable, leaves)


def _stay(
    plate: ChargerNameplate,
    values: _Values,
    counted: Counted | None,
    begin: datetime,
    departure: datetime | None,
    end: datetime,
) -> Stay | str:
    """The session from ``begin`` on, in a window up to ``end``; or what is missing to plan it."""
    level = _level(plate, values, counted)
    target_kwh = None if level is None else _target_kwh(plate, values, counted, level)
    missing = [
        text
        for text, value in (("its departure", departure), ("the energy that it wants", target_kwh))
        if value is None
    ]
    if missing:
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} neither known nor assumed"
    assert level is not None and departure is not None and target_kwh is not None
    said = values.said
    charge_kw, discharge_kw = (values.said_number(v) for v in (VehicleValue.MAX_CHARGE, VehicleValue.MAX_DISCHARGE))
    charge_kw = plate.max_charge_kw if charge_kw is None else charge_kw
    if plate.phase_switch is not None and said.phases == 1:
        charge_kw = min(charge_kw, plate.phase_switch.max_charge_kw)
    until = min(departure, max(end, begin))
    discharge_kwh, discharge_days = discharge_left(said, counted, values.number, begin, until, values.policy.zone)
    return Stay(
        vehicle=said.vehicle or "",
        arrival=begin,
        departure=departure,
        capacity_kwh=level.capacity_kwh,
        energy_kwh=level.energy_kwh,
        target_kwh=target_kwh,
        energy_min_kwh=level.min_kwh,
        energy_max_kwh=level.max_kwh if level.certain else max(level.max_kwh, target_kwh),
        max_charge_kw=charge_kw,
        max_discharge_kw=plate.max_discharge_kw if discharge_kw is None else discharge_kw,
        discharge_kwh=discharge_kwh,
        discharge_days=discharge_days,
        priority=bool(said.priority),
    )


@dataclass(frozen=True, slots=True)
class _Level:
    """Energy in store now and its bounds [kWh].

    ``capacity_kwh`` 0: the level counts from plug-in, and no SOC is known. ``certain``: the level is measured, or the
    forecast's; what would exceed its upper bound is then not to be had.
    """

    capacity_kwh: float
    energy_kwh: float
    min_kwh: float
    max_kwh: float
    certain: bool


def _level(plate: ChargerNameplate, values: _Values, counted: Counted | None) -> _Level | None:
    """None where nothing was counted that could stand for the SOC."""
    said = values.said
    since_kwh = _stored_kwh(plate, counted) if isinstance(said, PluggedVehicle) else 0.0
    made = dict(values.made)
    capacity = values.number(VehicleValue.CAPACITY)
    if capacity is not None:
        low = values.said_number(VehicleValue.SOC_MIN)
        high = values.said_number(VehicleValue.SOC_MAX)
        low, high = 0.0 if low is None else low, 1.0 if high is None else high
        min_kwh, max_kwh = min(low, high) * capacity, high * capacity
        if isinstance(said, PluggedVehicle) and said.soc_frac is not None:
            energy = said.soc_frac * capacity
            if said.source(VehicleValue.SOC) is Provenance.MEASURED:
                return _Level(capacity, energy, min_kwh, max_kwh, certain=True)
            values.number(VehicleValue.SOC)
            floor = energy if since_kwh is None else max(energy - max(since_kwh, 0.0), min_kwh)
            return _Level(capacity, energy, min(floor, energy), max_kwh, certain=False)
        arrival = values.number(VehicleValue.ARRIVAL_SOC)
        if arrival is not None and isinstance(said, ExpectedChargingSession):
            return _Level(capacity, arrival * capacity, min_kwh, max_kwh, certain=True)
        if arrival is not None and since_kwh is not None:
            energy = max(arrival * capacity + since_kwh, 0.0)
            return _Level(capacity, energy, min(max(arrival * capacity, min_kwh), energy), max_kwh, certain=False)
    values.made = made  # The capacity alone says nothing.
    if since_kwh is None:
        return None
    energy = max(since_kwh, 0.0)
    return _Level(0.0, energy, 0.0, energy, certain=False)


def _target_kwh(plate: ChargerNameplate, values: _Values, counted: Counted | None, level: _Level) -> float | None:
    """The level wanted at departure: what the vehicle says comes before what is assumed, a SOC before an energy."""
    has_soc = level.capacity_kwh > 0
    since_kwh = _stored_kwh(plate, counted) if isinstance(values.said, PluggedVehicle) else 0.0

    def by_energy(wanted_kwh: float | None) -> float | None:
        if wanted_kwh is None or since_kwh is None:
            return None
        return level.energy_kwh + max(wanted_kwh * plate.charge_efficiency - since_kwh, 0.0)

    if has_soc and (soc := values.said_number(VehicleValue.TARGET_SOC)) is not None:
        return soc * level.capacity_kwh
    if since_kwh is not None and values.said.energy_wanted_kwh is not None:
        return by_energy(values.said_number(VehicleValue.ENERGY_WANTED))
    assume = values.policy.assume
    if since_kwh is not None and assume is not None and assume.energy_wanted_kwh is not None:
        return by_energy(values.number(VehicleValue.ENERGY_WANTED))
    if has_soc and (soc := values.number(VehicleValue.TARGET_SOC)) is not None:
        return soc * level.capacity_kwh
    return None


def _stored_kwh(plate: ChargerNameplate, counted: Counted | None) -> float | None:
    """What the battery holds more than on arrival, by what the charger counted [kWh]; None: it counts nothing."""
    if counted is None or counted.charged_kwh is None:
        return None
    return counted.charged_kwh * plate.charge_efficiency - (counted.discharged_kwh or 0.0) / plate.discharge_efficiency
