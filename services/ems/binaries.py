"""Where binaries are required: the pairs and steps for which the LP relaxation is not provably enough.

The paper keeps two flags for every pair of opposite flows: (7) for vehicles, (17) for the BESS; (20)(21) exclude
nothing there. A flag costs time and is idle wherever burning energy, which is all that simultaneous flows do, cannot
pay. What is not proved here keeps its flags.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.sums import sum_in_order
from services.ems.problem import Problem
from services.ems.stores import Array, Store

Flags = NDArray[np.bool_]


def required_for_stores(problem: Problem, stores: tuple[Store, ...]) -> Flags:
    """Steps in which charging and discharging at once might pay, shape (stores, steps).

    Proof that the others need no flag. Let ρ = η_ch·η_dch ≤ 1 and let a plan have g, v > 0 at once. Take g − a and
    v − ρ·a instead, with a the greatest for which both stay ≥ 0: one of them becomes 0. The stored energy changes by
    Δt(η_ch·(g−a) − (v−ρa)/η_dch), as before, so every SOC bound, target and terminal wish holds as it did, in every
    step. What changes is

    - throughput falls by (1 + ρ)·a, which saves (tie + wear) of it;
    - the bus draws δ = (1 − ρ)·a ≥ 0 less. While there is import, that saves at least the purchase price of δ
      (bands and the price above the limit only add; a demand charge only falls). While there is export, it earns the
      sale price, less at most one band of the tie-break, provided that the export limit leaves room.

    Room is there if all that cannot be switched off (firm surplus = PV that cannot be curtailed, plus all discharge,
    minus load) stays within the limit: whatever would exceed it is then PV that can be curtailed at no price. If the
    firm surplus is not even positive, every exported kWh is such PV, so δ can be curtailed instead of exported and a
    negative sale price costs nothing. A price on changes of power adds at most 2·(1 − ρ)·a of it, since the power of
    one step moves by that much against both its neighbours. So the plan without simultaneous flows is no dearer where

        (tie + wear)·(1 + ρ) + (min(purchase, sale − tie_flat) − 2·ramping/Δt)·(1 − ρ) ≥ 0
        and   firm surplus ≤ export limit.

    Prices are those of the objective (`Problem.import_eur_per_kwh`, `Problem.export_eur_per_kwh`). Where curtailed PV
    has a price, as much as an exported kWh has besides, δ more of it costs that: then that is the slope of export.

    The exclusion of import and export does not interfere: both slopes are covered. A group limit is touched from
    below only, by δ or the share of it that counts there; it has room if the group's whole discharge and PV, less
    the load that is there for certain, is within it. PV in a group is taken as not curtailable, because curtailing
    it moves the group upwards. A limit from outside on export is another export limit, that of a group another group
    limit; one on import is only ever freed. Prices of the limits are taken as greater than those of energy. A smallest
    power has flags of its own, see `required_for_smallest_power`. A cap of what a vehicle gives back is only ever
    freed. Calendar wear depends on the stored energy alone.
    """
    shape = len(stores), problem.steps
    charge, discharge = ([getattr(store, name) for store in stores] for name in ("charge_max_kw", "discharge_max_kw"))
    both = (np.reshape(charge, shape) > 0) & (np.reshape(discharge, shape) > 0)
    if not both.any():
        return both
    firm = firm_surplus(problem, stores)
    sale = np.array(problem.export_eur_per_kwh) - problem.prices.tie_flat_eur_per_kwh
    export_slope = np.where(firm <= 0, np.maximum(sale, 0.0), sale)
    if unused := problem.weights.unused_eur_per_kwh:
        export_slope = np.minimum(sale, -unused)
    slope = np.minimum(np.array(problem.import_eur_per_kwh), export_slope)
    slope = slope - 2 * problem.prices.ramping_eur_per_kw / problem.step_h
    room = firm <= problem.export_limit_kw
    for limit in problem.outside_limits:
        if not limit.group:
            room &= firm <= np.array(limit.export_kw)
    tie, wear = (
        problem.prices.tie_throughput_eur_per_kwh,
        problem.weights.cost * problem.prices.bess_wear_eur_per_kwh,
    )
    efficiency = np.array([[store.charge_efficiency * store.discharge_efficiency] for store in stores])
    weight = np.array([[tie + (wear if store.is_bess else 0.0)] for store in stores])
    harmless = (weight * (1 + efficiency) + slope * (1 - efficiency) >= 0) & room
    for group in problem.groups:
        behind = [i for i, store in enumerate(stores) if store.device in group.devices]
        if behind:
            load = -np.array(group.loads_kw(problem.steps)[1])
            downwards = sum((group.share(store.device) * store.discharge_max_kw for store in stores), load)
            for unit in problem.pv:
                downwards = downwards + group.share(unit.device) * np.array(unit.available_kw)
            harmless[behind] &= downwards <= group.limit_kw
    for limit in problem.outside_limits:
        behind = [i for i, store in enumerate(stores) if store.device in limit.devices]
        if behind:
            downwards = sum((limit.share(s.device) * s.discharge_max_kw for s in stores), np.zeros(problem.steps))
            for unit in problem.pv:
                downwards = downwards + limit.share(unit.device) * np.array(unit.available_kw)
            harmless[behind] &= downwards <= np.array(limit.export_kw)
    required: Flags = both & ~harmless
    return required


def firm_surplus(problem: Problem, stores: tuple[Store, ...]) -> Array:
    """The most [kW] that could be exported if all PV that can be curtailed at no price were, shape (steps,)."""
    grouped = {device for group in problem.groups for device in group.devices}
    grouped |= {device for limit in problem.outside_limits for device in limit.devices}
    firm: Array = -(np.array(problem.load_kw) + np.array(problem.losses_kw))
    for fixed in problem.fixed:
        firm = firm - np.array(fixed.power_kw)
    for unit in problem.pv:
        if not unit.curtailable or unit.device in grouped:
            firm = firm + np.array(unit.available_kw)
    for store in stores:
        firm = firm + store.discharge_max_kw
    return firm


def required_for_smallest_power(store: Store) -> bool:
    """A charger that cannot go below its smallest power needs a flag in the step that is commanded now.

    Later steps are planned without: they are planned again before they are commanded, and the flags of all of them
    would make every plan of a one-way car park a large MILP. So a plan may show future powers below the smallest; a
    set-point never does.
    """
    return store.min_power_kw > 0 and bool(store.charge_max_kw[0] > 0 or store.discharge_max_kw[0] > 0)


def required_for_phases(problem: Problem, stores: tuple[Store, ...]) -> Flags:
    """Whether a charger that switches its phases needs a flag, shape (stores, steps): in the step that is commanded
    now, where its ranges on one phase and on three do not meet and the vehicle can draw what lies between them.

    Where they meet, {0} and one range are all its powers, and a smallest power says that. Later steps: as of a smallest
    power.
    """
    required = np.zeros((len(stores), problem.steps), dtype=np.bool_)
    for i, store in enumerate(stores):
        if store.phase_gap is not None:
            most_kw = store.phase_gap.one_phase_max_kw
            required[i, 0] = store.charge_max_kw[0] > most_kw * store.plugged_frac[0] and (
                most_kw < store.three_phase_draw_kw and store.min_power_kw <= most_kw
            )
    return required


def required_for_pcc(problem: Problem) -> Flags:
    """Steps in which importing and exporting at once would pay: where the sale price exceeds the purchase price.

    Elsewhere, taking the same amount off both saves purchase − sale ≥ 0 on each kWh, frees room in every band and
    under both limits, and lowers the peak; nothing else sees the two apart.
    """
    return np.array(problem.export_eur_per_kwh) > np.array(problem.import_eur_per_kwh)


def largest_exchange(problem: Problem, stores: tuple[Store, ...]) -> Array:
    """The most [kW] that can be imported, and exported, shape (2, steps): at most the connection's limit, at least 0.

    Import: all that is drawn, with every store and heat pump at full power and without PV that can be curtailed.
    Export: all that is given, with every store and all PV at full power and every heat pump off. A plan that does not
    do both at once never has more, so these bounds cut nothing off.
    """
    drawn = undecided_demand(problem)
    given: Array = -drawn
    for unit in problem.pv:
        if unit.curtailable:
            given = given + np.array(unit.available_kw)
    for store in stores:
        drawn, given = drawn + store.charge_max_kw, given + store.discharge_max_kw
    drawn = drawn + sum_in_order(pump.max_power_kw for pump in problem.heat)
    most: Array = np.stack([np.clip(drawn, 0.0, problem.import_limit_kw), np.clip(given, 0.0, problem.export_limit_kw)])
    return most


def undecided_demand(problem: Problem) -> Array:
    """Load, losses and uncontrolled devices, less PV that cannot be curtailed [kW], shape (steps,)."""
    demand: Array = np.array(problem.load_kw) + np.array(problem.losses_kw)
    for fixed in problem.fixed:
        demand = demand + np.array(fixed.power_kw)
    for unit in problem.pv:
        if not unit.curtailable:
            demand = demand - np.array(unit.available_kw)
    return demand
