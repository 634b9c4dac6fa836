"""Vehicles that draw less near full: the constant-voltage part of a charge."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.stores import Array
from services.ems.terms.base import Term
from services.ems.terms.targets import SHORTFALL


class Taper(Term[bool]):
    """The shape says whether a charger has a taper; where none has, nothing stands in the matrix."""

    name = "taper"
    shape_type = bool

    def shape(self, instance: Instance) -> bool:
        return any(store.taper is not None for store in instance.stores)

    def covers(self, have: bool, want: bool) -> bool:
        return have or not want

    def constraints(self, m: Model) -> None:
        """α·charge + e_{h−1} + e_h ≤ 2·C·(s0 + 1/k) with α = 2·C / (P·k).

        That is charge ≤ P·(1 − k·(s − s0)) at the mean of the SOCs at the step's ends, with full power P, capacity C,
        the SOC s0 at which the power begins to fall, and the part k of it that is lost per unit of SOC. The mean of
        both ends is the trapezoidal rule for de/dt = η·P(e).
        """
        if not m.shape(self):
            return
        energy = m["level"] - m[SHORTFALL]
        m.rows("taper_initial", (energy + m["charge"])[:, :1], at_most=_most_kwh, mask=_tapers)
        m.coefficient("charge", "taper_initial", _per_kw)
        if m.steps > 1:
            left = (energy + m["charge"])[:, 1:] + energy[:, :-1]
            m.rows("taper", left, at_most=_most_kwh, mask=_tapers, first=1)
            m.coefficient("charge", "taper", _per_kw)


def _per_kw(instance: Instance) -> Array:
    return _rows(instance, "per_kw", np.ones)


def _most_kwh(instance: Instance) -> Array:
    return _rows(instance, "most_kwh", np.zeros)


def _tapers(instance: Instance) -> NDArray[np.bool_]:
    return _rows(instance, "holds", np.zeros).astype(np.bool_)


def _rows(instance: Instance, name: str, otherwise: Callable[[int], Array]) -> Array:
    """By store and step; ``otherwise`` for stores without a taper."""
    none = otherwise(instance.problem.steps)
    return np.array([none if store.taper_row is None else getattr(store.taper_row, name) for store in instance.stores])
