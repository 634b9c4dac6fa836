"""The numbers of a taper for one store: what it draws at most, by the trapezoidal rule, step by step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.ems.problem import ChargerUnit, Stay, TaperCurve

Array = NDArray[np.float64]

LEAST_PART = 0.02
"""In a step of which a vehicle is there for less its taper is left out: its coefficient would be out of range."""


@dataclass(frozen=True, slots=True)
class TaperRow:
    """``per_kw``·charge + energies at the step's ends ≤ ``most_kwh``, where it ``holds``. Shapes (steps,)."""

    per_kw: Array
    most_kwh: Array
    holds: NDArray[np.bool_]


def taper_row(
    charger: ChargerUnit,
    step_h: float,
    *,
    plugged: Array,
    charge_max: Array,
    upper: Array,
    arrives: Array,
    capacity: Array,
) -> TaperRow | None:
    """From the bounds of the charger's store; None: nothing is known of a taper."""
    curve = charger.taper
    if curve is None:
        return None
    holds = (capacity > 0) & (plugged >= LEAST_PART) & (charge_max > 0)
    row = TaperRow(np.ones(len(plugged)), np.zeros(len(plugged)), holds)
    capacity, power = capacity[holds], charge_max[holds]
    falls = fall_of(curve, capacity, charger.charge_efficiency * power * step_h)
    row.per_kw[holds] = 2 * capacity / (power * falls)
    # A measured energy above the capacity must not make the row infeasible.
    most = np.maximum(2 * capacity * (curve.start_frac + 1 / falls), 2 * upper[holds])
    row.most_kwh[holds] = most - arrives[holds]
    return row


def fall_of(taper: TaperCurve, capacity_kwh: Any, gain_kwh: Any) -> Any:
    """The part of the full power that is lost per unit of SOC; ``gain_kwh``: what full power would store in a step.

    Not more than where a vehicle that begins the step just short of full would be full at its end: with more, the
    trapezoidal rule would let it draw nothing.
    """
    return np.minimum(taper.falls, 2 * capacity_kwh / gain_kwh)


def drawn_kw(charger: ChargerUnit, stay: Stay, plugged: float, step_h: float) -> float:
    """Mean power in the first step of a vehicle that is there and draws all it can, by its taper."""
    full, capacity = min(charger.max_charge_kw, stay.max_charge_kw), stay.capacity_kwh
    if charger.taper is None or capacity <= 0 or full <= 0 or plugged < LEAST_PART:
        return full
    gain = charger.charge_efficiency * plugged * full * step_h
    falls = float(fall_of(charger.taper, capacity, gain))
    begins = 1 + falls * (charger.taper.start_frac - stay.energy_kwh / capacity)
    return max(min(full * begins / (1 + falls * gain / (2 * capacity)), full), 0.0)
