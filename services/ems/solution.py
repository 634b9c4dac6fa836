"""The solution of one problem by the names of its variables; the terms read their parts of it."""

from dataclasses import dataclass

import numpy as np

from services.ems.compile import COST_SCALE, CompiledModel
from services.ems.instance import Instance
from services.ems.problem import Problem
from services.ems.stores import Array, Store


@dataclass(frozen=True, slots=True)
class Values:
    """Values of a compiled model's columns."""

    model: CompiledModel
    instance: Instance
    vector: Array

    def of(self, name: str) -> Array:
        """A variable in the steps of the problem, shape (member, step) or (step,); no members if it is not there."""
        where = self.model.columns_of.get(name)
        steps = self.instance.problem.steps
        if where is None:
            return np.zeros((0, steps))
        # Copied, as sums run in another order over parts of a longer array.
        return where.to_come(self.vector, self.model.structure.steps - steps).copy()


@dataclass(frozen=True, slots=True)
class Solution:
    """A feasible solution and how it was come by."""

    values: Values
    """Without the solver's 1e-12 beyond a bound of 0."""
    total_eur: float
    """The solver's objective: energy, wear, demand charge, penalties and tie-break."""
    proven: bool
    """Optimal within the gap; else the best that was found within the budget."""
    mip_gap: float
    """By how much it may be dearer than the optimum, as a share of its own cost."""
    binaries: int
    iterations: int
    calm_eur: float = 0.0
    """By how much it is dearer than the one before its steps were put in a calmer order."""
    duals: Array | None = None
    """By row, in the solver's unit: by how much a higher right side would raise the objective with every binary as it
    is. None: not found within the budget."""

    @property
    def problem(self) -> Problem:
        return self.values.instance.problem

    @property
    def stores(self) -> tuple[Store, ...]:
        return self.values.instance.stores

    def of(self, name: str) -> Array:
        """A variable's values, see `Values.of`."""
        return self.values.of(name)

    def dual(self, name: str) -> Array:
        """Duals of rows [€ per unit of the right side] in the steps of the problem, shape (member, step) or (step,).

        Zeros where there are no such rows, or no duals.
        """
        model, steps = self.values.model, self.problem.steps
        where = model.rows_of.get(name)
        if where is None or self.duals is None:
            return np.zeros(steps)
        first = model.model.equations[name].first
        known = where.of(self.duals) / COST_SCALE
        whole = np.zeros((*where.shape[:-1], model.structure.steps))
        whole[..., first : first + where.shape[-1]] = known
        return whole[..., model.structure.steps - steps :]


@dataclass(frozen=True, slots=True)
class NoSolution:
    """The solver ended without anything usable, and why."""

    reason: str
