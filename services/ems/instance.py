"""One problem with what follows from it before it is solved: its stores and the binaries that it requires."""

from dataclasses import dataclass

from services.ems.binaries import (
    Flags,
    required_for_pcc,
    required_for_phases,
    required_for_smallest_power,
    required_for_stores,
)
from services.ems.problem import Problem
from services.ems.stores import Store


@dataclass(frozen=True, slots=True)
class RequiredBinaries:
    """Which binaries are to be whole numbers: arrays of the shapes (stores, steps) and (steps,)."""

    store: Flags
    pcc: Flags
    three_phase: Flags
    """As of the stores."""


@dataclass(frozen=True, slots=True)
class Instance:
    """All that the terms read to state bounds, costs and right-hand sides."""

    problem: Problem
    stores: tuple[Store, ...]
    slots: tuple[int, ...]
    """Number of slots of each charger of the problem, see `services.ems.stores`."""
    required: RequiredBinaries


def required_binaries(problem: Problem, stores: tuple[Store, ...]) -> RequiredBinaries:
    required = required_for_stores(problem, stores)
    for flags, store in zip(required, stores, strict=True):
        flags[0] |= required_for_smallest_power(store)
    return RequiredBinaries(required, required_for_pcc(problem), required_for_phases(problem, stores))
