"""Twins with a second face: what is needed to serve one to the masters of another protocol."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from schemas.errors import Code, InputError
from schemas.participant import Participant
from schemas.site import Charger, Site
from schemas.topics import Kind
from twinswarm.extras import require

if TYPE_CHECKING:
    from services.outward.face import Face
    from services.outward.ocpp.face import Version
    from services.outward.sunspec_server import SunspecServer

OCPP = "--ocpp"
VOLT = 230.0
"""Of a phase to neutral: between A and kW."""
OPTION = "--sunspec"


def faced(site: Site, device: str, make: Callable[[], Participant]) -> Callable[[], Participant]:
    """How to build a participant of a run in wall time: a twin answers where the site says. Raises InputError."""
    spec = site.devices.get(device)
    face = None if spec is None else spec.outward
    if face is None:
        return make
    host = f"[{face.host}]" if ":" in face.host else face.host
    return sunspec_twin(site, device, f"{host}:{face.port}", face.models)


def sunspec_twin(site: Site, device: str, address: str, series: str = "100") -> Callable[[], Participant]:
    """How to build a twin that is a SunSpec device at ``address``, too. Raises InputError."""
    return _with_face(site, device, _face(site, device, address, series))


def ocpp_twin(
    site: Site, device: str, url: str, version: "Version", password_file: Path | None = None
) -> Callable[[], Participant]:
    """How to build a charger's twin that is a charge point of the central system at ``url``, too. Raises InputError."""
    require("ocpp", "websockets")
    from services.ocpp.readings import Rated
    from services.outward.ocpp.face import OcppFace

    spec = site.devices[device]
    if not isinstance(spec, Charger):
        raise InputError.one(OCPP, f"is for a charger, and {device} is a {spec.kind}", url, code=Code.CONFLICT)
    if not re.fullmatch(r"wss?://[^/\s]+/(\S+/)*[^/\s]+", url):
        what = "has to be ws://HOST:PORT/PATH/IDENTITY, or wss://…"
        raise InputError.one(OCPP, what, url, code=Code.FORMAT)
    if spec.max_discharge_kw > 0 and version != "2.1":
        what = f"with OCPP {version} a back end can only charge; {device} discharges, too: 2.1 is allowed"
        raise InputError.one("--ocpp-version", what, version, code=Code.CONFLICT)
    password = None if password_file is None else _password(password_file)
    switches = spec.phase_switch is not None
    rated = Rated(spec.max_charge_kw, spec.max_discharge_kw, spec.phases, VOLT, switches_phases=switches)
    return _with_face(site, device, lambda: OcppFace(device, url, version, rated, password=password))


def _password(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError.one(
            "--ocpp-password-file", f"cannot be read: {error}", str(file), code=Code.UNREADABLE
        ) from None
    return text.strip()


def _with_face(site: Site, device: str, face: "Callable[[], Face]") -> Callable[[], Participant]:
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
