"""The proof of a bound that is checked by multiplication: branch and bound whose leaves each have a dual vector.

Weak duality: for any y and all x within their bounds, cost·x ≥ Σ (y_i times the side of row i that its sign asks for)
+ Σ min over the bounds of (cost − yᵀ·matrix)_j·x_j. So no solver need be trusted: a wrong y gives a lower bound, never
a wrong one. Without binaries one leaf is enough. With them every leaf fixes some, the leaves together cover all their
values, and the least bound of a leaf is the plan's. The decomposition's bound (`services.ems.decomposition`) is no such
vector, so the search is one of its own, and its gap may be wider than the plan's: then that is the gap that is stated.
"""

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
import scipy.sparse as sp

from services.ems.certificate.statement import Statement
from services.ems.compile import COST_SCALE, LpData
from services.ems.highs import (
    Budget,
    column_values,
    in_whole_numbers,
    linear_program,
    new_highs,
    row_duals,
    set_options,
)
from services.ems.stores import Array

LEAVES = 200
"""The search ends where the bound is as close as that of a plan, or with so many leaves, whatever the gap is then."""

WHOLE = 1e-6
"""A flag this close to a whole number is one."""

MARGIN = 1e-10
"""Reduced cost [€ per unit] of a column without an upper bound, so that no order of summation makes it negative."""

ROUNDS = 20
"""Attempts to leave every such column this margin."""

FITS = 5e-7
"""Tolerance of rows where only whole numbers are sought for a plan that is there."""


@dataclass(frozen=True)
class Leaf:
    """Binaries that are fixed, by column, and the dual of each row [€ per unit of its right side]."""

    fixed: Mapping[int, int]
    duals: Array
    bound_eur: float
    """No plan with these binaries costs less; minus infinity: nothing is shown."""


def bound_of(program: Statement, duals: Array, fixed: Mapping[int, int]) -> float:
    """What weak duality says with these duals [€]."""
    lower, upper = _bounds(program, fixed)
    reduced = program.cost - program.matrix.T @ duals
    return _least(duals, program.row_lower, program.row_upper) + _least(reduced, lower, upper)


def _least(prices: Array, lower: Array, upper: Array) -> float:
    sides = np.where(prices > 0, lower, upper)
    some = prices != 0
    return math.fsum(prices[some] * sides[some]) if np.isfinite(sides[some]).all() else -math.inf


def _bounds(program: Statement, fixed: Mapping[int, int]) -> tuple[Array, Array]:
    lower, upper = program.lower.copy(), program.upper.copy()
    for column, value in fixed.items():
        lower[column] = upper[column] = value
    return lower, upper


def leaves_of(program: Statement, total_eur: float, duals: Array | None = None) -> list[Leaf]:
    """Leaves that prove a bound for the program.

    ``total_eur``: what the plan costs. ``duals``: those of a program without binaries, where they are known.
    """
    if duals is not None:
        leaf = _leaf(program, {}, duals)
        if not program.whole.any() and np.isfinite(leaf.bound_eur):
            return [leaf]
    return _Search(program, total_eur).leaves()


def _leaf(program: Statement, fixed: Mapping[int, int], duals: Array) -> Leaf:
    repaired = _repaired(program, duals)
    return Leaf(fixed, repaired, bound_of(program, repaired, fixed))


def _repaired(program: Statement, duals: Array) -> Array:
    """The duals without the solver's rounding where it would cost the whole bound: at sides that are infinite."""
    y = np.where((duals > 0) & np.isinf(program.row_lower) | (duals < 0) & np.isinf(program.row_upper), 0.0, duals)
    open_ended, by_column = np.isinf(program.upper), sp.csc_matrix(program.matrix)
    for _ in range(ROUNDS):
        reduced = program.cost - program.matrix.T @ y
        priced = abs(program.matrix).T @ (y != 0) > 0
        wrong = open_ended & priced & (reduced < 0.5 * MARGIN)
        if not wrong.any():
            break
        for column in wrong.nonzero()[0]:
            entries = slice(by_column.indptr[column], by_column.indptr[column + 1])
            rows, values = by_column.indices[entries], by_column.data[entries]
            for i in np.argsort(-np.abs(y[rows])):
                other = y[rows[i]] + (reduced[column] - MARGIN) / values[i]
                side = program.row_lower[rows[i]] if other > 0 else program.row_upper[rows[i]]
                if np.isfinite(side):
                    y[rows[i]] = other
                    break
    return y


class _Search:
    """Branch and bound over linear programs, the leaf with the least bound first."""

    def __init__(self, program: Statement, total_eur: float) -> None:
        self._program = program
        self._enough_eur = total_eur - Budget().open_eur(total_eur)
        self._target_eur = total_eur + 1e-3 * max(abs(total_eur), 1.0)
        """What an infeasible leaf is shown to cost at the least: more than the plan."""
        self._highs = new_highs(Budget())
        self._highs.passModel(_linear(program))
        self._flags = program.whole.nonzero()[0]

    def leaves(self) -> list[Leaf]:
        number = 0
        done: list[Leaf] = []
        root, fraction = self._solved({}, np.zeros(len(self._program.rows)))
        heap = [(root.bound_eur, number, root, fraction)]
        while heap and len(heap) + len(done) < LEAVES:
            bound, _, leaf, branch = heapq.heappop(heap)
            if bound >= self._enough_eur or branch is None:
                done.append(leaf)
                if bound >= self._enough_eur:
                    break
                continue
            for value in (0, 1):
                child, further = self._solved({**leaf.fixed, branch: value}, leaf.duals)
                number += 1
                heapq.heappush(heap, (child.bound_eur, number, child, further))
        return [*done, *(leaf for _, _, leaf, _ in heap)]

    def _solved(self, fixed: Mapping[int, int], parent: Array) -> tuple[Leaf, int | None]:
        """The leaf, and the flag to branch on; None: all are whole, or nothing fits together."""
        program, highs = self._program, self._highs
        lower, upper = _bounds(program, fixed)
        flags = self._flags.astype(np.int32)
        highs.changeColsBounds(len(flags), flags, lower[flags], upper[flags])
        highs.run()
        status = highs.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            return _leaf(program, fixed, self._infeasible(fixed, parent)), None
        if status != highspy.HighsModelStatus.kOptimal:
            return _leaf(program, fixed, parent), None
        values = column_values(highs)[self._flags]
        off = np.abs(values - np.round(values))
        branch = int(self._flags[np.argmax(off)]) if len(off) and off.max() > WHOLE else None
        return _leaf(program, fixed, row_duals(highs) / COST_SCALE), branch

    def _infeasible(self, fixed: Mapping[int, int], parent: Array) -> Array:
        """The parent's duals and so much of a ray that these binaries are shown to cost more than the plan."""
        _, known, ray = self._highs.getDualRay()
        if not known:
            return parent
        before = bound_of(self._program, parent, fixed)
        lower, upper = _bounds(self._program, fixed)
        for sign in (1.0, -1.0):
            way = sign * np.asarray(ray, dtype=np.float64)
            gains = _least(way, self._program.row_lower, self._program.row_upper)
            gains += _least(-(self._program.matrix.T @ way), lower, upper)
            if gains > 0 and np.isfinite(gains) and np.isfinite(before):
                return parent + max((self._target_eur - before) / gains, 0.0) * way
        return parent


def _linear(program: Statement) -> Any:
    matrix = sp.csc_matrix(program.matrix)
    sides = program.row_lower, program.row_upper
    cost = COST_SCALE * program.cost
    data = LpData(cost, program.lower, program.upper, *sides, program.whole, matrix.data)
    return linear_program(data, matrix.indptr, matrix.indices)


def whole_values(program: Statement, values: Array) -> Array:
    """A plan of the relaxation that obeys its binaries, with these at whole numbers, too: a flow below its bound leaves
    a flag free. Only flags change, and the parts of flows that go with them; nothing does where they do not fit."""
    free = program.whole | program.follows_flags
    lp = _linear(program)
    lp.col_lower_, lp.col_upper_ = np.where(free, program.lower, values), np.where(free, program.upper, values)
    lp.col_cost_ = np.zeros(len(values))
    highs = new_highs(Budget())
    set_options(highs, {"presolve": "on", "mip_feasibility_tolerance": FITS, "primal_feasibility_tolerance": FITS})
    highs.passModel(in_whole_numbers(lp, program.whole))
    highs.run()
    if highs.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return values
    found = column_values(highs)
    return np.where(program.whole, np.round(found), np.where(free, found, values))
