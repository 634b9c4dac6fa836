"""A charge point of OCPP 1.6J on the library of the charge point's side, with the ways in which firmware lies."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any

import websockets
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.enums import Action
from websockets.exceptions import ConnectionClosed, InvalidMessage

VOLT = 230.0


def iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


class _Protocol(ChargePoint):
    evse: "Evse16"

    @on(Action.get_configuration)
    def on_get(self, key: list[str] | None = None, **more: Any) -> Any:
        known = [{"key": "ChargingScheduleAllowedChargingRateUnit", "readonly": True, "value": self.evse.units}]
        return call_result.GetConfiguration(known, [])

    @on(Action.change_configuration)
    def on_change(self, key: str, value: str) -> Any:
        if key == "MeterValuesSampledData" and not set(value.split(",")) <= self.evse.measurands:
            return call_result.ChangeConfiguration("Rejected")
        self.evse.configuration[key] = value
        return call_result.ChangeConfiguration("Accepted")

    @on(Action.set_charging_profile)
    async def on_profile(self, connector_id: int, cs_charging_profiles: dict[str, Any]) -> Any:
        await asyncio.sleep(self.evse.slow_s)
        if cs_charging_profiles["charging_profile_purpose"] in self.evse.refuses:
            return call_result.SetChargingProfile("Rejected")
        self.evse.accept(connector_id, cs_charging_profiles)
        return call_result.SetChargingProfile("Accepted")

    @on(Action.get_composite_schedule)
    def on_composite(self, connector_id: int, duration: int, **more: Any) -> Any:
        limit_kw = self.evse.max_kw if self.evse.schedule_lies else self.evse.limit_kw()
        schedule = {
            "charging_rate_unit": "W",
            "duration": duration,
            "charging_schedule_period": [{"start_period": 0, "limit": round(1000 * limit_kw, 1)}],
        }
        return call_result.GetCompositeSchedule("Accepted", connector_id, iso(datetime.now(UTC)), schedule)

    @on(Action.trigger_message)
    def on_trigger(self, requested_message: str, **more: Any) -> Any:
        self.evse.triggered.append(requested_message)
        if requested_message == "StatusNotification":
            self.evse.soon(self.evse.send_status())
        return call_result.TriggerMessage("Accepted")

    @on(Action.remote_start_transaction)
    def on_remote_start(self, id_tag: str, **more: Any) -> Any:
        self.evse.soon(self.evse.start(id_tag))
        return call_result.RemoteStartTransaction("Accepted")


class Evse16:
    """Draws what the highest profile allows, while a vehicle charges; has a loop of its own."""

    def __init__(self, url: str) -> None:
        self.url, self.max_kw = url, 11.0
        self.headers: dict[str, str] | None = None
        self.tls: Any = None
        self._soon: set[asyncio.Future[Any]] = set()
        self.units = "Current,Power"
        self.measurands = {"Power.Active.Import", "Energy.Active.Import.Register", "SoC"}
        self.refuses: set[str] = set()
        self.obeys, self.schedule_lies, self.slow_s = True, False, 0.0
        self.clock_error = timedelta()
        self.sample: Callable[[], list[dict[str, Any]]] = self.honest_sample
        self.configuration: dict[str, str] = {}
        self.triggered: list[str] = []
        self.profiles: dict[int, dict[str, Any]] = {}
        self.told: list[tuple[datetime, dict[str, Any]]] = []
        self.status, self.transaction = "Available", None
        self.wh = 1000.0
        self.answers: list[Any] = []
        self.subprotocols = ["ocpp1.6"]
        self.boots = True
        self.sample_every_s = 0.2
        self._power_since = time.monotonic()
        self._protocol: Any = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._serving: asyncio.Task[None] | None = None

    # ---- called by tests

    def do(self, work: Awaitable[Any], wait_s: float = 20.0) -> Any:
        async def whole() -> Any:
            return await work

        future: Future[Any] = asyncio.run_coroutine_threadsafe(whole(), self._loop)
        return future.result(wait_s)

    def connect(self) -> "Evse16":
        """As soon as the central system listens."""
        deadline = time.monotonic() + 30
        while True:
            try:
                self.do(self._connect())
            except (ConnectionRefusedError, InvalidMessage) as refused:
                # Before anybody listens, a connection from that very port meets itself: its own request is the answer.
                if isinstance(refused, InvalidMessage) and ": GET " not in str(refused.__cause__):
                    raise
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return self

    def drop(self) -> None:
        """The cable is pulled: no closing handshake."""

        async def abort() -> None:
            if self._protocol is not None:
                self._protocol._connection.transport.abort()

        self.do(abort())

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.do(self._close(), 5.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def plug(self) -> None:
        self.status = "Preparing"
        self.do(self.send_status())

    def begin(self, tag: str = "TAG1") -> Any:
        return self.do(self.start(tag))

    def end(self) -> None:
        self.do(self.stop())

    def send(self, request: Any) -> Any:
        return self.do(self._protocol.call(request, suppress=False))

    def send_raw(self, text: str) -> None:
        self.do(self._protocol._connection.send(text))

    def limits(self, purpose: str) -> list[float]:
        """Those that it was told with profiles of a purpose, in order."""
        return [
            float(profile["charging_schedule"]["charging_schedule_period"][0]["limit"])
            for _, profile in self.told
            if profile["charging_profile_purpose"] == purpose
        ]

    # ---- behaviour

    def soon(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._soon.add(task)
        task.add_done_callback(self._soon.discard)

    def accept(self, connector: int, profile: dict[str, Any]) -> None:
        self.told.append((datetime.now(UTC), profile))
        self._count()
        self.profiles[profile["charging_profile_id"]] = profile

    def limit_kw(self) -> float:
        """By purpose and stack level, of the profiles that are not over; the maximum caps all."""
        now = datetime.now(UTC) + self.clock_error
        found: dict[str, tuple[int, float]] = {}
        for profile in self.profiles.values():
            schedule, purpose = profile["charging_schedule"], profile["charging_profile_purpose"]
            if purpose == "TxProfile" and profile.get("transaction_id") != self.transaction:
                continue
            begin = schedule.get("start_schedule")
            if begin is not None:
                passed = (now - datetime.fromisoformat(begin)).total_seconds()
                if passed < 0 or passed >= schedule.get("duration", float("inf")):
                    continue
            limit = float(schedule["charging_schedule_period"][0]["limit"])  # the library's are decimals
            kw = limit / 1000 if schedule["charging_rate_unit"] == "W" else limit * VOLT * 3 / 1000
            if purpose not in found or profile["stack_level"] > found[purpose][0]:
                found[purpose] = (profile["stack_level"], kw)
        own = found.get("TxProfile") or found.get("TxDefaultProfile") or (0, self.max_kw)
        most = found.get("ChargePointMaxProfile", (0, self.max_kw))
        return min(own[1], most[1], self.max_kw)

    def power_kw(self) -> float:
        if self.transaction is None:
            return 0.0
        return self.limit_kw() if self.obeys else self.max_kw

    def _count(self) -> None:
        now = time.monotonic()
        self.wh += 1000 * self.power_kw() * (now - self._power_since) / 3600
        self._power_since = now

    def honest_sample(self) -> list[dict[str, Any]]:
        return [
            {"value": f"{1000 * self.power_kw():.1f}", "measurand": "Power.Active.Import", "unit": "W"},
            {"value": f"{self.wh:.3f}", "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
            {"value": "42", "measurand": "SoC", "unit": "Percent", "location": "EV"},
        ]

    def now(self) -> str:
        return iso(datetime.now(UTC) + self.clock_error)

    async def _connect(self) -> None:
        socket = await websockets.connect(
            self.url, subprotocols=self.subprotocols, additional_headers=self.headers, ssl=self.tls, open_timeout=10
        )
        self._protocol = _Protocol(self.url.rpartition("/")[2], socket, 10)
        self._protocol.evse = self
        self._serving = asyncio.ensure_future(self._serve())
        if self.boots:
            boot = call.BootNotification(charge_point_model="M", charge_point_vendor="V")
            self.answers.append(await self._protocol.call(boot, suppress=False))
        await self.send_status()

    async def _serve(self) -> None:
        protocol = self._protocol
        meter = asyncio.ensure_future(self._meter())
        with contextlib.suppress(ConnectionClosed):
            await protocol.start()
        meter.cancel()

    async def _meter(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(self.sample_every_s)
                self._count()
                if self.transaction is not None:
                    await self._protocol.call(
                        call.MeterValues(connector_id=1, meter_value=self.values(), transaction_id=self.transaction),
                        skip_schema_validation=True,
                    )

    def values(self) -> list[dict[str, Any]]:
        return [{"timestamp": self.now(), "sampledValue": self.sample()}]

    async def _close(self) -> None:
        await self._protocol._connection.close()

    async def send_status(self) -> None:
        await self._protocol.call(call.StatusNotification(connector_id=1, error_code="NoError", status=self.status))

    async def start(self, tag: str) -> Any:
        request = call.StartTransaction(connector_id=1, id_tag=tag, meter_start=round(self.wh), timestamp=self.now())
        answer = await self._protocol.call(request, suppress=False)
        self._count()
        self.transaction, self.status = answer.transaction_id, "Charging"
        await self.send_status()
        return answer

    async def stop(self) -> None:
        self._count()
        number, self.transaction, self.status = self.transaction, None, "Available"
        request = call.StopTransaction(meter_stop=round(self.wh), timestamp=self.now(), transaction_id=number)
        await self._protocol.call(request, suppress=False)
        await self.send_status()
