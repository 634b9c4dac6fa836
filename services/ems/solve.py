"""HiGHS: the LP relaxation warm from the settlement period before, and the MILP only where the relaxation is no answer.

To the last bit, a solution is a function of the run's problems alone. Everything a solve depends on is in `Memory`:
before every solve the solver's own memory is wiped and the saved basis is set, so that going on and going on after a
restart take one path. Simplex, one thread, no seed but 0, budgets in iterations and nodes, not seconds; no presolve of
the relaxation, which would throw the basis away, save where there is none and the model is large.
"""

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from schemas.participant import Json
from services.ems.compile import COST_SCALE, CompiledModel, LpData, compiled
from services.ems.instance import Instance, RequiredBinaries, required_binaries
from services.ems.problem import Problem
from services.ems.solution import NoSolution, Solution, Values
from services.ems.stores import Array, Store, least_slots, places_of, stores_of
from services.ems.structure import Structure, covers, structure_from_json, structure_of, structure_to_json
from services.ems.terms import TERMS


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits that do not depend on the machine's speed."""

    iterations: int = 200_000
    nodes: int = 5_000
    mip_rel_gap: float = 1e-4


PRESOLVED_FROM_COLUMNS = 30_000
"""A model of so many columns (a day of some 50 chargers) is presolved where no basis is known: 5 instead of 130 s with
1,000 chargers. A smaller one takes as long either way."""

BinaryRule = Callable[[Problem, tuple[Store, ...]], RequiredBinaries]


class Solver:
    """Solves the problems of one run, one after another."""

    def __init__(self, budget: Budget | None = None, binaries: BinaryRule = required_binaries) -> None:
        """``binaries`` says which a problem requires; another rule than the product's serves to check that one."""
        self._budget = budget or Budget()
        self._binaries = binaries
        self._structure: Structure | None = None
        self._names: tuple[str, ...] = ()
        self._end: datetime | None = None
        self._basis: Any = None
        self._basis_text: tuple[Any, str] | None = None
        """A basis and its text: a checkpoint is written in every phase, a basis comes once in a settlement period."""
        self._loaded: tuple[CompiledModel, LpData] | None = None
        """The model that the solver holds. Neither it nor the solver is part of the memory that matters."""
        self._highs: Any = None
        self.solve_s = 0.0
        """Duration of the last solve by HiGHS' own account [s], all its programs together. Nothing depends on it."""

    def solve(self, problem: Problem) -> Solution | NoSolution:
        instance = self._adopt(problem)
        assert self._structure is not None
        model = compiled(self._structure, TERMS)
        data = model.data(instance)
        highs = self._prepared(model, data)
        began_s = highs.getRunTime()  # of this object since it was made
        if self._basis is not None:
            highs.setBasis(self._basis)
            highs.run()
        if self._basis is None or highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            # An old basis may lead simplex astray; from scratch it has another path, and the same budget.
            _run_cold(highs, model)
        status = highs.getModelStatus()
        self.solve_s = highs.getRunTime() - began_s
        if status != highspy.HighsModelStatus.kOptimal:
            self._basis = None
            return NoSolution(f"linear program: {highs.modelStatusToString(status)}")
        self._basis = highs.getBasis()
        values = Values(model, instance, _values(highs))
        _, iterations = highs.getInfoValue("simplex_iteration_count")
        if not data.whole.any() or all(term.relaxation_is_exact(values) for term in TERMS):
            return _solution(values, data, proven=True, mip_gap=0.0, iterations=iterations)
        bound_eur = float(highs.getInfo().objective_function_value) / COST_SCALE
        rounded = self._rounded(values, data, bound_eur)
        if rounded is not None:
            rounded = replace(rounded, iterations=iterations + rounded.iterations)
            if rounded.proven:
                return rounded
        return self._whole(values, data, iterations, rounded)

    def _rounded(self, relaxed: Values, data: LpData, bound_eur: float) -> Solution | None:
        """The relaxation again with all binaries rounded, warm. Its gap to the relaxation, which is a bound, is proved.

        None where the rounded binaries do not fit together.
        """
        lower, upper = data.lower.copy(), data.upper.copy()
        passed = relaxed.model.structure.steps - relaxed.instance.problem.steps
        fixed = np.zeros(len(lower), dtype=np.bool_)
        for term in TERMS:
            for name, flags in term.rounded(relaxed).items():
                where = relaxed.model.columns_of[name]
                for vector in (lower, upper):
                    where.to_come(vector, passed)[...] = flags
                where.to_come(fixed, passed)[...] = True
        if (data.whole & ~fixed).any():
            return None
        lower, upper = (np.where(data.whole, new, old) for new, old in ((lower, data.lower), (upper, data.upper)))
        highs, columns = self._highs, _indices(data.whole)
        highs.changeColsBounds(len(columns), columns, lower[columns], upper[columns])
        began_s = highs.getRunTime()
        highs.run()
        self.solve_s += highs.getRunTime() - began_s
        status, vector = highs.getModelStatus(), _values(highs)
        _, iterations = highs.getInfoValue("simplex_iteration_count")
        highs.changeColsBounds(len(columns), columns, data.lower[columns], data.upper[columns])
        if status != highspy.HighsModelStatus.kOptimal:
            return None
        cost_eur = float(data.cost @ vector) / COST_SCALE
        gap = max(cost_eur - bound_eur, 0.0) / max(abs(cost_eur), 1e-9)
        proven = gap <= self._budget.mip_rel_gap
        values = Values(relaxed.model, relaxed.instance, vector)
        return _solution(values, data, proven=proven, mip_gap=gap, iterations=max(iterations, 0))

    def _adopt(self, problem: Problem) -> Instance:
        """Keeps structure and basis if the problem fits them; else takes the problem's structure and starts cold."""
        names, end, places = _names(problem), problem.end, places_of(problem)
        have, least = self._structure, least_slots(places)
        goes_on = have is not None and (names, end) == (self._names, self._end)
        if goes_on and have is not None and len(least) == len(have.slots):
            slots = tuple(max(pair) for pair in zip(least, have.slots, strict=True))
        else:
            slots = least
        stores = stores_of(problem, places, slots)
        instance = Instance(problem, stores, slots, self._binaries(problem, stores))
        want = structure_of(instance, TERMS)
        if not (goes_on and have is not None and covers(have, want, TERMS)):
            self._structure, self._names, self._end, self._basis = want, names, end, None
        return instance

    def _prepared(self, model: CompiledModel, data: LpData) -> Any:
        """The LP relaxation with this problem's data and without any memory of an earlier solve."""
        loaded = self._loaded
        if loaded is None or loaded[0] is not model or not np.array_equal(loaded[1].matrix, data.matrix):
            self._highs = _highs(self._budget)
            self._highs.passModel(_lp(model, data))
        else:
            _update(self._highs, loaded[1], data)
        self._loaded = (model, data)
        self._highs.clearSolver()
        return self._highs

    def _whole(self, relaxed: Values, data: LpData, iterations: int, start: Solution | None) -> Solution | NoSolution:
        """The MILP. It begins with the rounded solution and takes nothing else over, so nothing is left to remember."""
        model, instance = relaxed.model, relaxed.instance
        highs = mixed_integer_program(self._budget, model, data)
        if start is not None:
            first = highspy.HighsSolution()
            first.col_value = start.values.vector.tolist()
            highs.setSolution(first)
        highs.run()
        self.solve_s += highs.getRunTime()
        status, info = highs.getModelStatus(), highs.getInfo()
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return NoSolution(f"mixed-integer program: {highs.modelStatusToString(status)}")
        return _solution(
            Values(model, instance, _values(highs)),
            data,
            proven=status == highspy.HighsModelStatus.kOptimal,
            mip_gap=float(info.mip_gap) if np.isfinite(info.mip_gap) else 1.0,
            iterations=iterations + max(int(info.simplex_iteration_count), 0),
        )

    def snapshot(self) -> Json:
        """Structure and basis; a few hundred bytes."""
        if self._structure is None or self._end is None:
            return None
        return {
            "structure": structure_to_json(self._structure, TERMS),
            "names": list(self._names),
            "end": self._end.isoformat(),
            "basis": None if self._basis is None else self._text_of(self._basis),
        }

    def _text_of(self, basis: Any) -> str:
        if self._basis_text is None or self._basis_text[0] is not basis:
            self._basis_text = (basis, _basis_to_text(basis))
        return self._basis_text[1]

    def restore(self, state: Json) -> None:
        self.__init__(self._budget, self._binaries)  # type: ignore[misc]
        if state is None:
            return
        self._structure = structure_from_json(state["structure"], TERMS)
        self._names = tuple(state["names"])
        self._end = datetime.fromisoformat(state["end"])
        self._basis = None if state["basis"] is None else _basis_from_text(state["basis"])


def _highs(budget: Budget) -> Any:
    highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in {
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
        "mip_abs_gap": 0.0,
        "mip_feasibility_tolerance": 1e-9,
    }.items():
        if highs.setOptionValue(name, value) != highspy.HighsStatus.kOk:
            raise ValueError(f"HiGHS does not know option {name} = {value}")
    return highs


def _run_cold(highs: Any, model: CompiledModel) -> None:
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
    highs = _highs(budget)
    highs.setOptionValue("presolve", "on")
    lp = _lp(model, data)
    kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
    lp.integrality_ = [kinds[int(whole)] for whole in data.whole]
    highs.passModel(lp)
    return highs


def _update(highs: Any, old: LpData, new: LpData) -> None:
    """Changes what differs; the solver then holds the same program as if it had been passed anew."""
    costs = _indices(old.cost != new.cost)
    highs.changeColsCost(len(costs), costs, new.cost[costs])
    columns = _indices((old.lower != new.lower) | (old.upper != new.upper))
    highs.changeColsBounds(len(columns), columns, new.lower[columns], new.upper[columns])
    rows = _indices((old.row_lower != new.row_lower) | (old.row_upper != new.row_upper))
    highs.changeRowsBounds(len(rows), rows, new.row_lower[rows], new.row_upper[rows])


def _indices(differs: NDArray[np.bool_]) -> NDArray[np.int32]:
    return differs.nonzero()[0].astype(np.int32)


def _values(highs: Any) -> Array:
    # Of a list of thousands of floats, `numpy.array` would look at each twice.
    return np.fromiter(highs.getSolution().col_value, np.float64)


def _lp(model: CompiledModel, data: LpData) -> Any:
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = model.n_columns, model.n_rows
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = data.cost, data.lower, data.upper
    lp.row_lower_, lp.row_upper_ = data.row_lower, data.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = model.starts, model.rows, data.matrix
    return lp


def _solution(values: Values, data: LpData, *, proven: bool, mip_gap: float, iterations: int) -> Solution:
    # -0.0 and the solver's 1e-12 beyond a bound of 0 are 0 to everyone else.
    clean = Values(values.model, values.instance, np.maximum(values.vector, 0.0) + 0.0)
    return Solution(
        values=clean,
        total_eur=float(data.cost @ values.vector) / COST_SCALE,
        proven=proven,
        mip_gap=mip_gap,
        binaries=int(np.count_nonzero(data.whole)),
        iterations=iterations,
    )


def _names(problem: Problem) -> tuple[str, ...]:
    """The devices in the order of the model's columns: a basis belongs to them."""
    bess = [unit.device for unit in problem.bess]
    chargers = [unit.device for unit in problem.chargers]
    curtailable = [unit.device for unit in problem.pv if unit.curtailable]
    return (*bess, "|", *chargers, "|", *curtailable, "|", *(unit.device for unit in problem.heat))


def _basis_to_text(basis: Any) -> str:
    """One letter a column and row, packed."""
    # Each of these attributes converts its whole vector: take it once.
    columns, rows = basis.col_status, basis.row_status
    raw = bytes(map(int, columns)) + bytes(map(int, rows))
    return f"{len(columns)}:{base64.b64encode(zlib.compress(raw, 6)).decode()}"


def _basis_from_text(text: str) -> Any:
    columns, packed = text.split(":")
    statuses = [highspy.HighsBasisStatus(code) for code in zlib.decompress(base64.b64decode(packed))]
    basis = highspy.HighsBasis()
    basis.col_status, basis.row_status = statuses[: int(columns)], statuses[int(columns) :]
    basis.valid, basis.alien = True, False
    return basis
