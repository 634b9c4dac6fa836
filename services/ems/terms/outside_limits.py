"""Limits from outside: what a grid operator, or another source, allows at the PCC or to a named group."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

from schemas.limits import PCC
from schemas.messages import PlannedLimit, ShortfallKind
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.problem import OutsideLimit, Values
from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms.base import UNBOUNDED_KW, Excess, Term
from services.ems.terms.exchange import EXPORT, IMPORT
from services.ems.terms.group_limits import GroupShape, fixed_kw, members_of, powers_of


class OutsideShape(NamedTuple):
    """The group that is limited; None: the PCC."""

    group: GroupShape | None


class OutsideLimits(Term[tuple[OutsideShape, ...]]):
    """Soft, at a price above that of every missing energy and below that of the limits of connection and network.

    `services.ems.problem_builder.objective` sets the prices so.
    """

    name = "outside_limits"
    shape_type = tuple[OutsideShape, ...]

    def shape(self, instance: Instance) -> tuple[OutsideShape, ...]:
        limits = instance.problem.outside_limits
        return tuple(OutsideShape(members_of(limit, instance) if limit.group else None) for limit in limits)

    def variables(self, m: Model) -> None:
        shapes = m.shape(self)
        if count := len(shapes):
            for name in ("outside_import_over", "outside_export_over"):
                m.variable(name, count, upper=UNBOUNDED_KW)
                m.penalty(name, lambda i: np.array(i.problem.outside_limit_eur_per_kwh), per_kwh=True)

    def constraints(self, m: Model) -> None:
        """At the PCC: Σ import − over ≤ allowed, Σ export − over ≤ allowed, in the steps in which a limit is valid.

        Of a group: −allowed_export ≤ Σ share·(charge − discharge − pv + heat) + fixed − over_import + over_export ≤
        allowed_import.
        """
        shapes = m.shape(self)
        for index, shape in enumerate(shapes):
            over_import, over_export = m["outside_import_over"][index], m["outside_export_over"][index]
            if shape.group is None:
                m.rows(f"outside-import_{index}", IMPORT.total(m) - over_import, at_most=_import_kw(index))
                m.rows(f"outside-export_{index}", EXPORT.total(m) - over_export, at_most=_export_kw(index))
            else:
                net = reduce(add, powers_of(m, shape.group), over_export - over_import)
                m.rows(f"outside-group_{index}", net, at_least=_least(index), at_most=_most(index))

    def excesses(self, solution: Solution) -> Sequence[Excess]:
        over = solution.of("outside_import_over") + solution.of("outside_export_over")
        limits = solution.problem.outside_limits
        price = solution.problem.outside_limit_eur_per_kwh
        kind = ShortfallKind.OUTSIDE_LIMIT
        return [Excess(kind, limit.group or PCC, kw, price) for limit, kw in zip(limits, over, strict=True)]

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        return {"limits": tuple(_planned(limit) for limit in solution.problem.outside_limits)}


def _import_kw(index: int) -> Callable[[Instance], Array]:
    return lambda instance: np.array(instance.problem.outside_limits[index].import_kw)


def _export_kw(index: int) -> Callable[[Instance], Array]:
    return lambda instance: np.array(instance.problem.outside_limits[index].export_kw)


def _most(index: int) -> Callable[[Instance], Array]:
    def upper(instance: Instance) -> Array:
        limit = instance.problem.outside_limits[index]
        most: Array = np.array(limit.import_kw) - fixed_kw(limit, instance.problem)
        return most

    return upper


def _least(index: int) -> Callable[[Instance], Array]:
    def lower(instance: Instance) -> Array:
        limit = instance.problem.outside_limits[index]
        least: Array = -np.array(limit.export_kw) - fixed_kw(limit, instance.problem)
        return least

    return lower


def _planned(limit: OutsideLimit) -> PlannedLimit:
    return PlannedLimit(
        group=limit.group or None,
        source=limit.source,
        failsafe=limit.failsafe,
        import_kw=_finite(limit.import_kw),
        export_kw=_finite(limit.export_kw),
    )


def _finite(values: Values) -> tuple[float | None, ...] | None:
    found = tuple(None if np.isinf(value) else value for value in values)
    return found if any(value is not None for value in found) else None
