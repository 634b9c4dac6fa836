"""The site's central system (CSMS): one endpoint, to which all its OCPP chargers connect."""

import asyncio
import contextlib
import hmac
import http
import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from schemas.errors import Code, InputError
from schemas.site.ocpp import OcppServer
from services.drivers.ocpp.link import GRACE_S, OcppLink
from services.drivers.ocpp.transactions import Transactions

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from services.drivers.ocpp.station import Station

LOG = logging.getLogger(__name__)

PING_S = 10.0
"""Between pings; a charge point that does not answer one for as long is gone."""
MOST_BYTES = 256 * 1024
"""Of one message."""
AGAIN_S = 5.0
"""Between attempts to listen at a port that somebody else has."""
VERSIONS = ("ocpp2.1", "ocpp2.0.1", "ocpp1.6")
"""WebSocket subprotocols, the one that is preferred first."""
BOTH_WAYS = ("ocpp2.1",)
"""Those in which a vehicle can discharge."""


def passwords_of(file: Path, where: str) -> dict[str, str]:
    """By charge point. Raises InputError."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError.one(where, f"cannot be read: {error}", str(file), code=Code.UNREADABLE) from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        # An identity has a colon now and then, and a password seldom; OCPP's user name is the identity.
        name, colon, password = line.rstrip("\r").rpartition(":")
        if not colon or not name or not password:
            what = f"line {number}: IDENTITY:PASSWORD was expected"
            raise InputError.one(where, what, str(file), code=Code.FORMAT)
        found[name] = password
    return found


def tls_of(server: OcppServer) -> ssl.SSLContext | None:
    """The endpoint's side of TLS, of at least 1.2; None: the profile has none. Raises InputError."""
    if server.security_profile < 2:
        return None
    assert server.certificate is not None and server.key is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(server.certificate, server.key)
    except (OSError, ssl.SSLError) as error:
        raise InputError.one(
            "ocpp.certificate", f"cannot be used with its key: {error}", server.certificate, code=Code.UNREADABLE
        ) from None
    if server.client_ca is not None:
        try:
            context.load_verify_locations(server.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise InputError.one(
                "ocpp.client_ca", f"cannot be used: {error}", server.client_ca, code=Code.UNREADABLE
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Csms:
    """Listens in a thread of its own while a link is open. Raises InputError for files that cannot be used."""

    def __init__(self, server: OcppServer) -> None:
        self._server = server
        self._tls = tls_of(server)
        self._passwords = (
            {} if server.password_file is None else passwords_of(Path(server.password_file), "ocpp.password_file")
        )
        self._transactions = Transactions()
        self._lock = threading.Lock()
        self._links: list[OcppLink] = []
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._stations: dict[str, tuple[Station, ServerConnection]] = {}
        self.port: int | None = None
        """The one that is listened at."""

    # ---- any thread

    def attach(self, link: OcppLink) -> None:
        with self._lock:
            self._links = [*self._links, link]
            if self._thread is None:
                started = threading.Event()
                self._thread = threading.Thread(target=self._run, args=(started,), name="OCPP", daemon=True)
                self._thread.start()
                started.wait(10.0)
            loop = self._loop
        assert loop is not None
        loop.call_soon_threadsafe(self._attached, link)

    def detach(self, link: OcppLink) -> None:
        with self._lock:
            self._links = [each for each in self._links if each is not link]
            if self._links or self._thread is None:
                return
            thread, self._thread = self._thread, None
            assert self._loop is not None and self._stop is not None
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(20.0)

    def _run(self, started: threading.Event) -> None:
        asyncio.run(self._main(started))

    # ---- its own

    async def _main(self, started: threading.Event) -> None:
        from websockets.asyncio.server import serve

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        started.set()
        while not self._stop.is_set():
            try:
                server = await serve(
                    self._serve,
                    self._server.host,
                    self._server.port,
                    ssl=self._tls,
                    process_request=self._admit,
                    select_subprotocol=self._subprotocol,
                    ping_interval=PING_S,
                    ping_timeout=PING_S,
                    max_size=MOST_BYTES,
                    close_timeout=2.0,
                    server_header=None,
                )
            except OSError as error:
                what = f"{self._server.host}:{self._server.port} cannot be listened at: {error.strerror or error}"
                LOG.warning("%s", what)
                for link in self._links:
                    link.trouble("connection", what)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), AGAIN_S)
                continue
            async with server:
                self.port = next(iter(server.sockets)).getsockname()[1]
                for link in self._links:
                    self._say_not_there(link)
                await self._stop.wait()
            self.port = None

    def _attached(self, link: OcppLink) -> None:
        there = self._stations.get(link.driver.charge_point)
        if there is not None:
            there[0].attach()
        elif self.port is not None:
            self._say_not_there(link)

    @staticmethod
    def _say_not_there(link: OcppLink) -> None:
        link.disconnected(f"charge point {link.driver.charge_point} has not connected")

    def _links_of(self, identity: str) -> list[OcppLink]:
        return [link for link in self._links if link.driver.charge_point == identity]

    def _versions(self, identity: str) -> tuple[str, ...]:
        """Those that its chargers can be driven with."""
        both_ways = any(link.rated.max_discharge_kw > 0 for link in self._links_of(identity))
        return BOTH_WAYS if both_ways else VERSIONS

    def _subprotocol(self, connection: "ServerConnection", offered: Sequence[str]) -> Any:
        assert connection.request is not None
        versions = self._versions(_identity(connection.request.path))
        return next((version for version in versions if version in offered), None)

    def _admit(self, connection: "ServerConnection", request: "Request") -> "Response | None":
        """None: it may come in."""
        identity = _identity(request.path)
        refused = self._refused(connection, request, identity)
        if refused is None:
            return None
        status, why = refused
        LOG.warning("charge point %r from %s is refused: %s", identity[:60], _peer(connection), why)
        response = connection.respond(status, f"{why}\n")
        if status == http.HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = 'Basic realm="OCPP", charset="UTF-8"'
        return response

    def _refused(
        self, connection: "ServerConnection", request: "Request", identity: str
    ) -> "tuple[http.HTTPStatus, str] | None":
        if self._server.security_profile in (1, 2) and not self._knows(request, identity):
            return http.HTTPStatus.UNAUTHORIZED, "user name or password is wrong"
        if self._server.security_profile == 3:
            named = _common_name(connection)
            if named != identity:
                return http.HTTPStatus.FORBIDDEN, f"its certificate is {named}'s"
        if not self._links_of(identity):
            return http.HTTPStatus.NOT_FOUND, "no charger of this site has this identity"
        return None

    def _knows(self, request: "Request", identity: str) -> bool:
        from websockets.exceptions import InvalidHeader
        from websockets.headers import parse_authorization_basic

        try:
            name, password = parse_authorization_basic(request.headers.get("Authorization", ""))
        except (InvalidHeader, UnicodeDecodeError):
            return False
        # Compared for an unknown name, too: the time that it takes says nothing.
        expected = self._passwords.get(identity, "")
        right = hmac.compare_digest(expected.encode(), password.encode())
        return right and bool(expected) and name == identity

    async def _serve(self, connection: "ServerConnection") -> None:
        from websockets.exceptions import ConnectionClosed

        assert connection.request is not None
        identity = _identity(connection.request.path)
        if connection.subprotocol is None:
            why = f"charge point {identity} offers none of {', '.join(self._versions(identity))}"
            LOG.warning("%s", why)
            for link in self._links_of(identity):
                link.trouble("connection", why)
            await connection.close(1002, "no common subprotocol")
            return
        station = self._station(identity, connection)
        before = self._stations.get(identity)
        self._stations[identity] = (station, connection)
        if before is not None:
            # The old connection is dead and has not been noticed yet, or there are two of that name.
            LOG.warning("charge point %s has connected again, from %s", identity, _peer(connection))
            await before[1].close(1000, "connected again")
        LOG.info("charge point %s has connected with %s from %s", identity, connection.subprotocol, _peer(connection))
        with contextlib.suppress(ConnectionClosed):
            await station.serve()
        if self._stations.get(identity, (None,))[0] is station:
            del self._stations[identity]
            self._lost(identity)

    def _station(self, identity: str, connection: "ServerConnection") -> "Station":
        from services.drivers.ocpp.station import ANSWER_S, WIRE
        from services.drivers.ocpp.v2 import Station21, Station201
        from services.drivers.ocpp.v16 import Station16

        kinds: dict[str | None, Callable[..., Station]] = {
            "ocpp1.6": Station16,
            "ocpp2.0.1": Station201,
            "ocpp2.1": Station21,
        }
        station = kinds[connection.subprotocol](identity, connection, ANSWER_S, WIRE)
        station.begin_with(lambda: self._links_of(identity), self._server, self._transactions)
        return station

    def _lost(self, identity: str) -> None:
        LOG.warning("charge point %s has gone", identity)
        for link in self._links_of(identity):
            link.disconnected(f"charge point {identity} is not connected")
        assert self._loop is not None
        self._loop.call_later(GRACE_S, self._offline, identity)

    def _offline(self, identity: str) -> None:
        if identity not in self._stations:
            for link in self._links_of(identity):
                link.is_offline()


def _identity(path: str) -> str:
    return unquote(path.partition("?")[0].rstrip("/").rpartition("/")[2])


def _peer(connection: "ServerConnection") -> str:
    address = connection.remote_address
    return f"{address[0]}:{address[1]}" if address else "?"


def _common_name(connection: "ServerConnection") -> str | None:
    secured = connection.transport.get_extra_info("ssl_object")
    certificate = None if secured is None else secured.getpeercert()
    for part in (certificate or {}).get("subject", ()):
        for name, value in part:
            if name == "commonName":
                return str(value)
    return None
