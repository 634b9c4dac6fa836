"""HiGHS as the EMS uses it: deterministic options, a compiled model's numbers as its program, a basis as text."""

import base64
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from services.ems.compile import COST_SCALE, CompiledModel, Index, LpData
from services.ems.stores import Array

SMALL_TOTAL_EUR = 50.0
"""The gap is relative to what a plan costs, and to this where it costs less: half a cent may be left unproved. Costs
and earnings of a day can cancel, and a share of next to nothing would be proved by no number of nodes.
"""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one solve. All but ``seconds`` do not depend on the machine's speed."""

    iterations: int = 200_000
    nodes: int = 1_000
    mip_rel_gap: float = 1e-4
    weighed_eur: float = 0.0
    """Where more than money is weighed, what is at stake (`Problem.weighed_eur`): the gap is relative to that then."""
    seconds: float | None = None
    """By HiGHS' own clock; wall time only. None: no limit."""

    def open_eur(self, total_eur: float) -> float:
        """By how much a plan of this cost may be dearer than a proved bound [€]."""
        return self.mip_rel_gap * max(abs(total_eur), SMALL_TOTAL_EUR, self.weighed_eur)


PRESOLVED_FROM_COLUMNS = 30_000
"""A model of so many columns (a day of some 50 chargers) is presolved where no basis is known: 5 instead of 130 s with
1,000 chargers. A smaller one takes as long either way."""


WITHOUT_HEURISTICS = {
    "mip_heuristic_effort": 0.0,
    "mip_heuristic_run_feasibility_jump": False,
    "mip_heuristic_run_rins": False,
    "mip_heuristic_run_rens": False,
    "mip_allow_restart": False,
}
"""Options of branch and bound where a good plan is known or the program is small: else its sub-programs take most of
the time."""


def set_options(highs: Any, options: Mapping[str, Any]) -> None:
    """Raises ValueError for an option that HiGHS does not know."""
    for name, value in options.items():
        if highs.setOptionValue(name, value) != highspy.HighsStatus.kOk:
            raise ValueError(f"HiGHS does not know option {name} = {value}")


def new_highs(budget: Budget) -> Any:
    highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    options = {
        "output_flag": False,
        "solver": "simplex",
        "simplex_strategy": 1,
        "presolve": "off",
        "parallel": "off",
        "threads": 1,
        "random_seed": 0,
        "simplex_iteration_limit": budget.iterations,
        "mip_max_nodes": budget.nodes,
        "mip_rel_gap": budget.mip_rel_gap,
        "mip_abs_gap": budget.open_eur(0.0) * COST_SCALE,
        "mip_feasibility_tolerance": 1e-9,
        "time_limit": math.inf if budget.seconds is None else budget.seconds,
    }
    set_options(highs, options)
    return highs


def run_cold(highs: Any, model: CompiledModel) -> None:
    """Solves the relaxation without a basis to begin with."""
    highs.clearSolver()
    presolved = model.n_columns >= PRESOLVED_FROM_COLUMNS
    if presolved:
        highs.setOptionValue("presolve", "on")
    highs.run()
    if presolved:
        highs.setOptionValue("presolve", "off")


def mixed_integer_program(budget: Budget, model: CompiledModel, data: LpData) -> Any:
    """HiGHS with the whole program, ready to run from scratch."""
    highs = new_highs(budget)
    highs.setOptionValue("presolve", "on")
    highs.passModel(in_whole_numbers(linear_program(data, model.starts, model.rows), data.whole))
    return highs


def update(highs: Any, old: LpData, new: LpData) -> None:
    """Changes what differs; the solver then holds the same program as if it had been passed anew."""
    costs = _indices(old.cost != new.cost)
    highs.changeColsCost(len(costs), costs, new.cost[costs])
    change_bounds(highs, (old.lower != new.lower) | (old.upper != new.upper), new.lower, new.upper)
    rows = _indices((old.row_lower != new.row_lower) | (old.row_upper != new.row_upper))
    highs.changeRowsBounds(len(rows), rows, new.row_lower[rows], new.row_upper[rows])


def change_bounds(highs: Any, where: NDArray[np.bool_], lower: Array, upper: Array) -> None:
    """Sets the bounds of the columns where ``where`` is true."""
    columns = _indices(where)
    highs.changeColsBounds(len(columns), columns, lower[columns], upper[columns])


def _indices(differs: NDArray[np.bool_]) -> NDArray[np.int32]:
    return differs.nonzero()[0].astype(np.int32)


def column_values(highs: Any) -> Array:
    # Of a list of thousands of floats, `numpy.array` would look at each twice.
    return np.fromiter(highs.getSolution().col_value, np.float64)


def row_duals(highs: Any) -> Array:
    """The duals of the rows of the last solve, in its unit of cost."""
    return np.fromiter(highs.getSolution().row_dual, np.float64)


def linear_program(data: LpData, starts: Index, rows: Index) -> Any:
    """The program without its whole numbers. ``starts`` and ``rows`` place the entries of the matrix by column."""
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(data.cost), len(data.row_lower)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = data.cost, data.lower, data.upper
    lp.row_lower_, lp.row_upper_ = data.row_lower, data.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = starts, rows, data.matrix
    return lp


def in_whole_numbers(lp: Any, whole: NDArray[np.bool_]) -> Any:
    """The same program with these of its columns in whole numbers."""
    kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
    lp.integrality_ = [kinds[int(each)] for each in whole]
    return lp


def basis_to_text(basis: Any) -> str:
    """One letter a column and row, packed."""
    # Each of these attributes converts its whole vector: take it once.
    columns, rows = basis.col_status, basis.row_status
    raw = bytes(map(int, columns)) + bytes(map(int, rows))
    return f"{len(columns)}:{base64.b64encode(zlib.compress(raw, 6)).decode()}"


def basis_from_text(text: str) -> Any:
    columns, packed = text.split(":")
    statuses = [highspy.HighsBasisStatus(code) for code in zlib.decompress(base64.b64decode(packed))]
    basis = highspy.HighsBasis()
    basis.col_status, basis.row_status = statuses[: int(columns)], statuses[int(columns) :]
    basis.valid, basis.alien = True, False
    return basis
