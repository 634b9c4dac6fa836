"""Converter of a charger or battery: limits, smallest power, taper near full."""


def feasible_power_kw(asked_kw: float, max_charge_kw: float, max_discharge_kw: float, min_power_kw: float) -> float:
    """The asked AC power [kW] within [-max_discharge, max_charge]; 0 when its magnitude is below the minimum.

    Notes
    -----
    IEC 61851-1 knows no charging current below 6 A: a charger that may not draw that much pauses.
    """
    power_kw = min(max(asked_kw, -max_discharge_kw), max_charge_kw)
    return power_kw if power_kw != 0 and abs(power_kw) >= min_power_kw else 0.0


def taper_limit_kw(soc_frac: float, full_kw: float, start_soc_frac: float, end_power_frac: float) -> float:
    """Greatest charging power [kW] of a vehicle near full: linear in SOC.

    Notes
    -----
    P(s) = P_full · (1 - (1 - e) (s - s0) / (1 - s0)) for s > s0: the constant-voltage part of a charge, in which the
    current falls about linearly with the SOC; e is the part of the power that is left at s = 1.
    """
    if soc_frac <= start_soc_frac:
        return full_kw
    fallen = (min(soc_frac, 1.0) - start_soc_frac) / (1.0 - start_soc_frac)
    return full_kw * (1.0 - (1.0 - end_power_frac) * fallen)
