"""A bound and binaries store by store: the Lagrangian relaxation of the rows in which the stores meet.

The stores of a site meet in few rows: the power balance, limits of groups, what can be charged after the window. All
else, energy, targets, exclusion of charging and discharging, smallest powers, is a store's own. With the duals of the
relaxation as prices of the rows in common, every store is a small mixed-integer program of its own, and all together
take time in proportion to their number, where branch and bound over all of them takes it in proportion to the product
of their possibilities (A. M. Geoffrion 1974, doi 10.1007/BFb0120690). Vehicles that are alike are solved once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from services.ems.compile import COST_SCALE, CompiledModel, Index, LpData
from services.ems.highs import (
    WITHOUT_HEURISTICS,
    Budget,
    column_values,
    in_whole_numbers,
    linear_program,
    new_highs,
    set_options,
)
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
    gap = SHARE_OF_GAP * budget.open_eur(bound / COST_SCALE) * COST_SCALE / max(len(stores), 1)
    found, iterations, solve_s = vector.copy(), 0, 0.0
    known: dict[tuple[bytes, ...], _Own] = {}
    for store in stores:
        columns = (model.store_of == store).nonzero()[0]
        rows = (row_owner == store).nonzero()[0]
        program = _program(data, prices, matrix[rows][:, columns].tocsc(), columns, rows)
        key = program.key()
        if (own := known.get(key)) is None:
            own = known[key] = _solved(program, budget, gap)
            iterations, solve_s = iterations + own.iterations, solve_s + own.solve_s
        if np.isfinite(own.least):  # it is at least what it was without binaries
            bound += max(own.least - float(program.data.cost @ vector[columns]), 0.0)
        if own.vector is not None:
            found[columns] = own.vector
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


@dataclass(frozen=True, slots=True)
class _Program:
    """One store's program: its numbers, and where those of the matrix stand. That of vehicles that are alike is one."""

    data: LpData
    starts: Index
    rows: Index

    def key(self) -> tuple[bytes, ...]:
        """Two programs are one where this is the same."""
        return tuple(each.tobytes() for each in (*self.data.vectors, self.data.whole, self.starts, self.rows))


def _program(data: LpData, prices: Array, matrix: sp.csc_matrix, columns: Places, rows: Places) -> _Program:
    """``matrix``: the part of it in these columns and rows."""
    own = LpData(
        cost=prices[columns],
        lower=data.lower[columns],
        upper=data.upper[columns],
        row_lower=data.row_lower[rows],
        row_upper=data.row_upper[rows],
        whole=data.whole[columns],
        matrix=matrix.data,
    )
    return _Program(own, matrix.indptr, matrix.indices)


@dataclass(frozen=True, slots=True)
class _Own:
    """What a store's own program gives: ``least`` is a bound, ``vector`` None where nothing was found."""

    least: float
    vector: Array | None
    iterations: int
    solve_s: float


def _solved(program: _Program, budget: Budget, gap: float) -> _Own:
    """``gap``: in the solver's unit. The program is small: the heuristics of branch and bound would take most of the
    time.
    """
    highs = new_highs(budget)
    set_options(highs, {"presolve": "on", "mip_rel_gap": 0.0, "mip_abs_gap": gap, **WITHOUT_HEURISTICS})
    highs.passModel(in_whole_numbers(linear_program(program.data, program.starts, program.rows), program.data.whole))
    highs.run()
    info = highs.getInfo()
    feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    vector = column_values(highs) if feasible else None
    return _Own(float(info.mip_dual_bound), vector, max(int(info.simplex_iteration_count), 0), highs.getRunTime())
