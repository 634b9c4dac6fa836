"""HiGHS: the LP relaxation warm from the quarter before, and the MILP only where the relaxation is no answer.

To the last bit, a solution is a function of the run's problems alone. Everything a solve depends on is in `Memory`:
before every solve the solver's own memory is wiped and the saved basis is set, so that going on and going on after a
restart take one path. Simplex, one thread, no seed but 0, budgets in iterations and nodes, not seconds; no presolve of
the relaxation, which would throw the basis away.
"""

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from schemas.participant import Json
from services.ems.constraints import flagged_stores
from services.ems.model import Form, form_of
from services.ems.problem import Problem
from services.ems.stores import Array, Store, least_slots, places_of, stores_of
from services.ems.structure import (
    GroupShape,
    Needed,
    StoreShape,
    Structure,
    covers,
    needed_flags,
    structure_of,
)
from services.ems.vectors import COST_SCALE, Vectors, fixed_demand, vectors

AT_ONCE_KW = 1e-7
"""Flows below this do not count as flowing: the solver's feasibility tolerance."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits that do not depend on the machine's speed."""

    iterations: int = 200_000
    nodes: int = 5_000
    mip_rel_gap: float = 1e-4


@dataclass(frozen=True, slots=True)
class Solution:
    """Arrays over the problem's window; shapes (store, step), (pv, step), (step,)."""

    stores: tuple[Store, ...]
    charge_kw: Array
    discharge_kw: Array
    energy_kwh: Array
    shortfall_kwh: Array
    pv_kw: Array
    """Of the curtailable inverters, in the problem's order."""
    import_kw: Array
    export_kw: Array
    import_bands_kw: Array
    export_bands_kw: Array
    import_over_kw: Array
    export_over_kw: Array
    group_over_kw: Array
    """Shape (group, step): above the group's limit, in either direction."""
    peak_kw: float
    total_eur: float
    """What the solver minimised: energy, wear, demand charge, penalties and tie-break."""
    proven: bool
    """Optimal within the gap; else the best that was found within the budget."""
    mip_gap: float
    binaries: int
    iterations: int


@dataclass(frozen=True, slots=True)
class NoSolution:
    """The solver ended without anything usable, and why."""

    reason: str


FlagRule = Callable[[Problem, tuple[Store, ...]], Needed]


class Solver:
    """Solves the problems of one run, one after another."""

    def __init__(self, budget: Budget | None = None, flags: FlagRule = needed_flags) -> None:
        """``flags`` says which flags a problem needs; another rule than the product's serves to check that one."""
        self._budget = budget or Budget()
        self._flags = flags
        self._structure: Structure | None = None
        self._names: tuple[str, ...] = ()
        self._end: datetime | None = None
        self._basis: Any = None
        self._basis_text: tuple[Any, str] | None = None
        """A basis and its text: a checkpoint is written in every phase, a basis comes once a quarter."""
        self._loaded: tuple[Form, Vectors] | None = None
        """What the solver holds. Neither this nor the solver is part of the memory that matters."""
        self._highs: Any = None
        self.solve_s = 0.0
        """What the last solve took by HiGHS' own account [s], its programs together. Nothing depends on it."""

    def solve(self, problem: Problem) -> Solution | NoSolution:
        stores, needed = self._adopt(problem)
        assert self._structure is not None
        form = form_of(self._structure)
        data = vectors(problem, form, stores, needed)
        highs = self._prepared(form, data)
        if self._basis is not None:
            highs.setBasis(self._basis)
        began_s = highs.getRunTime()  # of this object since it was made
        highs.run()
        status = highs.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal and self._basis is not None:
            # An old basis may lead simplex astray; from scratch it has another path, and the same budget.
            highs.clearSolver()
            highs.run()
            status = highs.getModelStatus()
        self.solve_s = highs.getRunTime() - began_s
        if status != highspy.HighsModelStatus.kOptimal:
            self._basis = None
            return NoSolution(f"linear program: {highs.modelStatusToString(status)}")
        self._basis = highs.getBasis()
        values = _values(highs)
        _, iterations = highs.getInfoValue("simplex_iteration_count")
        binaries = int(np.count_nonzero(data.whole))
        if not binaries or relaxation_is_exact(form, values, stores, needed, form.structure.steps - problem.steps):
            return _read(problem, form, stores, data, values, proven=True, binaries=binaries, iterations=iterations)
        return self._whole(problem, form, stores, data, iterations)

    def _adopt(self, problem: Problem) -> tuple[tuple[Store, ...], Needed]:
        """Keeps structure and basis if the problem fits them; else takes the problem's structure and starts cold."""
        names, end, places = _names(problem), problem.end, places_of(problem)
        have, least = self._structure, least_slots(places)
        goes_on = have is not None and (names, end) == (self._names, self._end)
        if goes_on and have is not None and len(least) == len(have.slots):
            slots = tuple(max(pair) for pair in zip(least, have.slots, strict=True))
        else:
            slots = least
        stores = stores_of(problem, places, slots)
        needed = self._flags(problem, stores)
        want = structure_of(problem, needed, stores, slots)
        if not (goes_on and have is not None and covers(have, want)):
            self._structure, self._names, self._end, self._basis = want, names, end, None
        return stores, needed

    def _prepared(self, form: Form, data: Vectors) -> Any:
        """The LP relaxation with this problem's data and without any memory of an earlier solve."""
        if self._loaded is None or self._loaded[0] is not form:
            self._highs = _highs(self._budget)
            self._highs.passModel(_lp(form, data))
        else:
            _update(self._highs, self._loaded[1], data)
        self._loaded = (form, data)
        self._highs.clearSolver()
        return self._highs

    def _whole(
        self, problem: Problem, form: Form, stores: tuple[Store, ...], data: Vectors, iterations: int
    ) -> Solution | NoSolution:
        """The MILP, from scratch: branch and bound takes nothing over, so nothing is left to remember."""
        highs = _highs(self._budget)
        highs.setOptionValue("presolve", "on")
        lp = _lp(form, data)
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(whole)] for whole in data.whole]
        highs.passModel(lp)
        highs.run()
        self.solve_s += highs.getRunTime()
        status, info = highs.getModelStatus(), highs.getInfo()
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return NoSolution(f"mixed-integer program: {highs.modelStatusToString(status)}")
        return _read(
            problem,
            form,
            stores,
            data,
            _values(highs),
            proven=status == highspy.HighsModelStatus.kOptimal,
            binaries=int(np.count_nonzero(data.whole)),
            iterations=iterations + max(int(info.simplex_iteration_count), 0),
            mip_gap=float(info.mip_gap) if np.isfinite(info.mip_gap) else 1.0,
        )

    def snapshot(self) -> Json:
        """Structure and basis; a few hundred bytes."""
        if self._structure is None or self._end is None:
            return None
        return {
            "structure": _structure_to_json(self._structure),
            "names": list(self._names),
            "end": self._end.isoformat(),
            "basis": None if self._basis is None else self._text_of(self._basis),
        }

    def _text_of(self, basis: Any) -> str:
        if self._basis_text is None or self._basis_text[0] is not basis:
            self._basis_text = (basis, _basis_to_text(basis))
        return self._basis_text[1]

    def restore(self, state: Json) -> None:
        self.__init__(self._budget, self._flags)  # type: ignore[misc]
        if state is None:
            return
        self._structure = _structure_from_json(state["structure"])
        self._names = tuple(state["names"])
        self._end = datetime.fromisoformat(state["end"])
        self._basis = None if state["basis"] is None else _basis_from_text(state["basis"])


def relaxation_is_exact(form: Form, values: Array, stores: tuple[Store, ...], needed: Needed, passed: int) -> bool:
    """Whether a solution of the relaxation obeys what the flags demand; then it solves the MILP, too.

    True where no pair that needs flags flows both ways and no flow of the first step is below its smallest power.
    """
    if stores:
        charge = form.columns_of["charge"].of(values)[:, passed:]
        discharge = form.columns_of["discharge"].of(values)[:, passed:]
        if bool((needed.store & (charge > AT_ONCE_KW) & (discharge > AT_ONCE_KW)).any()):
            return False
        for i in flagged_stores(form.structure):
            least = stores[i].min_power_kw * stores[i].plugged_frac[0]
            for flow in (charge[i, 0], discharge[i, 0]):
                if AT_ONCE_KW < flow < least - AT_ONCE_KW:
                    return False
    imports = form.columns_of["imports"].of(values)[:, passed:].sum(axis=0)
    exports = form.columns_of["exports"].of(values)[:, passed:].sum(axis=0)
    return not bool((needed.pcc & (imports > AT_ONCE_KW) & (exports > AT_ONCE_KW)).any())


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


def _update(highs: Any, old: Vectors, new: Vectors) -> None:
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


def _lp(form: Form, data: Vectors) -> Any:
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = form.n_columns, form.n_rows
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = data.cost, data.lower, data.upper
    lp.row_lower_, lp.row_upper_ = data.row_lower, data.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = form.starts, form.rows, form.values
    return lp


def _read(
    problem: Problem,
    form: Form,
    stores: tuple[Store, ...],
    data: Vectors,
    values: Array,
    *,
    proven: bool,
    binaries: int,
    iterations: int,
    mip_gap: float = 0.0,
) -> Solution:
    passed = form.structure.steps - problem.steps
    # -0.0 and the solver's 1e-12 beyond a bound of 0 are 0 to everyone else.
    told = np.maximum(values, 0.0) + 0.0

    def of(name: str, *shape: int) -> Array:
        columns = form.columns_of.get(name)
        # Copied, as sums run in another order over parts of a longer array.
        return np.zeros(shape) if columns is None else columns.of(told)[..., passed:].copy()

    shape = (len(stores), problem.steps)
    bands_in, bands_out = of("imports"), of("exports")
    over_in, over_out = of("import_over"), of("export_over")
    shortfall = of("shortfall", *shape)
    groups = (len(problem.groups), problem.steps)
    return Solution(
        stores=stores,
        charge_kw=of("charge", *shape),
        discharge_kw=of("discharge", *shape),
        energy_kwh=np.maximum(of("level", *shape) - shortfall, 0.0),
        shortfall_kwh=shortfall,
        pv_kw=of("pv", 0, problem.steps),
        import_kw=bands_in.sum(axis=0) + over_in,
        export_kw=bands_out.sum(axis=0) + over_out,
        import_bands_kw=bands_in,
        export_bands_kw=bands_out,
        import_over_kw=over_in,
        export_over_kw=over_out,
        group_over_kw=of("group_up", *groups) + of("group_down", *groups),
        peak_kw=float(form.columns_of["peak"].of(values)[()]) if "peak" in form.columns_of else 0.0,
        total_eur=float(data.cost @ values) / COST_SCALE,
        proven=proven,
        mip_gap=mip_gap,
        binaries=binaries,
        iterations=iterations,
    )


def _names(problem: Problem) -> tuple[str, ...]:
    """The devices in the order of the model's columns: a basis belongs to them."""
    bess = [unit.device for unit in problem.bess]
    chargers = [unit.device for unit in problem.chargers]
    curtailable = [unit.device for unit in problem.pv if unit.curtailable]
    return (*bess, "|", *chargers, "|", *curtailable)


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


def _structure_to_json(structure: Structure) -> Json:
    fields = {name: getattr(structure, name) for name in Structure.__slots__}
    fields["stores"] = [[getattr(shape, name) for name in StoreShape.__slots__] for shape in structure.stores]
    fields["groups"] = [[list(map(list, group.stores)), list(map(list, group.pv))] for group in structure.groups]
    fields["slots"] = list(structure.slots)
    return fields


def _structure_from_json(state: Json) -> Structure:
    return Structure(
        **{
            **state,
            "slots": tuple(state["slots"]),
            "stores": tuple(StoreShape(*shape) for shape in state["stores"]),
            "groups": tuple(GroupShape(_members(stores), _members(pv)) for stores, pv in state["groups"]),
        }
    )


def _members(state: Json) -> tuple[tuple[int, float], ...]:
    return tuple((index, share) for index, share in state)


__all__ = ["Budget", "NoSolution", "Solution", "Solver", "fixed_demand", "relaxation_is_exact"]
