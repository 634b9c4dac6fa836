"""Import or export: equations (20) and (21) with binaries, where the sale price is the higher."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.ems.binaries import largest_exchange, undecided_demand
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Solution, Values
from services.ems.stores import Array
from services.ems.terms.base import AT_ONCE_KW, Term, spread
from services.ems.terms.exchange import EXPORT, IMPORT, Direction
from services.ems.terms.heat import HEAT_POWER
from services.ems.terms.pv import curtailable


class PccExclusion(Term[bool]):
    """The shape says whether there are binaries."""

    name = "pcc_exclusion"
    shape_type = bool

    def shape(self, instance: Instance) -> bool:
        return bool(instance.required.pcc.any())

    def covers(self, have: bool, want: bool) -> bool:
        return have or not want

    def variables(self, m: Model) -> None:
        if m.shape(self):
            for direction in (IMPORT, EXPORT):
                m.variable(direction.flag, upper=1.0, whole=_open)
            for part in PARTS:
                if part.flow in m.columns:
                    members = m.columns[part.flow].slice.shape[:-1]
                    m.variable(part.name, *members, upper=_where_open(part))

    def constraints(self, m: Model) -> None:
        """Σ import bands ≤ flag_in·M_in, Σ export bands ≤ flag_out·M_out, flag_in + flag_out ≤ 1.

        M is the most that can flow in the step: what the devices could draw or give together, at most the connection's
        limit. What exceeds the limits is left out: at its price (tens of € per kWh) nobody buys to sell.

        In each direction the power balance holds on its own. Every flow has a part while the site imports and one while
        it exports, each at most the flow's largest power times that direction's flag. With D, the demand that is not
        decided (negative: a surplus):

            Σ import bands ≤ D·flag_in + (Σ charge + Σ heat pumps − Σ discharge − Σ PV) while importing
            Σ export bands ≤ −D·flag_out + (Σ discharge + Σ PV − Σ charge − Σ heat pumps) while exporting

        These cut nothing off: where a flag is 1, the parts of the other direction are 0 and its row says 0 ≤ 0. They
        are the convex hull of both directions in one step (E. Balas 1979, doi 10.1016/S0167-5060(08)70342-X). Without
        them a relaxation buys and sells at once while every store rests or while one gives to the other; with them it
        has to share the step between the directions.
        """
        if not m.shape(self):
            return
        for direction in (IMPORT, EXPORT):
            name = f"pcc-{direction.flag}"
            m.rows(name, m[direction.bands].sum() - m[direction.flag], at_most=0.0)
            m.coefficient(direction.flag, name, _most(direction))
        m.rows("pcc-one_flag", m[IMPORT.flag] + m[EXPORT.flag], at_most=1.0)
        parts = [part for part in PARTS if part.flow in m.columns]
        for part in parts:
            own, other = m[part.name], m[part.flow] - m[part.name]
            other_way = EXPORT if part.while_ is IMPORT else IMPORT
            m.rows(f"pcc-{part.name}", -other, at_most=0.0)
            for power, way, name in ((own, part.while_, f"{part.name}_most"), (other, other_way, f"{part.name}_rest")):
                m.rows(f"pcc-{name}", power - m[way.flag], at_most=_nothing, mask=_open)
                m.coefficient(way.flag, f"pcc-{name}", _largest(part))
        for direction in (IMPORT, EXPORT):
            name = f"pcc-{direction.name}_balance"
            left = m[direction.bands].sum() - m[direction.flag]
            for part in parts:
                power = m[part.name] if part.while_ is direction else m[part.flow] - m[part.name]
                left = left - power.sum() * (part.sign * direction.sign)
            m.rows(name, left, at_most=_nothing, mask=_open)
            m.coefficient(direction.flag, name, _undecided(direction))

    def demand_price(self, solution: Solution) -> Array:
        """Demand stands in these rows as a coefficient of the flags, and so in M, where that is no limit's."""
        price: Array = np.zeros(solution.problem.steps)
        if IMPORT.flag not in solution.values.model.columns_of:
            return price
        problem = solution.problem
        most = largest_exchange(problem, solution.stores)
        for direction, kw in zip((IMPORT, EXPORT), most, strict=True):
            grows = (kw > 0) & (kw < direction.limit_kw(problem))
            dual = solution.dual(f"pcc-{direction.name}_balance") + grows * solution.dual(f"pcc-{direction.flag}")
            price += direction.sign * dual * solution.of(direction.flag)
        return price

    def relaxation_is_exact(self, values: Values) -> bool:
        imports, exports = (values.of(direction.bands).sum(axis=0) for direction in (IMPORT, EXPORT))
        both = (imports > AT_ONCE_KW) & (exports > AT_ONCE_KW)
        return not bool((values.instance.required.pcc & both).any())

    def rounded(self, values: Values) -> Mapping[str, NDArray[np.bool_]]:
        if IMPORT.flag not in values.model.columns_of:
            return {}
        most = largest_exchange(values.instance.problem, values.instance.stores)
        imports, exports = (
            values.of(direction.bands).sum(axis=0) / np.where(kw > 0, kw, 1.0)
            for direction, kw in zip((IMPORT, EXPORT), most, strict=True)
        )
        flag = spread(imports[None, :], exports[None, :])[0]
        return {IMPORT.flag: flag, EXPORT.flag: ~flag}


class Part(NamedTuple):
    """The part of a flow that flows while the site imports, or exports; the rest flows in the other direction."""

    name: str
    flow: str
    while_: Direction
    sign: int
    """In the demand of the site."""
    largest_kw: Callable[[Instance], Array]


def _of_stores(name: str) -> Callable[[Instance], Array]:
    return lambda instance: np.array([getattr(store, name) for store in instance.stores])


def _of_heat(instance: Instance) -> Array:
    return np.array([[pump.max_power_kw] * instance.problem.steps for pump in instance.problem.heat])


def _of_pv(instance: Instance) -> Array:
    return np.array([unit.available_kw for unit in curtailable(instance.problem)])


PARTS = (
    Part("charge_importing", "charge", IMPORT, 1, _of_stores("charge_max_kw")),
    Part("discharge_exporting", "discharge", EXPORT, -1, _of_stores("discharge_max_kw")),
    Part("pv_exporting", "pv", EXPORT, -1, _of_pv),
    Part("heat_importing", HEAT_POWER, IMPORT, 1, _of_heat),
)


def _where_open(part: Part) -> Callable[[Instance], Array]:
    return lambda instance: np.where(_open(instance), part.largest_kw(instance), 0.0)


def _largest(part: Part) -> Callable[[Instance], Array]:
    return lambda instance: -part.largest_kw(instance)


def _nothing(instance: Instance) -> float:
    return 0.0


def _open(instance: Instance) -> NDArray[np.bool_]:
    """Where the direction is a choice: in other steps one M is 0, and the other flag 1."""
    most = largest_exchange(instance.problem, instance.stores)
    choice: NDArray[np.bool_] = instance.required.pcc & (most[0] > 0) & (most[1] > 0)
    return choice


def _undecided(direction: Direction) -> Callable[[Instance], Array]:
    def coefficient(instance: Instance) -> Array:
        demand: Array = -direction.sign * undecided_demand(instance.problem)
        return demand

    return coefficient


def _most(direction: Direction) -> Callable[[Instance], Array]:
    def coefficient(instance: Instance) -> Array:
        most: Array = -largest_exchange(instance.problem, instance.stores)[(IMPORT, EXPORT).index(direction)]
        return most

    return coefficient
