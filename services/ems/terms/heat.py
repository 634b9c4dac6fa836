"""Heat pumps with thermal buffers: a store with a conversion that varies in time, losses, and heat that is wanted.

Within a step power p, COP and demand d are constant, so the heat in store at its end follows in closed form from
dE/dt = COP·p − d − λE:

    e_h = a·e_{h−1} + b·(COP_h·p_h − d_h) + unserved_h,   a = e^(−λΔt),   b = (1 − a)/λ (Δt without losses).

The comfort band is soft: e = level − cold with level ≥ the band's lower end, and ``cold`` has the price of a shortfall
per kWh and hour. Demand that an empty buffer cannot meet is ``unserved``. Its price is above what the band could gain
by it, and falls with time by more than the band could gain by going without earlier: so nobody goes without while there
is heat.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.messages import DevicePlan, Shortfall, ShortfallKind
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.problem import HeatUnit, Problem
from services.ems.solution import Solution, Values
from services.ems.stores import Array
from services.ems.terms.base import AT_ONCE_KW, SMALL_KWH, Commands, Term, clipped_kw, without_tolerance

HEAT_POWER = "heat_power"
_LEVEL, _COLD, _UNSERVED, _FLAG = "heat_level", "heat_cold", "heat_unserved", "heat_flag"


class HeatShape(NamedTuple):
    """What of a heat pump stands in the matrix."""

    kept: float
    """a: part of the heat in store that is left after a step."""
    max_power_kw: float
    min_power_kw: float


class Heat(Term[tuple[HeatShape, ...]]):
    name = "heat"
    shape_type = tuple[HeatShape, ...]

    def shape(self, instance: Instance) -> tuple[HeatShape, ...]:
        step_h = instance.problem.step_h
        units = instance.problem.heat
        return tuple(HeatShape(_kept(unit, step_h), unit.max_power_kw, unit.min_power_kw) for unit in units)

    def variables(self, m: Model) -> None:
        if not (count := len(m.shape(self))):
            return
        m.variable(HEAT_POWER, count, upper=_each(lambda unit, _: unit.max_power_kw))
        m.variable(_LEVEL, count, lower=_each(lambda unit, _: unit.energy_min_kwh), upper=_each(_highest_kwh))
        m.variable(_COLD, count, upper=_each(lambda unit, _: unit.energy_min_kwh))
        m.variable(_UNSERVED, count, upper=_each(lambda unit, p: _delay_h(unit, p.step_h) * np.array(unit.demand_kw)))
        m.penalty(_COLD, lambda i: i.problem.prices.shortfall_eur_per_kwh, per_kwh=True)
        m.penalty(_UNSERVED, lambda i: _unserved_eur_per_kwh(i.problem))
        if flagged := _flagged(m):
            m.variable(_FLAG, len(flagged), upper=1.0, whole=_now)
        m.supply(-m[HEAT_POWER].sum())

    def constraints(self, m: Model) -> None:
        """The balance of heat, and the smallest power in the step that is commanded now, for the reasons of
        `services.ems.binaries.required_for_smallest_power`."""
        if not (shapes := m.shape(self)):
            return
        energy = m[_LEVEL] - m[_COLD]
        change = energy - m[HEAT_POWER] - m[_UNSERVED]
        m.rows("heat-balance_initial", change[:, :1], equal=_balance_kwh)
        m.coefficient(HEAT_POWER, "heat-balance_initial", _minus_gain_h)
        if m.steps > 1:
            kept = np.array([shape.kept for shape in shapes])[:, None]
            m.rows("heat-balance", change[:, 1:] - energy[:, :-1] * kept, equal=_balance_kwh, first=1)
            m.coefficient(HEAT_POWER, "heat-balance", _minus_gain_h)
        if flagged := _flagged(m):
            power = m[HEAT_POWER][flagged]
            least, most = (
                np.array([[getattr(shapes[i], name)] for i in flagged]) for name in ("min_power_kw", "max_power_kw")
            )
            m.rows("heat-smallest_power", power - m[_FLAG] * least, at_least=_zero, mask=_now)
            m.rows("heat-flag", power - m[_FLAG] * most, at_most=_zero, mask=_now)

    def relaxation_is_exact(self, values: Values) -> bool:
        """No heat pump is below its smallest power in the first step."""
        units = values.instance.problem.heat
        powers = values.of(HEAT_POWER)[:, 0]
        return not any(AT_ONCE_KW < p < u.min_power_kw - AT_ONCE_KW for p, u in zip(powers, units, strict=True))

    def device_plans(self, solution: Solution) -> Mapping[str, DevicePlan]:
        energy, power = heat_kwh(solution), solution.of(HEAT_POWER)
        return {
            unit.device: DevicePlan(
                power_kw=clipped_kw(power[i]),
                soc_frac=tuple(np.clip(energy[i] / unit.capacity_kwh, 0.0, 1.0).tolist()),
            )
            for i, unit in enumerate(solution.problem.heat)
        }

    def commands(self, solution: Solution) -> Commands:
        powers = solution.of(HEAT_POWER)
        return Commands(
            {
                unit.device: without_tolerance(min(float(powers[i, 0]), unit.max_power_kw), unit.min_power_kw)
                for i, unit in enumerate(solution.problem.heat)
            },
            {},
        )

    def penalty_eur(self, solution: Solution) -> float:
        problem = solution.problem
        cold = problem.prices.shortfall_eur_per_kwh * problem.step_h * float(solution.of(_COLD).sum())
        return cold + float((solution.of(_UNSERVED) @ _unserved_eur_per_kwh(problem)).sum())

    def shortfalls(self, solution: Solution) -> Sequence[Shortfall]:
        """Of each buffer one for the band, with the worst step's heat, and one for the heat that cannot be served."""
        problem = solution.problem
        found = []
        for i, unit in enumerate(problem.heat):
            band = np.full(problem.steps, problem.prices.shortfall_eur_per_kwh * problem.step_h)
            for kind, name, price, total in (
                (ShortfallKind.COMFORT, _COLD, band, np.max),
                (ShortfallKind.UNSERVED_HEAT, _UNSERVED, _unserved_eur_per_kwh(problem), np.sum),
            ):
                missing = solution.of(name)[i]
                steps = (missing > SMALL_KWH).nonzero()[0]
                if len(steps):
                    at, kwh = problem.step_start(int(steps[0]) + 1), float(total(missing))
                    eur = float(price[steps] @ missing[steps])
                    found.append(Shortfall(kind=kind, device=unit.device, at=at, kwh=kwh, eur=eur))
        return found


HEAT = Heat()


def electricity_to_heat(solution: Solution) -> Array:
    """Heat in store at a step's end for each kWh of electricity in it, shape (heat pump, step)."""
    return -_minus_gain_h(solution.values.instance) / solution.problem.step_h


def heat_kwh(solution: Solution) -> Array:
    """Heat in store at the end of each step, shape (heat pump, step)."""
    return solution.of(_LEVEL) - solution.of(_COLD)


def _delay_h(unit: HeatUnit, step_h: float) -> float:
    """b: heat at a step's end for each kW of heat during it [h]."""
    loss = unit.loss_frac_per_h
    return -math.expm1(-loss * step_h) / loss if loss > 0 else step_h


def _kept(unit: HeatUnit, step_h: float) -> float:
    return math.exp(-unit.loss_frac_per_h * step_h)


def _minus_gain_h(instance: Instance) -> Array:
    """−b·COP: the heat [kWh] at the step's end for each kW, with its sign in the balance."""
    problem = instance.problem
    return np.array([-_delay_h(unit, problem.step_h) * np.array(unit.cop) for unit in problem.heat])


def _unserved_eur_per_kwh(problem: Problem) -> Array:
    """By step: the price of a shortfall, times one plus 1.25 for every hour that is left.

    A kWh that is not served at h may hold the band until the window's end, or until a later step in which it is missing
    instead: it gains the price for the hours until then at most, and costs a quarter more than that.
    """
    left_h: Array = (problem.steps - np.arange(problem.steps, dtype=np.float64)) * problem.step_h
    price: Array = problem.prices.shortfall_eur_per_kwh * (1 + 1.25 * left_h)
    return price


def _highest_kwh(unit: HeatUnit, problem: Problem) -> Array:
    """The band's upper end, or what is left of heat that is above it already when nothing is added."""
    kept, delay_h = _kept(unit, problem.step_h), _delay_h(unit, problem.step_h)
    left, highest = unit.energy_kwh, np.zeros(problem.steps)
    for step, demand_kw in enumerate(unit.demand_kw):
        left = max(kept * left - delay_h * demand_kw, 0.0)
        highest[step] = max(unit.energy_max_kwh, left)
    return highest


def _balance_kwh(instance: Instance) -> Array:
    """Right sides: what is wanted, and in the first step what is in store."""
    problem = instance.problem
    rows = np.array([-_delay_h(unit, problem.step_h) * np.array(unit.demand_kw) for unit in problem.heat])
    rows[:, 0] += [_kept(unit, problem.step_h) * unit.energy_kwh for unit in problem.heat]
    return rows


def _each(value: Callable[[HeatUnit, Problem], float | Array]) -> Callable[[Instance], Array]:
    """One row per heat pump, as many numbers as steps."""
    return lambda i: np.array([np.broadcast_to(value(unit, i.problem), i.problem.steps) for unit in i.problem.heat])


def _shapes(m: Model) -> tuple[HeatShape, ...]:
    return m.shape(HEAT)


def _flagged(m: Model) -> list[int]:
    return [i for i, shape in enumerate(_shapes(m)) if shape.min_power_kw > 0]


def _now(instance: Instance) -> NDArray[np.bool_]:
    first: NDArray[np.bool_] = np.arange(instance.problem.steps) == 0
    return first


def _zero(instance: Instance) -> Array:
    return np.zeros(instance.problem.steps)
