"""The charger's twin, with the vehicle at its plug."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta

from schemas.messages import ChargerTelemetry, DepartedVehicle, PluggedVehicle, Setpoint
from schemas.participant import Json
from schemas.site import Charger as ChargerSpec
from schemas.site import ChargingSession, Site
from schemas.topics import Kind
from twin_devices.base import Reading
from twin_devices.physics.storage import Store
from twin_devices.setpoints import Clipped
from twin_devices.storage import Limits, StorageTwin

_LOOK_AHEAD = timedelta(days=1)


class Agenda:
    """The stays at a charger, looked up a day at a time."""

    def __init__(self, stays_between: "Callable[[datetime, datetime], tuple[ChargingSession, ...]]") -> None:
        self._stays_between = stays_between
        self._stays: tuple[ChargingSession, ...] = ()
        self._from: datetime | None = None
        self._until: datetime | None = None

    def covering(self, at: datetime) -> ChargingSession | None:
        """The stay that has begun and not ended at ``at``; of several the one that began first."""
        self._look_up(at)
        return next((stay for stay in self._stays if stay.arrival <= at < stay.departure), None)

    def next_arrival(self, after: datetime) -> datetime:
        """The next instant after ``after`` at which a vehicle may come (at the latest when to look again)."""
        self._look_up(after)
        assert self._until is not None
        return min([self._until, *(stay.arrival for stay in self._stays if stay.arrival > after)])

    def _look_up(self, at: datetime) -> None:
        if self._from is None or self._until is None or not self._from <= at < self._until:
            self._from, self._until = at, at + _LOOK_AHEAD
            self._stays = self._stays_between(self._from, self._until)


class Charger(StorageTwin):
    """An EVSE. A vehicle is plugged from its session's arrival to its real departure, whatever was announced.

    Uncontrolled (the fallback of that name, or a charger that is not controllable) it charges at full power from the
    plug on and stops at the session's target SOC, not at the vehicle's upper bound: so the energy is that of a
    controlled charge, and costs can be compared. A run that begins amid a stay finds the arrival SOC.
    """

    kind = Kind.CHARGER

    def __init__(self, site: Site, device: str, spec: ChargerSpec) -> None:
        super().__init__(site, device, spec)
        self._charger = spec
        self._agenda = Agenda(lambda start, end: self._script.as_left(spec.sessions_between(start, end, site.zone)))
        self._stay: ChargingSession | None = None
        self._of_stay: dict[bool, Limits] = {}
        """The limits that `_limits` tells while the stay lasts."""
        self._registers_at_arrival = (0.0, 0.0)
        self._departed: list[DepartedVehicle] = []
        """Since the last telemetry."""

    def _visit(self, at: datetime) -> None:
        if self._stay is not None and self._stay.departure <= at:
            self._departed.append(self._departing(self._stay, at))
            self._plug(None)
            self._disconnect()
        if self._stay is None and (stay := self._agenda.covering(at)) is not None:
            assert self._energy_meter is not None
            self._plug(stay)
            self._registers_at_arrival = self._energy_meter.registers(at)
            self._connect(at, stay.arrival_soc_frac)

    def _next_change(self, after: datetime) -> datetime:
        if self._stay is None:
            return self._agenda.next_arrival(after)
        return min(self._stay.departure, super()._next_change(after) or self._stay.departure)

    def _plug(self, stay: ChargingSession | None) -> None:
        """From now on the vehicle of this stay is at the plug, or none."""
        self._stay = stay
        if stay is None:
            self._of_stay = {}
        else:
            self._of_stay = {each: self._limits_with(stay, uncontrolled=each) for each in (False, True)}

    def _limits(self, *, uncontrolled: bool) -> Limits:
        return self._of_stay[uncontrolled]

    def _limits_with(self, stay: ChargingSession, *, uncontrolled: bool) -> Limits:
        spec = self._charger
        return Limits(
            store=Store(
                stay.capacity_kwh,
                spec.charge_efficiency,
                spec.discharge_efficiency,
                stay.soc_min_frac,
                stay.target_soc_frac if uncontrolled else stay.soc_max_frac,
            ),
            max_charge_kw=_least(spec.max_charge_kw, stay.max_charge_kw),
            max_discharge_kw=_least(spec.max_discharge_kw, stay.max_discharge_kw),
            min_power_kw=spec.min_power_kw,
            taper_start_frac=None if spec.taper is None else spec.taper.start_soc_frac,
            taper_end_power_frac=0.0 if spec.taper is None else spec.taper.end_power_frac,
        )

    def _uncontrolled_kw(self) -> float:
        return self._charger.max_charge_kw

    def _may_flow(self, kw: float, at: datetime) -> bool:
        """A charger that is not controllable does not obey a limit either."""
        return not self._charger.controllable or super()._may_flow(kw, at)

    def _clip(self, setpoint: Setpoint) -> Clipped:
        if not self._charger.controllable:
            return Clipped(None, "this charger is not controllable: it charges as soon as a vehicle is plugged")
        return super()._clip(setpoint)

    def _telemetry(self, at: datetime, reading: Reading) -> ChargerTelemetry:
        departed, self._departed = tuple(self._departed), []
        return ChargerTelemetry(
            power_kw=reading.power_kw,
            energy_import_kwh=reading.energy_import_kwh,
            energy_export_kwh=reading.energy_export_kwh,
            segments=reading.segments,
            vehicle=None if self._stay is None else self._vehicle(self._stay, at),
            departed=departed or None,
        )

    def _departing(self, stay: ChargingSession, at: datetime) -> DepartedVehicle:
        return DepartedVehicle(**dict(self._vehicle(stay, at)), left=stay.departure)

    def _vehicle(self, stay: ChargingSession, at: datetime) -> PluggedVehicle:
        assert self._piece is not None and self._energy_meter is not None
        imported, exported = self._energy_meter.registers(at)
        imported_before, exported_before = self._registers_at_arrival
        return PluggedVehicle(
            vehicle=stay.vehicle,
            soc_frac=self._piece.soc_at(at),
            capacity_kwh=stay.capacity_kwh,
            arrival=stay.arrival,
            arrival_soc_frac=stay.arrival_soc_frac,
            departure=stay.announced_departure or stay.departure,
            target_soc_frac=stay.target_soc_frac,
            soc_min_frac=stay.soc_min_frac,
            soc_max_frac=stay.soc_max_frac,
            max_charge_kw=stay.max_charge_kw,
            max_discharge_kw=stay.max_discharge_kw,
            charged_kwh=imported - imported_before,
            discharged_kwh=exported - exported_before,
        )

    def _own_state(self) -> Json:
        return {
            **super()._own_state(),
            "stay": None if self._stay is None else json.loads(self._stay.model_dump_json()),
            "registers_at_arrival": list(self._registers_at_arrival),
            "departed": [json.loads(vehicle.model_dump_json()) for vehicle in self._departed],
        }

    def _restore_own(self, state: Json) -> None:
        super()._restore_own(state)
        self._plug(None if state["stay"] is None else ChargingSession.model_validate(state["stay"]))
        imported, exported = state["registers_at_arrival"]
        self._registers_at_arrival = (imported, exported)
        self._departed = [DepartedVehicle.model_validate_json(json.dumps(vehicle)) for vehicle in state["departed"]]


def _least(rating_kw: float, vehicle_kw: float | None) -> float:
    return rating_kw if vehicle_kw is None else min(rating_kw, vehicle_kw)
