"""Import and export at the PCC in bands, and their prices: equation (1)."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.ems.compile import Expression, Model
from services.ems.instance import Instance
from services.ems.problem import Problem
from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms.base import Term, clipped_kw


@dataclass(frozen=True, slots=True)
class Direction:
    """Import or export: the names of its variables, and the edges of its bands in parts of the flat reference m."""

    name: str
    bands: str
    over: str
    """The variable of what exceeds the connection's limit."""
    flag: str
    sign: int
    """In the balance at the PCC."""
    edges: tuple[float, ...]

    @property
    def count(self) -> int:
        """Number of bands: one up to each edge, and one above."""
        return len(self.edges) + 1

    def limit_kw(self, problem: Problem) -> float:
        """Limits of the connection."""
        return problem.import_limit_kw if self is IMPORT else problem.export_limit_kw

    def price_eur_per_kwh(self, problem: Problem) -> Array:
        """Cost of a kWh by step in the objective [€/kWh]; a sale is a negative cost."""
        return np.array(problem.import_eur_per_kwh) if self is IMPORT else -np.array(problem.export_eur_per_kwh)

    def total(self, m: Model) -> Expression:
        """All that flows in this direction."""
        return m[self.bands].sum() + m[self.over]

    def total_kw(self, solution: Solution) -> Array:
        """All that flows in this direction, shape (step,)."""
        total: Array = solution.of(self.bands).sum(axis=0) + solution.of(self.over)
        return total


IMPORT = Direction("import", "imports", "import_over", "import_flag", 1, (1.0, 1.25, 1.5))
EXPORT = Direction("export", "exports", "export_over", "export_flag", -1, (0.5,))


def band_widths_kw(direction: Direction, problem: Problem) -> tuple[float, ...]:
    """Widths of the bands up to each edge and above, cut off at the connection's limit, which is (20) and (21)."""
    limit = direction.limit_kw(problem)
    edges = [0.0, *(min(factor * problem.flat_reference_kw, limit) for factor in direction.edges), limit]
    return tuple(above - below for below, above in itertools.pairwise(edges))


class Exchange(Term[None]):
    """(1) min Σ (import·purchase − export·sale)·Δt, in bands for the sake of `services.ems.terms.tie_break`."""

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.name = f"exchange_{direction.name}"

    def variables(self, m: Model) -> None:
        way = self.direction

        def widths(instance: Instance) -> Array:
            return np.array(band_widths_kw(way, instance.problem))[:, None]

        m.variable(way.bands, way.count, upper=widths)
        m.cost(way.bands, lambda i: way.price_eur_per_kwh(i.problem), per_kwh=True)
        m.supply(m[way.bands].sum() * way.sign)

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        if self.direction is not IMPORT:
            return {}
        problem = solution.problem
        bought, sold = IMPORT.total_kw(solution), EXPORT.total_kw(solution)
        cost = np.array(problem.purchase_eur_per_kwh) @ bought - np.array(problem.sale_eur_per_kwh) @ sold
        return {
            "objective_eur": problem.step_h * float(cost),
            "pcc_kw": clipped_kw(bought - sold),
            "purchase_price_eur_per_kwh": problem.purchase_eur_per_kwh,
            "sale_price_eur_per_kwh": problem.sale_eur_per_kwh,
        }
