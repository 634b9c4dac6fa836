"""The solution of one problem by the names of its variables; the terms read their parts of it."""

from dataclasses import dataclass

import numpy as np

from services.ems.compile import CompiledModel
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
    binaries: int
    iterations: int
    calm_eur: float = 0.0
    """By how much it is dearer than the one before its steps were put in a calmer order."""

    @property
    def problem(self) -> Problem:
        return self.values.instance.problem

    @property
    def stores(self) -> tuple[Store, ...]:
        return self.values.instance.stores

    def of(self, name: str) -> Array:
        """A variable's values, see `Values.of`."""
        return self.values.of(name)


@dataclass(frozen=True, slots=True)
class NoSolution:
    """The solver ended without anything usable, and why."""

    reason: str
