"""Vehicles that draw less near full: the constant-voltage part of a charge."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.stores import LEAST_PART, Array, fall_of
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


class _Numbers(NamedTuple):
    """By store and step."""

    per_kw: Array
    most_kwh: Array
    holds: NDArray[np.bool_]


def _numbers(instance: Instance) -> _Numbers:
    shape, step_h = (len(instance.stores), instance.problem.steps), instance.problem.step_s / 3600
    found = _Numbers(np.ones(shape), np.zeros(shape), np.zeros(shape, dtype=np.bool_))
    for i, store in enumerate(instance.stores):
        if store.taper is None:
            continue
        holds = (store.capacity_kwh > 0) & (store.plugged_frac >= LEAST_PART) & (store.charge_max_kw > 0)
        capacity, power = store.capacity_kwh[holds], store.charge_max_kw[holds]
        falls = fall_of(store.taper, capacity, store.charge_efficiency * power * step_h)
        found.per_kw[i, holds] = 2 * capacity / (power * falls)
        # A measured energy above the capacity must not make the row infeasible.
        most = np.maximum(2 * capacity * (store.taper.start_frac + 1 / falls), 2 * store.upper_kwh[holds])
        found.most_kwh[i, holds] = most - store.arrives_kwh[holds]
        found.holds[i] = holds
    return found


def _per_kw(instance: Instance) -> Array:
    return _numbers(instance).per_kw


def _most_kwh(instance: Instance) -> Array:
    return _numbers(instance).most_kwh


def _tapers(instance: Instance) -> NDArray[np.bool_]:
    return _numbers(instance).holds
