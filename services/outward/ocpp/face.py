"""A charger's twin at a central system: its state goes there, and the charging profiles from there command it."""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from schemas.messages import ChargerTelemetry, Phases, Telemetry
from services.ocpp.limits import in_unit, to_kw
from services.ocpp.profiles import Allowed, Profile, Profiles, utc_now
from services.ocpp.readings import Rated
from services.outward.face import Asked
from services.outward.ocpp.session import Sample, Transaction

if TYPE_CHECKING:
    from services.outward.ocpp.points import Point

LOG = logging.getLogger(__name__)

Version = Literal["1.6", "2.0.1", "2.1"]
AGAIN_S, MOST_AGAIN_S = 1.0, 60.0
"""Between attempts to connect; twice as long each further time."""
LOOK_S = 0.5
MOST_QUEUED = 10_000
"""Messages of transactions that are kept while the central system is away; beyond, meter values are dropped first."""
FLOWS_KW = 0.05


class OcppFace:
    """Runs in a thread of its own. A transaction begins when a vehicle is plugged, and ends when it leaves."""

    value_type = Asked

    def __init__(
        self, name: str, url: str, version: Version, rated: Rated, *, password: str | None = None, tag: str = "TWIN"
    ) -> None:
        self.name, self.rated = name, rated
        self._url, self._version, self._password, self._tag = url, version, password, tag
        self._put: Callable[[object], bool] | None = None
        self._lock = threading.Lock()
        self._shown: ChargerTelemetry | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._changed: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self.profiles = Profiles()
        self.configuration = {"interval_s": 60, "aligned_s": 0}
        self.transaction: Transaction | None = None
        self._stopped = False
        """From outside, or the vehicle may not charge here: nothing flows until it has left."""
        self._number = 0
        self._asked_kw: float | None = None
        self._asked: tuple[float | None, Phases | None, datetime | None] = (None, None, None)
        self._queue: deque[Callable[[Point], Awaitable[None]]] = deque()
        self._point: Point | None = None
        self._status: str | None = None
        self._sampled: datetime | None = None

    # ---- the twin's side, any thread

    def show(self, telemetry: Telemetry | None, remaining_s: float | None) -> None:
        del remaining_s
        assert telemetry is None or isinstance(telemetry, ChargerTelemetry)
        with self._lock:
            self._shown = telemetry

    def over(self, number: int) -> None:
        """The twin ends by itself what this face lets end, too."""

    def open(self, put: Callable[[object], bool]) -> None:
        self._put = put
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(started)), name="OCPP", daemon=True)
        self._thread.start()
        started.wait(10.0)

    def close(self) -> None:
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(10.0)
        self._put = None

    # ---- its own

    async def _main(self, started: threading.Event) -> None:
        self._loop, self._stop, self._changed = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        started.set()
        tasks = [asyncio.create_task(self._guarded(each)) for each in (self._connect, self._live)]
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception:
                LOG.exception("%s", self.name)
                await asyncio.sleep(AGAIN_S)

    async def _connect(self) -> None:
        """Stays connected, and hands over what has been queued, in its order."""
        from ocpp.exceptions import OCPPError
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        from services.outward.ocpp.points import point_of

        wait_s = AGAIN_S
        while True:
            try:
                async with connect(
                    self._url,
                    subprotocols=[f"ocpp{self._version}"],  # type: ignore[list-item]
                    additional_headers=self._headers(),
                    open_timeout=10,
                    close_timeout=2,
                ) as connection:
                    if connection.subprotocol is None:
                        LOG.warning("%s: the central system does not speak OCPP %s", self._url, self._version)
                        continue
                    point = point_of(self._version, self._url.rstrip("/").rpartition("/")[2], connection, self)
                    wait_s = AGAIN_S
                    await self._serve(point)
            except (OSError, TimeoutError, WebSocketException, OCPPError) as error:
                LOG.warning("%s: %s", self._url, str(error) or type(error).__name__)
            finally:
                self._point = self._status = None
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, MOST_AGAIN_S)

    def _headers(self) -> dict[str, str]:
        from websockets.headers import build_authorization_basic

        if self._password is None:
            return {}
        return {"Authorization": build_authorization_basic(self._url.rstrip("/").rpartition("/")[2], self._password)}

    async def _serve(self, point: "Point") -> None:
        reading = asyncio.create_task(point.start())
        working = asyncio.create_task(self._work(point))
        try:
            done, _ = await asyncio.wait((reading, working), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (reading, working):
                task.cancel()
            await asyncio.gather(reading, working, return_exceptions=True)

    async def _work(self, point: "Point") -> None:
        from ocpp.exceptions import OCPPError

        beat_s = await point.boot()
        LOG.info("%s: accepted, with OCPP %s", self._url, self._version)
        self._point = point
        beaten = asyncio.get_running_loop().time()
        assert self._changed is not None
        while True:
            while self._queue:
                try:
                    await self._queue[0](point)  # one that is not answered stays the first
                except (OCPPError, KeyError, TypeError, ValueError) as error:
                    LOG.warning("%s: refused, or an answer without sense: %r", self._url, error)
                self._queue.popleft()
            await self._say_status(point)
            now = asyncio.get_running_loop().time()
            if now - beaten >= beat_s:
                beaten = now
                await point.beat()
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), LOOK_S)

    async def _say_status(self, point: "Point") -> None:
        status = self.status
        if status != self._status:
            await point.status(status, self)
            self._status = status

    @property
    def shown(self) -> ChargerTelemetry | None:
        with self._lock:
            return self._shown

    @property
    def status(self) -> str:
        """By the names of OCPP 1.6."""
        shown = self.shown
        if shown is None:
            return "Unavailable"
        if shown.vehicle is None:
            return "Available"
        if self.transaction is None:
            return "Finishing" if self._stopped else "Preparing"
        if abs(shown.power_kw) >= FLOWS_KW:
            return "Charging"
        return "SuspendedEVSE" if self._asked_kw == 0 else "SuspendedEV"

    # ---- transactions and commands

    async def _live(self) -> None:
        while True:
            shown, now = self.shown, utc_now()
            if shown is not None:
                self._follow_vehicle(shown, now)
                self._sample(shown, now)
            self.ask()
            await asyncio.sleep(LOOK_S / 2)

    def _follow_vehicle(self, shown: ChargerTelemetry, now: datetime) -> None:
        if shown.vehicle is None:
            self._stopped = False
            if self.transaction is not None:
                self.stop("EVDisconnected", shown, now)
        elif self.transaction is None and not self._stopped:
            token = (shown.vehicle.vehicle or self._tag)[:20]
            begun = self.transaction = Transaction(token, now, shown.energy_import_kwh or 0.0)
            self._sampled = now
            sample = Sample.of(shown, now)
            self._send(lambda point, offline: point.begin(begun, sample, offline=offline))

    def refuse(self, transaction: Transaction) -> None:
        """The central system does not let this vehicle charge."""
        shown = self.shown
        if self.transaction is transaction and shown is not None:
            LOG.warning("%s: %s may not charge", self._url, transaction.token)
            self.stop("DeAuthorized", shown, utc_now())
            self._stopped = True

    def start(self, token: str) -> bool:
        """Asked for by the central system: whether a vehicle is there whose transaction was ended."""
        shown = self.shown
        if shown is None or shown.vehicle is None or self.transaction is not None:
            return False
        self._tag, self._stopped = token, False
        return True

    def stop_asked(self, number: str) -> bool:
        transaction, shown = self.transaction, self.shown
        if transaction is None or shown is None or number not in (transaction.number, transaction.own_number):
            return False
        self.stop("Remote", shown, utc_now())
        self._stopped = True
        return True

    def stop(self, reason: str, shown: ChargerTelemetry, now: datetime) -> None:
        transaction, self.transaction = self.transaction, None
        assert transaction is not None
        sample = Sample.of(shown, now)
        self._send(lambda point, offline: point.end(transaction, sample, reason, offline=offline))
        self.profiles.end_of(transaction.number or transaction.own_number)

    def _sample(self, shown: ChargerTelemetry, now: datetime) -> None:
        transaction, before = self.transaction, self._sampled
        if before is None:
            self._sampled = now
            return
        interval_s, aligned_s = self.configuration["interval_s"], self.configuration["aligned_s"]
        periodic = transaction is not None and interval_s > 0 and now - before >= timedelta(seconds=interval_s)
        aligned = aligned_s > 0 and now.timestamp() // aligned_s != before.timestamp() // aligned_s
        if not periodic and not aligned:
            return
        self._sampled = now
        self.meter(shown, now, "Sample.Clock" if aligned else "Sample.Periodic")

    def meter(self, shown: ChargerTelemetry, now: datetime, context: str) -> None:
        transaction, sample = self.transaction, Sample.of(shown, now)
        if transaction is None and self._point is None:
            return  # nobody's energy
        if len(self._queue) < MOST_QUEUED:
            self._send(lambda point, offline: point.meter(transaction, sample, context, offline=offline))

    def _send(self, send: "Callable[..., Awaitable[None]]") -> None:
        offline = self._point is None
        self._queue.append(lambda point: send(point, offline))
        self.look()

    def look(self) -> None:
        if self._changed is not None:
            self._changed.set()

    def accept(self, said: dict[str, Any]) -> None:
        """Takes a charging profile. Raises ProfileError, and KeyError, TypeError, ValueError for one without sense."""

        def kw(value: float, unit: str, phases: int | None) -> float:
            return to_kw(value, unit, phases or self.rated.phases, self.rated.voltage_v)

        self.profiles.set(Profile.of(said, utc_now(), kw))
        self.ask()

    def accepts(self, said: dict[str, Any]) -> bool:
        """As `accept`; False: it cannot be followed, or has no sense."""
        try:
            self.accept(said)
        except (KeyError, TypeError, ValueError) as error:
            LOG.warning("a charging profile is rejected: %s", error)
            return False
        return True

    def clear(self, number: int | None, purpose: str | None, stack_level: int | None) -> bool:
        """Whether there was such a charging profile."""
        found = self.profiles.clear(number, purpose, stack_level)
        self.ask()
        return found

    def composite(self, duration: int, unit: str | None) -> dict[str, Any]:
        """The composite schedule: what the profiles allow now, in a unit of OCPP."""
        allowed, _ = self.allowed()
        unit, phases = unit or "W", self._phases_of(allowed)
        limit = in_unit(self.rated.max_charge_kw if allowed is None else allowed.power_kw, unit, self.rated, phases)
        period = {"start_period": 0, "limit": limit, **({} if phases is None else {"number_phases": phases})}
        return {"duration": duration, "charging_rate_unit": unit, "charging_schedule_period": [period]}

    def _phases_of(self, allowed: Allowed | None) -> Phases | None:
        """On how many phases the twin is asked to charge; None: it cannot switch them, or chooses by the power."""
        if allowed is None or allowed.phases is None or not self.rated.switches_phases:
            return None
        return 1 if allowed.phases == 1 else 3

    def allowed(self) -> tuple[Allowed | None, datetime | None]:
        """What the profiles allow now, None: no profile holds; and until when, None: until they are changed."""
        now, transaction = utc_now(), self.transaction
        number = None if transaction is None else transaction.number or transaction.own_number
        begin = None if transaction is None else transaction.begun
        return self.profiles.allowed(now, number, begin), self.profiles.next_change(now, begin)

    def ask(self) -> None:
        """Asks the twin for what the central system allows now, if that has changed."""
        allowed, until = (Allowed(0.0), None) if self._stopped else self.allowed()
        allowed_kw, phases = None if allowed is None else allowed.power_kw, self._phases_of(allowed)
        if allowed_kw is not None:
            allowed_kw = min(max(allowed_kw, -self.rated.max_discharge_kw), self.rated.max_charge_kw)
        asked = (allowed_kw, phases, until)
        if self._put is None or asked == self._asked:
            return
        self._asked, self._asked_kw = asked, allowed_kw
        self._number += 1
        self._put(Asked(number=self._number, value_kw=allowed_kw, phases=phases))
        self.look()
