"""Which phase a single-phase device loads: the network twin and the EMS must mean the same one."""

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


def _loads_the_network(device: Device) -> bool:
    """Other meters measure again what is measured."""
    return not isinstance(device, Meter) or device.role is MeterRole.LOAD
