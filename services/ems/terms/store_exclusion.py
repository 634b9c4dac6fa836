"""A store charges or discharges: equations (7)(8)(11) and (17)(18)(19), where they can matter."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Values
from services.ems.stores import Array
from services.ems.terms.base import AT_ONCE_KW, Term, spread
from services.ems.terms.storage import STORAGE, per_store
from services.ems.terms.targets import SHORTFALL

FLAGS = ("charge_flag", "discharge_flag")


class StoreExclusion(Term[tuple[bool, ...]]):
    """The shape says which stores have binaries: those that `services.ems.binaries` requires in some step."""

    name = "store_exclusion"
    shape_type = tuple[bool, ...]

    def shape(self, instance: Instance) -> tuple[bool, ...]:
        # By its smallest power, not by whether a car is there now: else every arrival would make a new structure.
        required = zip(instance.required.store, instance.stores, strict=True)
        return tuple(bool(flags.any()) or store.min_power_kw > 0 for flags, store in required)

    def covers(self, have: tuple[bool, ...], want: tuple[bool, ...]) -> bool:
        """More binaries than are required do no harm."""
        return len(have) == len(want) and all(h or not w for h, w in zip(have, want, strict=True))

    def variables(self, m: Model) -> None:
        if not (flagged := flagged_stores(m)):
            return
        for name in FLAGS:
            m.variable(name, len(flagged), upper=1.0, whole=lambda i: i.required.store[flagged], stores=flagged)

    def constraints(self, m: Model) -> None:
        if flagged_stores(m):
            _exclusion(m)
            _cuts(m)

    def inexact_stores(self, values: Values) -> NDArray[np.bool_]:
        both = (values.of("charge") > AT_ONCE_KW) & (values.of("discharge") > AT_ONCE_KW)
        inexact: NDArray[np.bool_] = np.logical_or.reduce(values.instance.required.store & both, axis=1)
        return inexact

    def rounded(self, values: Values) -> Mapping[str, NDArray[np.bool_]]:
        """A flow below its smallest power in the first step is rounded to 0 or to that."""
        shape = values.model.model.shape(self)
        flagged = [i for i, has in enumerate(shape) if has]
        if not flagged:
            return {}
        stores = [values.instance.stores[i] for i in flagged]
        charge, discharge = values.of("charge")[flagged], values.of("discharge")[flagged]
        most_charge = np.array([store.charge_max_kw for store in stores])
        most_discharge = np.array([store.discharge_max_kw for store in stores])
        charges = spread(
            charge / np.where(most_charge > 0, most_charge, 1.0),
            discharge / np.where(most_discharge > 0, most_discharge, 1.0),
        )
        discharges = ~charges
        for i, store in enumerate(stores):
            if store.min_power_kw > 0:
                half = 0.5 * store.plugged_frac[0]
                charges[i, 0] &= bool(charge[i, 0] > half * store.least_draw_kw)
                discharges[i, 0] &= bool(discharge[i, 0] > half * store.min_power_kw)
        return dict(zip(FLAGS, (charges, discharges), strict=True))


STORE_EXCLUSION = StoreExclusion()


def flagged_stores(m: Model) -> list[int]:
    """Indices of the stores that have binaries, which is the order of these."""
    shape = m.shape(STORE_EXCLUSION)
    return [i for i, flagged in enumerate(shape) if flagged]


def _exclusion(m: Model) -> None:
    """(7)(8)(11), (17)(18)(19): charge ≤ flag_ch·P_ch, discharge ≤ flag_dch·P_dch, flag_ch + flag_dch ≤ 1.

    With the tightening charge/P_ch + discharge/P_dch ≤ 1, which a relaxation would else lose.
    """
    flagged = flagged_stores(m)
    shapes = [m.shape(STORAGE)[i] for i in flagged]
    charge, discharge = m["charge"][flagged], m["discharge"][flagged]
    charge_flag, discharge_flag = (m[name] for name in FLAGS)
    rated_ch = per_store([shape.rated_charge_kw for shape in shapes])
    rated_dch = per_store([shape.rated_discharge_kw for shape in shapes])
    m.rows("store-charge_flag", charge - charge_flag * rated_ch, at_most=0.0, by_step=True)
    m.rows("store-discharge_flag", discharge - discharge_flag * rated_dch, at_most=0.0, by_step=True)
    m.rows("store-one_flag", charge_flag + discharge_flag, at_most=1.0)
    share_ch = per_store([1 / (shape.rated_charge_kw or 1.0) for shape in shapes])
    share_dch = per_store([1 / (shape.rated_discharge_kw or 1.0) for shape in shapes])
    m.rows("store-tightening", charge * share_ch + discharge * share_dch, at_most=1.0, by_step=True)


def _cuts(m: Model) -> None:
    """SOC cuts, valid because flows exclude one another: e_{h−1} + Δt·η_ch·charge ≤ max; e_{h−1} − Δt·discharge/η_dch
    ≥ −shortfall_h + min, for h ≥ 1, where the car is there in the step before, too.
    """
    if m.steps < 2:
        return
    flagged = flagged_stores(m)
    shapes = [m.shape(STORAGE)[i] for i in flagged]
    short = m[SHORTFALL][flagged]
    before = (m["level"][flagged] - short)[:, :-1]
    up = m["charge"][flagged] * (m.step_h * per_store([shape.charge_efficiency for shape in shapes]))
    down = m["discharge"][flagged] * (m.step_h / per_store([shape.discharge_efficiency for shape in shapes]))

    def here(instance: Instance) -> Array:
        return np.array([(s.plugged_frac > 0) & ~s.leaves for s in (instance.stores[i] for i in flagged)])

    def room(instance: Instance) -> Array:
        return np.array([s.upper_kwh - s.arrives_kwh for s in (instance.stores[i] for i in flagged)])

    def least(instance: Instance) -> Array:
        stores = [instance.stores[i] for i in flagged]
        return np.array([np.where(s.shortfall_max_kwh > 0, 0.0, s.lower_kwh) - s.arrives_kwh for s in stores])

    m.rows("store-cut_full", before + up[:, 1:], at_most=room, mask=here, first=1)
    m.rows("store-cut_empty", before - down[:, 1:] + short[:, 1:], at_least=least, mask=here, first=1)
