"""Dead time and ramp of a charger: a set-point takes effect later, and a departing vehicle does not wait for it.

A charger follows a set-point ``dead_time_s`` after it came, and moves to it at ``ramp_kw_per_s``. Both are planned as
one lag L: the power at t is the set-point of t − L. Time is therefore counted in set-points. The last one that a
vehicle obeys ends L before its departure, and what flows until a set-point of the window's start takes effect is in
store when the window begins. For a dead time that is exact.

A ramp from P₁ to P₂ brings (P₂ − P₁)²/(2r) less than its set-point, as a lag of |P₂ − P₁|/(2r) does. With the largest
step, from 0 to the full power P, it is P/(2r), which no smaller step exceeds. Of a power P₁ that flows now, what is
sure to come along the ramp is P₁²/(2r). So an energy that is planned for a departure is there.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from schemas.messages import ChargerNameplate, ChargerTelemetry
from services.ems.problem import Stay


def lag_s(dead_time_s: float, ramp_kw_per_s: float | None, full_kw: float) -> float:
    """Time [s] by which the energy of a set-point comes later: dead time + full power / (2 · ramp rate)."""
    return dead_time_s + (0.0 if ramp_kw_per_s is None else full_kw / (2 * ramp_kw_per_s))


def with_lag(
    stays: Iterable[Stay], plate: ChargerNameplate, telemetry: ChargerTelemetry, start: datetime
) -> tuple[Stay, ...]:
    """The charging sessions with their lag; the vehicle that is there at ``start`` with what flows until then."""
    return tuple(_with_lag(stay, plate, telemetry, start) for stay in stays)


def _with_lag(stay: Stay, plate: ChargerNameplate, telemetry: ChargerTelemetry, start: datetime) -> Stay:
    late_s = lag_s(plate.dead_time_s, plate.ramp_kw_per_s, min(plate.max_charge_kw, stay.max_charge_kw))
    if late_s == 0:
        return stay
    energy = stay.energy_kwh
    if stay.arrival <= start and telemetry.vehicle is not None:
        flowing = telemetry.power_kw
        sure_s = lag_s(plate.dead_time_s, plate.ramp_kw_per_s, min(abs(flowing), plate.max_charge_kw))
        hours = min(sure_s, max((stay.departure - start).total_seconds(), 0.0)) / 3600
        if flowing > 0:
            reached = energy + hours * flowing * plate.charge_efficiency
            energy = max(min(reached, stay.energy_max_kwh), energy)
        else:
            reached = energy + hours * flowing / plate.discharge_efficiency
            energy = min(max(reached, stay.energy_min_kwh), energy)
    return replace(stay, energy_kwh=energy, lag_s=late_s)
