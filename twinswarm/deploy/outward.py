"""Twins with a second face: what is needed to serve one to the masters of another protocol."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from schemas.errors import Code, InputError
from schemas.participant import Participant
from schemas.site import Site
from schemas.topics import Kind
from twinswarm.extras import require

if TYPE_CHECKING:
    from services.outward.sunspec_server import SunspecServer

OPTION = "--sunspec"


def sunspec_twin(site: Site, device: str, address: str, series: str = "100") -> Callable[[], Participant]:
    """How to build a twin that is a SunSpec device at ``address``, too. Raises InputError."""
    face = _face(site, device, address, series)

    def make() -> Participant:
        from services.outward.participant import Outward
        from twin_devices.base import Twin
        from twin_devices.build import build_twin

        twin = build_twin(site, device)
        assert isinstance(twin, Twin), "devices have twins of one base"
        return Outward(twin, face())

    return make


def _face(site: Site, device: str, address: str, series: str) -> "Callable[[], SunspecServer]":
    require("pymodbus", "sunspec2")
    from services.outward.sunspec_map import SERIES, SunspecMap
    from services.outward.sunspec_server import SunspecServer

    host, port = _host_and_port(address)
    served = SERIES[series]
    kind = Kind(site.devices[device].kind)
    if kind not in served:
        allowed = ", ".join(sorted(each.value for each in served))
        what = f"there are no models of a {kind} in SunSpec; there are those of {allowed}"
        raise InputError.one(OPTION, what, device, code=Code.CONFLICT)
    return lambda: SunspecServer(device, SunspecMap(site, device, series), host, port)


def _host_and_port(address: str) -> tuple[str, int]:
    what = "has to be HOST:PORT, such as 127.0.0.1:5020"
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError.one(OPTION, f"{what}: {error}", address, code=Code.FORMAT) from None
    if not host or port is None or parts.netloc != address or "@" in address:
        raise InputError.one(OPTION, what, address, code=Code.FORMAT)
    return host, port
