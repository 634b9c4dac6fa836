"""The problem builder: from system state to problem, as a table of contents: each part of the problem is a file.

Measurement holds for the current step, series for the future; nameplates come from births.
"""

from collections.abc import Mapping

from schemas.participant import Turn
from schemas.site import Site
from services.ems.month_peak import MonthPeak
from services.ems.network_limits import NetworkLimits
from services.ems.phases import within_network
from services.ems.problem import ChargerUnit, FixedUnit, HeatUnit, Problem, flat_reference
from services.ems.problem_builder.bess import bess_unit
from services.ems.problem_builder.charger import charger_unit
from services.ems.problem_builder.expectation import Unplannable, co2_intensity, known_prices
from services.ems.problem_builder.heat import heat_unit
from services.ems.problem_builder.later import later_steps
from services.ems.problem_builder.limits import group_limits, network_groups, outside_limits
from services.ems.problem_builder.load import loads_of, losses_of, total_of
from services.ems.problem_builder.objective import prices_of, weights_of
from services.ems.problem_builder.pv import pv_unit
from services.ems.problem_builder.window import Window, next_month, window_of, window_start
from services.ems.system_state import SystemState


def problem_of(
    state: SystemState,
    site: Site,
    limits: NetworkLimits,
    turn: Turn,
    month_peak: MonthPeak,
    flat_reference_kw: float | None,
    began: Mapping[str, float],
) -> Problem | Unplannable:
    """The problem at ``turn.t``. ``flat_reference_kw``: of this local day, if it was seen before.

    ``began``: the SOC with which each BESS was found on this local day.

    In wall time a plan may begin within a step; that step then counts as whole, which over-states its energy by what
    has passed of it, and the next plan corrects it.
    """
    present = state.present(turn)
    window = window_of(site, turn)
    prices = known_prices(state, site, window)
    if isinstance(prices, Unplannable):
        return prices
    purchase, sale = prices
    window = Window(window.start, window.step_s, len(purchase))
    losses = losses_of(present)
    loads = loads_of(state, present, site, window, losses)
    load = total_of(loads.values(), window)
    inverters = [pv_unit(name, known, state, site, window) for name, known in present.items()]
    pv = tuple(unit for unit in inverters if unit is not None)
    batteries = [bess_unit(name, known, state, site, window, began) for name, known in present.items()]
    pumps = [heat_unit(name, known, state, site, window) for name, known in present.items()]
    phases, network = within_network(present, network_groups(limits, present, loads, losses, window), turn.t)
    chargers = [charger_unit(name, known, state, site, window, phases.get(name, ())) for name, known in present.items()]
    units = tuple(unit for unit in chargers if isinstance(unit, ChargerUnit))
    outside = outside_limits(state.limits, site, present, window, turn.t)
    billing, month = site.tariff.demand_billing, month_peak.month_of(turn.t)
    month_end, next_free_kw = next_month(turn.t, site.zone), 0.0
    if month_end < window.end:
        next_free_kw = billing.free_kw(month_peak.month_of(month_end), month_peak.past_kw)
    has_charge = bool(site.tariff.demand_charge_eur_per_kw)
    ratchet_free = billing.ratchet_free_kw(month, month_peak.past_kw) if has_charge else ()
    return Problem(
        start=window.start,
        step_s=window.step_s,
        steps=window.steps,
        load_kw=load,
        losses_kw=(losses,) * window.steps,
        purchase_eur_per_kwh=purchase,
        sale_eur_per_kwh=sale,
        import_limit_kw=site.connection.import_limit_kw,
        export_limit_kw=site.connection.export_limit_kw,
        flat_reference_kw=flat_reference(load, pv) if flat_reference_kw is None else flat_reference_kw,
        bess=tuple(unit for unit in batteries if unit is not None),
        chargers=units,
        fixed=tuple(unit for unit in (*chargers, *pumps) if isinstance(unit, FixedUnit)),
        pv=pv,
        heat=tuple(unit for unit in pumps if isinstance(unit, HeatUnit)),
        groups=(*group_limits(site, present), *network),
        outside_limits=outside,
        month_peak_kw=month_peak.at(turn.t),
        free_peak_kw=billing.free_kw(month, month_peak.past_kw),
        month_end=month_end,
        next_free_peak_kw=next_free_kw,
        ratchet_free_kw=ratchet_free,
        later=later_steps(state, present, site, limits, window, units, losses),
        weights=weights_of(site),
        co2_g_per_kwh=co2_intensity(state, site, window),
        prices=prices_of(site, window, units, limited_from_outside=bool(outside), ratcheted=bool(ratchet_free)),
    )


__all__ = ["Unplannable", "Window", "problem_of", "window_start"]
