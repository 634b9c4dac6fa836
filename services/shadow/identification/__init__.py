"""Parameters of a device re-estimated from a recorded history: efficiencies, capacity, dead time, ramp, taper."""

from collections.abc import Iterator

from schemas.errors import Code, InputError
from schemas.kinds import SHADOWED_KINDS
from schemas.site import Bess, Charger
from schemas.topics import Kind
from services.history.reader import History
from services.shadow.identification.estimate import Identified
from services.shadow.identification.response import response
from services.shadow.identification.store import store_parameters
from services.shadow.identification.taper import taper


def identify(history: History, run: str, device: str | None = None) -> Iterator[Identified]:
    """What a run shows of its batteries and chargers, or of one of them.

    Raises InputError for a device that the run's site does not have, or that has no store.
    """
    site = history.site(run)
    found = [name for name, spec in site.devices.items() if Kind(spec.kind) in SHADOWED_KINDS]
    if device is not None and device not in found:
        there = ", ".join(found) or "none"
        raise InputError.one(
            "--device", f"the batteries and chargers of this run are {there}", device, code=Code.UNKNOWN
        )
    tracks = history.tracks(run)
    for name in found if device is None else [device]:
        spec = site.devices[name]
        assert isinstance(spec, Bess | Charger), "these are the kinds that have a shadow"
        if name not in tracks:
            continue
        setpoints, acks = history.setpoints(run, name), history.acks(run, name)
        yield from store_parameters(name, spec, tracks[name], history.info(run))
        yield from response(name, spec, tracks[name], setpoints, acks)
        if isinstance(spec, Charger):
            yield from taper(name, spec, tracks[name], setpoints, acks)
