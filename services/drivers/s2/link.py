"""The endpoint to which a resource manager connects, and the link that the participant sees."""

import asyncio
import contextlib
import hmac
import http
import logging
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import Code, InputError
from schemas.messages import Phases
from schemas.site.drivers import S2Driver
from services.drivers.complaints import Complaints
from services.drivers.link import Measured, what_is_possible
from services.drivers.s2.battery import Battery

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from services.drivers.s2.session import Session

LOG = logging.getLogger(__name__)

PING_S = 10.0
"""Between pings; a resource manager that does not answer one for as long is gone."""
MOST_BYTES = 256 * 1024
AGAIN_S = 5.0
"""Between attempts to listen at a port that somebody else has."""


class S2Link:
    """Listens in a thread of its own. Raises InputError for files that cannot be used."""

    value_type = Measured
    commanded = True

    def __init__(self, name: str, driver: S2Driver, safe_kw: float) -> None:
        self.name = name
        self._complaints = Complaints(name)
        self._driver, self._safe_kw = driver, safe_kw
        self._tls = _tls(driver)
        self._token = _token(driver)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._session: Session | None = None
        self._wanted: tuple[float, datetime | None] | None = None
        self._put: Callable[[object], bool] = lambda value: True
        self.port: int | None = None
        """The one that is listened at."""

    def command(self, value_kw: float, for_s: float | None = None, phases: Phases | None = None) -> None:
        del phases  # of chargers
        until = None if for_s is None else datetime.now(UTC) + timedelta(seconds=for_s)
        with self._lock:
            before, self._wanted = self._wanted, (value_kw, until)
            loop = self._loop
        if loop is not None and before != self._wanted:
            loop.call_soon_threadsafe(self._pass_on)

    def open(self, put: Callable[[object], bool]) -> None:
        self._put = put
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(started)), name=f"link {self.name}", daemon=True
        )
        self._thread.start()
        started.wait(10.0)

    def close(self) -> None:
        loop, stop = self._loop, self._stop
        if self._thread is None or loop is None or stop is None:
            return
        loop.call_soon_threadsafe(stop.set)
        self._thread.join(20.0)

    # ---- its own thread

    async def _main(self, started: threading.Event) -> None:
        from websockets.asyncio.server import serve

        stop = asyncio.Event()
        with self._lock:
            self._loop, self._stop = asyncio.get_running_loop(), stop
        started.set()
        driver = self._driver
        while not stop.is_set():
            try:
                server = await serve(
                    self._serve,
                    driver.host,
                    driver.port,
                    ssl=self._tls,
                    process_request=self._admit,
                    ping_interval=PING_S,
                    ping_timeout=PING_S,
                    max_size=MOST_BYTES,
                )
            except OSError as error:
                LOG.warning("%s: cannot listen at %s:%d: %s", self.name, driver.host, driver.port, error)
                self._say({"trouble": f"cannot listen at {driver.host}:{driver.port}: {error.strerror}"})
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), AGAIN_S)
                continue
            self.port = next(iter(server.sockets)).getsockname()[1]
            async with server:
                await stop.wait()
                if self._session is not None:
                    await self._session.release()
        with self._lock:
            self._loop = None

    def _admit(self, connection: "ServerConnection", request: "Request") -> "Response | None":
        given = request.headers.get("Authorization", "")
        if self._token is None or hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            return None
        LOG.warning("%s: refused %s, without the token", self.name, connection.remote_address)
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "a bearer token is needed\n")

    async def _serve(self, socket: "ServerConnection") -> None:
        from services.drivers.s2.session import Session

        before = self._session
        if before is not None:
            LOG.warning("%s: another resource manager has come, the one before is left", self.name)
            await before.release()
        battery = Battery(self._driver.empty_level, self._driver.full_level)
        session = self._session = Session(socket, battery, self._safe_kw, self._say)
        self._say({"online": True, "trouble": ""})
        self._pass_on()
        try:
            await session.run()
        except Exception:  # an endpoint that ended would leave a device that nobody hears, and say nothing
            LOG.exception("%s", self.name)
        finally:
            if self._session is session:
                self._session = None
                self._say({"online": False})
            LOG.info("%s: the resource manager has left", self.name)

    def _pass_on(self) -> None:
        from services.drivers.s2.session import Command

        if self._session is not None and self._wanted is not None:
            self._session.want(Command(*self._wanted))

    def _say(self, found: dict[str, Any]) -> None:
        trouble = found.pop("trouble", None)
        if trouble is None:
            self._put(Measured(**found))  # that it is there, or not
        else:
            self._put(what_is_possible(self._complaints, found, trouble))


def _tls(driver: S2Driver) -> ssl.SSLContext | None:
    """Raises InputError."""
    if driver.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(driver.certificate, driver.key)
    except (OSError, ssl.SSLError) as error:
        what = f"cannot be used with its key: {error}"
        raise InputError.one("driver.certificate", what, driver.certificate, code=Code.UNREADABLE) from None
    return context


def _token(driver: S2Driver) -> str | None:
    """Raises InputError."""
    if driver.token_file is None:
        return None
    try:
        return Path(driver.token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        what = f"cannot be read: {error}"
        raise InputError.one("driver.token_file", what, driver.token_file, code=Code.UNREADABLE) from None
