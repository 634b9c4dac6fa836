"""The table of kinds of devices: the one place to which a new kind is added.

From it follow rights (`schemas.roles`), telemetry on the wire (`schemas.wire`), what the network twin listens to and
what the dashboards put together. The twin of a kind stands in `twin_devices.build` under the same kind. The unions
`Nameplate` and `AnyDevice` and the identifiers `Kind` are written out, for type checkers; a test compares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.capabilities import Capabilities, Capability, Group, group_of
from schemas.messages.birth import (
    BessNameplate,
    ChargerNameplate,
    DeviceNameplate,
    HeatPumpNameplate,
    MeterNameplate,
    PvNameplate,
)
from schemas.messages.telemetry import (
    BessTelemetry,
    ChargerTelemetry,
    HeatPumpTelemetry,
    MeterTelemetry,
    PvTelemetry,
    Telemetry,
)
from schemas.site.devices import Bess, Charger, Device, HeatPump, Meter, Pv
from schemas.site.scenario import CarLeaves, Cloud, MeterLies, Offline, ScenarioEvent
from schemas.topics import Kind


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """A row of the table."""

    nameplate: type[DeviceNameplate]
    telemetry: type[Telemetry]
    description: type[Device]
    """Its part of a site description."""
    capabilities: Capabilities
    """All that a device of this kind may be able to do; which of them it can says its nameplate."""
    commanded: bool = True
    """A set-point can be sent to it: the EMS may write one, and it answers."""
    shadowed: bool = False
    """A twin can run beside the real device: its store is predicted from what its registers count."""

    @property
    def group(self) -> Group:
        """Where a device of this kind is counted whose nameplate is not known."""
        return group_of(self.capabilities - {Capability.METERING})


DEVICES: Mapping[Kind, DeviceKind] = {
    Kind.BESS: DeviceKind(
        BessNameplate,
        BessTelemetry,
        Bess,
        frozenset({Capability.STORAGE, Capability.FLEXIBLE_LOAD, Capability.TWO_WAY}),
        shadowed=True,
    ),
    Kind.CHARGER: DeviceKind(
        ChargerNameplate,
        ChargerTelemetry,
        Charger,
        frozenset(
            {
                Capability.STORAGE,
                Capability.VEHICLES,
                Capability.FIXED_LOAD,
                Capability.FLEXIBLE_LOAD,
                Capability.TWO_WAY,
                Capability.SINGLE_PHASE,
            }
        ),
        shadowed=True,
    ),
    Kind.HEATPUMP: DeviceKind(
        HeatPumpNameplate,
        HeatPumpTelemetry,
        HeatPump,
        frozenset({Capability.STORAGE, Capability.HEAT, Capability.FIXED_LOAD, Capability.FLEXIBLE_LOAD}),
    ),
    Kind.METER: DeviceKind(
        MeterNameplate,
        MeterTelemetry,
        Meter,
        frozenset({Capability.FIXED_LOAD, Capability.METERING}),
        commanded=False,
    ),
    Kind.PV: DeviceKind(
        PvNameplate,
        PvTelemetry,
        Pv,
        frozenset({Capability.GENERATION, Capability.CURTAILABLE}),
    ),
}
"""By kind, in alphabetical order."""

DEVICE_KINDS = tuple(DEVICES)
"""Kinds of devices with power, the network twin aside."""
COMMANDED_KINDS = tuple(kind for kind, parts in DEVICES.items() if parts.commanded)
"""Kinds that a set-point can be sent to."""
SHADOWED_KINDS = tuple(kind for kind, parts in DEVICES.items() if parts.shadowed)
"""Kinds of devices beside which a twin can run."""

_EVENTS: Mapping[type[ScenarioEvent], tuple[Kind, ...]] = {
    CarLeaves: (Kind.CHARGER,),
    Cloud: (Kind.PV,),
    MeterLies: (Kind.METER, Kind.NETWORK),
    Offline: DEVICE_KINDS,
}


def kinds_with(event: ScenarioEvent) -> tuple[Kind, ...]:
    """The kinds of devices to which a scripted event of this type can happen."""
    return _EVENTS[type(event)]


def kinds_of(group: Group) -> tuple[Kind, ...]:
    """The kinds whose devices belong to a group."""
    return tuple(kind for kind, parts in DEVICES.items() if parts.group is group)
