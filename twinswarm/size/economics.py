"""What an investment is worth: net present value, payback, and the price at which it breaks even."""

import math


def annuity_factor(rate_frac: float, years: int) -> float:
    """Present value of 1 € at the end of each of ``years`` years: Σ 1/(1+r)^t = (1 - (1+r)^-n) / r."""
    if rate_frac == 0:
        return float(years)
    return (1 - (1 + rate_frac) ** -years) / rate_frac


def net_present_value_eur(investment_eur: float, yearly_eur: float, rate_frac: float, years: int) -> float:
    """Of ``yearly_eur`` at the end of each year, less the investment at the beginning."""
    return yearly_eur * annuity_factor(rate_frac, years) - investment_eur


def payback_years(investment_eur: float, yearly_eur: float) -> float | None:
    """Simple payback, without discounting; 0 without an investment, None where nothing is earned for one or money is
    lost."""
    if investment_eur <= 0:
        return 0.0 if yearly_eur >= 0 else None
    return investment_eur / yearly_eur if yearly_eur > 0 else None


def discounted_payback_years(investment_eur: float, yearly_eur: float, rate_frac: float) -> float | None:
    """After how many years the discounted savings are the investment: n = -ln(1 - I r / S) / ln(1 + r).

    None where they never are.
    """
    if investment_eur <= 0 or rate_frac == 0:
        return payback_years(investment_eur, yearly_eur)
    share = investment_eur * rate_frac / yearly_eur if yearly_eur > 0 else math.inf
    return -math.log(1 - share) / math.log(1 + rate_frac) if share < 1 else None


def break_even_eur(
    yearly_eur: float, count: int, rate_frac: float, years: int, subsidy_frac: float, upkeep_frac: float
) -> float:
    """Price of one of ``count`` devices, before subsidies, at which the net present value is 0.

    The devices' yearly saving is ``yearly_eur``, without their upkeep, which is a part of the price:
    0 = S a - p n ((1 - s) + u a).
    """
    factor = annuity_factor(rate_frac, years)
    return yearly_eur * factor / (count * ((1 - subsidy_frac) + upkeep_frac * factor))
