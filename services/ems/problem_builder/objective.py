"""The objective besides the price of energy: its weights, and prices of shortfalls, limits, wear, ties and demand."""

from collections.abc import Sequence

from schemas.site import LEAST_COST_WEIGHT, Site
from services.ems.problem import ChargerUnit, Prices, Weights
from services.ems.problem_builder.window import Window


def weights_of(site: Site) -> Weights:
    """Money always has some weight: else what may be sold at no harm would be curtailed, for a tie-break."""
    wanted = site.ems.objective
    return Weights(
        max(wanted.cost, LEAST_COST_WEIGHT),
        wanted.co2_eur_per_t / 1000,
        wanted.self_consumption_eur_per_kwh,
        wanted.peak_eur_per_kw,
    )


def prices_of(
    site: Site, window: Window, chargers: Sequence[ChargerUnit], *, limited_from_outside: bool, ratcheted: bool
) -> Prices:
    """A limit from outside is dearer than any energy that is missing, the limits of connection and network are dearer
    than both."""
    options = site.ems
    dearest = max((stay.shortfall_weight for unit in chargers for stay in unit.stays), default=1.0)
    missing_price = dearest * options.shortfall_price_eur_per_kwh
    outside_price = outside_price_eur_per_kwh(missing_price, window.steps) if limited_from_outside else 0.0
    least_limit_price = 2 * (outside_price or (missing_price if dearest > 1 else 0.0))
    demand_charge = site.tariff.demand_charge_eur_per_kw or 0.0
    return Prices(
        shortfall_eur_per_kwh=options.shortfall_price_eur_per_kwh,
        limit_eur_per_kwh=max(options.limit_price_eur_per_kwh, least_limit_price),
        outside_limit_eur_per_kwh=outside_price,
        bess_wear_eur_per_kwh=options.bess_wear_eur_per_kwh,
        vehicle_wear_eur_per_kwh=options.vehicle_wear_eur_per_kwh,
        tie_throughput_eur_per_kwh=options.tie_throughput_eur_per_kwh,
        tie_flat_eur_per_kwh=options.tie_flat_eur_per_kwh,
        ramping_eur_per_kw=options.ramping_price_eur_per_kw,
        reversal_eur=options.reversal_price_eur,
        demand_eur_per_kw=demand_charge,
        ratchet_eur_per_kw=demand_charge * site.tariff.demand_billing.ratchet_frac if ratcheted else 0.0,
    )


def outside_price_eur_per_kwh(shortfall_price: float, steps: int) -> float:
    """Price above a limit from outside: more than any energy that is missing could cost in the window.

    A store below its minimum is short in every step, so that a kWh may be worth ``steps`` times the price of a
    shortfall; what it loses on the way from and to the bus, less than half, doubles it. The limits of connection and
    network cost twice that again: they protect cables and fuses.
    """
    return 2 * shortfall_price * steps
