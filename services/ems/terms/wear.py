"""Wear of batteries: a price of the BESS's throughput, and of what vehicles give back."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from schemas.sums import sum_in_order
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.problem import Problem
from services.ems.solution import Solution
from services.ems.stores import Array, Store
from services.ems.terms.base import Term
from services.ems.terms.storage import STORAGE


class Wear(Term[None]):
    """wear·(charge + discharge)·Δt of the BESSs, wear·discharge·Δt of the vehicles."""

    name = "wear"

    def variables(self, m: Model) -> None:
        if m.shape(STORAGE):
            for index, flow in enumerate(FLOWS):
                m.cost(flow, self._price(index), per_kwh=True)

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        powers = [solution.of(flow) for flow in FLOWS]
        eur = 0.0
        for i, store in enumerate(solution.stores):
            prices = self.prices_eur_per_kwh(solution.problem, store)
            eur += sum_in_order(price * float(power[i].sum()) for price, power in zip(prices, powers, strict=True))
        return {"wear_eur": solution.problem.step_h * eur}

    def prices_eur_per_kwh(self, problem: Problem, store: Store) -> tuple[float, float]:
        """For each kWh that is charged, and that is discharged."""
        prices = problem.prices
        if store.is_bess:
            return prices.bess_wear_eur_per_kwh, prices.bess_wear_eur_per_kwh
        return 0.0, prices.vehicle_wear_eur_per_kwh

    def _price(self, index: int) -> Callable[[Instance], Array]:
        def weighted(i: Instance) -> Array:
            prices = [self.prices_eur_per_kwh(i.problem, store)[index] for store in i.stores]
            return i.problem.weights.cost * np.array(prices)[:, None]

        return weighted


FLOWS = "charge", "discharge"

WEAR = Wear()
