"""What another kWh would cost in each step, and what one in store is worth: the duals of a solution.

The price of energy at the site's bus is the dual of the power balance: by how much the objective rises for each kWh
that is drawn besides. In it are the price at the PCC, the month's peak and every limit that binds there. Where several
prices support one plan, it is one of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.ems.problem import Group, OutsideLimit
from services.ems.solution import Solution
from services.ems.stores import Array
from services.ems.terms import TERMS
from services.ems.terms.base import SMALL_KW
from services.ems.terms.demand_charge import PEAKS
from services.ems.terms.exchange import EXPORT, IMPORT
from services.ems.terms.highest_import import HIGHESTS

PEAK = "peak"
CONNECTION = "connection"
AT_PCC = "pcc"


@dataclass(frozen=True, slots=True)
class MarginalPrices:
    """Prices [€/kWh] by step of the problem."""

    bus: Array
    """Of energy at the site's bus, shape (step,)."""
    parts: Mapping[str, Array]
    """What of it is not the price at the PCC: `PEAK`, and limits by their names. What they add, by step."""
    groups: tuple[tuple[Group | OutsideLimit, str, Array], ...]
    """Limits of groups: with their name, what they add to the price for a member with the share 1."""
    stored: Array
    """Of energy in each store at the end of a step, shape (store, step)."""

    def at(self, device: str) -> dict[str, Array]:
        """The parts for a device: those at the PCC, and those of the groups that it is in."""
        found = dict(self.parts)
        for group, name, price in self.groups:
            if share := group.share(device):
                found[name] = found.get(name, np.zeros_like(price)) + share * price
        return found

    def local(self, device: str) -> float:
        """The price of energy at a device in the first step: that at the bus, and what the limits of its groups add."""
        return float(self.local_by_step(device)[0])

    def local_by_step(self, device: str) -> Array:
        """The same in each step."""
        total: Array = self.bus + sum(group.share(device) * price for group, _, price in self.groups)
        return total


def marginal_prices(solution: Solution) -> MarginalPrices | None:
    """None: the solution has no duals."""
    if solution.duals is None:
        return None
    problem, step_h = solution.problem, solution.problem.step_h
    bus = np.zeros(problem.steps)
    for term in TERMS:
        bus += term.demand_price(solution) / step_h
    imported, exported = IMPORT.total_kw(solution), EXPORT.total_kw(solution)
    rows = (*(f"pcc-demand_{peak}" for peak in PEAKS), *(f"pcc-{highest}" for highest in HIGHESTS))
    parts: dict[str, Array] = {PEAK: -sum((solution.dual(row) for row in rows), np.zeros(problem.steps)) / step_h}
    groups: list[tuple[Group | OutsideLimit, str, Array]] = []
    for index, limit in enumerate(problem.outside_limits):
        if limit.group:
            groups.append((limit, limit.group, -solution.dual(f"outside-group_{index}") / step_h))
            continue
        import_price = -solution.dual(f"outside-import_{index}") / step_h
        export_price = -solution.dual(f"outside-export_{index}") / step_h
        parts[AT_PCC] = parts.get(AT_PCC, np.zeros(problem.steps)) + import_price - export_price
    for index, group in enumerate(problem.groups):
        groups.append((group, group.element or "group", -solution.dual(f"group-limit_{index}") / step_h))
    # The connection's limit is the upper bound of the flow, which has no row: what is left of the price is its own.
    rest = bus - sum(parts.values(), np.zeros(problem.steps))
    bought, sold = np.array(problem.import_eur_per_kwh), np.array(problem.export_eur_per_kwh)
    at_limit = imported >= problem.import_limit_kw - SMALL_KW, exported >= problem.export_limit_kw - SMALL_KW
    parts[CONNECTION] = np.where(at_limit[0], rest - bought, np.where(at_limit[1], rest - sold, 0.0))
    return MarginalPrices(bus, parts, tuple(groups), _stored(solution))


def _stored(solution: Solution) -> Array:
    if not solution.stores:
        return np.zeros((0, solution.problem.steps))
    # In a step that is the first of the model only one of them has a row, and the other is 0.
    return -(solution.dual("store-energy_initial") + solution.dual("store-energy_balance"))
