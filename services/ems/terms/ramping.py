"""A price on changes of a store's power, the ramping cost of unit commitment: calm plans where nothing else decides."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms.base import UNBOUNDED_KW, Term
from services.ems.terms.storage import STORAGE

RAMP = "ramp"
"""The variable: by how much a store's power changes at a step's beginning [kW]."""


class Ramping(Term[bool]):
    """The shape says whether a change has a price; where it has none, nothing stands in the matrix."""

    name = "ramping"
    shape_type = bool

    def shape(self, instance: Instance) -> bool:
        return instance.problem.prices.ramping_eur_per_kw > 0 and bool(instance.stores)

    def variables(self, m: Model) -> None:
        if m.shape(self):
            count = len(m.shape(STORAGE))
            m.variable(RAMP, count, upper=UNBOUNDED_KW, stores=range(count))
            m.cost(RAMP, lambda i: i.problem.prices.ramping_eur_per_kw)

    def constraints(self, m: Model) -> None:
        """ramp_h ≥ |n_h − n_{h−1}| with n = charge − discharge; before the first step n is the power that flows now.

        Free where the store is not there for the whole of both steps: a vehicle's coming and going is no decision.
        """
        if not m.shape(self):
            return
        ramp, power = m[RAMP], m["charge"] - m["discharge"]
        m.rows("ramp-up_initial", (ramp - power)[:, :1], at_least=lambda i: -_flowing(i), mask=_stays)
        m.rows("ramp-down_initial", (ramp + power)[:, :1], at_least=_flowing, mask=_stays)
        if m.steps > 1:
            change = power[:, 1:] - power[:, :-1]
            m.rows("ramp-up", ramp[:, 1:] - change, at_least=lambda i: -_flowing(i), mask=_stays, first=1)
            m.rows("ramp-down", ramp[:, 1:] + change, at_least=_flowing, mask=_stays, first=1)

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        return {"ramping_eur": solution.problem.prices.ramping_eur_per_kw * float(solution.of(RAMP).sum())}


def _flowing(instance: Instance) -> Array:
    """Power that flows when the window begins [kW], in its first step; what is before that is 0 in the matrix."""
    power = np.zeros((len(instance.stores), instance.problem.steps))
    power[:, 0] = [store.flowing_kw for store in instance.stores]
    return power


def _stays(instance: Instance) -> NDArray[np.bool_]:
    """Whether the store is there for the whole of a step and of the step before."""
    whole = np.array([(store.plugged_frac == 1.0) & ~store.leaves for store in instance.stores])
    before = np.ones_like(whole)
    before[:, 1:] = [(store.plugged_frac == 1.0)[:-1] for store in instance.stores]
    together: NDArray[np.bool_] = whole & before
    return together
