"""Plans that turn stores round less often, at about the same cost: steps of equal prices in another order.

Where buying and selling pays, steps of equal prices may be taken in any order, and neither the relaxation nor branch
and bound has a reason to choose a calm one. A found plan is therefore reordered: within each run of steps that have
the same prices and the same stores, each step keeps what it does, and the order is that in which every store goes on
as it does, from the power that flows now, until its bounds or the steps are at their end. The solver then solves the
linear program with the directions in this order, which says whether it is feasible and what it costs.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms.base import AT_ONCE_KW
from services.ems.terms.storage import energy_kwh, per_store
from services.ems.terms.targets import SHORTFALL

ROOM_KWH = 1e-6
"""Tolerance of a bound while an order is sought; the linear program has the last word."""


def net_kw(solution: Solution) -> Array:
    """Power of each store, shape (store, 1 + steps); positive: it charges. The first is what flows now."""
    now = np.array([store.flowing_kw for store in solution.stores])[:, None]
    return np.concatenate([now, solution.of("charge") - solution.of("discharge")], axis=1)


def reversals(solution: Solution) -> int:
    """How often a store charges in one step and discharges in the next, or the other way round."""
    signs = _signs(net_kw(solution))
    return int((signs[:, 1:] * signs[:, :-1] < 0).sum())


def calmer_order(solution: Solution) -> NDArray[np.intp]:
    """The step of the solution whose directions each step is to have."""
    power, problem = net_kw(solution), solution.problem
    order = np.arange(problem.steps)
    gained = _gained_kwh(solution)
    energy = energy_kwh(solution)
    begin = np.array([store.arrives_kwh[0] for store in solution.stores])
    lower = np.array([store.lower_kwh for store in solution.stores]) - solution.of(SHORTFALL) - ROOM_KWH
    upper = np.array([store.upper_kwh for store in solution.stores]) + ROOM_KWH
    for first, stop in _runs(solution):
        before = power[:, 0] if first == 0 else power[:, 1 + order[first - 1]]
        level = begin if first == 0 else energy[:, first - 1]
        left, chosen = list(range(first, stop)), []
        for step in range(first, stop):
            after = level + gained[:, left].T
            fits = ((after >= lower[:, step]) & (after <= upper[:, step])).all(axis=1)
            if not fits.any():
                break
            there = power[:, [1 + other for other in left]].T
            turns = (_signs(there) * _signs(before) < 0).sum(axis=1)
            moved = np.abs(there - before).sum(axis=1)
            best = np.lexsort((np.array(left), moved, turns, ~fits))[0]
            level, before = after[best], there[best]
            chosen.append(left.pop(best))
        else:
            order[first:stop] = chosen
    return order


def _signs(power: Array) -> Array:
    signs: Array = np.where(np.abs(power) > AT_ONCE_KW, np.sign(power), 0.0)
    return signs


def _gained_kwh(solution: Solution) -> Array:
    """What each store gains in each step."""
    charged = per_store([store.charge_efficiency for store in solution.stores]) * solution.of("charge")
    gave = solution.of("discharge") / per_store([store.discharge_efficiency for store in solution.stores])
    gained: Array = solution.problem.step_h * (charged - gave)
    return gained


def _runs(solution: Solution) -> list[tuple[int, int]]:
    """First step and end of each run of at least two steps with the same prices and the same stores at full length."""
    problem = solution.problem
    alike = [np.array(problem.import_eur_per_kwh), np.array(problem.export_eur_per_kwh)]
    breaks = np.zeros(problem.steps, dtype=np.bool_)
    for store in solution.stores:
        alike += [store.charge_max_kw, store.discharge_max_kw, store.plugged_frac]
        breaks |= store.leaves | (store.arrives_kwh != 0)
    changes = np.logical_or.reduce([values[1:] != values[:-1] for values in alike]) | breaks[1:]
    edges = [0, *(1 + changes.nonzero()[0]).tolist(), problem.steps]
    return [(first, stop) for first, stop in itertools.pairwise(edges) if stop - first > 1]
