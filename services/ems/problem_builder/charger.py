"""A charger with the stays of its vehicles, or its power where nothing is planned: on its fallback, uncontrolled."""

import math
from datetime import datetime

import numpy as np

from schemas.messages import ChargerNameplate, ChargerTelemetry, Fallback
from schemas.site import Site
from services.ems.ageing import ageing_price
from services.ems.charging_sessions import PlannedTime, Policy, sessions_of
from services.ems.lag import with_lag
from services.ems.phases import Usable, gap_of, range_now_kw
from services.ems.problem import ChargerUnit, FixedUnit, Stay, TaperCurve, Values
from services.ems.problem_builder.window import Window, values_of
from services.ems.stores import Array
from services.ems.system_state import Counted, DeviceState, SystemState


def charger_unit(
    name: str, known: DeviceState, state: SystemState, site: Site, window: Window, phases: Usable
) -> ChargerUnit | FixedUnit | None:
    plate, telemetry = known.birth.nameplate, known.telemetry
    if not (isinstance(plate, ChargerNameplate) and isinstance(telemetry, ChargerTelemetry)):
        return None
    departed = known.departed
    expected = [s for s in state.sessions(name) if departed is None or not departed.ends(s)]
    policy = Policy(site.assumed_vehicle(name), site.zone, state.departures)
    planned = PlannedTime(window.start, window.at(1), window.end)
    sessions = sessions_of(plate, telemetry.vehicle, known.counted, expected, planned, policy)
    if sessions.unplannable is not None:
        fallback = known.birth.fallback if plate.controllable else Fallback.UNCONTROLLED
        power = np.array(unknown_power(plate, telemetry, known.counted, fallback, sessions.leaves, window))
        if fallback is Fallback.UNCONTROLLED:
            power = power + np.array(uncontrolled_power(plate, sessions.stays, window))
        reason = f"a vehicle is plugged, and {sessions.unplannable}: the charger's fallback is {fallback}"
        return FixedUnit(name, values_of(power), sessions.assumptions, reason)
    if not plate.controllable:
        return FixedUnit(name, uncontrolled_power(plate, sessions.stays, window), sessions.assumptions)
    least_now_kw, most_now_kw = range_now_kw(plate, phases)
    return ChargerUnit(
        device=name,
        max_charge_kw=plate.max_charge_kw,
        max_discharge_kw=plate.max_discharge_kw,
        min_power_kw=least_now_kw,
        charge_efficiency=plate.charge_efficiency,
        discharge_efficiency=plate.discharge_efficiency,
        stays=with_lag(sessions.stays, plate, telemetry, window.start) if site.ems.plan_device_lag else sessions.stays,
        assumptions=sessions.assumptions,
        taper=_taper(plate),
        flowing_kw=telemetry.power_kw,
        ageing=ageing_price(site.calendar_wear(name)),
        now_max_kw=most_now_kw if phases else math.inf,
        phase_gap=gap_of(plate),
        phases=phases,
    )


def _taper(plate: ChargerNameplate) -> TaperCurve | None:
    if plate.taper_start_soc_frac is None or plate.taper_start_soc_frac >= 1 or plate.taper_end_power_frac >= 1:
        return None
    return TaperCurve(plate.taper_start_soc_frac, plate.taper_end_power_frac)


def unknown_power(
    plate: ChargerNameplate,
    telemetry: ChargerTelemetry,
    counted: Counted | None,
    fallback: Fallback,
    leaves: datetime | None,
    window: Window,
) -> Values:
    """Mean power [kW] per step of a vehicle that cannot be planned, at a charger that follows its fallback.

    Idle: none. Hold: the power that flows. Uncontrolled: the power that it draws; where it draws none, its most if it
    has drawn nothing yet, else none, for then it is full. So until it leaves, or throughout where that is not known.
    """
    flowing, vehicle = telemetry.power_kw, telemetry.vehicle
    if fallback is Fallback.UNCONTROLLED and flowing <= 0:
        begun = counted is not None and (counted.charged_kwh or 0.0) > 0
        rating = None if vehicle is None else vehicle.max_charge_kw
        most = plate.uncontrolled_kw if rating is None else min(plate.uncontrolled_kw, rating)
        flowing = 0.0 if begun else most
    elif fallback is Fallback.IDLE:
        flowing = 0.0
    until = window.end if leaves is None else leaves
    stays_s = max((until - window.start).total_seconds(), 0.0)
    return values_of(flowing * _seconds_of_steps(window, 0.0, stays_s) / window.step_s)


def uncontrolled_power(plate: ChargerNameplate, stays: tuple[Stay, ...], window: Window) -> Values:
    """Mean power [kW] per step of a charger that is left to itself from arrival until the target or departure."""
    power = np.zeros(window.steps)
    for stay in stays:
        rate = min(plate.uncontrolled_kw, stay.max_charge_kw)
        missing = min(stay.target_kwh, stay.energy_max_kwh) - stay.energy_kwh
        if missing <= 0 or rate <= 0:
            continue
        seconds = missing / (rate * plate.charge_efficiency) * 3600
        stop = min((stay.departure - stay.arrival).total_seconds(), seconds)
        begin = (stay.arrival - window.start).total_seconds()
        power = power + rate * _seconds_of_steps(window, begin, begin + stop) / window.step_s
    return values_of(power)


def _seconds_of_steps(window: Window, begin_s: float, end_s: float) -> Array:
    """Of each step, how much lies between two times, in seconds after the window's start."""
    edges = window.step_s * np.arange(window.steps + 1)
    return np.diff(np.clip(edges, begin_s, end_s))
