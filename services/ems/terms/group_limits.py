"""Limits of devices together: behind one cable or transformer, on a phase of it, or in a group that the site names."""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np

from services.ems.compile import Expression, Model
from services.ems.instance import Instance
from services.ems.problem import Group, OutsideLimit, Problem
from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms.base import UNBOUNDED_KW, Excess, Term
from services.ems.terms.heat import HEAT_POWER
from services.ems.terms.pv import curtailable


class GroupShape(NamedTuple):
    """Stores, curtailable inverters and heat pumps by their index, each with the share of its power that counts."""

    stores: tuple[tuple[int, float], ...]
    pv: tuple[tuple[int, float], ...]
    heat: tuple[tuple[int, float], ...] = ()


class GroupLimits(Term[tuple[GroupShape, ...]]):
    name = "group_limits"
    shape_type = tuple[GroupShape, ...]

    def shape(self, instance: Instance) -> tuple[GroupShape, ...]:
        return tuple(members_of(group, instance) for group in instance.problem.groups)

    def variables(self, m: Model) -> None:
        shapes = m.shape(self)
        if count := len(shapes):
            for name in ("group_up", "group_down"):
                m.variable(name, count, upper=UNBOUNDED_KW)
                m.penalty(name, lambda i: i.problem.prices.limit_eur_per_kwh, per_kwh=True)

    def constraints(self, m: Model) -> None:
        """−limit ≤ load + Σ_group share·(charge − discharge − pv + heat) − over_up + over_down ≤ limit: one cable feeds
        many.

        All of a device's power counts, or what is on one phase: a third of a three-phase device's, all of a
        single-phase one's. A load that may be there or not, and is greater than both limits together, leaves no room
        for either.
        """
        shapes = m.shape(self)
        for index, group in enumerate(shapes):
            parts = [m["group_down"][index] - m["group_up"][index], *powers_of(m, group)]

            def room(instance: Instance, index: int = index) -> Array:
                group = instance.problem.groups[index]
                most, _ = map(np.array, group.loads_kw(instance.problem.steps))
                upper: Array = group.limit_kw - (most + fixed_kw(group, instance.problem))
                return upper

            def least(instance: Instance, index: int = index) -> Array:
                group = instance.problem.groups[index]
                _, certain = map(np.array, group.loads_kw(instance.problem.steps))
                lower = -group.limit_kw - (certain + fixed_kw(group, instance.problem))
                return np.minimum(lower, room(instance))

            m.rows(f"group-limit_{index}", reduce(add, parts), at_least=least, at_most=room)

    def excesses(self, solution: Solution) -> Sequence[Excess]:
        over = solution.of("group_up") + solution.of("group_down")
        groups = solution.problem.groups
        price = solution.problem.prices.limit_eur_per_kwh
        return [Excess(group.kind, group.element or None, kw, price) for group, kw in zip(groups, over, strict=True)]


def members_of(group: Group | OutsideLimit, instance: Instance) -> GroupShape:
    """A group's stores, inverters and heat pumps."""
    inverters, pumps = curtailable(instance.problem), instance.problem.heat
    return GroupShape(
        stores=tuple((i, s) for i, store in enumerate(instance.stores) if (s := group.share(store.device))),
        pv=tuple((i, s) for i, unit in enumerate(inverters) if (s := group.share(unit.device))),
        heat=tuple((i, s) for i, unit in enumerate(pumps) if (s := group.share(unit.device))),
    )


def powers_of(m: Model, group: GroupShape) -> list[Expression]:
    """What of the powers of a group's members counts, positive when drawn."""
    powers = [(m["charge"][i] - m["discharge"][i]) * share for i, share in group.stores]
    powers += [-m["pv"][i] * share for i, share in group.pv]
    return powers + [m[HEAT_POWER][i] * share for i, share in group.heat]


def fixed_kw(group: Group | OutsideLimit, problem: Problem) -> Array:
    """Power of the group's devices that is not decided."""
    fixed: Array = np.zeros(problem.steps)
    for unit in problem.fixed:
        if unit.device in group.devices:
            fixed = fixed + group.share(unit.device) * np.array(unit.power_kw)
    for pv in problem.pv:
        if pv.device in group.devices and not pv.curtailable:
            fixed = fixed - group.share(pv.device) * np.array(pv.available_kw)
    return fixed
