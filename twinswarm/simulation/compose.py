"""The composition root: from a site description to its participants."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError
from schemas.messages import MeterRole
from schemas.participant import Participant
from schemas.site import GHOSTS, NETWORK, SERVICES, Meter, Site

if TYPE_CHECKING:
    from services.ems.algorithm import Algorithm
    from services.ems.certificate.participant import Keep
    from services.history.store import HistoryStore


@dataclass(frozen=True)
class Recording:
    """Where the recorder writes. ``label`` names the run in the history: ``main``, ``reference:<run>``."""

    store: "HistoryStore"
    label: str = "main"
    disk_low_bytes: int | None = None
    """Free on its disk, below which the recorder raises an alarm; None: the recorder's default."""


def members(site: Site) -> tuple[str, ...]:
    """Everybody who answers the clock in a simulated run: devices, the network twin, the services, and who runs beside
    them: twins of real devices, and devices that do not exist."""
    simulated = (name for name, device in site.devices.items() if not _is_real_pcc(device))
    return (*sorted(simulated), NETWORK, *sorted(set(SERVICES) - {"clock"}), *beside(site))


def required(site: Site) -> frozenset[str]:
    """Those without whom a lock-step run does not begin."""
    everybody = frozenset(members(site)) - frozenset(beside(site))
    return frozenset(name for name in everybody if name not in site.devices or site.devices[name].required)


def beside(site: Site) -> tuple[str, ...]:
    """Who runs beside the site and changes nothing there: the twins of real devices, and the ghosts."""
    return (*sorted(site.shadows), *([GHOSTS] if site.ghosts else []))


def _is_real_pcc(device: object) -> bool:
    """In simulation the network twin is the PCC meter."""
    return isinstance(device, Meter) and device.role is MeterRole.PCC


def maker(
    site: Site,
    device: str,
    recording: Recording | None = None,
    algorithm: "Algorithm | None" = None,
    certificates: "Keep | None" = None,
    brief: bool = False,
) -> Callable[[], Participant]:
    """How to build one participant, fresh for every life. Imports only what this one needs.

    ``algorithm``: what the EMS plans with in the place of the optimiser. ``certificates`` is called with
    each plan of the optimiser. ``brief``: the optimiser's plans say what is commanded, and nothing else.

    Raises InputError for an identifier that the site does not have, and for a recorder without a recording.
    """
    if device in site.devices or device in beside(site):
        return _twin(site, device)
    if device == NETWORK:
        from twin_devices.build import build_network

        return lambda: build_network(site)
    if device == "recorder":
        return _recorder(site, recording)
    if device == "ems":
        return _ems(site, algorithm, certificates, brief)
    if device == "forecast":
        from services.forecast.sources import forecast_of
        from twin_devices.pv_source import pv_power

        return lambda: forecast_of(site, pv_power)
    if device == "tariff":
        from services.forecast.tariff import Tariff

        return lambda: Tariff(site)
    raise InputError.one(
        "device",
        f"the site {site.site} has none of this name; it has {', '.join(members(site))}",
        device,
        code=Code.UNKNOWN,
    )


def _twin(site: Site, device: str) -> Callable[[], Participant]:
    """In the place of a device, or beside it."""
    if device in site.shadows:
        from services.shadow.participant import Shadow

        real = site.shadows[device]
        return lambda: Shadow(site, real)
    if device not in site.devices:
        return _ghosts(site)
    from twin_devices.build import build_twin

    return lambda: build_twin(site, device)


def _ghosts(site: Site) -> Callable[[], Participant]:
    from services.ghosts.participant import Ghosts
    from twinswarm.simulation.ghost_world import ghost_worlds

    return lambda: Ghosts(site, lambda begin, step_s: ghost_worlds(site, begin, step_s))


def _ems(
    site: Site, algorithm: "Algorithm | None", certificates: "Keep | None", brief: bool
) -> Callable[[], Participant]:
    if algorithm is not None:
        from services.ems.algorithm import AlgorithmEms

        return lambda: AlgorithmEms(site, algorithm)
    if certificates is not None:
        from services.ems.certificate.participant import CertifyingEms

        return lambda: CertifyingEms(site, certificates)
    if brief:
        from services.ems.brief import BriefEms

        return lambda: BriefEms(site)
    from services.ems.participant import Ems

    return lambda: Ems(site)


def _recorder(site: Site, recording: Recording | None) -> Callable[[], Participant]:
    from services.recorder.disk import LOW_BYTES, DiskWatch, free_bytes
    from services.recorder.recorder import Recorder

    if recording is None:
        raise InputError.one("--history", "a recorder needs a history to write to", code=Code.MISSING)
    store, low_bytes = recording.store, recording.disk_low_bytes
    return lambda: Recorder(
        site,
        store,
        recording.label,
        disk=DiskWatch(lambda: free_bytes(store.path), LOW_BYTES if low_bytes is None else low_bytes),
    )
