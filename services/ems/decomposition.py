"""A bound and binaries store by store: the Lagrangian relaxation of the rows in which the stores meet.

The stores of a site meet in few rows: the power balance, limits of groups, what can be charged after the window. All
else, energy, targets, exclusion of charging and discharging, smallest powers, is a store's own. With the duals of the
relaxation as prices of the rows in common, every store is a small mixed-integer program of its own, and all together
take time in proportion to their number, where branch and bound over all of them takes it in proportion to the product
of their possibilities (A. M. Geoffrion 1974, doi 10.1007/BFb0120690).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from services.ems.compile import CompiledModel, Index, LpData
from services.ems.highs import WITHOUT_HEURISTICS, Budget, column_values, new_highs, set_options
from services.ems.stores import Array

SHARE_OF_GAP = 0.5
"""The part of the budget's gap that the stores' programs together may leave open."""

Places = NDArray[np.intp]

ALL_SHARED = -1
"""Owner of a column or row that is no store's own."""


@dataclass(frozen=True, slots=True)
class Relaxation:
    """An optimal solution of the LP relaxation."""

    model: CompiledModel
    data: LpData
    vector: Array
    duals: Array
    bound: float
    """What it costs, in the solver's unit."""


@dataclass(frozen=True, slots=True)
class StoreByStore:
    """What the programs of the stores give for the whole problem."""

    bound: float
    """No plan costs less, in the solver's unit."""
    vector: Array
    """The relaxation's solution, in which those stores do what their own programs say."""
    iterations: int
    solve_s: float
    """By HiGHS' own account; nothing depends on it."""


def store_by_store(relaxation: Relaxation, stores: Sequence[int], budget: Budget) -> StoreByStore:
    """Solves the programs of ``stores`` at the prices of the relaxation.

    Proof of the bound. Let y be the duals of the rows in common and d = c − yᵀA the costs of the columns with these
    prices. For any y, the least of the Lagrangian is no more than the cost of any plan: it is what y earns on the right
    sides, plus for every store the least of d over what its own rows and binaries allow, plus the rest. For the duals
    of the relaxation and without binaries it is the relaxation's cost, which the relaxation's solution attains in each
    part. With the binaries of a store its part rises from d·x to the least of its program, or to the bound that branch
    and bound has of it; so bound = cost of the relaxation + Σ (bound of the store's program − d·x).
    """
    model, data, vector, bound = relaxation.model, relaxation.data, relaxation.vector, relaxation.bound
    matrix = sp.csc_matrix((data.matrix, model.rows, model.starts), shape=(model.n_rows, model.n_columns))
    row_owner = _row_owners(model, matrix)
    prices = data.cost - matrix.T @ np.where(row_owner == ALL_SHARED, relaxation.duals, 0.0)
    gap = SHARE_OF_GAP * budget.mip_rel_gap * abs(bound) / max(len(stores), 1)
    found, iterations, solve_s = vector.copy(), 0, 0.0
    for store in stores:
        columns = (model.store_of == store).nonzero()[0]
        rows = (row_owner == store).nonzero()[0]
        highs = _program(relaxation, prices, matrix[rows][:, columns], columns, rows, budget)
        highs.setOptionValue("mip_abs_gap", gap)
        highs.run()
        own = highs.getInfo()
        solve_s += highs.getRunTime()
        iterations += max(int(own.simplex_iteration_count), 0)
        least = float(own.mip_dual_bound)
        if np.isfinite(least):  # it is at least what it was without binaries
            bound += max(least - float(prices[columns] @ vector[columns]), 0.0)
        if own.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible:
            found[columns] = column_values(highs)
    return StoreByStore(bound, found, iterations, solve_s)


def _row_owners(model: CompiledModel, matrix: sp.csc_matrix) -> Index:
    """By row, the store that has all its columns."""
    entries = matrix.tocoo()
    owners = model.store_of[entries.col]
    least, most = np.full(model.n_rows, np.iinfo(np.int32).max), np.full(model.n_rows, np.iinfo(np.int32).min)
    np.minimum.at(least, entries.row, owners)
    np.maximum.at(most, entries.row, owners)
    owned: Index = np.where(least == most, least, ALL_SHARED).astype(np.int32)
    return owned


def _program(
    relaxation: Relaxation, prices: Array, matrix: sp.csc_matrix, columns: Places, rows: Places, budget: Budget
) -> Any:
    """One store's program. It is small: the heuristics of branch and bound would take most of the time."""
    data = relaxation.data
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(columns), len(rows)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = prices[columns], data.lower[columns], data.upper[columns]
    lp.row_lower_, lp.row_upper_ = data.row_lower[rows], data.row_upper[rows]
    matrix = matrix.tocsc()
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
    lp.integrality_ = [kinds[int(whole)] for whole in data.whole[columns]]
    highs = new_highs(budget)
    set_options(highs, {"presolve": "on", "mip_rel_gap": 0.0, **WITHOUT_HEURISTICS})
    highs.passModel(lp)
    return highs
