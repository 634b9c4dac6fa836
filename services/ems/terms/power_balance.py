"""The power balance at the PCC, equation (2)."""

from functools import reduce
from operator import add

import numpy as np

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms.base import Term


class PowerBalance(Term[None]):
    name = "power_balance"

    def constraints(self, m: Model) -> None:
        """(2) with losses: Σ import − Σ export + Σ pv − Σ (charge − discharge) = load + losses − PV not curtailable.

        Both sides are gathered from the terms, see `Model.supply` and `Model.demand`.
        """
        demands = tuple(m.demands)

        def demand(instance: Instance) -> Array:
            total: Array = np.zeros(instance.problem.steps)
            for powers_kw in demands:
                for power_kw in powers_kw(instance):
                    total = total + power_kw
            return total

        m.rows("pcc-power_balance", reduce(add, m.supplies), equal=demand)

    def demand_price(self, solution: Solution) -> Array:
        return solution.dual("pcc-power_balance")
