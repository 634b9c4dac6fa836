"""An EMS that plans with somebody else's algorithm: a function from the problem to set-points.

The function sees one frozen `Problem` and nothing else: no messages, no clock, no broker. Everything around it is the
product's: births, measurements and forecasts become the problem, set-points go to the devices, the plan is published
and recorded.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from schemas.errors import Code, Fault, InputError, RunFailedError, shorten
from schemas.messages import DevicePlan, Plan, PlanStatus
from schemas.site import Site
from schemas.sums import sum_in_order
from services.ems.dispatch import Decision
from services.ems.participant import Ems
from services.ems.problem import Problem
from services.ems.solution import NoSolution

Algorithm = Callable[[Problem], Mapping[str, float]]
"""Set-points [kW] for the problem's first step, by device: the power of chargers and BESS, positive when charging, and
the greatest production of PV inverters, a magnitude. A device that is left out gets no set-point and follows its
fallback."""


class AlgorithmEms(Ems):
    """The EMS of ``site`` with ``algorithm`` in the place of the optimiser."""

    def __init__(self, site: Site, algorithm: Algorithm) -> None:
        super().__init__(site)
        self._algorithm = algorithm
        self._name = getattr(algorithm, "__name__", type(algorithm).__name__)

    def _plan(self, problem: Problem) -> Decision | NoSolution:
        """Raises RunFailedError when the algorithm raises, InputError for what is no set-point."""
        try:
            found = self._algorithm(problem)
        except Exception as error:
            what = f"the algorithm {self._name} failed at {problem.start.isoformat()}: {type(error).__name__}: {error}"
            raise RunFailedError(what) from error
        return self._decision(problem, self._checked(problem, found))

    def _checked(self, problem: Problem, found: Any) -> dict[str, float]:
        where = f"algorithm {self._name} at {problem.start.isoformat()}"
        if not isinstance(found, Mapping):
            raise InputError.one(where, "a mapping from device to kW is to be returned", found, code=Code.FORMAT)
        limits = {unit.device for unit in problem.pv if unit.curtailable}
        stores = {unit.device for unit in problem.bess} | {unit.device for unit in problem.chargers}
        allowed = sorted(stores | limits)
        faults = []
        for device, value in found.items():
            if device not in allowed:
                what = f"set-points go to {', '.join(allowed) or 'no device now'}"
                faults.append(Fault(where, what, shorten(device), code=Code.UNKNOWN))
            elif isinstance(value, bool) or not hasattr(value, "__float__") or not math.isfinite(float(value)):
                faults.append(Fault(f"{where}: {device}", "a number [kW] is allowed", shorten(value), code=Code.FORMAT))
            elif device in limits and float(value) < 0:
                what = "a limit of production is a magnitude [kW]: 0 or more"
                faults.append(Fault(f"{where}: {device}", what, shorten(value), code=Code.RANGE))
        if faults:
            raise InputError(faults)
        return {str(device): float(value) for device, value in sorted(found.items())}

    def _decision(self, problem: Problem, value_kw: Mapping[str, float]) -> Decision:
        limit = {unit.device: value_kw[unit.device] for unit in problem.pv if unit.device in value_kw}
        power = {device: value for device, value in value_kw.items() if device not in limit}
        produced = {
            unit.device: -min(unit.available_kw[0], unit.rated_kw, limit.get(unit.device, math.inf))
            for unit in problem.pv
        }
        fixed = {unit.device: unit.power_kw[0] for unit in problem.fixed}
        devices = dict(sorted({**produced, **fixed, **power}.items()))
        plan = Plan(
            epoch=self._epoch,
            mode=self._site.ems.mode,
            status=PlanStatus.INCUMBENT,
            reason=f"by the algorithm {self._name}",
            start=problem.start,
            step_s=problem.step_s,
            objective_eur=0.0,
            devices={device: DevicePlan(power_kw=(value,)) for device, value in devices.items()},
            load_kw=problem.load_kw[:1],
            losses_kw=problem.losses_kw[:1],
            pcc_kw=(problem.load_kw[0] + problem.losses_kw[0] + sum_in_order(devices.values()),),
            purchase_price_eur_per_kwh=problem.purchase_eur_per_kwh[:1],
            sale_price_eur_per_kwh=problem.sale_eur_per_kwh[:1],
        )
        return Decision(plan, power, limit)
