"""A term of the optimisation: one subject in one file, from its variables to its fields in the plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.messages import DevicePlan, Shortfall, ShortfallKind
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Solution, Values
from services.ems.stores import Array

S = TypeVar("S")

UNBOUNDED_KW = 1e6
"""Upper bound of what exceeds a soft limit, so that no price makes a problem unbounded."""

AT_ONCE_KW = 1e-7
"""Flows below this do not count as flowing: the solver's feasibility tolerance."""

SMALL_KWH = 1e-6
"""A shortfall below this is the solver's tolerance, not a shortfall."""

SMALL_KW = 1e-6

LARGEST_KW = 1e6
"""Range of `schemas.units.Kw`."""


@dataclass(frozen=True, slots=True)
class Excess:
    """Power above a soft limit, in either direction [kW], by step."""

    kind: ShortfallKind
    element: str | None
    """The limited element. None: the connection."""
    over_kw: Array
    eur_per_kwh: float | tuple[float, ...]
    """In every step, or by step."""

    def eur(self, step_h: float) -> float:
        """What all of it costs."""
        if isinstance(self.eur_per_kwh, tuple):
            return step_h * float(np.array(self.eur_per_kwh) @ self.over_kw)
        return self.eur_per_kwh * step_h * float(self.over_kw.sum())


@dataclass(frozen=True, slots=True)
class Commands:
    """Powers and production limits of the first step [kW], by device."""

    power_kw: Mapping[str, float]
    limit_kw: Mapping[str, float]


def clipped_kw(values: Array | tuple[float, ...]) -> tuple[float, ...]:
    """Powers as the contract admits them: a sum of absurd measurements may exceed what one message may hold."""
    powers = values if isinstance(values, tuple) else tuple(values.tolist())
    if min(powers) >= -LARGEST_KW and max(powers) <= LARGEST_KW:
        return powers
    return tuple(np.clip(powers, -LARGEST_KW, LARGEST_KW).tolist())


def without_tolerance(power_kw: float, least_kw: float) -> float:
    """0 for what is nearly 0, the smallest power for what is nearly that."""
    if abs(power_kw) < SMALL_KW:
        return 0.0
    if least_kw - SMALL_KW <= abs(power_kw) < least_kw:
        return least_kw if power_kw > 0 else -least_kw
    return power_kw


def spread(first: Array, second: Array) -> NDArray[np.bool_]:
    """Which of two shares of a step is to have the whole of it, shape (member, step): sum-up rounding.

    Where both have a part, what the first did not get is owed to it in the next such step, so that a sum over time is
    never off by more than one step (Sager, Bock, Diehl 2012, doi 10.1007/s10107-010-0405-3).
    """
    both, owed = (first > AT_ONCE_KW) & (second > AT_ONCE_KW), np.zeros(len(first))
    chosen: NDArray[np.bool_] = first >= second
    for step in range(first.shape[1]):
        part = first[:, step] / np.maximum(first[:, step] + second[:, step], AT_ONCE_KW)
        owed = owed + np.where(both[:, step], part, 0.0)
        chosen[:, step] = np.where(both[:, step], owed >= 0.5, chosen[:, step])
        owed = owed - (both[:, step] & chosen[:, step])
    return chosen


class Term(Generic[S]):
    """One subject of the optimisation. What a term does not override, it does not have.

    ``S`` is the type of its *shape*: that part of the problem which stands in the matrix. A shape is hashable and made
    of what JSON knows; where shapes agree, the compiled model is used again.
    """

    name: str
    """The term's unique name; a checkpoint finds its shape by it."""
    shape_type: ClassVar[Any] = type(None)
    """``S``, as pydantic reads it from JSON."""

    def shape(self, instance: Instance) -> S:
        """The part of the problem that stands in the matrix; None: nothing."""
        return None  # type: ignore[return-value]

    def covers(self, have: S, want: S) -> bool:
        """Whether a model of the shape ``have`` serves a problem of the shape ``want``."""
        return have == want

    def variables(self, m: Model) -> None:
        """Variables with their bounds and costs, and what they supply to the power balance at the PCC."""

    def constraints(self, m: Model) -> None:
        """Equations. The variables of all terms are there."""

    def relaxation_is_exact(self, values: Values) -> bool:
        """Whether a solution of the LP relaxation obeys what the term's binaries demand."""
        return not bool(self.inexact_stores(values).any())

    def inexact_stores(self, values: Values) -> NDArray[np.bool_]:
        """Stores that do not obey it, where the term's binaries are of stores."""
        return np.zeros(len(values.instance.stores), dtype=np.bool_)

    def rounded(self, values: Values) -> Mapping[str, NDArray[np.bool_]]:
        """Values of the term's binaries near a solution of the LP relaxation, by name, in the steps of the problem.

        They need not be feasible together: the solver tries them, and knows what they cost.
        """
        return {}

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        """Fields of the plan that are this term's."""
        return {}

    def device_plans(self, solution: Solution) -> Mapping[str, DevicePlan]:
        """Powers and SOCs of the devices that are this term's."""
        return {}

    def commands(self, solution: Solution) -> Commands:
        """The commands of this term's devices for the first step."""
        return Commands({}, {})

    def penalty_eur(self, solution: Solution) -> float:
        """Price of the soft targets that are missed [€]."""
        return 0.0

    def shortfalls(self, solution: Solution) -> Sequence[Shortfall]:
        """Soft targets that are missed."""
        return ()

    def demand_price(self, solution: Solution) -> Array | float:
        """By how much the objective rises for each kW of demand in a step because of this term's rows [€]."""
        return 0.0

    def excesses(self, solution: Solution) -> Sequence[Excess]:
        """Soft limits that are exceeded."""
        return ()
