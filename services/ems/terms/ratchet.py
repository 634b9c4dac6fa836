"""The ratchet of a demand charge: what the highest import of this month adds to the bills of months to come."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.problem import Problem
from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms.base import Term
from services.ems.terms.highest_import import HIGHEST

RAISED = "ratchet_raised"
"""By how much [kW] the highest import is above what raises no bill of a later month, by month."""


FREE = "ratchet_free"
"""A constant: what raises no bill of a later month [kW], by month."""


class Ratchet(Term[int]):
    """The shape is the number of later months whose bill the highest import may raise; 0: nothing stands here."""

    name = "ratchet"
    shape_type = int

    def shape(self, instance: Instance) -> int:
        return len(instance.problem.ratchet_free_kw)

    def variables(self, m: Model) -> None:
        if months := m.shape(self):
            m.variable(RAISED, months, upper=np.inf, each_step=False)
            m.variable(FREE, months, lower=_free_kw, upper=_free_kw, each_step=False)
            m.cost(RAISED, lambda i: i.problem.weights.cost * i.problem.prices.ratchet_eur_per_kw)

    def constraints(self, m: Model) -> None:
        """highest − raised ≤ free, for each later month."""
        if m.shape(self):
            m.rows("ratchet-later_months", m[HIGHEST] - m[RAISED] - m[FREE], at_most=0.0)

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        return {} if (eur := self.eur(solution)) is None else {"ratchet_eur": eur}

    def eur(self, solution: Solution) -> float | None:
        """By how much the window raises the bills of later months [€], as far as is expected; None: no ratchet."""
        problem = solution.problem
        if not problem.ratchet_free_kw:
            return None
        return self.total_eur(solution) - _eur(problem, problem.month_peak_kw)

    def total_eur(self, solution: Solution) -> float:
        """The same with what the month's peak so far has raised them by."""
        problem = solution.problem
        return _eur(problem, float(solution.of(HIGHEST))) if problem.ratchet_free_kw else 0.0


RATCHET = Ratchet()


def _free_kw(instance: Instance) -> Array:
    return np.array(instance.problem.ratchet_free_kw)


def _eur(problem: Problem, highest_kw: float) -> float:
    raised = np.maximum(highest_kw - np.array(problem.ratchet_free_kw), 0.0)
    return problem.prices.ratchet_eur_per_kw * float(raised.sum())
