"""What the objective has beside money: emissions of imports and energy that leaves the site, see `Problem.weights`.

The weights stand in the costs of the flows themselves, `Problem.import_eur_per_kwh` and `Problem.export_eur_per_kwh`;
here is what curtailed PV costs, and what of the plan's total is no money.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.problem import Weights
from services.ems.solution import Solution
from services.ems.terms.base import Term
from services.ems.terms.calendar_wear import CALENDAR_WEAR
from services.ems.terms.demand_charge import DEMAND_CHARGE
from services.ems.terms.exchange import EXPORT, IMPORT
from services.ems.terms.ratchet import RATCHET
from services.ems.terms.wear import WEAR


class Weighting(Term[None]):
    """− unused·pv·Δt: each kWh of PV that is curtailed costs what one that is exported does."""

    name = "weighting"

    def variables(self, m: Model) -> None:
        if "pv" in m.columns:
            m.cost("pv", _used_eur_per_kwh, per_kwh=True)

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        """CO2 of the planned imports, and by how much the objective differs from money."""
        problem, found = solution.problem, dict[str, Any]()
        bought, sold = IMPORT.total_kw(solution), EXPORT.total_kw(solution)
        if problem.co2_g_per_kwh:
            found["co2_import_kg"] = problem.step_h * float(np.array(problem.co2_g_per_kwh) @ bought) / 1000
        weights = problem.weights
        if weights == Weights():
            return found
        import_, export = np.array(problem.import_eur_per_kwh), np.array(problem.export_eur_per_kwh)
        eur = (import_ - np.array(problem.purchase_eur_per_kwh)) @ bought
        eur -= (export - np.array(problem.sale_eur_per_kwh)) @ sold
        eur -= weights.unused_eur_per_kwh * solution.of("pv").sum()
        less_money = weights.cost - 1.0
        money = float(WEAR.plan_fields(solution)["wear_eur"]) + (CALENDAR_WEAR.eur(solution) or 0.0)
        money += DEMAND_CHARGE.total_eur(solution) + RATCHET.total_eur(solution)
        return found | {"weighting_eur": problem.step_h * float(eur) + less_money * money}


def _used_eur_per_kwh(instance: Instance) -> float:
    return -instance.problem.weights.unused_eur_per_kwh
