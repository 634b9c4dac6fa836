"""The charger's twin, with the vehicle at its plug."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from schemas.messages import Ack, ChargerTelemetry, DepartedVehicle, Phases, PluggedVehicle, Setpoint, Telemetry
from schemas.participant import Json
from schemas.site import Charger as ChargerSpec
from schemas.site import ChargingSession, Site, switched_phases_of
from schemas.topics import Kind
from twin_devices.base import Reading
from twin_devices.discharge_caps import DischargeCaps
from twin_devices.phase_switcher import PhaseSwitcher
from twin_devices.physics.storage import Store
from twin_devices.setpoints import Clipped
from twin_devices.storage import Limits, StorageTwin, piece_from

_LOOK_AHEAD = timedelta(days=1)


class SessionSchedule:
    """The charging sessions at a charger, looked up a day at a time."""

    def __init__(self, sessions_between: "Callable[[datetime, datetime], tuple[ChargingSession, ...]]") -> None:
        self._sessions_between = sessions_between
        self._sessions: tuple[ChargingSession, ...] = ()
        self._from: datetime | None = None
        self._until: datetime | None = None

    def covering(self, at: datetime) -> ChargingSession | None:
        """The session that has begun and not ended at ``at``; of several the one that began first."""
        self._look_up(at)
        return next((session for session in self._sessions if session.arrival <= at < session.departure), None)

    def next_arrival(self, after: datetime) -> datetime:
        """The next instant after ``after`` at which a vehicle may come (at the latest when to look again)."""
        self._look_up(after)
        assert self._until is not None
        return min([self._until, *(session.arrival for session in self._sessions if session.arrival > after)])

    def drop(self) -> None:
        """Looks up again at the next call."""
        self._from = self._until = None

    def _look_up(self, at: datetime) -> None:
        if self._from is None or self._until is None or not self._from <= at < self._until:
            self._from, self._until = at, at + _LOOK_AHEAD
            self._sessions = self._sessions_between(self._from, self._until)


class Charger(StorageTwin):
    """An EVSE. A vehicle is plugged from its session's arrival to its real departure, whatever was announced.

    Uncontrolled (the fallback of that name, or a charger that is not controllable) it charges from the plug on, with
    the power of its fallback or full power, and stops at the session's target SOC, not at the vehicle's upper bound: so
    the energy is that of a controlled charge, and costs can be compared. A run that begins amid a session finds the
    arrival SOC.

    It gives no more than the vehicle's caps of a charging session and a local day, whatever it is asked for.

    The telemetry says of the vehicle what the site's ``reports`` lets it say. When it was plugged and what it got since
    are the charger's own, and always there.

    One that switches its phases charges a vehicle that has one phase on that, without switching; other vehicles by
    `PhaseSwitcher`.
    """

    kind = Kind.CHARGER

    def __init__(self, site: Site, device: str, spec: ChargerSpec) -> None:
        super().__init__(site, device, spec)
        self._charger = spec
        self._left_to_itself_kw = spec.nameplate.uncontrolled_kw
        self._schedule = SessionSchedule(
            lambda start, end: self._script.as_left(spec.sessions_between(start, end, site.zone))
        )
        self._session: ChargingSession | None = None
        self._session_limits: dict[tuple[bool, Phases | None], Limits] = {}
        """The limits that `_limits` returns while the session lasts, by whether it is uncontrolled, and by phases."""
        self._switcher = None if spec.phase_switch is None else PhaseSwitcher(spec.nameplate)
        self._one_phase = switched_phases_of(site.devices).get(device, 0)
        """On which it charges when on one."""
        self._said: dict[str, Any] = {}
        """What the vehicle says of itself all that time."""
        self._caps = DischargeCaps(site.zone)
        self._assumed = site.assumed_vehicle(device)
        self._energies_at_arrival = (0.0, 0.0)
        self._departed: list[DepartedVehicle] = []
        """Since the last telemetry."""

    def _connect_or_disconnect(self, at: datetime) -> None:
        if self._session is not None and self._session.departure <= at:
            self._departed.append(self._departing(self._session, at))
            self._caps.unplug(self._given_kwh(at), at)
            self._plug(None)
            self._disconnect()
        if self._session is None and (session := self._schedule.covering(at)) is not None:
            assert self._energy_meter is not None
            self._plug(session)
            self._energies_at_arrival = self._energy_meter.registers(at)
            self._caps.plug(session.vehicle, session, self._assumed, self._given_kwh(at), at)
            if self._switcher is not None:
                self._switcher.decide_again()
            self._connect(at, session.arrival_soc_frac)
        elif self._piece is not None and self._caps.capped_by_day and self._caps.settle(at, self._given_kwh(at)):
            piece, left_kwh = self._piece, self._discharge_left_kwh(at)
            soc, sampled = piece.soc_at(at), piece.sampled_soc_frac
            self._piece = piece_from(at, soc, sampled, piece.asked_kw, piece.store, left_kwh)

    def _given_kwh(self, at: datetime) -> float:
        assert self._energy_meter is not None
        return self._energy_meter.registers(at)[1]

    def _discharge_left_kwh(self, at: datetime) -> float:
        return self._caps.left_kwh(self._given_kwh(at))

    def _script_changed(self, at: datetime) -> None:
        self._schedule.drop()
        if self._session is not None:
            (session,) = self._script.as_left([self._session])
            self._plug(session)

    def _next_change(self, after: datetime) -> datetime:
        if self._session is None:
            return self._schedule.next_arrival(after)
        changes = (
            self._session.departure,
            super()._next_change(after),
            self._caps.next_change(after),
            None if self._switcher is None else self._switcher.next_change(after),
        )
        return min(change for change in changes if change is not None)

    def _plug(self, session: ChargingSession | None) -> None:
        """From now on the vehicle of this session is at the plug, or none."""
        self._session = session
        if session is None:
            self._session_limits, self._said = {}, {}
        else:
            choices: tuple[Phases | None, ...] = (None,) if self._switcher is None else (1, 3)
            self._session_limits = {
                (uncontrolled, phases): self._limits_with(session, phases, uncontrolled=uncontrolled)
                for uncontrolled in (False, True)
                for phases in choices
            }
            self._said = session.said(self._charger.reports, self._charger.charge_efficiency)

    def _limits(self, *, uncontrolled: bool) -> Limits:
        return self._session_limits[uncontrolled, self._phases]

    @property
    def _phases(self) -> Phases | None:
        """Phases in use, of a charger that switches them."""
        if self._switcher is None:
            return None
        return 1 if self._has_one_phase else self._switcher.phases

    @property
    def _has_one_phase(self) -> bool:
        """Whether the vehicle has no more."""
        return self._session is not None and self._session.phases == 1

    def _is_interrupted(self, at: datetime, target_kw: float) -> bool:
        if self._switcher is None or self._has_one_phase:
            return False
        self._switcher.follow(at, target_kw, self._setpoints.target)
        return self._switcher.is_paused(at)

    def _foreseen_phases(self, setpoint: Setpoint, at: datetime) -> tuple[Phases | None, str | None]:
        """The phases on which a set-point is charged that came at ``at``; and why on others than it wants."""
        if self._switcher is None:
            return None, None
        if self._has_one_phase:
            return 1, "the vehicle has one phase" if setpoint.phases == 3 else None
        followed = max(at + timedelta(seconds=self._charger.dead_time_s), setpoint.valid_from)
        return self._switcher.foreseen(followed, setpoint.power_kw or 0.0, setpoint.phases)

    def _limits_on(self, setpoint: Setpoint, at: datetime) -> Limits:
        phases, _ = self._foreseen_phases(setpoint, at)
        return self._session_limits[False, phases]

    def _foresee(self, ack: Ack, setpoint: Setpoint, at: datetime) -> Ack:
        answer = super()._foresee(ack, setpoint, at)
        phases, why = self._foreseen_phases(setpoint, at)
        if phases is None and setpoint.phases not in (None, self._charger.phases):
            why = f"it charges on {self._charger.phases} phases and cannot switch them"
        if phases is None and why is None:
            return answer
        reasons = [text for text in (answer.reason, why) if text is not None]
        return answer.model_copy(update={"phases": phases, "reason": "; ".join(reasons) or None})

    def _limits_with(self, session: ChargingSession, phases: Phases | None, *, uncontrolled: bool) -> Limits:
        spec = self._charger
        least_kw, most_kw = spec.min_power_kw, spec.max_charge_kw
        if phases is not None:
            least_kw, most_kw = spec.nameplate.range_kw(phases)
        return Limits(
            store=Store(
                session.capacity_kwh,
                spec.charge_efficiency,
                spec.discharge_efficiency,
                session.soc_min_frac,
                session.target_soc_frac if uncontrolled else session.soc_max_frac,
            ),
            max_charge_kw=_least(most_kw, session.max_charge_kw),
            max_discharge_kw=_least(spec.max_discharge_kw, session.max_discharge_kw),
            min_power_kw=least_kw,
            taper_start_frac=None if spec.taper is None else spec.taper.start_soc_frac,
            taper_end_power_frac=0.0 if spec.taper is None else spec.taper.end_power_frac,
            **_bound_by(phases, most_kw, session.max_charge_kw),
        )

    def _uncontrolled_kw(self) -> float:
        return self._left_to_itself_kw

    def _may_flow(self, kw: float, at: datetime) -> bool:
        """A charger that is not controllable does not obey a limit either."""
        return not self._charger.controllable or super()._may_flow(kw, at)

    def _clip(self, setpoint: Setpoint) -> Clipped:
        if not self._charger.controllable:
            return Clipped(None, "this charger is not controllable: it charges as soon as a vehicle is plugged")
        return super()._clip(setpoint)

    def reading(self, at: datetime) -> Telemetry | None:
        """As of any twin. What happened since the last telemetry is still to be published."""
        departed, switched = self._departed, None if self._switcher is None else self._switcher.switched
        told = super().reading(at)
        self._departed = departed
        if self._switcher is not None and switched is not None:
            self._switcher.switched = switched
        return told

    def _telemetry(self, at: datetime, reading: Reading) -> ChargerTelemetry:
        departed, self._departed = tuple(self._departed), []
        return ChargerTelemetry(
            power_kw=reading.power_kw,
            energy_import_kwh=reading.energy_import_kwh,
            energy_export_kwh=reading.energy_export_kwh,
            segments=reading.segments,
            vehicle=None if self._session is None else self._vehicle(self._session, at),
            departed=departed or None,
            **self._phases_at(at, reading.power_kw),
        )

    def _phases_at(self, at: datetime, power_kw: float) -> dict[str, Any]:
        """Telemetry of a charger that switches its phases."""
        if self._switcher is None:
            return {}
        each = tuple(power_kw * (phase == self._one_phase) for phase in range(3))
        return {
            "phases": self._phases,
            "phases_held_until": self._switcher.held_until(at),
            "phases_switched": self._switcher.take_switched() or None,
            "phase_power_kw": each if self._phases == 1 else (power_kw / 3,) * 3,
        }

    def _departing(self, session: ChargingSession, at: datetime) -> DepartedVehicle:
        return DepartedVehicle(**dict(self._vehicle(session, at)), left=session.departure)

    def _vehicle(self, session: ChargingSession, at: datetime) -> PluggedVehicle:
        assert self._piece is not None and self._energy_meter is not None
        imported, exported = self._energy_meter.registers(at)
        imported_before, exported_before = self._energies_at_arrival
        return PluggedVehicle(
            **self._said,
            arrival=session.arrival,
            soc_frac=self._piece.soc_at(at) if "soc" in self._charger.reports else None,
            charged_kwh=imported - imported_before,
            discharged_kwh=exported - exported_before,
            discharged_day_kwh=self._caps.given_today_kwh(exported) if self._caps.capped_by_day else None,
        )

    def _own_state(self) -> Json:
        return {
            **super()._own_state(),
            "session": None if self._session is None else json.loads(self._session.model_dump_json()),
            "energies_at_arrival": list(self._energies_at_arrival),
            "caps": self._caps.snapshot(),
            "departed": [json.loads(vehicle.model_dump_json()) for vehicle in self._departed],
            "phases": None if self._switcher is None else self._switcher.snapshot(),
        }

    def _restore_own(self, state: Json) -> None:
        super()._restore_own(state)
        self._plug(None if state["session"] is None else ChargingSession.model_validate(state["session"]))
        imported, exported = state["energies_at_arrival"]
        self._energies_at_arrival = (imported, exported)
        if "caps" in state:  # a checkpoint of an earlier version has none
            self._caps.restore(state["caps"])
        if self._switcher is not None and state.get("phases") is not None:  # an earlier version's checkpoint has none
            self._switcher.restore(state["phases"])
        self._departed = [DepartedVehicle.model_validate_json(json.dumps(vehicle)) for vehicle in state["departed"]]


def _bound_by(phases: Phases | None, most_kw: float, vehicle_kw: float | None) -> dict[str, str]:
    if phases != 1 or (vehicle_kw is not None and vehicle_kw < most_kw):
        return {}
    return {"bound_by": f"one phase gives no more than {most_kw:g} kW"}


def _least(rating_kw: float, vehicle_kw: float | None) -> float:
    return rating_kw if vehicle_kw is None else min(rating_kw, vehicle_kw)
