"""The power that a device may have at an instant, by what it acknowledged, its nameplate and what it measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from schemas.messages import (
    BessNameplate,
    BessTelemetry,
    ChargerNameplate,
    ChargerTelemetry,
    Fallback,
    HeatPumpNameplate,
    HeatPumpTelemetry,
    Nameplate,
    PvNameplate,
    PvTelemetry,
    Setpoint,
    Telemetry,
)

LEAST_TOLERANCE_KW = 0.1
VALUE_FRAC, RATED_FRAC = 0.05, 0.02
NEAR_FULL_FRAC = 0.02
"""So near to the ends of its SOC a store may take or give less than it was asked for."""


@dataclass(frozen=True, slots=True)
class Range:
    """Lowest and highest power [kW] with the contract's sign."""

    low_kw: float
    high_kw: float

    def has(self, power_kw: float) -> bool:
        return self.low_kw <= power_kw <= self.high_kw

    def __str__(self) -> str:
        return f"{self.low_kw:.4g} to {self.high_kw:.4g} kW"


@dataclass(frozen=True, slots=True)
class Order:
    """A set-point that was acknowledged. ``value_kw``: a power or a limit, as the device says it is applied."""

    setpoint: Setpoint
    value_kw: float
    followed_from: datetime


def lowest_kw(plate: Nameplate) -> float:
    """The lowest value that a set-point may ask for."""
    return -plate.max_discharge_kw if isinstance(plate, ChargerNameplate | BessNameplate) else 0.0


def highest_kw(plate: Nameplate) -> float:
    """The highest one; of a PV inverter its limit."""
    return plate.rated_kw if isinstance(plate, PvNameplate) else plate.draws_kw


def clipped_kw(plate: Nameplate, value_kw: float) -> float:
    return min(max(value_kw, lowest_kw(plate)), highest_kw(plate))


def tolerance_kw(plate: Nameplate, value_kw: float) -> float:
    return max(LEAST_TOLERANCE_KW, VALUE_FRAC * abs(value_kw), RATED_FRAC * highest_kw(plate))


def following(plate: Nameplate, value_kw: float, measured: Telemetry) -> Range:
    """On a set-point with this value [kW]."""
    if isinstance(plate, PvNameplate):
        return _limited(plate, value_kw, measured)
    low, high = min(value_kw, 0.0), max(value_kw, 0.0)
    if isinstance(plate, ChargerNameplate):
        if _no_vehicle(measured) or abs(value_kw) < plate.smallest_kw:
            low = high = 0.0
        elif plate.phase_switch is not None:
            pass  # by its phases, and while it pauses for a switch, it may do less
        elif _has_room(plate, measured, value_kw):
            low = high = value_kw
    elif isinstance(plate, BessNameplate):
        if _has_room(plate, measured, value_kw):
            low = high = value_kw
    elif isinstance(plate, HeatPumpNameplate):
        if value_kw < plate.min_power_kw:
            low = high = 0.0
        elif isinstance(measured, HeatPumpTelemetry) and measured.soc_frac is not None:
            inside = plate.soc_min_frac + NEAR_FULL_FRAC < measured.soc_frac < plate.soc_max_frac - NEAR_FULL_FRAC
            low = value_kw if inside else low
    return _widened(plate, low, high, value_kw)


def on_fallback(plate: Nameplate, fallback: Fallback, last_kw: float | None, measured: Telemetry) -> Range:
    """Without a valid set-point. ``last_kw``: the value that was followed last."""
    if fallback is Fallback.HOLD and last_kw is not None:
        return following(plate, last_kw, measured)
    if isinstance(plate, PvNameplate):
        return _limited(plate, 0.0 if fallback is Fallback.IDLE else plate.rated_kw, measured)
    if fallback is not Fallback.UNCONTROLLED:
        return _widened(plate, 0.0, 0.0, 0.0)
    if isinstance(plate, ChargerNameplate):
        most_kw = 0.0 if _no_vehicle(measured) else plate.uncontrolled_kw
        return _widened(plate, most_kw if _wants_charge(plate, measured) else 0.0, most_kw, most_kw)
    most_kw = plate.draws_kw if isinstance(plate, HeatPumpNameplate) else 0.0
    return _widened(plate, 0.0, most_kw, most_kw)


def _widened(plate: Nameplate, low: float, high: float, value_kw: float) -> Range:
    tolerance = tolerance_kw(plate, value_kw)
    return Range(low - tolerance, high + tolerance)


def _limited(plate: PvNameplate, limit_kw: float, measured: Telemetry) -> Range:
    """A limit is the greatest production, a magnitude; production counts as negative."""
    available_kw = measured.available_kw if isinstance(measured, PvTelemetry) else None
    least = 0.0 if available_kw is None or limit_kw < available_kw else available_kw
    tolerance = tolerance_kw(plate, limit_kw)
    return Range(-limit_kw - tolerance, -min(least, limit_kw) + tolerance)


def _no_vehicle(measured: Telemetry) -> bool:
    return isinstance(measured, ChargerTelemetry) and measured.vehicle is None


def _has_room(plate: ChargerNameplate | BessNameplate, measured: Telemetry, value_kw: float) -> bool:
    """Whether the store surely takes or gives this power; of an unknown SOC nothing is sure."""
    if value_kw == 0:
        return True
    if isinstance(plate, BessNameplate) and isinstance(measured, BessTelemetry):
        soc, least, most = measured.soc_frac, plate.soc_min_frac, plate.soc_max_frac
    elif isinstance(plate, ChargerNameplate) and isinstance(measured, ChargerTelemetry) and measured.vehicle:
        vehicle = measured.vehicle
        bound_kw = vehicle.max_charge_kw if value_kw > 0 else vehicle.max_discharge_kw
        if vehicle.soc_frac is None or (bound_kw is not None and abs(value_kw) > bound_kw):
            return False
        least = 0.0 if vehicle.soc_min_frac is None else vehicle.soc_min_frac
        most = 1.0 if vehicle.soc_max_frac is None else vehicle.soc_max_frac
        soc = vehicle.soc_frac
        if plate.taper_start_soc_frac is not None:
            most = min(most, plate.taper_start_soc_frac)
    else:
        return False
    return soc < most - NEAR_FULL_FRAC if value_kw > 0 else soc > least + NEAR_FULL_FRAC


def _wants_charge(plate: ChargerNameplate, measured: Telemetry) -> bool:
    """Whether an uncontrolled charger surely charges: the vehicle is below its target."""
    if not isinstance(measured, ChargerTelemetry) or measured.vehicle is None:
        return False
    vehicle = measured.vehicle
    if vehicle.soc_frac is None or vehicle.target_soc_frac is None or not _has_room(plate, measured, 1.0):
        return False
    return vehicle.soc_frac < vehicle.target_soc_frac - NEAR_FULL_FRAC


def telling_values(plate: Nameplate, measured: Telemetry) -> Sequence[float]:
    """Two values that differ much from one another, and for which there is room now."""
    if isinstance(plate, PvNameplate):
        available_kw = measured.available_kw if isinstance(measured, PvTelemetry) else 0.0
        return (0.25 * available_kw, 0.6 * available_kw)
    charge = 0.5 * plate.draws_kw
    give = 0.5 * lowest_kw(plate)
    if isinstance(plate, HeatPumpNameplate) or give == 0:
        return (0.9 * plate.draws_kw, 0.5 * plate.draws_kw)
    if isinstance(plate, ChargerNameplate | BessNameplate) and not _has_room(plate, measured, 1.0):
        return (give, 0.5 * give)
    if isinstance(plate, ChargerNameplate | BessNameplate) and not _has_room(plate, measured, -1.0):
        return (charge, 0.5 * charge)
    return (charge, give)
