"""Reactive power of a load, and the power factor of active and reactive power."""

import math

NO_POWER_KVA = 1e-6
"""Below it a power factor is one of rounding errors."""


def reactive_kvar(power_kw: float, power_factor: float) -> float:
    """Reactive power [kvar] that a lagging load draws beside its active power [kW]: Q = P tan(arccos(pf))."""
    return power_kw * math.tan(math.acos(power_factor))


def power_factor_of(power_kw: float, reactive_kvar: float) -> float | None:
    """P / √(P² + Q²), with the sign of P; None where hardly any power flows."""
    apparent_kva = math.hypot(power_kw, reactive_kvar)
    if apparent_kva < NO_POWER_KVA:
        return None
    return min(max(power_kw / apparent_kva, -1.0), 1.0)
