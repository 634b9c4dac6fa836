"""Which phase a device loads that has one, or charges on one: the network twin and the EMS must mean the same one."""

from collections.abc import Mapping

from schemas.messages import MeterRole
from schemas.site.devices import Charger, Device, Meter, Pv

PHASES = "abc"


def phases_of(devices: Mapping[str, Device]) -> dict[str, int]:
    """The phase (0 to 2) of every single-phase charger, PV plant and load: as it is described, else a, b, c in turn by
    identifier."""
    single = {
        name: device
        for name, device in devices.items()
        if isinstance(device, Charger | Pv | Meter) and device.phases == 1 and _loads_the_network(device)
    }
    unnamed = sorted(name for name, device in single.items() if device.phase is None)
    return {
        name: unnamed.index(name) % len(PHASES) if device.phase is None else PHASES.index(device.phase)
        for name, device in sorted(single.items())
    }


def switched_phases_of(devices: Mapping[str, Device]) -> dict[str, int]:
    """The phase (0 to 2) that every charger uses alone which switches between one and three: as it is described, else
    in turn after those of `phases_of`."""
    chargers = {name: device for name, device in devices.items() if isinstance(device, Charger) and device.phase_switch}
    taken = sum(1 for name in phases_of(devices) if getattr(devices[name], "phase", None) is None)
    unnamed = sorted(name for name, device in chargers.items() if device.phase is None)
    return {
        name: (taken + unnamed.index(name)) % len(PHASES) if device.phase is None else PHASES.index(device.phase)
        for name, device in sorted(chargers.items())
    }


def _loads_the_network(device: Device) -> bool:
    """Other meters measure again what is measured."""
    return not isinstance(device, Meter) or device.role is MeterRole.LOAD
