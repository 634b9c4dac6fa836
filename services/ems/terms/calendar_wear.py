"""Calendar wear: a price of the hours that a battery spends at its state of charge, where the site gives it one.

The price of an hour is convex in the energy in store and linear in pieces. So the energy is the sum of pieces, each as
wide as its part of the capacity and dearer than the one before: the cheapest is filled first without a binary. Within
a step the price is the mean of those at its beginning and its end, which for a convex curve is never too little.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from services.ems.compile import Expression, Model
from services.ems.instance import Instance
from services.ems.solution import Solution
from services.ems.stores import Array, Store
from services.ems.terms.base import Term
from services.ems.terms.storage import STORAGE, energy_kwh
from services.ems.terms.targets import SHORTFALL

STANDING = "calendar_wear_standing"
"""A constant 1: its cost is that of an empty store, and of the energy with which a store begins or arrives."""


class CalendarWear(Term[int]):
    """The shape is the number of pieces; 0: no calendar wear has a price, and nothing stands in the matrix."""

    name = "calendar_wear"
    shape_type = int

    def shape(self, instance: Instance) -> int:
        return max((store.ageing.pieces for store in instance.stores if store.ageing is not None), default=0)

    def variables(self, m: Model) -> None:
        if not (pieces := m.shape(self)):
            return
        count = len(m.shape(STORAGE))
        for piece in range(pieces):
            m.variable(_piece(piece), count, upper=_width_kwh(piece), stores=range(count))
            m.cost(_piece(piece), _eur_per_kwh(piece))
        m.variable(STANDING, lower=1.0, upper=1.0, each_step=False)
        m.cost(STANDING, _standing_eur)

    def constraints(self, m: Model) -> None:
        """level − shortfall = Σ pieces."""
        if not (pieces := m.shape(self)):
            return
        left: Expression = m["level"] - m[SHORTFALL]
        for piece in range(pieces):
            left = left - m[_piece(piece)]
        m.rows("calendar_wear-energy", left, equal=0.0)

    def plan_fields(self, solution: Solution) -> Mapping[str, Any]:
        return {} if (eur := self.eur(solution)) is None else {"calendar_wear_eur": eur}

    def eur(self, solution: Solution) -> float | None:
        """Price of all hours of the window [€]; None: it has none."""
        if all(store.ageing is None for store in solution.stores):
            return None
        eur = 0.0
        for store, energy in zip(solution.stores, energy_kwh(solution), strict=True):
            eur += float(_hours(store, solution.problem.step_h) @ _eur_per_h(store, energy))
            eur += float(_first_hours(store, solution.problem.step_h) @ _eur_per_h(store, store.arrives_kwh))
        return eur


CALENDAR_WEAR = CalendarWear()


def holding_eur_per_kwh(store: Store, energy: Array, step_h: float) -> Array:
    """What another kWh in store costs by ageing, by step in which it is there at the end, shape (step,)."""
    if store.ageing is None:
        return np.zeros(len(energy))
    socs = energy / np.where(store.capacity_kwh > 0, store.capacity_kwh, 1.0)
    slopes = np.array([store.ageing.slope_at(soc) for soc in socs.tolist()])
    held: Array = np.where(store.capacity_kwh > 0, slopes, 0.0) * _hours(store, step_h)
    return held


def _piece(number: int) -> str:
    return f"calendar_wear_{number}"


def _hours(store: Store, step_h: float) -> Array:
    """Hours that count at the energy of a step's end: half of that step and half of the next, as far as it is there."""
    there = store.plugged_frac
    hours: Array = step_h / 2 * (there + np.append(there[1:], 0.0)) * (there > 0)
    return hours


def _first_hours(store: Store, step_h: float) -> Array:
    """Hours that count at the energy with which a store begins or arrives: half of its first step."""
    first = np.append(True, store.plugged_frac[:-1] <= 0) & (store.plugged_frac > 0)
    hours: Array = step_h / 2 * store.plugged_frac * first
    return hours


def _eur_per_h(store: Store, energy: Array) -> Array:
    """Price of an hour with this energy in store [€/h]; 0 where nothing is known of its capacity."""
    if store.ageing is None:
        return np.zeros(len(energy))
    known = store.capacity_kwh > 0
    socs = energy / np.where(known, store.capacity_kwh, 1.0)
    prices = np.array([store.ageing.at(soc) for soc in socs.tolist()])
    eur: Array = np.where(known, prices * store.capacity_kwh, 0.0)
    return eur


def _width_kwh(number: int) -> Callable[[Instance], Array]:
    """The last piece has room for all energy, and so has the first of a store that ages without a price."""

    def width(store: Store) -> Array:
        if store.ageing is None:
            return store.upper_kwh if number == 0 else np.zeros_like(store.upper_kwh)
        known, pieces = store.capacity_kwh > 0, store.ageing.pieces
        most = store.capacity_kwh * store.ageing.width_frac(number) if number < pieces - 1 else store.upper_kwh
        found: Array = np.where(known, most if number < pieces else 0.0, store.upper_kwh if number == 0 else 0.0)
        return found

    return lambda instance: np.array([width(store) for store in instance.stores])


def _eur_per_kwh(number: int) -> Callable[[Instance], Array]:
    def price(store: Store, step_h: float) -> Array:
        if store.ageing is None or number >= store.ageing.pieces:
            return np.zeros(len(store.plugged_frac))
        found: Array = np.where(store.capacity_kwh > 0, store.ageing.slope(number), 0.0) * _hours(store, step_h)
        return found

    def prices(instance: Instance) -> Array:
        step_h = instance.problem.step_h
        found: Array = instance.problem.weights.cost * np.array([price(store, step_h) for store in instance.stores])
        return found

    return prices


def _standing_eur(instance: Instance) -> float:
    step_h, eur = instance.problem.step_h, 0.0
    for store in instance.stores:
        empty = _eur_per_h(store, np.zeros(len(store.plugged_frac)))
        eur += float(_hours(store, step_h) @ empty)
        eur += float(_first_hours(store, step_h) @ _eur_per_h(store, store.arrives_kwh))
    return instance.problem.weights.cost * eur
