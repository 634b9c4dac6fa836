"""The structure of a model: all that stands in its matrix. Problems of one structure differ in bounds and costs."""

from dataclasses import dataclass, replace

from services.ems.binaries import Flags, needed_for_pcc, needed_for_smallest_power, needed_for_stores
from services.ems.problem import Problem
from services.ems.stores import Store

IMPORT_BANDS = 4
"""Up to 1, 1.25 and 1.5 m and above."""
EXPORT_BANDS = 2
"""Up to 0.5 m and above."""


@dataclass(frozen=True, slots=True)
class StoreShape:
    charge_efficiency: float
    discharge_efficiency: float
    rated_charge_kw: float
    rated_discharge_kw: float
    min_power_kw: float
    flagged: bool


@dataclass(frozen=True, slots=True)
class GroupShape:
    """Stores and curtailable inverters by their index in the structure, each with what counts of its power."""

    stores: tuple[tuple[int, float], ...]
    pv: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Structure:
    """Hashable. ``steps`` may exceed a problem's: the model keeps the steps that have passed, as zeros."""

    steps: int
    step_s: int
    slots: tuple[int, ...]
    stores: tuple[StoreShape, ...]
    pv: int
    """Number of curtailable inverters."""
    groups: tuple[GroupShape, ...]
    pcc_flagged: bool
    import_limit_kw: float
    export_limit_kw: float
    demand_charge: bool


@dataclass(frozen=True, slots=True)
class Needed:
    """Which flags are to be whole numbers: arrays of the shape (stores, steps) and (steps,)."""

    store: Flags
    pcc: Flags


def needed_flags(problem: Problem, stores: tuple[Store, ...]) -> Needed:
    needed = needed_for_stores(problem, stores)
    for flags, store in zip(needed, stores, strict=True):
        flags[0] |= needed_for_smallest_power(store)
    return Needed(needed, needed_for_pcc(problem))


def structure_of(problem: Problem, needed: Needed, stores: tuple[Store, ...], slots: tuple[int, ...]) -> Structure:
    curtailable = [unit.device for unit in problem.pv if unit.curtailable]
    return Structure(
        steps=problem.steps,
        step_s=problem.step_s,
        slots=slots,
        stores=tuple(
            StoreShape(
                charge_efficiency=store.charge_efficiency,
                discharge_efficiency=store.discharge_efficiency,
                rated_charge_kw=store.rated_charge_kw,
                rated_discharge_kw=store.rated_discharge_kw,
                min_power_kw=store.min_power_kw,
                # By its nameplate, not by whether a car is there now: else every arrival would make a new structure.
                flagged=bool(flags.any()) or store.min_power_kw > 0,
            )
            for store, flags in zip(stores, needed.store, strict=True)
        ),
        pv=len(curtailable),
        groups=tuple(
            GroupShape(
                stores=tuple((i, share) for i, store in enumerate(stores) if (share := group.share(store.device))),
                pv=tuple((i, share) for i, device in enumerate(curtailable) if (share := group.share(device))),
            )
            for group in problem.groups
        ),
        pcc_flagged=bool(needed.pcc.any()),
        import_limit_kw=problem.import_limit_kw,
        export_limit_kw=problem.export_limit_kw,
        demand_charge=problem.prices.demand_eur_per_kw > 0,
    )


def covers(have: Structure, want: Structure) -> bool:
    """Whether a problem fits a structure that was made for an earlier one: fewer steps and fewer flags are no harm."""
    return (
        want.steps <= have.steps
        and (want.step_s, want.slots, want.pv, want.groups) == (have.step_s, have.slots, have.pv, have.groups)
        and want.demand_charge == have.demand_charge
        and (want.import_limit_kw, want.export_limit_kw) == (have.import_limit_kw, have.export_limit_kw)
        and (have.pcc_flagged or not want.pcc_flagged)
        and len(want.stores) == len(have.stores)
        and all(_store_covers(h, w) for h, w in zip(have.stores, want.stores, strict=True))
    )


def _store_covers(have: StoreShape, want: StoreShape) -> bool:
    return have == want or (have.flagged and have == replace(want, flagged=True))
