"""Power of a PV inverter from what its generator offers."""


def pv_output_kw(available_kw: float, rated_kw: float, limit_kw: float) -> float:
    """Power [kW, a magnitude] of an inverter: the least of what is available, its rating and the curtailment limit."""
    return min(available_kw, rated_kw, limit_kw)
