"""HiGHS: the LP relaxation warm from the settlement period before, and the MILP only where the relaxation is no answer.

To the last bit, a solution is a function of the run's problems alone. Everything a solve depends on is in `Memory`:
before every solve the solver's own memory is wiped and the saved basis is set, so that going on and going on after a
restart take one path. Simplex, one thread, no seed but 0, budgets in iterations and nodes, not seconds; no presolve of
the relaxation, which would throw the basis away, save where there is none and the model is large.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from schemas.participant import Json
from services.ems.compile import COST_SCALE, CompiledModel, LpData, compiled
from services.ems.decomposition import Relaxation, store_by_store
from services.ems.highs import (
    WITHOUT_HEURISTICS,
    Budget,
    basis_from_text,
    basis_to_text,
    change_bounds,
    column_values,
    linear_program,
    mixed_integer_program,
    new_highs,
    row_duals,
    run_cold,
    set_options,
    update,
)
from services.ems.instance import Instance, RequiredBinaries, required_binaries
from services.ems.problem import Problem
from services.ems.reversals import calmer_order, reversals
from services.ems.solution import NoSolution, Solution, Values
from services.ems.stores import Array, Store, least_slots, places_of, stores_of
from services.ems.structure import Structure, covers, structure_from_json, structure_of, structure_to_json
from services.ems.terms import TERMS

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

    @property
    def budget(self) -> Budget:
        """The limits of a solve."""
        return self._budget

    def solve(self, problem: Problem, seconds: float | None = None) -> Solution | NoSolution:
        """``seconds``: wall time only; then the best that was found by then is the solution."""
        self._budget = replace(self._budget, seconds=seconds, weighed_eur=problem.weighed_eur)
        instance = self._adopt(problem)
        assert self._structure is not None
        model = compiled(self._structure, TERMS)
        data = model.data(instance)
        if any(np.isnan(vector).any() for vector in data.vectors):
            return NoSolution("the problem has a value that is not a number")  # HiGHS would not come to an end
        highs = self._prepared(model, data)
        began_s = highs.getRunTime()  # of this object since it was made
        highs.setOptionValue("time_limit", math.inf if seconds is None else began_s + seconds)
        if self._basis is not None:
            highs.setBasis(self._basis)
            highs.run()
        if self._basis is None or highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            # An old basis may lead simplex astray; from scratch it has another path, and the same budget.
            run_cold(highs, model)
        status = highs.getModelStatus()
        self.solve_s = highs.getRunTime() - began_s
        if status != highspy.HighsModelStatus.kOptimal:
            self._basis = None
            return NoSolution(f"linear program: {highs.modelStatusToString(status)}")
        self._basis = highs.getBasis()
        values = Values(model, instance, column_values(highs))
        _, iterations = highs.getInfoValue("simplex_iteration_count")
        if not data.whole.any() or all(term.relaxation_is_exact(values) for term in TERMS):
            duals = row_duals(highs)
            return _solution(values, data, proven=True, mip_gap=0.0, iterations=iterations, duals=duals)
        return self._with_binaries(values, data, iterations)

    def _with_binaries(self, relaxed: Values, data: LpData, iterations: int) -> Solution | NoSolution:
        """Rounds the binaries of the relaxation, then those of the stores' own programs, and at last branches.

        What comes first within the gap of a proved bound is the plan, in the calmest order of its steps.
        """
        bound = float(self._highs.getInfo().objective_function_value)
        duals = row_duals(self._highs)
        best = self._proved(self._rounded(relaxed, data), bound)
        iterations += best.iterations if best is not None else 0
        inexact = np.logical_or.reduce([term.inexact_stores(relaxed) for term in TERMS])
        if (best is None or not best.proven) and inexact.any():
            relaxation = Relaxation(relaxed.model, data, relaxed.vector, duals, bound)
            found = store_by_store(relaxation, inexact.nonzero()[0].tolist(), self._left())
            self.solve_s += found.solve_s
            bound = found.bound
            other = self._rounded(replace(relaxed, vector=found.vector), data)
            iterations += found.iterations + (other.iterations if other is not None else 0)
            rounded = [solution for solution in (best, other) if solution is not None]
            best = self._proved(min(rounded, key=lambda solution: solution.total_eur, default=None), bound)
        if best is not None and best.proven:
            return self._calmest(replace(best, iterations=iterations), data)
        whole = self._whole(relaxed, data, iterations, best, bound)
        return whole if isinstance(whole, NoSolution) else self._calmest(whole, data)

    def _calmest(self, found: Solution, data: LpData) -> Solution:
        """The solution with its steps in a calmer order, if each reversal that this saves costs less than its price."""
        price, turned = found.problem.prices.reversal_eur, reversals(found)
        if price == 0 or turned == 0:
            return found
        order = calmer_order(found)
        calmer = self._rounded(found.values, data, order)
        if calmer is None:
            return found
        loss, saved = max(calmer.total_eur - found.total_eur, 0.0), turned - reversals(calmer)
        if loss > price * saved or saved == 0:
            return found
        total = abs(calmer.total_eur)
        gap = (found.mip_gap * abs(found.total_eur) + loss) / max(total, 1e-9)
        iterations = found.iterations + calmer.iterations
        return replace(calmer, proven=found.proven, mip_gap=gap, iterations=iterations, calm_eur=loss)

    def _left(self) -> Budget:
        """The budget for the rest of this solve."""
        seconds = self._budget.seconds
        return self._budget if seconds is None else replace(self._budget, seconds=max(seconds - self.solve_s, 0.0))

    def _proved(self, found: Solution | None, bound: float) -> Solution | None:
        """With the gap to a bound, which is in the solver's unit."""
        if found is None:
            return None
        total = max(abs(found.total_eur), 1e-9)
        gap = min(max(found.total_eur - bound / COST_SCALE, 0.0) / total, found.mip_gap)
        return replace(found, mip_gap=gap, proven=found.proven or gap <= self._budget.open_eur(total) / total)

    def _rounded(self, near: Values, data: LpData, order: NDArray[np.intp] | None = None) -> Solution | None:
        """The relaxation again with all binaries rounded near a solution, warm; with ``order`` those of other steps.

        None where the rounded binaries do not fit together.
        """
        lower, upper = data.lower.copy(), data.upper.copy()
        passed = near.model.structure.steps - near.instance.problem.steps
        fixed = np.zeros(len(lower), dtype=np.bool_)
        for term in TERMS:
            for name, flags in term.rounded(near).items():
                where = near.model.columns_of[name]
                for vector in (lower, upper):
                    where.to_come(vector, passed)[...] = flags if order is None else flags[..., order]
                where.to_come(fixed, passed)[...] = True
        if (data.whole & ~fixed).any():
            return None
        return self._fixed(near, data, lower, upper)

    def _fixed(self, near: Values, data: LpData, lower: Array, upper: Array) -> Solution | None:
        """The relaxation with its binaries within other bounds, warm; None: it has no solution."""
        highs = self._highs
        change_bounds(highs, data.whole, lower, upper)
        began_s = highs.getRunTime()
        highs.run()
        self.solve_s += highs.getRunTime() - began_s
        status, vector, duals = highs.getModelStatus(), column_values(highs), row_duals(highs)
        _, iterations = highs.getInfoValue("simplex_iteration_count")
        change_bounds(highs, data.whole, data.lower, data.upper)
        if status != highspy.HighsModelStatus.kOptimal:
            return None
        values = replace(near, vector=vector)
        return _solution(values, data, proven=False, mip_gap=math.inf, iterations=max(iterations, 0), duals=duals)

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
            self._highs = new_highs(self._budget)
            self._highs.passModel(linear_program(data, model.starts, model.rows))
        else:
            update(self._highs, loaded[1], data)
        self._loaded = (model, data)
        self._highs.clearSolver()
        return self._highs

    def _whole(
        self, relaxed: Values, data: LpData, iterations: int, start: Solution | None, bound: float
    ) -> Solution | NoSolution:
        """The MILP. It begins with the rounded solution and takes nothing else over, so nothing is left to remember."""
        model, instance = relaxed.model, relaxed.instance
        highs = mixed_integer_program(self._left(), model, data)
        if start is not None:
            first = highspy.HighsSolution()
            first.col_value = start.values.vector.tolist()
            highs.setSolution(first)
            set_options(highs, WITHOUT_HEURISTICS)
        highs.run()
        self.solve_s += highs.getRunTime()
        status, info = highs.getModelStatus(), highs.getInfo()
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            reason = NoSolution(f"mixed-integer program: {highs.modelStatusToString(status)}")
            return reason if start is None else replace(start, iterations=iterations)
        found = _solution(
            Values(model, instance, column_values(highs)),
            data,
            proven=status == highspy.HighsModelStatus.kOptimal,
            mip_gap=float(info.mip_gap) if np.isfinite(info.mip_gap) else 1.0,
            iterations=iterations + max(int(info.simplex_iteration_count), 0),
        )
        flags = np.round(found.values.vector)
        if (priced := self._fixed(found.values, data, flags, flags)) is not None:
            found = replace(found, duals=priced.duals)
        return self._proved(found, bound) or found

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
            self._basis_text = (basis, basis_to_text(basis))
        return self._basis_text[1]

    def restore(self, state: Json) -> None:
        self.__init__(self._budget, self._binaries)  # type: ignore[misc]
        if state is None:
            return
        try:
            self._structure = structure_from_json(state["structure"], TERMS)
        except (KeyError, ValidationError):
            return  # a version with other terms wrote it: the basis is of another matrix, and the solver starts cold
        self._names = tuple(state["names"])
        self._end = datetime.fromisoformat(state["end"])
        self._basis = None if state["basis"] is None else basis_from_text(state["basis"])


def _solution(
    values: Values, data: LpData, *, proven: bool, mip_gap: float, iterations: int, duals: Array | None = None
) -> Solution:
    # -0.0 and the solver's 1e-12 beyond a bound of 0 are 0 to everyone else.
    clean = Values(values.model, values.instance, np.maximum(values.vector, 0.0) + 0.0)
    return Solution(
        values=clean,
        total_eur=float(data.cost @ values.vector) / COST_SCALE,
        proven=proven,
        mip_gap=mip_gap,
        binaries=int(np.count_nonzero(data.whole)),
        iterations=iterations,
        duals=duals,
    )


def _names(problem: Problem) -> tuple[str, ...]:
    """The devices in the order of the model's columns: a basis belongs to them."""
    bess = [unit.device for unit in problem.bess]
    chargers = [unit.device for unit in problem.chargers]
    curtailable = [unit.device for unit in problem.pv if unit.curtailable]
    return (*bess, "|", *chargers, "|", *curtailable, "|", *(unit.device for unit in problem.heat))
