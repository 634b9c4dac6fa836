"""The secondary objective: of plans of equal cost the one with least throughput, then a flat PCC.

Plans of equal cost can lie tens of kW apart at the PCC. Each higher band of import, or of export, costs a little more.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms.base import Term
from services.ems.terms.exchange import EXPORT, IMPORT, Direction
from services.ems.terms.heat import HEAT, HEAT_POWER
from services.ems.terms.storage import STORAGE


class TieBreak(Term[None]):
    """Δt·(w_throughput·Σ (charge + discharge + heat pumps) + w_flat·Σ band·power of the band)."""

    name = "tie_break"

    def variables(self, m: Model) -> None:
        flows = ("charge", "discharge") if m.shape(STORAGE) else ()
        for flow in (*flows, *((HEAT_POWER,) if m.shape(HEAT) else ())):
            m.cost(flow, lambda i: i.problem.prices.tie_throughput_eur_per_kwh, per_kwh=True)
        for direction in (IMPORT, EXPORT):
            m.cost(direction.bands, _flat(direction), per_kwh=True)
            m.cost(direction.over, _highest(direction), per_kwh=True)

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        return {"tie_break_eur": tie_break_eur(solution)}


def tie_break_eur(solution: Solution) -> float:
    """Value of the secondary objective [€]."""
    problem, prices = solution.problem, solution.problem.prices
    throughput = float(solution.of("charge").sum() + solution.of("discharge").sum() + solution.of(HEAT_POWER).sum())
    bands = [(way, solution.of(way.bands), solution.of(way.over)) for way in (IMPORT, EXPORT)]
    flat = 0.0
    for _, powers, _ in bands:
        flat += float(np.arange(len(powers)) @ powers.sum(axis=1))
    for way, _, over in bands:
        flat += (way.count - 1) * float(over.sum())
    return problem.step_h * (prices.tie_throughput_eur_per_kwh * throughput + prices.tie_flat_eur_per_kwh * flat)


def _flat(direction: Direction) -> Callable[[Instance], Array]:
    def price(instance: Instance) -> Array:
        bands: Array = np.arange(direction.count, dtype=np.float64)
        return bands[:, None] * instance.problem.prices.tie_flat_eur_per_kwh

    return price


def _highest(direction: Direction) -> Callable[[Instance], float]:
    return lambda instance: (direction.count - 1) * instance.problem.prices.tie_flat_eur_per_kwh
