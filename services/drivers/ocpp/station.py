"""A charge point while it is connected: prepared, commanded and read, whatever OCPP's version.

The version is a subclass of this and of the library's charge point: it has the handlers of messages, and says how a
limit is set and read back.
"""

import asyncio
import contextlib
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from ocpp.exceptions import NotImplementedError as OcppNotImplementedError
from ocpp.exceptions import OCPPError
from ocpp.messages import unpack
from websockets.exceptions import ConnectionClosed

from schemas.site.ocpp import OcppServer
from services.drivers.ocpp.link import IN_TRANSACTION, Command, OcppLink
from services.drivers.ocpp.transactions import Transactions
from services.ocpp import readings
from services.ocpp.clocks import PeerClock, parse
from services.ocpp.limits import agree, to_kw, to_limit

LOG = logging.getLogger(__name__)
WIRE = logging.getLogger("services.drivers.ocpp.wire")
"""The library's own log: every message at INFO, and a traceback for every bad one. Neither is for an operator."""
WIRE.setLevel(logging.CRITICAL)

ANSWER_S = 10.0
"""A charge point that has not answered a request by then has not got it."""
HEARTBEAT_S = 60
SILENT_AFTER_BOOT_S = 3.0
"""A charge point that reconnects without a boot notification is prepared after that."""
AGAIN_S, MOST_AGAIN_S = 5.0, 60.0
"""After a limit that was not accepted; twice as long each further time."""
RATE, BURST = 200.0, 400.0
"""Messages a second that are read; one that sends more waits in its own connection, and stalls nobody else."""
FORGET_S = 60.0
"""After a message that could not be read, without another, that trouble is over."""
REACH_S = 30.0
"""A schedule begins so long ago: a charge point's clock may be ahead or behind."""


class RefusedError(Exception):
    """The charge point refused a request, did not know it, or did not answer; the text says which."""


@dataclass(frozen=True, slots=True)
class ProfileOrder:
    """A charging profile to be set."""

    purpose: str
    """In the words of the version."""
    limit: float
    unit: str
    """Of the limit: W or A."""
    for_s: float | None
    """None: until it is replaced."""
    phases: int | None
    """None: as described."""
    baseline: bool
    """The lasting one below the set-points; else a set-point's."""


@dataclass
class Outlet:
    """A link in this connection."""

    link: OcppLink
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    purposes: list[str] = field(default_factory=list)
    """Ways of commanding it, the best first; one that it refuses for good is dropped."""
    done: Command | None = None
    done_in: str | None = None
    """The transaction in which that was done."""
    reads_back: bool = True
    is_safe: bool = False
    """It has its own fallback. Only who is commanded gets one: who only looks changes nothing."""


class Station(ABC):
    """Mixed into one of the library's charge points."""

    # Of the library's charge point.
    id: str
    route_map: dict[str, Any]
    call: Callable[..., Any]
    route_message: Callable[[Any], Awaitable[None]]
    _connection: Any

    PURPOSES: ClassVar[Mapping[str, str]]
    """The version's name of each purpose of a profile."""

    def begin_with(
        self, links: Callable[[], Sequence[OcppLink]], server: OcppServer, transactions: Transactions
    ) -> None:
        """Before `serve`."""
        self._links, self._server, self._transactions = links, server, transactions
        self._outlets: dict[OcppLink, Outlet] = {}
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._ready = asyncio.Event()
        self._clock = PeerClock()
        self._unit: str | None = None
        self._configured = False
        self._misunderstood_at = math.inf
        self._allowance, self._counted_at = BURST, time.monotonic()

    # ---- the connection

    async def serve(self) -> None:
        """Until it is closed. Raises ConnectionClosed."""
        self.attach()
        self._start("prepare", self._prepare_soon(SILENT_AFTER_BOOT_S))
        self._start("watch", self._watch())
        try:
            while True:
                raw = await self._connection.recv()
                await self._slow_down()
                await self._route(raw)
        finally:
            for outlet in self._outlets.values():
                outlet.link.woken_by(None)
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def attach(self) -> None:
        """Takes up links that are new."""
        for link in self._links():
            if link not in self._outlets:
                outlet = self._outlets[link] = Outlet(link)
                link.woken_by(outlet.wake)
                link.connected()
                self._start(link, self._obey(outlet))
                if self._ready.is_set():
                    self._start(("state", link), self._ask_state(link))

    def outlet_of(self, connector: int) -> Outlet | None:
        return next((each for each in self._outlets.values() if each.link.driver.connector == connector), None)

    def link_of(self, connector: int) -> OcppLink | None:
        outlet = self.outlet_of(connector)
        return None if outlet is None else outlet.link

    def _start(self, name: object, work: Any) -> None:
        before = self._tasks.get(name)
        if before is not None:
            before.cancel()
        self._tasks[name] = asyncio.create_task(self._guarded(work))

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except ConnectionClosed:
            return  # whoever reads notices
        except Exception as error:
            LOG.exception("%s", self.id)
            self.trouble("driver", f"{type(error).__name__}: {error}")

    async def _slow_down(self) -> None:
        now = time.monotonic()
        self._allowance = min(BURST, self._allowance + RATE * (now - self._counted_at)) - 1
        self._counted_at = now
        if self._allowance < 0:
            self.trouble("rate", f"it sends more than {RATE:g} messages a second")
            await asyncio.sleep(-self._allowance / RATE)
        elif self._allowance > BURST / 2:
            self.trouble("rate", None)

    async def _route(self, raw: Any) -> None:
        """Handles a message; one that is not OCPP's is named, and answered where that is possible."""
        try:
            message = unpack(raw)
            if message.message_type_id == 2 and message.action not in self.route_map:
                error = OcppNotImplementedError(details={"cause": f"{str(message.action)[:60]} is not handled here"})
                await self._connection.send(message.create_call_error(error).to_json())
                return
            await self.route_message(raw)
        except ConnectionClosed:
            raise
        except Exception as error:
            self.misunderstood(f"{type(error).__name__}: {error}")

    def misunderstood(self, why: str) -> None:
        LOG.warning("%s: a message that cannot be read: %s", self.id, why[:300])
        self._misunderstood_at = time.monotonic()
        self.trouble("message", f"a message cannot be read: {why}"[:200])

    def trouble(self, about: str, text: str | None) -> None:
        """Of the whole charge point."""
        for outlet in self._outlets.values():
            outlet.link.trouble(about, text)

    # ---- what it says

    def booted(self) -> None:
        self._ready.clear()
        self._start("prepare", self._prepare_soon(0.0))

    def metered(self, link: OcppLink, values: Any, *, queued: bool = False) -> None:
        """``values``: a list of meter values with their timestamps, keys in snake case. ``queued``: it says that they
        are of a time when it was offline.
        """
        if not isinstance(values, list):
            self.misunderstood("meter values that are no list")
            return
        for value in values:
            if not isinstance(value, Mapping):
                continue
            received = datetime.now(UTC)
            measured = parse(value.get("timestamp"))
            before = self._clock.behind
            now = (measured is None or self._clock.is_now(measured, received)) and not queued
            if abs(self._clock.behind - before) > timedelta(seconds=REACH_S / 2):
                self._again()  # what was scheduled was scheduled by another clock
            reading = readings.read(readings.sampled_values(value), link.rated)
            link.takes(reading, measured or self._clock.its_time(received), now=now)
        self.trouble("clock", self._clock.trouble)

    def _again(self) -> None:
        for outlet in self._outlets.values():
            outlet.done = None
            outlet.wake.set()

    def energy(self, link: OcppLink, watt_hours: object, timestamp: object) -> None:
        """A register at the begin or the end of a transaction."""
        unit = {"measurand": readings.ENERGY, "value": watt_hours}
        self.metered(link, [{"timestamp": timestamp, "sampled_value": [unit]}])

    def allows(self, id_tag: object) -> bool:
        allowed = self._server.id_tags
        if allowed is None or (isinstance(id_tag, str) and id_tag.lower() in {each.lower() for each in allowed}):
            return True
        LOG.warning("%s: %r may not charge here", self.id, id_tag)
        return False

    # ---- what is asked of it

    async def _prepare_soon(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        if self._ready.is_set():
            return
        self._unit = await self._known_unit()
        for outlet in self._outlets.values():
            outlet.purposes, outlet.done, outlet.is_safe = [], None, False
        self._configured = False
        self._ready.set()
        for outlet in self._outlets.values():
            outlet.wake.set()
        for link in list(self._outlets):
            await self._ask_state(link)
            await self._look_whether_it_switches(link)

    async def _known_unit(self) -> str:
        wanted = {outlet.link.driver.rate_unit for outlet in self._outlets.values()} - {"auto"}
        if wanted:
            return wanted.pop()
        with contextlib.suppress(RefusedError):
            return "W" if await self._knows_watts() else "A"
        return "A"

    async def _make_safe(self, outlet: Outlet) -> None:
        """The charger's own fallback, that holds when nothing else does: with us dead, and at a new transaction."""
        link = outlet.link
        purpose = "tx_default" if link.driver.profile in ("auto", "tx") else link.driver.profile
        try:
            await self._set(link, purpose, Command(link.safe_kw, None), baseline=True)
            link.trouble("fallback", None)
        except RefusedError as error:
            link.trouble("fallback", f"its own fallback of {link.safe_kw:g} kW is not set: {error}")

    async def _ask_state(self, link: OcppLink) -> None:
        for what in ("StatusNotification", "MeterValues"):
            with contextlib.suppress(RefusedError):
                await self._trigger(link, what)

    async def _obey(self, outlet: Outlet) -> None:
        """Brings every command to the charger, the newest first; one that it refuses again and again."""
        link, wait_s = outlet.link, None
        again_s = AGAIN_S
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(outlet.wake.wait(), wait_s)
            await self._ready.wait()
            outlet.wake.clear()
            wait_s = None
            command = link.wanted
            if command is None or self._is_done(outlet, command):
                continue
            try:
                await self._do(outlet, command)
            except ConnectionClosed:
                raise
            except Exception as error:  # a task that ended would leave a charger that nobody commands
                if not isinstance(error, RefusedError):
                    LOG.exception("%s", link.name)
                link.trouble("command", f"{command.power_kw:g} kW is not accepted: {error}")
                wait_s, again_s = again_s, min(2 * again_s, MOST_AGAIN_S)
            else:
                again_s = AGAIN_S

    async def _do(self, outlet: Outlet, command: Command) -> None:
        """Raises RefusedError."""
        if not outlet.is_safe:
            outlet.is_safe = True
            await self._make_safe(outlet)
        asked_kw = await self._set_by_any_purpose(outlet, command)
        if not self._configured:
            self._configured = True
            self._start("configure", self._configure())
        if asked_kw is not None:
            outlet.link.trouble("command", None)
            await self._read_back(outlet, asked_kw, command.phases)

    def _is_done(self, outlet: Outlet, command: Command) -> bool:
        return command.same_as(outlet.done) and outlet.done_in == outlet.link.transaction

    async def _set_by_any_purpose(self, outlet: Outlet, command: Command) -> float | None:
        """The power that was asked for by its rounded limit; None: there is nothing to ask now. Raises RefusedError."""
        link, transaction = outlet.link, outlet.link.transaction
        if not outlet.purposes:
            chosen = link.driver.profile
            alone = len(self._outlets) == 1
            every = ["tx", "tx_default", *(["charge_point_max"] if alone else [])]
            outlet.purposes = every if chosen == "auto" else [chosen]
        while True:
            purpose = outlet.purposes[0]
            if purpose == "tx" and transaction is None:
                if link.status not in IN_TRANSACTION or "tx_default" not in outlet.purposes:
                    return None  # nothing charges; a transaction begins on the charger's own fallback, and wakes us
                purpose = "tx_default"  # one that began while we were away: its number is not known yet
            try:
                asked_kw = await self._set(link, purpose, command, baseline=False)
            except RefusedError:
                if len(outlet.purposes) == 1:
                    raise
                outlet.purposes.pop(0)
            else:
                outlet.done, outlet.done_in = command, transaction
                return asked_kw

    async def _set(self, link: OcppLink, purpose: str, command: Command, *, baseline: bool) -> float:
        assert self._unit is not None
        limit = to_limit(command.power_kw, self._unit, link.rated, command.phases)
        for_s = None if command.until is None else max(1.0, command.until - time.monotonic())
        order = ProfileOrder(self.PURPOSES[purpose], limit, self._unit, for_s, command.phases, baseline)
        await self._set_profile(link, order)
        return to_kw(limit, self._unit, command.phases or link.rated.phases, link.rated.voltage_v)

    def _number_phases(self, link: OcppLink, phases: int | None) -> dict[str, int]:
        """Fields of a schedule's period that say on how many phases it charges; left out, these are three."""
        if phases is None:
            return {"number_phases": 1} if link.rated.phases == 1 else {}
        return {"number_phases": phases}

    async def _look_whether_it_switches(self, link: OcppLink) -> None:
        """Says so if a charger that is described with a phase switch says that it has none."""
        if not link.rated.switches_phases:
            return
        try:
            switches = await self._switches_phases()
        except RefusedError:
            switches = None  # it is asked for its phases all the same, and measured
        link.trouble("phases", "it says that it cannot switch from three phases to one" if switches is False else None)

    async def _read_back(self, outlet: Outlet, asked_kw: float, phases: int | None) -> None:
        """Names a charger that has accepted a limit or a number of phases, and whose schedule says another."""
        if not outlet.reads_back:
            return
        link = outlet.link
        try:
            found_kw, found_phases = await self._composite(link, phases or link.rated.phases)
        except RefusedError:
            outlet.reads_back = False
            return
        if phases is not None and found_phases not in (None, phases):
            link.trouble("schedule", f"it accepted {phases} phases, and its schedule says {found_phases}")
            return
        more = found_kw is not None and found_kw > asked_kw and not agree(asked_kw, found_kw)
        link.trouble(
            "schedule", f"it accepted {asked_kw:g} kW, and its schedule says {found_kw:g} kW" if more else None
        )

    async def _watch(self) -> None:
        """Says that nothing flows where its state says so, and asks for measurements that have not come."""
        while True:
            await asyncio.sleep(1.0)
            if time.monotonic() - self._misunderstood_at > FORGET_S:
                self.trouble("message", None)
            for link in list(self._outlets):
                stale_s = time.monotonic() - link.measured_at
                if stale_s < link.driver.max_age_s / 3:
                    continue
                if link.nothing_flows:
                    link.measured_at = time.monotonic()
                    link.say(power_kw=0.0)
                elif self._ready.is_set() and ("ask", link) not in self._running():
                    self._start(("ask", link), self._ask_values(link))

    def _running(self) -> set[object]:
        return {name for name, task in self._tasks.items() if not task.done()}

    async def _ask_values(self, link: OcppLink) -> None:
        with contextlib.suppress(RefusedError):
            await self._trigger(link, "MeterValues")
        await asyncio.sleep(link.driver.max_age_s / 4)

    async def ask(self, request: Any) -> Any:
        """The answer. Raises RefusedError."""
        what = type(request).__name__
        try:
            return await self.call(request, suppress=False)
        except OCPPError as error:
            raise RefusedError(f"{what}: {type(error).__name__}, {error.description}"[:200]) from None
        except TimeoutError:
            raise RefusedError(f"{what}: no answer in {ANSWER_S:g} s") from None
        except (TypeError, ValueError) as error:
            raise RefusedError(f"{what}: an answer that cannot be read, {error}"[:200]) from None

    # ---- of a version

    @abstractmethod
    async def _knows_watts(self) -> bool:
        """Whether its limits may be in W. Raises RefusedError."""

    @abstractmethod
    async def _switches_phases(self) -> bool | None:
        """Whether it can switch from three phases to one; None: it does not say. Raises RefusedError."""

    @abstractmethod
    async def _configure(self) -> None:
        """How often it measures, and what."""

    @abstractmethod
    async def _set_profile(self, link: OcppLink, order: ProfileOrder) -> None:
        """Raises RefusedError."""

    @abstractmethod
    async def _composite(self, link: OcppLink, phases: int) -> tuple[float | None, int | None]:
        """The limit [kW] and the number of phases that its schedule has now; None: it does not say. ``phases``: of a
        limit in A that says none. Raises RefusedError: it never will."""

    @abstractmethod
    async def _trigger(self, link: OcppLink, what: str) -> None:
        """Raises RefusedError."""
