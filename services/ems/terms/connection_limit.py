"""The connection's limits at the PCC, equations (20) and (21), made soft."""

from collections.abc import Sequence

from schemas.messages import ShortfallKind
from services.ems.compile import Model
from services.ems.solution import Solution
from services.ems.terms.base import UNBOUNDED_KW, Excess, Term
from services.ems.terms.exchange import Direction


class ConnectionLimit(Term[None]):
    """Σ bands ≤ limit, by their widths; ``over`` is what exceeds it, at energy's price and a penalty."""

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.name = f"connection_limit_{direction.name}"

    def variables(self, m: Model) -> None:
        way = self.direction
        m.variable(way.over, upper=UNBOUNDED_KW)
        m.cost(way.over, lambda i: way.price_eur_per_kwh(i.problem), per_kwh=True)
        m.penalty(way.over, lambda i: i.problem.prices.limit_eur_per_kwh, per_kwh=True)
        m.supply(m[way.over] * way.sign)

    def excesses(self, solution: Solution) -> Sequence[Excess]:
        price = solution.problem.prices.limit_eur_per_kwh
        return [Excess(ShortfallKind.CONNECTION_LIMIT, None, solution.of(self.direction.over), price)]
