"""What persons ask for, as a wish with a price: dearer than energy, cheaper than a limit (`services.ems.requests`)."""

import numpy as np

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.stores import Array
from services.ems.terms.base import Term
from services.ems.terms.storage import STORAGE

AFTER = 0.5
"""What a kWh is worth after the first step, as a part of its worth in that: what is asked for is done at once."""


class Requests(Term[None]):
    """− asked price · flow · Δt of the stores that are asked for a power, in its direction.

    The power itself is the bound of the flow (`services.ems.stores`).
    """

    name = "requests"

    def variables(self, m: Model) -> None:
        if m.shape(STORAGE):
            m.cost("charge", lambda i: _worth(i, 1), per_kwh=True)
            m.cost("discharge", lambda i: _worth(i, -1), per_kwh=True)


def _worth(instance: Instance, sign: int) -> Array:
    worth = np.zeros((len(instance.stores), instance.problem.steps))
    price = instance.problem.prices.asked_eur_per_kwh
    for row, store in zip(worth, instance.stores, strict=True):
        if store.asked is not None and sign * store.asked.kw > 0:
            row[: store.asked.steps] = -AFTER * price
            row[0] = -price
    return worth
