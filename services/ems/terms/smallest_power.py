"""A charging car takes a smallest power or none (IEC 61851-1: at least 6 A)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Values
from services.ems.stores import Array
from services.ems.terms.base import AT_ONCE_KW, Term
from services.ems.terms.storage import STORAGE, per_store
from services.ems.terms.store_exclusion import FLAGS, flagged_stores

FLOWS = ("charge", "discharge")
LEAST = ("least_draw_kw", "min_power_kw")
"""By flow, the smallest power of a store."""


class SmallestPower(Term[None]):
    name = "smallest_power"

    def constraints(self, m: Model) -> None:
        """charge ≥ P_min·flag_ch and discharge ≥ P_min·flag_dch in the step that is commanded now.

        Charging, P_min is not more than what the vehicle can draw: it is the offer that has a smallest power.

        In a step of which the car is plugged the part f, average power: charge − P_min·flag_ch ≥ −P_min·(1 − f). Why
        only in that step: `services.ems.binaries.required_for_smallest_power`.
        """
        if not (flagged := flagged_stores(m)):
            return

        def unplugged(least_of: str) -> Callable[[Instance], Array]:
            def at_least(instance: Instance) -> Array:
                stores = [instance.stores[i] for i in flagged]
                return per_store([-getattr(store, least_of) * (1 - store.plugged_frac[0]) for store in stores])

            return at_least

        def now(instance: Instance) -> NDArray[np.bool_]:
            first: NDArray[np.bool_] = np.arange(instance.problem.steps) == 0
            return first

        for flow, flag, least_of in zip(FLOWS, FLAGS, LEAST, strict=True):
            least = per_store([getattr(m.shape(STORAGE)[i], least_of) for i in flagged])
            left = m[flow][flagged] - m[flag] * least
            m.rows(f"store-smallest_{flow}", left, at_least=unplugged(least_of), mask=now, by_step=True)

    def inexact_stores(self, values: Values) -> NDArray[np.bool_]:
        """Stores with a flow below its smallest power in the first step."""
        stores = values.instance.stores
        inexact = np.zeros(len(stores), dtype=np.bool_)
        if any(store.min_power_kw > 0 for store in stores):
            plugged = np.array([store.plugged_frac[0] for store in stores])
            for flow, least_of in zip(FLOWS, LEAST, strict=True):
                least = np.array([getattr(store, least_of) for store in stores]) * plugged
                now = values.of(flow)[:, 0]
                inexact |= (now > AT_ONCE_KW) & (now < least - AT_ONCE_KW)
        return inexact
