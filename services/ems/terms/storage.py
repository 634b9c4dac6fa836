"""Energy stores, BESSs and vehicles: equations (3)-(5), (9)-(16)."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from schemas.messages import DevicePlan
from services.ems.compile import Model
from services.ems.instance import Instance
from services.ems.solution import Solution
from services.ems.stores import Array, Store
from services.ems.terms.base import AT_ONCE_KW, SMALL_KW, Commands, Term, clipped_kw, without_tolerance
from services.ems.terms.targets import SHORTFALL


class StoreShape(NamedTuple):
    """The part of a store that stands in the matrix."""

    charge_efficiency: float
    discharge_efficiency: float
    rated_charge_kw: float
    rated_discharge_kw: float
    min_power_kw: float
    least_draw_kw: float


class Storage(Term[tuple[StoreShape, ...]]):
    name = "storage"
    shape_type = tuple[StoreShape, ...]

    def shape(self, instance: Instance) -> tuple[StoreShape, ...]:
        return tuple(StoreShape(*(getattr(store, name) for name in StoreShape._fields)) for store in instance.stores)

    def variables(self, m: Model) -> None:
        """Flows within (9)(10)(12)(13), the power limits while a store is there; levels within (4)(5)(15)(16).

        Of a level's lower bound a target is a part, which `services.ems.terms.targets` makes soft.
        """
        if not (count := len(m.shape(self))):
            return
        stores = range(count)
        for flow in ("charge", "discharge"):
            lower, upper = _of_stores(f"{flow}_min_kw"), _of_stores(f"{flow}_max_kw")
            m.variable(flow, count, lower=lower, upper=upper, stores=stores)
        m.variable("level", count, lower=_of_stores("lower_kwh"), upper=_of_stores("upper_kwh"), stores=stores)
        m.supply(-m["charge"].sum())
        m.supply(m["discharge"].sum())

    def constraints(self, m: Model) -> None:
        """(3)(14): e_h − e_{h−1} − Δt·(charge·η_ch − discharge/η_dch) = what arrives at h, with e = level − shortfall.

        In the first step without a car the equation is free: its energy has left with it.
        """
        if not (shapes := m.shape(self)):
            return
        energy = m["level"] - m[SHORTFALL]
        into = per_store([m.step_h * shape.charge_efficiency for shape in shapes])
        out_of = per_store([m.step_h / shape.discharge_efficiency for shape in shapes])
        gain = m["charge"] * into - m["discharge"] * out_of
        m.rows("store-energy_initial", (energy - gain)[:, :1], equal=_arrives, mask=_stays)
        if m.steps > 1:
            change = (energy - gain)[:, 1:] - energy[:, :-1]
            m.rows("store-energy_balance", change, equal=_arrives, mask=_stays, first=1)

    def device_plans(self, solution: Solution) -> Mapping[str, DevicePlan]:
        power: dict[str, Array] = {}
        soc: dict[str, list[float | None]] = {}
        charge, discharge, energy = solution.of("charge"), solution.of("discharge"), energy_kwh(solution)
        for i, store in enumerate(solution.stores):
            power[store.device] = power.get(store.device, 0.0) + (charge[i] - discharge[i])
            socs = soc.setdefault(store.device, [None] * solution.problem.steps)
            there = store.capacity_kwh > 0
            fractions = np.minimum(energy[i] / np.where(there, store.capacity_kwh, 1.0), 1.0).tolist()
            for step in there.nonzero()[0].tolist():
                socs[step] = fractions[step]
        return {name: DevicePlan(power_kw=clipped_kw(power[name]), soc_frac=tuple(soc[name])) for name in power}

    def commands(self, solution: Solution) -> Commands:
        """A car that leaves within the step has to take its energy in the part of it in which it is there.

        Where another car follows within the step, the set-point is of the one that is there when it begins.
        """
        power = {store.device: 0.0 for store in solution.stores}
        charge, discharge, energy = solution.of("charge"), solution.of("discharge"), energy_kwh(solution)
        there = [i for i, store in enumerate(solution.stores) if store.plugged_frac[0] > 0]
        for i in sorted(there, key=lambda i: solution.stores[i].comes_later, reverse=True):
            store = solution.stores[i]
            now = float((charge[i, 0] - discharge[i, 0]) / store.plugged_frac[0])
            now = min(max(now, -store.rated_discharge_kw), store.rated_charge_kw)
            power[store.device] = _offer_kw(_untapered_kw(now, store, float(energy[i, 0])), store)
        return Commands(power, {})


STORAGE = Storage()


def _untapered_kw(now: float, store: Store, end_kwh: float) -> float:
    """The power at the step's beginning of a vehicle that draws all it can and less and less: what is planned is the
    mean, and as a set-point it would hold the vehicle back at first and not be reached at the end."""
    capacity, begin_kwh = float(store.capacity_kwh[0]), float(store.arrives_kwh[0])
    if store.taper is None or capacity <= 0 or now <= 0:
        return now
    full = float(store.charge_max_kw[0] / store.plugged_frac[0])
    mean = store.taper.part_at((begin_kwh + end_kwh) / (2 * capacity))
    if mean >= 1 or now < full * mean - AT_ONCE_KW:
        return now
    return max(now, full * store.taper.part_at(begin_kwh / capacity))


def _offer_kw(now: float, store: Store) -> float:
    """The set-point for a power: not below the smallest, of which a vehicle then draws what it can."""
    if now <= 0:
        return without_tolerance(now, store.min_power_kw)
    drawn, gap = without_tolerance(now, store.least_draw_kw), store.phase_gap
    if gap is not None:
        if drawn > gap.one_phase_max_kw + SMALL_KW:
            return max(drawn, gap.three_phase_min_kw)
        drawn = min(drawn, gap.one_phase_max_kw)
    return max(drawn, store.min_power_kw) if drawn > 0 else 0.0


def energy_kwh(solution: Solution) -> Array:
    """Energy in store at the end of each step, shape (store, step)."""
    energy: Array = np.maximum(solution.of("level") - solution.of(SHORTFALL), 0.0)
    return energy


def per_store(values: Sequence[float]) -> Array:
    """One number per store, the same in each step."""
    return np.array(values)[:, None]


def _of_stores(name: str) -> Callable[[Instance], Array]:
    return lambda instance: np.array([getattr(store, name) for store in instance.stores])


def _arrives(instance: Instance) -> Array:
    return np.array([store.arrives_kwh for store in instance.stores])


def _stays(instance: Instance) -> Array:
    return ~np.array([store.leaves for store in instance.stores])
