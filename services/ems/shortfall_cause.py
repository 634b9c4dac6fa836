"""Why a target is missed: what the plan says beside device and kWh, found without another optimisation.

A target that charging at full power from now on, or from the arrival on, does not reach is missed for want of time; if
the vehicle could take more than its charger gives, and that would do, the charger is too small. A target within reach
is missed because a limit binds while the store charges at less than full power, or because the energy costs more than
the price of missing it.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from schemas.messages import DevicePlan, Shortfall, ShortfallCause, ShortfallKind
from schemas.sums import sum_in_order
from services.ems.problem import Group, Problem
from services.ems.solution import Solution
from services.ems.stores import Store
from services.ems.terms.base import SMALL_KW, SMALL_KWH
from services.ems.terms.later import CHARGE
from services.ems.terms.targets import SHORTFALL

TARGETS = (ShortfallKind.DEPARTURE, ShortfallKind.TERMINAL)
BINDS_KW = 1e-4
"""A limit that is nearer than this binds."""


def with_causes(
    shortfalls: Iterable[Shortfall], solution: Solution, devices: Mapping[str, DevicePlan], pcc_kw: tuple[float, ...]
) -> list[Shortfall]:
    """The shortfalls with their causes. Those of limits have none: they are one."""
    return [_with_cause(shortfall, solution, devices, pcc_kw) for shortfall in shortfalls]


def _with_cause(
    shortfall: Shortfall, solution: Solution, devices: Mapping[str, DevicePlan], pcc_kw: tuple[float, ...]
) -> Shortfall:
    if shortfall.kind is ShortfallKind.SOC_MIN:
        return shortfall.model_copy(update={"cause": ShortfallCause.SOC_BELOW_MINIMUM})
    if shortfall.kind not in TARGETS:
        return shortfall
    problem = solution.problem
    end = min(round((shortfall.at - problem.start).total_seconds() / problem.step_s), problem.steps)
    found = [(i, s) for i, s in enumerate(solution.stores) if s.device == shortfall.device and _is_there(s, end)]
    if not found:
        return shortfall
    index, store = found[0]
    begin = _begin(store, end)
    later_h = max((shortfall.at - problem.end).total_seconds() / 3600, 0.0)
    missing = shortfall.kwh - SMALL_KWH
    planned = _planned_kwh(solution, index, begin, end)
    rates = 1.0, _wider(store, problem, end)
    charger, vehicle = (planned + missing <= _most_kwh(store, problem, begin, end, later_h, rate) for rate in rates)
    if charger:
        limit = _binding(solution, index, range(begin, end), devices, pcc_kw)
        if limit is None and later_h:
            limit = ""
        cause = ShortfallCause.NOT_WORTH_IT if limit is None else ShortfallCause.LIMIT_BINDING
        return shortfall.model_copy(update={"cause": cause, "element": limit or None})
    cause = ShortfallCause.CHARGER_TOO_SMALL if vehicle else ShortfallCause.TOO_LITTLE_TIME
    return shortfall.model_copy(update={"cause": cause})


def _is_there(store: Store, end: int) -> bool:
    return end > 0 and bool(store.plugged_frac[end - 1] > 0)


def _begin(store: Store, end: int) -> int:
    """First step of the stay that is there in the step before ``end``."""
    begin = end - 1
    while begin > 0 and store.plugged_frac[begin - 1] > 0 and not store.leaves[begin]:
        begin -= 1
    return begin


def _planned_kwh(solution: Solution, index: int, begin: int, end: int) -> float:
    """Energy in store after what is planned [kWh], later charging included."""
    level = solution.of("level")[index, end - 1] - solution.of(SHORTFALL)[index, end - 1]
    if end < solution.problem.steps or solution.problem.later is None:
        return float(level)
    columns = solution.values.model.columns_of.get(CHARGE)
    if columns is None:
        return float(level)
    charged = columns.of(solution.values.vector)[index].sum() * solution.problem.later.step_h
    return float(level + charged * solution.stores[index].charge_efficiency)


def _most_kwh(store: Store, problem: Problem, begin: int, end: int, later_h: float, faster: float) -> float:
    """Energy in store after charging at full power all the time [kWh]; ``faster``: with so many times the power."""
    energy, into = float(store.arrives_kwh[begin]), store.charge_efficiency * problem.step_h
    for step in range(begin, end):
        charge = float(store.charge_max_kw[step]) * faster
        if store.taper_row is not None and store.taper_row.holds[step]:
            row = store.taper_row
            arrives = float(store.arrives_kwh[step]) if step == begin else 0.0
            room = float(row.most_kwh[step]) + arrives - 2 * energy
            charge = min(charge, max(room, 0.0) / (float(row.per_kw[step]) / faster + into))
        energy = min(energy + into * charge, float(store.upper_kwh[step]))
    rate = store.rated_charge_kw if store.stays_on is None else min(store.rated_charge_kw, store.stays_on.max_charge_kw)
    return min(energy + later_h * rate * faster * store.charge_efficiency, float(store.upper_kwh[end - 1]))


def _wider(store: Store, problem: Problem, end: int) -> float:
    """How many times its charger's power the vehicle could take."""
    for unit in problem.chargers:
        for stay in unit.stays:
            if unit.device == store.device and stay.arrival < problem.step_start(end) <= stay.departure:
                return max(stay.max_charge_kw / unit.max_charge_kw, 1.0) if unit.max_charge_kw > 0 else 1.0
    return 1.0


def _binding(
    solution: Solution, index: int, steps: range, devices: Mapping[str, DevicePlan], pcc_kw: tuple[float, ...]
) -> str | None:
    """The limit that binds in a step in which the store charges at less than full power; None: none."""
    problem, store = solution.problem, solution.stores[index]
    slower = solution.of("charge")[index] < store.charge_max_kw - SMALL_KW
    for step in (step for step in steps if slower[step]):
        if pcc_kw[step] >= problem.import_limit_kw - BINDS_KW:
            return "connection"
        for limit in problem.outside_limits:
            flow = sum_in_order(devices[name].power_kw[step] for name in limit.devices if name in devices)
            flow = flow if limit.group else pcc_kw[step]
            if flow >= limit.import_kw[step] - BINDS_KW and (not limit.group or store.device in limit.devices):
                return limit.group or "pcc"
        for group in problem.groups:
            if group.share(store.device) and _flow_kw(group, problem, devices, step) >= group.limit_kw - BINDS_KW:
                return group.element or "group"
    return None


def _flow_kw(group: Group, problem: Problem, devices: Mapping[str, DevicePlan], step: int) -> float:
    shared = (group.share(name) * devices[name].power_kw[step] for name in group.devices if name in devices)
    return float(np.sum(list(shared)) + group.loads_kw(problem.steps)[0][step])
