"""A thermal buffer: how its heat follows what flows in and out, with standing losses, in closed form."""

import math


def heat_after(heat_kwh: float, net_kw: float, loss_per_h: float, hours: float) -> float:
    """Heat [kWh] after ``hours`` of a constant net inflow [kW].

    Notes
    -----
    dE/dt = q − λE, with q the heat that flows in minus that which flows out and λ the standing losses per hour, as
    PyPSA's ``standing_loss`` and oemof.solph's ``loss_rate`` have them:

        E(t) = E₀ e^(−λt) + q (1 − e^(−λt)) / λ,   and E₀ + q t without losses.
    """
    return heat_kwh * math.exp(-loss_per_h * hours) + net_kw * _effective_h(loss_per_h, hours)


def losses_kwh(heat_kwh: float, net_kw: float, loss_per_h: float, hours: float) -> float:
    """Heat [kWh] lost meanwhile: λ ∫ E dt = E₀ (1 − e^(−λt)) + q (t − (1 − e^(−λt)) / λ)."""
    return -heat_kwh * math.expm1(-loss_per_h * hours) + net_kw * (hours - _effective_h(loss_per_h, hours))


def hours_until(heat_kwh: float, net_kw: float, loss_per_h: float, level_kwh: float) -> float:
    """How long until the heat is at ``level_kwh`` [kWh]; infinite where it moves away or comes to rest before it.

    Notes
    -----
    t = ln((E∞ − E₀) / (E∞ − level)) / λ with the heat at rest E∞ = q/λ; (level − E₀) / q without losses.
    """
    slope_kw, ahead_kwh = net_kw - loss_per_h * heat_kwh, level_kwh - heat_kwh
    if ahead_kwh == 0:
        return 0.0
    if slope_kw * ahead_kwh <= 0:
        return math.inf
    # (E∞ − level) / (E∞ − E₀) = 1 − λ (level − E₀) / slope.
    left = loss_per_h * ahead_kwh / slope_kw
    if left >= 1:
        return math.inf
    return -math.log1p(-left) / loss_per_h if loss_per_h > 0 and left > 0 else ahead_kwh / slope_kw


def _effective_h(loss_per_h: float, hours: float) -> float:
    """(1 − e^(−λt)) / λ: the time for which a flow counts at the end."""
    return -math.expm1(-loss_per_h * hours) / loss_per_h if loss_per_h > 0 else hours
