"""Energy beyond the window: what vehicles that stay on must still be charged after it, and what is left in a BESS.

After the window there are coarse steps (`services.ems.problem.Later`) up to the last departure of a vehicle that is
plugged at its end. In them such a vehicle may charge, within its power, under the limits that it shares with others;
nothing discharges. So a target after the window is neither out of sight nor thought to be reached by every vehicle at
full power at once, and energy that a V2G would give before the window's end has the price of replacing it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from schemas.messages import Shortfall, ShortfallKind
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.months import OfInstance, is_of, paid_kw
from services.ems.problem import LATER_STEP_H, PATIENCE, Later
from services.ems.solution import Solution
from services.ems.stores import Array, Store
from services.ems.terms.base import SMALL_KWH, Term
from services.ems.terms.demand_charge import PEAKS
from services.ems.terms.storage import STORAGE, energy_kwh, per_store
from services.ems.terms.targets import SHORTFALL

CHARGE = "later_charge"
"""Charging after the window [kW], by store and later step."""
SURPLUS = "later_surplus"
"""The part of it that PV surplus covers [kW]: it costs what a sale would have earned."""
IMPORT_KW = "later_import"
"""The part of it that is bought [kW]."""
SHORT = "later_shortfall"
"""Energy [kWh] by which a vehicle misses its target after the window."""
FINAL = "later_final"
"""Energy in store at the departure after the window [kWh]."""
NET = "later_net_load"
"""A constant: the load that PV does not cover [kW]."""
ROOM = "later_room"
"""A constant: the room that a shared limit leaves to its devices [kW], by limit and later step."""


class LaterShape(NamedTuple):
    """``groups``: by shared limit, the share of each store that counts."""

    steps: int
    groups: tuple[tuple[float, ...], ...]


class AfterTheWindow(Term[LaterShape]):
    """Nothing stands in the matrix where no vehicle stays on."""

    name = "later"
    shape_type = LaterShape

    def shape(self, instance: Instance) -> LaterShape:
        later = instance.problem.later
        if later is None:
            return LaterShape(0, ())
        stores = instance.stores
        return LaterShape(later.steps, tuple(tuple(g.share(s.device) for s in stores) for g in later.groups))

    def variables(self, m: Model) -> None:
        shape, stores = m.shape(self), len(m.shape(STORAGE))
        if stores:
            m.cost("level", _left_eur(-1.0))
            m.cost(SHORTFALL, _left_eur(1.0))
        if not shape.steps:
            return
        hours = shape.steps
        m.variable(CHARGE, stores, hours, upper=_charge_max_kw, each_step=False)
        m.cost(CHARGE, lambda i: _later(i).step_h * PATIENCE * i.problem.prices.tie_throughput_eur_per_kwh)
        m.variable(SURPLUS, hours, upper=lambda i: np.maximum(-_net_kw(i), 0.0), each_step=False)
        m.cost(SURPLUS, lambda i: _later(i).step_h * np.array(_later(i).sale_eur_per_kwh))
        m.variable(IMPORT_KW, hours, upper=_import_max_kw, each_step=False)
        m.cost(IMPORT_KW, lambda i: _later(i).step_h * np.array(_later(i).purchase_eur_per_kwh))
        m.variable(SHORT, stores, upper=_target_kwh, each_step=False)
        m.penalty(SHORT, lambda i: i.problem.prices.shortfall_eur_per_kwh * _weights(i.stores))
        m.variable(FINAL, stores, lower=_target_kwh, upper=_final_max_kwh, each_step=False)
        m.variable(NET, hours, lower=_net_load_kw, upper=_net_load_kw, each_step=False)
        for month, peak in enumerate(PEAKS):
            if peak in m.columns:
                peak_columns(m, peak, month, paid_kw(month))
        if shape.groups:
            m.variable(ROOM, len(shape.groups), hours, lower=_rooms_kw, upper=_rooms_kw, each_step=False)

    def constraints(self, m: Model) -> None:
        """e_end + Σ Δt·charge·η + shortfall = final ≥ target; Σ charge = surplus + import; Σ share·charge ≤ room.

        With a demand charge also `peak_rows`.
        """
        shape = m.shape(self)
        if not shape.steps:
            return
        charge = m[CHARGE]
        efficiency = per_store([store.charge_efficiency for store in m.shape(STORAGE)])
        charged = (charge * (efficiency * LATER_STEP_H))[:, 0]
        for step in range(1, shape.steps):
            charged = charged + (charge * (efficiency * LATER_STEP_H))[:, step]
        at_end = m["level"][:, -1] - m[SHORTFALL][:, -1]
        m.rows("later-energy", at_end + charged + m[SHORT] - m[FINAL], equal=0.0)
        m.rows("later-balance", charge.sum() - m[SURPLUS] - m[IMPORT_KW], equal=0.0)
        for number, shares in enumerate(shape.groups):
            m.rows(f"later-group_{number}", (charge * per_store(shares)).sum() - m[ROOM][number], at_most=0.0)
        for peak in PEAKS:
            if peak in m.columns:
                peak_rows(m, peak)

    def penalty_eur(self, solution: Solution) -> float:
        if solution.problem.later is None:
            return 0.0
        price = solution.problem.prices.shortfall_eur_per_kwh
        return price * float((solution.of(SHORT) * _weights(solution.stores)).sum())

    def shortfalls(self, solution: Solution) -> Sequence[Shortfall]:
        """A target after the window that is missed, at its departure."""
        price, found = solution.problem.prices.shortfall_eur_per_kwh, []
        if solution.problem.later is None:
            return ()
        for store, kwh in zip(solution.stores, solution.of(SHORT).tolist(), strict=True):
            if kwh > SMALL_KWH and store.stays_on is not None:
                at, kind = store.stays_on.departure, ShortfallKind.DEPARTURE
                eur = kwh * price * store.stays_on.shortfall_weight
                found.append(Shortfall(kind=kind, device=store.device, at=at, kwh=kwh, eur=eur))
        return found

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        return {"later_eur": self._eur(solution)}

    def _eur(self, solution: Solution) -> float:
        """What charging after the window is expected to cost, less the value of what is left in the BESSs [€]."""
        value = _values(solution.stores)
        left = float(value @ energy_kwh(solution)[:, -1]) if value.any() else 0.0
        later = solution.problem.later
        if later is None:
            return 0.0 - left
        tie = PATIENCE * solution.problem.prices.tie_throughput_eur_per_kwh
        bought = np.array(later.purchase_eur_per_kwh) @ solution.of(IMPORT_KW)
        unsold = np.array(later.sale_eur_per_kwh) @ solution.of(SURPLUS)
        return later.step_h * float(bought + unsold + tie * solution.of(CHARGE).sum()) - left


def peak_columns(m: Model, peak: str, month: int, peak_kw: OfInstance) -> None:
    """The constant of `peak_rows`; ``peak_kw``: the peak of that month so far."""
    steps, kw = m.columns[IMPORT_KW].slice.shape, _relief(month, peak_kw)
    m.variable(f"later_relief_{peak}", *steps, lower=kw, upper=kw, each_step=False)


def peak_rows(m: Model, peak: str) -> None:
    """peak ≥ import + load in every later step of its month, of the load as much as counts."""
    m.rows(f"later-{peak}", m[IMPORT_KW] + m[NET] - m[f"later_relief_{peak}"] - m[peak], at_most=0.0)


def _relief(month: int, peak_kw: OfInstance) -> Callable[[Instance], Array]:
    """What does not count of import + load <= peak [kW], by later step.

    A load above the peak that is there already (``peak_kw``) does not raise it: batteries, which rest after the window,
    may cover it when its time has come. In steps of another month the row is free: no import is above the connection's
    limit.
    """

    def relief_kw(instance: Instance) -> Array:
        problem, later, load_kw = instance.problem, _later(instance), _net_load_kw(instance)
        begin_s = (problem.end - problem.start).total_seconds()
        starts_s = begin_s + np.arange(later.steps, dtype=np.float64) * (later.step_h * 3600)
        above_kw = np.maximum(load_kw - peak_kw(instance), 0.0)
        found: Array = np.where(is_of(month, problem, starts_s), above_kw, load_kw + problem.import_limit_kw)
        return found

    return relief_kw


def _later(instance: Instance) -> Later:
    assert instance.problem.later is not None
    return instance.problem.later


def _weights(stores: Sequence[Store]) -> Array:
    return np.array([1.0 if store.stays_on is None else store.stays_on.shortfall_weight for store in stores])


def _values(stores: Sequence[Store]) -> Array:
    return np.array([store.left_eur_per_kwh for store in stores])


def _left_eur(sign: float) -> Callable[[Instance], Array]:
    """[€/kWh] of what is in store at the window's end, by store and step."""

    def costs(instance: Instance) -> Array:
        found = np.zeros((len(instance.stores), instance.problem.steps))
        found[:, -1] = sign * _values(instance.stores)
        return found

    return costs


def _net_kw(instance: Instance) -> Array:
    return np.array(_later(instance).net_load_kw)


def _net_load_kw(instance: Instance) -> Array:
    return np.maximum(_net_kw(instance), 0.0)


def _import_max_kw(instance: Instance) -> Array:
    return np.maximum(instance.problem.import_limit_kw - _net_load_kw(instance), 0.0)


def _rooms_kw(instance: Instance) -> Array:
    later = _later(instance)
    return np.array([[max(g.limit_kw - kw, 0.0) for kw in g.loads_kw(later.steps)[0]] for g in later.groups])


def _charge_max_kw(instance: Instance) -> Array:
    later = _later(instance)
    found = np.zeros((len(instance.stores), later.steps))
    for store, row in zip(instance.stores, found, strict=True):
        if store.stays_on is not None:
            rate = min(store.rated_charge_kw, store.stays_on.max_charge_kw)
            hours = (store.stays_on.commanded_until - instance.problem.end).total_seconds() / 3600
            row[:] = rate * np.clip(hours / later.step_h - np.arange(later.steps), 0.0, 1.0)
    return found


def _target_kwh(instance: Instance) -> Array:
    """Wanted at the end of the later steps; 0 where nothing is."""
    return np.array([max(store.later_target_kwh, 0.0) for store in instance.stores])


def _final_max_kwh(instance: Instance) -> Array:
    most = [
        np.inf if (stay := store.stays_on) is None else max(stay.energy_max_kwh, stay.energy_kwh)
        for store in instance.stores
    ]
    final: Array = np.maximum(np.array(most), _target_kwh(instance))
    return final
