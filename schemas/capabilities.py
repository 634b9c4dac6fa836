"""Capabilities of a device. The EMS, the analysis and the dashboards go by these, not by the device's kind.

A nameplate implies its capabilities (`schemas.messages.birth`). A birth carries them explicitly; the two must agree.
"""

from collections.abc import Collection
from enum import StrEnum


class Capability(StrEnum):
    STORAGE = "storage"
    """It stores energy and measures how full the store is: ``soc_frac``."""
    VEHICLES = "vehicles"
    """The store is a vehicle that comes and goes."""
    HEAT = "heat"
    """The store holds heat: what was drawn does not come back as electricity."""
    GENERATION = "generation"
    """It produces as much as the weather offers, and measures how much that is: ``available_kw``."""
    CURTAILABLE = "curtailable"
    """Its production follows set-points with ``limit_kw``."""
    FIXED_LOAD = "fixed_load"
    """It draws power that no set-point changes."""
    FLEXIBLE_LOAD = "flexible_load"
    """The power it draws follows set-points with ``power_kw``."""
    TWO_WAY = "two_way"
    """It gives power as well: ``power_kw`` may be negative."""
    METERING = "metering"
    """It measures the power of others, at the PCC or behind a submeter, and has none of its own."""
    SINGLE_PHASE = "single_phase"
    """All of its power is on one phase; a device without this loads three phases alike."""


Capabilities = frozenset[Capability]

COMMANDED = frozenset({Capability.CURTAILABLE, Capability.FLEXIBLE_LOAD})
"""A device with one of these takes set-points."""


class Group(StrEnum):
    """How devices are put together in sums, tables, figures and dashboards."""

    LOAD = "load"
    GENERATION = "generation"
    BATTERY = "battery"
    VEHICLES = "vehicles"
    HEAT = "heat"
    METERING = "metering"
    """Measures others: in no sum."""
    SERVICE = "service"
    """Has no power."""


LASTING_STORES = (Group.BATTERY, Group.HEAT)
"""Groups of stores that stay; vehicles come and go."""


def group_of(capabilities: Collection[Capability]) -> Group:
    """The group of a device. The first that fits counts: a car that charges without control is a vehicle, no load."""
    for capability, group in (
        (Capability.METERING, Group.METERING),
        (Capability.VEHICLES, Group.VEHICLES),
        (Capability.HEAT, Group.HEAT),
        (Capability.STORAGE, Group.BATTERY),
        (Capability.GENERATION, Group.GENERATION),
        (Capability.FIXED_LOAD, Group.LOAD),
        (Capability.FLEXIBLE_LOAD, Group.LOAD),
    ):
        if capability in capabilities:
            return group
    return Group.SERVICE
