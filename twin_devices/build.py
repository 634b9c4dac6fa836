"""From a site description to its twins. Loads only what the kind of device needs."""

from collections.abc import Mapping
from importlib import import_module

from schemas.errors import Code, InputError
from schemas.participant import Participant
from schemas.site import Site
from schemas.topics import Kind

TWINS: Mapping[Kind, tuple[str, str]] = {
    Kind.BESS: ("twin_devices.bess", "Bess"),
    Kind.CHARGER: ("twin_devices.charger", "Charger"),
    Kind.HEATPUMP: ("twin_devices.heatpump", "HeatPump"),
    Kind.METER: ("twin_devices.meter", "Meter"),
    Kind.PV: ("twin_devices.pv", "Pv"),
}
"""Module and class of the twin, for each kind of `schemas.kinds.DEVICES`."""


def build_twin(site: Site, device: str) -> Participant:
    """The twin of one device of the site, in its initial state.

    Raises InputError when there is no such device, or when it is a real one that has no twin (a meter without profile).
    """
    spec = site.devices.get(device)
    if spec is None:
        raise InputError.one("device", f"the site has {', '.join(sorted(site.devices))}", device, code=Code.UNKNOWN)
    module, name = TWINS[Kind(spec.kind)]
    twin: Participant = getattr(import_module(module), name)(site, device, spec)
    return twin


def build_network(site: Site) -> Participant:
    """The network twin, which is the PCC meter. Raises InputError for a network that makes no sense."""
    from twin_devices.network.twin import NetworkTwin

    return NetworkTwin(site)
