"""A charger that switches its phases has no power between the most of one phase and the least of three."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Values
from services.ems.stores import Array
from services.ems.terms.base import AT_ONCE_KW, Term
from services.ems.terms.storage import per_store

FLAG = "three_phase_flag"


class GapShape(NamedTuple):
    """A store with such a gap."""

    store: int
    one_phase_max_kw: float
    three_phase_draw_kw: float
    """The least that is drawn on three phases."""
    rise_kw: float
    """By how much more three phases give than one."""


class PhaseGap(Term[tuple[GapShape, ...]]):
    """The shape names the stores whose two ranges do not meet. Where they meet, a smallest power says all."""

    name = "phase_gap"
    shape_type = tuple[GapShape, ...]

    def shape(self, instance: Instance) -> tuple[GapShape, ...]:
        return tuple(
            GapShape(
                index,
                store.phase_gap.one_phase_max_kw,
                store.three_phase_draw_kw,
                store.rated_charge_kw - store.phase_gap.one_phase_max_kw,
            )
            for index, store in enumerate(instance.stores)
            if store.phase_gap is not None
        )

    def variables(self, m: Model) -> None:
        if shapes := m.shape(self):
            stores = [shape.store for shape in shapes]
            m.variable(FLAG, len(shapes), upper=1.0, whole=lambda i: i.required.three_phase[stores], stores=stores)

    def constraints(self, m: Model) -> None:
        """charge ≤ P1_max + (P3_max − P1_max)·z and charge ≥ P3_min·z in the step that is commanded now.

        P3_min is not more than what the vehicle can draw, as in `services.ems.terms.smallest_power`, which says, too,
        what holds in a step of which the car is plugged the part f, and why only in that step.
        """
        if not (shapes := m.shape(self)):
            return
        stores = [shape.store for shape in shapes]
        least = per_store([shape.three_phase_draw_kw for shape in shapes])
        rise = per_store([shape.rise_kw for shape in shapes])
        charge, flag = m["charge"][stores], m[FLAG]

        def plugged(instance: Instance) -> Array:
            return per_store([instance.stores[i].plugged_frac[0] for i in stores])

        def one_phase(instance: Instance) -> Array:
            return per_store([shape.one_phase_max_kw for shape in shapes]) * plugged(instance)

        def unplugged(instance: Instance) -> Array:
            missing: Array = -least * (1 - plugged(instance))
            return missing

        def now(instance: Instance) -> NDArray[np.bool_]:
            first: NDArray[np.bool_] = np.arange(instance.problem.steps) == 0
            return first

        m.rows("store-one_phase_most", charge - flag * rise, at_most=one_phase, mask=now, by_step=True)
        m.rows("store-three_phase_least", charge - flag * least, at_least=unplugged, mask=now, by_step=True)

    def inexact_stores(self, values: Values) -> NDArray[np.bool_]:
        """Stores with a power in their gap in the first step."""
        stores = values.instance.stores
        inexact = np.zeros(len(stores), dtype=np.bool_)
        charge = values.of("charge")
        for shape in self.shape(values.instance):
            part = stores[shape.store].plugged_frac[0]
            above = charge[shape.store, 0] > shape.one_phase_max_kw * part + AT_ONCE_KW
            inexact[shape.store] = above and charge[shape.store, 0] < shape.three_phase_draw_kw * part - AT_ONCE_KW
        return inexact & values.instance.required.three_phase[:, 0]

    def rounded(self, values: Values) -> Mapping[str, NDArray[np.bool_]]:
        """Three phases from the middle of the gap on."""
        if not (shapes := self.shape(values.instance)):
            return {}
        middle = [
            (shape.one_phase_max_kw + shape.three_phase_draw_kw)
            / 2
            * values.instance.stores[shape.store].plugged_frac[0]
            for shape in shapes
        ]
        three: NDArray[np.bool_] = values.of("charge")[[shape.store for shape in shapes]] > per_store(middle)
        return {FLAG: three}
