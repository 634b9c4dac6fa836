"""From a site description to its twins. Loads only what the kind of device needs."""

from schemas.errors import Code, InputError
from schemas.participant import Participant
from schemas.site import Bess, Charger, Meter, Pv, Site


def build_twin(site: Site, device: str) -> Participant:
    """The twin of one device of the site, in its initial state.

    Raises InputError when there is no such device, or when it is a real one that has no twin (a meter without profile).
    """
    spec = site.devices.get(device)
    match spec:
        case Charger():
            from twin_devices import charger

            return charger.Charger(site, device, spec)
        case Bess():
            from twin_devices import bess

            return bess.Bess(site, device, spec)
        case Pv():
            from twin_devices import pv

            return pv.Pv(site, device, spec)
        case Meter():
            from twin_devices import meter

            return meter.Meter(site, device, spec)
        case None:
            raise InputError.one("device", f"the site has {', '.join(sorted(site.devices))}", device, code=Code.UNKNOWN)


def build_network(site: Site) -> Participant:
    """The network twin, which is the PCC meter. Raises InputError for a network that makes no sense."""
    from twin_devices.network.twin import NetworkTwin

    return NetworkTwin(site)
