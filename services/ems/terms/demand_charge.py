"""The demand charge on the highest import of each month."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from schemas.sums import sum_in_order
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.months import at_most_peak, paid_kw, peaks_kw
from services.ems.solution import Solution
from services.ems.terms.base import Term
from services.ems.terms.exchange import IMPORT

PEAKS = ("peak", "next_peak")
"""The highest import by month of the window."""


class DemandCharge(Term[int]):
    """The shape is the number of months with a charge; 0: there is none."""

    name = "demand_charge"
    shape_type = int

    def shape(self, instance: Instance) -> int:
        return instance.problem.months if instance.problem.prices.demand_eur_per_kw > 0 else 0

    def variables(self, m: Model) -> None:
        """A month's peak is at least what is billed already, and costs the charge."""
        for month, peak in enumerate(PEAKS[: m.shape(self)]):
            m.variable(peak, lower=paid_kw(month), upper=np.inf, each_step=False)
            m.cost(peak, lambda i: i.problem.weights.cost * i.problem.prices.demand_eur_per_kw)

    def constraints(self, m: Model) -> None:
        """peak ≥ Σ import of every step of its month."""
        months = m.shape(self)
        for month, peak in enumerate(PEAKS[:months]):
            m.rows(f"pcc-demand_{peak}", IMPORT.total(m) - m[peak], at_most=at_most_peak(month, months))

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        """By how much the peaks raise the charges."""
        problem, peaks = solution.problem, peaks_kw(solution, PEAKS)
        raised = sum_in_order(max(peak - problem.paid_kw(month), 0.0) for month, peak in enumerate(peaks))
        return {"demand_eur": problem.prices.demand_eur_per_kw * raised}

    def total_eur(self, solution: Solution) -> float:
        """The same with what is billed already."""
        return solution.problem.prices.demand_eur_per_kw * sum_in_order(peaks_kw(solution, PEAKS))


DEMAND_CHARGE = DemandCharge()
