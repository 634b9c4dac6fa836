"""The highest import: a weight on it, beside the demand charge, is the objective of a low peak; a ratchet needs it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from schemas.sums import sum_in_order
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.months import at_most_peak, peak_so_far_kw, peaks_kw
from services.ems.solution import Solution
from services.ems.terms.base import Term
from services.ems.terms.exchange import IMPORT
from services.ems.terms.later import IMPORT_KW, peak_columns, peak_rows

HIGHEST = "highest_import"
HIGHESTS = (HIGHEST, "next_highest_import")
"""By month of the window."""


class HighestImport(Term[int]):
    """The shape is the number of months whose highest import has a weight or a ratchet; where it has none, nothing
    stands in the matrix."""

    name = "highest_import"
    shape_type = int

    def shape(self, instance: Instance) -> int:
        problem = instance.problem
        return problem.months if problem.weights.peak_eur_per_kw > 0 or problem.ratchet_free_kw else 0

    def variables(self, m: Model) -> None:
        """The highest import is at least the month's so far: what has been cannot be lowered."""
        for month, highest in enumerate(HIGHESTS[: m.shape(self)]):
            m.variable(highest, lower=peak_so_far_kw(month), upper=np.inf, each_step=False)
            m.cost(highest, lambda i: i.problem.weights.peak_eur_per_kw)
            if IMPORT_KW in m.columns:
                peak_columns(m, highest, month, peak_so_far_kw(month))

    def constraints(self, m: Model) -> None:
        """highest ≥ Σ import of every step of its month, and `peak_rows`."""
        months = m.shape(self)
        for month, highest in enumerate(HIGHESTS[:months]):
            m.rows(f"pcc-{highest}", IMPORT.total(m) - m[highest], at_most=at_most_peak(month, months))
            if IMPORT_KW in m.columns:
                peak_rows(m, highest)

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        weight = solution.problem.weights.peak_eur_per_kw
        return {"peak_weight_eur": weight * sum_in_order(peaks_kw(solution, HIGHESTS))} if weight else {}
