"""Reactive power of a load."""

import math


def reactive_kvar(power_kw: float, power_factor: float) -> float:
    """Reactive power [kvar] that a lagging load draws beside its active power [kW]: Q = P tan(arccos(pf))."""
    return power_kw * math.tan(math.acos(power_factor))
