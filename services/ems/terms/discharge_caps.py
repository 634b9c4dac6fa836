"""Caps of what a vehicle gives back in a charging session and on a local day."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.ems.allowances import CAPS
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.stores import Array
from services.ems.terms.base import Term

ALLOWANCE = "discharge_allowance"
"""The variable: what may still be given [kWh] at a step's end, by account."""


class Account(NamedTuple):
    """A store by its index, and the kind of cap."""

    store: int
    cap: str


class DischargeCaps(Term[tuple[Account, ...]]):
    """Nothing stands in the matrix where no vehicle has a cap. Shape: the accounts."""

    name = "discharge_caps"
    shape_type = tuple[Account, ...]

    def shape(self, instance: Instance) -> tuple[Account, ...]:
        return tuple(Account(i, cap) for i, store in enumerate(instance.stores) for cap in CAPS if cap in store.caps)

    def covers(self, have: tuple[Account, ...], want: tuple[Account, ...]) -> bool:
        """An account without a cap is free."""
        return set(have) >= set(want)

    def variables(self, m: Model) -> None:
        if accounts := m.shape(self):
            stores = [account.store for account in accounts]
            m.variable(ALLOWANCE, len(accounts), upper=_of(accounts, "most_kwh"), stores=stores)

    def constraints(self, m: Model) -> None:
        """a_h + Δt·discharge_h ≤ a_{h−1} + refill_h, 0 ≤ a_h ≤ most_h, with a_h = 0 at the end of a session or a day.

        The sum over a session or a day is then Σ Δt·discharge ≤ refill, the cap less what has been given before. What
        is not given may be dropped, which the inequality lets be: so a session that ends without using its cap leaves
        nothing to the next one.
        """
        if not (accounts := m.shape(self)):
            return
        given = m["discharge"][[account.store for account in accounts]] * m.step_h
        left, refill, holds = m[ALLOWANCE], _of(accounts, "refill_kwh"), _of(accounts, "holds")

        def capped(instance: Instance) -> NDArray[np.bool_]:
            return holds(instance).astype(np.bool_)

        m.rows("discharge_cap_initial", (left + given)[:, :1], at_most=refill, mask=capped)
        if m.steps > 1:
            m.rows("discharge_cap", (left + given)[:, 1:] - left[:, :-1], at_most=refill, mask=capped, first=1)


def _of(accounts: tuple[Account, ...], name: str) -> Callable[[Instance], Array]:
    """Numbers of the accounts by step, 0 where there is no cap."""

    def numbers(instance: Instance) -> Array:
        none = np.zeros(instance.problem.steps)
        stores = instance.stores
        found = (stores[account.store].caps.get(account.cap) for account in accounts)
        return np.array([none if each is None else getattr(each, name) for each in found], dtype=np.float64)

    return numbers
