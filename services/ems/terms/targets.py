"""Soft targets of stored energy: a vehicle's at its departure (6), the BESS's at midnight, and a way back to a minimum.

`services.ems.stores` says which lower bound of a level is soft, and as a shortfall of which kind.
"""

from collections.abc import Sequence

import numpy as np

from schemas.messages import Shortfall, ShortfallKind
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms.base import SMALL_KWH, Term

SHORTFALL = "shortfall"
"""The variable: energy [kWh] by which a store misses its level's lower bound at a step's end."""


class Targets(Term[int]):
    """e = level − shortfall, shortfall ≥ 0 at a penalty; 0 where the lower bound is hard. Shape: number of stores."""

    name = "targets"
    shape_type = int

    def shape(self, instance: Instance) -> int:
        return len(instance.stores)

    def variables(self, m: Model) -> None:
        if count := m.shape(self):
            m.variable(SHORTFALL, count, upper=_most, stores=range(count))
            m.penalty(SHORTFALL, _eur_per_kwh)

    def penalty_eur(self, solution: Solution) -> float:
        weights = np.array([store.shortfall_weight for store in solution.stores])
        missing = solution.of(SHORTFALL)
        weighted = missing * weights if weights.size else missing
        return solution.problem.prices.shortfall_eur_per_kwh * float(weighted.sum())

    def shortfalls(self, solution: Solution) -> Sequence[Shortfall]:
        """One for each target that is missed; a store's steps below its minimum are one: the first, and their worst."""
        problem, values = solution.problem, solution.of(SHORTFALL)
        price = problem.prices.shortfall_eur_per_kwh
        found: list[Shortfall] = []
        short = values > SMALL_KWH
        for i in sorted(set(short.nonzero()[0].tolist())):
            store, missing = solution.stores[i], values[i]
            below = []
            for step in short[i].nonzero()[0].tolist():
                kind = store.kinds[step]
                if kind is None or kind is ShortfallKind.SOC_MIN:
                    below.append(step)
                    continue
                kwh, at = float(missing[step]), problem.step_start(step + 1)
                eur = kwh * price * float(store.shortfall_weight[step])
                found.append(Shortfall(kind=kind, device=store.device, at=at, kwh=kwh, eur=eur))
            if below:
                found.append(
                    Shortfall(
                        kind=ShortfallKind.SOC_MIN,
                        device=store.device,
                        at=problem.step_start(below[0] + 1),
                        kwh=float(missing[below].max()),
                        eur=price * float(missing[below].sum()),
                    )
                )
        return found


def _eur_per_kwh(instance: Instance) -> Array:
    weights = np.array([store.shortfall_weight for store in instance.stores])
    return instance.problem.prices.shortfall_eur_per_kwh * weights


def _most(instance: Instance) -> Array:
    return np.array([store.shortfall_max_kwh for store in instance.stores])
