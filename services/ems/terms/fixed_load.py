"""Load, losses and chargers that cannot be controlled: power that is not decided."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from schemas.messages import DevicePlan
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms.base import Term, clipped_kw


class FixedLoad(Term[None]):
    name = "fixed_load"

    def variables(self, m: Model) -> None:
        m.demand(_powers_kw)

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        problem = solution.problem
        return {"load_kw": clipped_kw(problem.load_kw), "losses_kw": clipped_kw(problem.losses_kw)}

    def device_plans(self, solution: Solution) -> Mapping[str, DevicePlan]:
        return {unit.device: DevicePlan(power_kw=clipped_kw(unit.power_kw)) for unit in solution.problem.fixed}


def _powers_kw(instance: Instance) -> Iterator[Array]:
    """load + losses + Σ uncontrolled chargers, by step."""
    problem = instance.problem
    yield np.array(problem.load_kw)
    yield np.array(problem.losses_kw)
    for unit in problem.fixed:
        yield np.array(unit.power_kw)
