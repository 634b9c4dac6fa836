"""The BESS's wear: a price of its throughput."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms.base import Term
from services.ems.terms.storage import STORAGE


class Wear(Term[None]):
    """wear·(charge + discharge)·Δt of the BESSs."""

    name = "wear"

    def variables(self, m: Model) -> None:
        if m.shape(STORAGE):
            for flow in ("charge", "discharge"):
                m.cost(flow, _price, per_kwh=True)

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        charge, discharge = solution.of("charge"), solution.of("discharge")
        powers = [charge[i] + discharge[i] for i, store in enumerate(solution.stores) if store.is_bess]
        throughput = float(sum(power.sum() for power in powers))
        problem = solution.problem
        return {"wear_eur": problem.prices.bess_wear_eur_per_kwh * problem.step_h * throughput}


def _price(instance: Instance) -> Array:
    price = instance.problem.prices.bess_wear_eur_per_kwh
    return np.array([price if store.is_bess else 0.0 for store in instance.stores])[:, None]
