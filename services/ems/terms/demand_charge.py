"""The demand charge on the month's highest import."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.problem import Problem
from services.ems.solution import Solution
from services.ems.terms.base import Term
from services.ems.terms.exchange import IMPORT

PEAK = "peak"


class DemandCharge(Term[bool]):
    """The shape says whether there is a charge."""

    name = "demand_charge"
    shape_type = bool

    def shape(self, instance: Instance) -> bool:
        return instance.problem.prices.demand_eur_per_kw > 0

    def variables(self, m: Model) -> None:
        """The peak is at least what is billed already, and costs the charge."""
        if m.shape(self):
            m.variable(PEAK, lower=lambda i: _paid_kw(i.problem), upper=np.inf, each_step=False)
            m.cost(PEAK, lambda i: i.problem.weights.cost * i.problem.prices.demand_eur_per_kw)

    def constraints(self, m: Model) -> None:
        """peak ≥ Σ import of every step."""
        if m.shape(self):
            m.rows("pcc-demand_peak", IMPORT.total(m) - m[PEAK], at_most=0.0)

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        """By how much the peak raises the charge."""
        problem = solution.problem
        peak = solution.of(PEAK)
        higher = max(float(peak) - _paid_kw(problem), 0.0) if peak.ndim == 0 else 0.0
        return {"demand_eur": problem.prices.demand_eur_per_kw * higher}


def _paid_kw(problem: Problem) -> float:
    """The peak that costs nothing more: that of the month so far, or what is billed without one."""
    return max(problem.month_peak_kw, problem.free_peak_kw)
