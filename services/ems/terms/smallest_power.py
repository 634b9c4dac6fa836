"""A charging car takes a smallest power or none (IEC 61851-1: at least 6 A)."""

import numpy as np
from numpy.typing import NDArray

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Values
from services.ems.stores import Array
from services.ems.terms.base import AT_ONCE_KW, Term
from services.ems.terms.storage import STORAGE, per_store
from services.ems.terms.store_exclusion import FLAGS, flagged_stores


class SmallestPower(Term[None]):
    name = "smallest_power"

    def constraints(self, m: Model) -> None:
        """charge ≥ P_min·flag_ch and discharge ≥ P_min·flag_dch in the step that is commanded now.

        In a step of which the car is plugged the part f, average power: charge − P_min·flag_ch ≥ −P_min·(1 − f). Why
        only in that step: `services.ems.binaries.required_for_smallest_power`.
        """
        if not (flagged := flagged_stores(m)):
            return
        least = per_store([m.shape(STORAGE)[i].min_power_kw for i in flagged])

        def unplugged(instance: Instance) -> Array:
            stores = [instance.stores[i] for i in flagged]
            return per_store([-store.min_power_kw * (1 - store.plugged_frac[0]) for store in stores])

        def now(instance: Instance) -> NDArray[np.bool_]:
            first: NDArray[np.bool_] = np.arange(instance.problem.steps) == 0
            return first

        for flow, flag in zip(("charge", "discharge"), FLAGS, strict=True):
            left = m[flow][flagged] - m[flag] * least
            m.rows(f"store-smallest_{flow}", left, at_least=unplugged, mask=now, by_step=True)

    def relaxation_is_exact(self, values: Values) -> bool:
        """No flow of the first step is below its smallest power."""
        stores = values.instance.stores
        if not any(store.min_power_kw > 0 for store in stores):
            return True
        charge, discharge = values.of("charge"), values.of("discharge")
        for i, store in enumerate(stores):
            least = store.min_power_kw * store.plugged_frac[0]
            if any(AT_ONCE_KW < flow < least - AT_ONCE_KW for flow in (charge[i, 0], discharge[i, 0])):
                return False
        return True
