"""The program of one plan as data: columns, rows and costs with their names, without the steps that have passed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from services.ems.compile import COST_SCALE, CompiledModel, LpData, Slice
from services.ems.instance import Instance
from services.ems.stores import Array
from services.ems.terms.pcc_exclusion import PARTS

Flags = NDArray[np.bool_]
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Statement:
    """min cost·x with lower ≤ x ≤ upper, row_lower ≤ matrix·x ≤ row_upper, and x whole where ``whole``; in €."""

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    terms: tuple[str, ...]
    """By row, the term that states it."""
    lower: Array
    upper: Array
    whole: Flags
    follows_flags: Flags
    """Parts of flows by the direction at the PCC (`services.ems.terms.pcc_exclusion`); they have no cost."""
    row_lower: Array
    row_upper: Array
    matrix: sp.csr_matrix
    costs: dict[str, Array]
    """By part of the objective, the cost of each column [€ per unit].

    A part has the name of its term, with ``:penalty`` behind it for the slack of a soft target or limit.
    """
    kept: Places
    """The columns of the compiled model that these are."""
    kept_rows: Places

    @property
    def cost(self) -> Array:
        """All parts together."""
        total: Array = np.sum([*self.costs.values()], axis=0)
        return total


def statement_of(model: CompiledModel, instance: Instance) -> Statement:
    """What is solved for this problem. A passed step has nothing but zeros, and a row that is free says nothing."""
    data = model.data(instance)
    passed = model.structure.steps - instance.problem.steps
    to_come = np.zeros(model.n_columns, dtype=np.bool_)
    for where in model.columns_of.values():
        where.to_come(to_come, passed)[...] = True
    kept = to_come.nonzero()[0]
    parts = np.zeros(model.n_columns, dtype=np.bool_)
    for part in PARTS:
        if part.name in model.columns_of:
            model.columns_of[part.name].of(parts)[...] = True
    whole = sp.csc_matrix((data.matrix, model.rows, model.starts), shape=(model.n_rows, model.n_columns)).tocsr()
    matrix = whole[:, kept].tocsr()
    says = (np.isfinite(data.row_lower) | np.isfinite(data.row_upper)) & (np.diff(matrix.indptr) > 0)
    kept_rows = says.nonzero()[0]
    names, row_names, terms = _column_names(model, passed), *_row_names(model, passed)
    return Statement(
        columns=tuple(names[i] for i in kept),
        rows=tuple(row_names[i] for i in kept_rows),
        terms=tuple(terms[i] for i in kept_rows),
        lower=data.lower[kept],
        upper=data.upper[kept],
        whole=data.whole[kept],
        follows_flags=parts[kept],
        row_lower=data.row_lower[kept_rows],
        row_upper=data.row_upper[kept_rows],
        matrix=matrix[kept_rows],
        costs={part: cost[kept] for part, cost in _costs(model, instance, data, passed)},
        kept=kept,
        kept_rows=kept_rows,
    )


def _costs(model: CompiledModel, instance: Instance, data: LpData, passed: int) -> Iterator[tuple[str, Array]]:
    parts: dict[str, Array] = {}
    for costs, suffix in ((model.model.costs, ""), (model.model.penalties, ":penalty")):
        for where, _, value, term in costs:
            of_part = parts.setdefault(term + suffix, np.zeros_like(data.cost))
            where.to_come(of_part, passed)[...] += value(instance) if callable(value) else value
    for part, cost in parts.items():
        yield part, cost * model.scale / COST_SCALE


def _column_names(model: CompiledModel, passed: int) -> list[str]:
    names = [""] * model.n_columns
    for name, where in model.columns_of.items():
        _write(names, name, where, passed if where.each_step else 0)
    return names


def _row_names(model: CompiledModel, passed: int) -> tuple[list[str], list[str]]:
    names, terms = [""] * model.n_rows, [""] * model.n_rows
    for name, equation in model.model.equations.items():
        _write(names, name, equation.slice, passed - equation.first)
        for place in range(equation.slice.start, equation.slice.stop):
            terms[place] = equation.term
    return names, terms


def _write(names: list[str], name: str, where: Slice, passed: int) -> None:
    """``name[member,step]``, the step counted from the plan's first."""
    places = where.of(np.arange(len(names)))
    for index in np.ndindex(places.shape):
        shown = (*index[:-1], index[-1] - passed) if index else ()
        names[places[index]] = f"{name}[{','.join(map(str, shown))}]" if shown else name
