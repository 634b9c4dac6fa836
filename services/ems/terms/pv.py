"""PV: production that may be curtailed, or not."""

from collections.abc import Iterator, Mapping

import numpy as np

from schemas.messages import DevicePlan
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.problem import Problem, PvUnit
from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms.base import SMALL_KW, Commands, Term, clipped_kw


class Pv(Term[int]):
    """The shape is the number of inverters that can be curtailed."""

    name = "pv"
    shape_type = int

    def shape(self, instance: Instance) -> int:
        return len(curtailable(instance.problem))

    def variables(self, m: Model) -> None:
        """0 ≤ pv ≤ available; what cannot be curtailed is demand with its sign turned."""
        if count := m.shape(self):
            m.variable("pv", count, upper=lambda i: np.array([unit.available_kw for unit in curtailable(i.problem)]))
            m.supply(m["pv"].sum())
        m.demand(_firm_kw)

    def device_plans(self, solution: Solution) -> Mapping[str, DevicePlan]:
        return {device: DevicePlan(power_kw=clipped_kw(0.0 - power)) for device, power in _produced(solution).items()}

    def commands(self, solution: Solution) -> Commands:
        """The limit of an inverter that is not curtailed now is its rated power."""
        limits: dict[str, float] = {}
        produced = _produced(solution)
        for unit in curtailable(solution.problem):
            power = produced[unit.device][0]
            cut = power < unit.available_kw[0] - SMALL_KW
            most_kw = unit.rated_kw if unit.asked_limit_kw is None else unit.asked_limit_kw
            limits[unit.device] = float(power) if cut else most_kw
        return Commands({}, limits)


def curtailable(problem: Problem) -> list[PvUnit]:
    """Inverters that can be curtailed, in the problem's order, which is that of the columns."""
    return [unit for unit in problem.pv if unit.curtailable]


def _firm_kw(instance: Instance) -> Iterator[Array]:
    return (-np.array(unit.available_kw) for unit in instance.problem.pv if not unit.curtailable)


def _produced(solution: Solution) -> dict[str, Array]:
    curtailed = iter(solution.of("pv"))
    units = solution.problem.pv
    return {unit.device: next(curtailed) if unit.curtailable else np.array(unit.available_kw) for unit in units}
