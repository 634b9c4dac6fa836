"""A power that moves at a limited rate, sampled so that its energy stays exact."""


def ramp_duration_s(from_kw: float, to_kw: float, rate_kw_per_s: float) -> float:
    """Time [s] that a ramp takes."""
    return abs(to_kw - from_kw) / rate_kw_per_s


def ramp_mean_kw(from_kw: float, to_kw: float, rate_kw_per_s: float, begin_s: float, end_s: float) -> float:
    """Mean power [kW] of a ramp over [begin_s, end_s) after its start; beyond its end it stays at ``to_kw``.

    Held over the same interval, the mean moves the same energy as the ramp. Raises ValueError for an empty interval.
    """
    if not 0 <= begin_s < end_s:
        raise ValueError(f"[{begin_s}, {end_s}) is not an interval after the ramp's start")
    duration_s = ramp_duration_s(from_kw, to_kw, rate_kw_per_s)
    if begin_s >= duration_s:
        return to_kw
    slope = rate_kw_per_s if to_kw > from_kw else -rate_kw_per_s
    moving_until_s = min(end_s, duration_s)
    moving_s = moving_until_s - begin_s
    mean_moving_kw = from_kw + slope * (begin_s + moving_until_s) / 2
    return (mean_moving_kw * moving_s + to_kw * (end_s - moving_until_s)) / (end_s - begin_s)
