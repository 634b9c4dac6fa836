"""The highest import: a weight on it, beside the demand charge, is the objective of a low peak; a ratchet needs it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Solution
from services.ems.terms.base import Term
from services.ems.terms.exchange import IMPORT
from services.ems.terms.later import IMPORT_KW, NET

HIGHEST = "highest_import"


class HighestImport(Term[bool]):
    """The shape says whether the peak has a weight or a ratchet; where it has none, nothing stands in the matrix."""

    name = "highest_import"
    shape_type = bool

    def shape(self, instance: Instance) -> bool:
        return instance.problem.weights.peak_eur_per_kw > 0 or bool(instance.problem.ratchet_free_kw)

    def variables(self, m: Model) -> None:
        """The highest import is at least the month's so far: what has been cannot be lowered."""
        if m.shape(self):
            m.variable(HIGHEST, lower=lambda i: i.problem.month_peak_kw, upper=np.inf, each_step=False)
            m.cost(HIGHEST, lambda i: i.problem.weights.peak_eur_per_kw)

    def constraints(self, m: Model) -> None:
        """highest ≥ Σ import of every step, and ≥ load + import of every later one."""
        if not m.shape(self):
            return
        m.rows("pcc-highest_import", IMPORT.total(m) - m[HIGHEST], at_most=0.0)
        if IMPORT_KW in m.columns:
            m.rows("later-highest_import", m[IMPORT_KW] + m[NET] - m[HIGHEST], at_most=0.0)

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        weight = solution.problem.weights.peak_eur_per_kw
        return {"peak_weight_eur": weight * float(solution.of(HIGHEST))} if weight else {}
