"""A store of energy: how its state of charge follows the AC power, and when it reaches its bounds."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Store:
    """A battery, stationary or in a vehicle, seen from its AC side.

    Capacity [kWh]; one-way efficiencies between AC and the cells; SOC bounds as fractions of the capacity.
    """

    capacity_kwh: float
    charge_efficiency: float
    discharge_efficiency: float
    soc_min_frac: float
    soc_max_frac: float


def soc_rate_per_h(store: Store, power_kw: float) -> float:
    """Change of the SOC fraction per hour at a constant AC power [kW], positive when charging.

    Notes
    -----
    dSOC/dt = (p_ch η_ch - p_dch / η_dch) / E, equations (3) and (14) of Benedetto et al. (IEEE SEST 2024) for a SOC
    in kWh, here divided by the capacity E.
    """
    if power_kw > 0:
        return power_kw * store.charge_efficiency / store.capacity_kwh
    return power_kw / store.discharge_efficiency / store.capacity_kwh


def soc_after(store: Store, soc_frac: float, power_kw: float, hours: float) -> float:
    """SOC fraction after ``hours`` at a constant AC power [kW], which must not outlast `hours_to_bound`.

    The bounds are limits of the result, so that rounding never carries it past them.
    """
    after = soc_frac + soc_rate_per_h(store, power_kw) * hours
    if power_kw > 0:
        return min(after, max(soc_frac, store.soc_max_frac))
    return max(after, min(soc_frac, store.soc_min_frac))


def hours_to_bound(store: Store, soc_frac: float, power_kw: float) -> float:
    """How long a constant AC power [kW] can last until the SOC meets the bound it moves to.

    Infinite at 0 kW, 0 at or beyond the bound: a store below ``soc_min_frac`` may charge, but not discharge.
    """
    rate = soc_rate_per_h(store, power_kw)
    if rate == 0:
        return math.inf
    bound = store.soc_max_frac if rate > 0 else store.soc_min_frac
    return max(0.0, (bound - soc_frac) / rate)
