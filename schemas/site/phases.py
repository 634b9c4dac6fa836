"""Which phase a single-phase charger loads: the network twin and the EMS must mean the same one."""

from collections.abc import Mapping

from schemas.site.devices import Charger, Device

PHASES = "abc"


def phases_of(devices: Mapping[str, Device]) -> dict[str, int]:
    """The phase (0 to 2) of every single-phase charger: as it is described, else a, b, c in turn by identifier."""
    single = {name: device for name, device in devices.items() if isinstance(device, Charger) and device.phases == 1}
    unnamed = sorted(name for name, device in single.items() if device.phase is None)
    return {
        name: unnamed.index(name) % len(PHASES) if device.phase is None else PHASES.index(device.phase)
        for name, device in sorted(single.items())
    }
