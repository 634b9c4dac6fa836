"""Converter of a charger or battery: limits, smallest power, taper near full."""


def feasible_power_kw(asked_kw: float, max_charge_kw: float, max_discharge_kw: float, min_power_kw: float) -> float:
    """The asked AC power [kW] within [-max_discharge, max_charge]; 0 when less than the minimum is asked.

    Discharging, 0 also when less than the minimum is possible.

    Notes
    -----
    IEC 61851-1 knows no offer of a charging current below 6 A: a charger that may not offer that much pauses. It is a
    limit of the offer: a vehicle may draw less, such as one that uses a single phase of three, or one that is nearly
    full.
    """
    if asked_kw > 0:
        return min(asked_kw, max_charge_kw) if asked_kw >= min_power_kw else 0.0
    power_kw = max(asked_kw, -max_discharge_kw)
    return power_kw if power_kw != 0 and -power_kw >= min_power_kw else 0.0


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
