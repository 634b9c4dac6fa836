"""Import or export: equations (20) and (21) with binaries, where the sale price is the higher."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from services.ems.binaries import largest_exchange, undecided_demand
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Values
from services.ems.stores import Array
from services.ems.terms.base import AT_ONCE_KW, Term, spread
from services.ems.terms.exchange import EXPORT, IMPORT, Direction
from services.ems.terms.heat import HEAT_POWER


class PccExclusion(Term[bool]):
    """The shape says whether there are binaries."""

    name = "pcc_exclusion"
    shape_type = bool

    def shape(self, instance: Instance) -> bool:
        return bool(instance.required.pcc.any())

    def covers(self, have: bool, want: bool) -> bool:
        return have or not want

    def variables(self, m: Model) -> None:
        if m.shape(self):
            for direction in (IMPORT, EXPORT):
                m.variable(direction.flag, upper=1.0, whole=_open)

    def constraints(self, m: Model) -> None:
        """Σ import bands ≤ flag_in·M_in, Σ export bands ≤ flag_out·M_out, flag_in + flag_out ≤ 1.

        M is the most that can flow in the step: what the devices could draw or give together, at most the connection's
        limit. What exceeds the limits is left out: at its price (tens of € per kWh) nobody buys to sell.

        With D, the demand that is not decided (negative: a surplus), import and export have their origin in devices:

            Σ import bands ≤ D·flag_in + Σ charge + Σ heat pumps,   Σ export bands ≤ −D·flag_out + Σ discharge + Σ PV

        These cut nothing off: with its flag at 1 a row is the power balance without what works against the flow, with
        its flag at 0 it says 0 ≤ Σ. Without them a relaxation buys and sells at once while every store rests; with
        them it has to move what it trades through a store, and so pays for it in losses and in room.
        """
        if not m.shape(self):
            return
        for direction in (IMPORT, EXPORT):
            name = f"pcc-{direction.flag}"
            m.rows(name, m[direction.bands].sum() - m[direction.flag], at_most=0.0)
            m.coefficient(direction.flag, name, _most(direction))
        m.rows("pcc-one_flag", m[IMPORT.flag] + m[EXPORT.flag], at_most=1.0)
        for direction in (IMPORT, EXPORT):
            name = f"pcc-{direction.name}_origin"
            left = m[direction.bands].sum() - m[direction.flag]
            for flow in ORIGINS[direction]:
                left = left - m[flow].sum() if flow in m.columns else left
            m.rows(name, left, at_most=0.0)
            m.coefficient(direction.flag, name, _undecided(direction))

    def relaxation_is_exact(self, values: Values) -> bool:
        imports, exports = (values.of(direction.bands).sum(axis=0) for direction in (IMPORT, EXPORT))
        both = (imports > AT_ONCE_KW) & (exports > AT_ONCE_KW)
        return not bool((values.instance.required.pcc & both).any())

    def rounded(self, values: Values) -> Mapping[str, NDArray[np.bool_]]:
        if IMPORT.flag not in values.model.columns_of:
            return {}
        most = largest_exchange(values.instance.problem, values.instance.stores)
        imports, exports = (
            values.of(direction.bands).sum(axis=0) / np.where(kw > 0, kw, 1.0)
            for direction, kw in zip((IMPORT, EXPORT), most, strict=True)
        )
        flag = spread(imports[None, :], exports[None, :])[0]
        return {IMPORT.flag: flag, EXPORT.flag: ~flag}


ORIGINS = {IMPORT: ("charge", HEAT_POWER), EXPORT: ("discharge", "pv")}
"""What draws, and what gives, the power that flows in a direction."""


def _open(instance: Instance) -> NDArray[np.bool_]:
    """Where the direction is a choice: in other steps one M is 0, and the other flag 1."""
    most = largest_exchange(instance.problem, instance.stores)
    choice: NDArray[np.bool_] = instance.required.pcc & (most[0] > 0) & (most[1] > 0)
    return choice


def _undecided(direction: Direction) -> Callable[[Instance], Array]:
    def coefficient(instance: Instance) -> Array:
        demand: Array = -direction.sign * undecided_demand(instance.problem)
        return demand

    return coefficient


def _most(direction: Direction) -> Callable[[Instance], Array]:
    def coefficient(instance: Instance) -> Array:
        most: Array = -largest_exchange(instance.problem, instance.stores)[(IMPORT, EXPORT).index(direction)]
        return most

    return coefficient
