"""One connection of a resource manager: handshake, control type, what it says, and what it is instructed."""

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from s2python.common import (
    ControlType,
    EnergyManagementRole,
    Handshake,
    HandshakeResponse,
    InstructionStatus,
    InstructionStatusUpdate,
    PowerMeasurement,
    ReceptionStatusValues,
    ResourceManagerDetails,
    RevokableObjects,
    RevokeObject,
    SelectControlType,
    SessionRequest,
    SessionRequestType,
)
from s2python.connection.async_.connection import S2AsyncConnection
from s2python.connection.async_.medium.s2_medium import MediumClosedConnectionError, S2AsyncMediumConnection
from s2python.connection.connection_events import ConnectionStarted
from s2python.frbc import (
    FRBCActuatorStatus,
    FRBCFillLevelTargetProfile,
    FRBCInstruction,
    FRBCLeakageBehaviour,
    FRBCStorageStatus,
    FRBCSystemDescription,
    FRBCTimerStatus,
    FRBCUsageForecast,
)
from s2python.version import S2_VERSION
from websockets.exceptions import WebSocketException

from services.drivers.s2.battery import ELECTRIC, Battery, NotUsableError, Way, electric_sum

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

LOG = logging.getLogger(__name__)

SAID_EVERY_S = 0.2
"""Measurements are handed over so often at most."""
STATED_EVERY_S = 5.0
"""A power that is not measured but stated holds until another one is; so often it is said again."""
LATER = timedelta(seconds=2)
"""After a set-point's end: from then on it is ended by the resource manager, if nobody has ended it before."""
OFF_KW, OFF_FRAC = 0.05, 0.01
"""A way that is off by more than both is named."""
DISOBEYED = frozenset({InstructionStatus.REJECTED, InstructionStatus.ABORTED})


@dataclass(frozen=True, slots=True)
class Command:
    """A power [kW], and until when it holds; None: without an end."""

    power_kw: float
    until: datetime | None

    def same_as(self, other: "Command | None") -> bool:
        if other is None or self.power_kw != other.power_kw or (self.until is None) != (other.until is None):
            return False
        return self.until is None or other.until is None or abs(self.until - other.until) < timedelta(seconds=1)


class _Medium(S2AsyncMediumConnection):
    """The server's side of a WebSocket, as the library s2-python takes it."""

    def __init__(self, socket: "ServerConnection") -> None:
        self._socket = socket
        self._closed = False

    async def is_connected(self) -> bool:
        return not self._closed

    async def messages(self) -> AsyncGenerator[str | bytes, None]:
        async for message in self._socket:
            if _identified(message):
                yield message
            else:
                LOG.warning("no message of S2: %r", message[:80])
        self._closed = True
        raise MediumClosedConnectionError("the resource manager has left")

    async def send(self, message: str) -> None:
        try:
            await self._socket.send(message)
        except WebSocketException as error:
            self._closed = True
            raise MediumClosedConnectionError(f"the resource manager has left: {error}") from error


def _identified(message: str | bytes) -> bool:
    """Whether the library can take it: what has no identity of its own ends a session there, on either side."""
    try:
        found = json.loads(message)
        name = "subject_message_id" if found.get("message_type") == "ReceptionStatus" else "message_id"
        return uuid.UUID(found[name]).int != 0
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return False


class Session:
    """The CEM's side of one connection. ``put`` takes what is measured, by the names of `Measured`."""

    def __init__(
        self, socket: "ServerConnection", battery: Battery, safe_kw: float, put: Callable[[dict[str, Any]], None]
    ) -> None:
        self._battery, self._safe_kw, self._put = battery, safe_kw, put
        self._s2 = S2AsyncConnection(_Medium(socket))
        self._new: dict[str, Any] = {}
        self._measures = True
        """Whether it says that it measures its power."""
        self._troubles: dict[str, str] = {}
        self._said_trouble: str | None = None
        self._stated_at = 0.0
        self._selected = False
        self._wanted: Command | None = None
        self._woken = asyncio.Event()
        self._sent: Command | None = None
        self._way: Way | None = None
        """To the power that was instructed last."""
        self._instructed: dict[uuid.UUID, str] = {}
        self._scheduled: uuid.UUID | None = None
        """The instruction that ends the set-point, while it lies ahead."""
        handlers: dict[Any, Callable[[Any], Any]] = {
            Handshake: self._on_handshake,
            ResourceManagerDetails: self._on_details,
            FRBCSystemDescription: self._on_description,
            FRBCStorageStatus: self._on_storage,
            FRBCActuatorStatus: self._on_actuator,
            FRBCTimerStatus: self._on_timer,
            FRBCFillLevelTargetProfile: self._on_targets,
            PowerMeasurement: self._on_power,
            InstructionStatusUpdate: self._on_instruction,
            SessionRequest: self._on_request,
            FRBCLeakageBehaviour: self._on_unused,
            FRBCUsageForecast: self._on_unused,
        }
        self._s2.register_handler(ConnectionStarted, self._on_start)
        for kind, handle in handlers.items():
            self._s2.register_handler(kind, self._handler(handle))

    @staticmethod
    def _handler(handle: Callable[[Any], Any]) -> Any:
        async def taken(connection: S2AsyncConnection, message: Any, okay: Any) -> None:
            del connection
            await okay()
            await handle(message)

        return taken

    async def run(self) -> None:
        """Until the connection ends."""
        others = [asyncio.create_task(self._instruct()), asyncio.create_task(self._say())]
        try:
            await self._s2.run()
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    def want(self, command: Command) -> None:
        self._wanted = command
        self._woken.set()

    async def release(self) -> None:
        """Gives the battery back to its resource manager, and ends."""
        with contextlib.suppress(Exception):
            if self._selected:
                await self._select(ControlType.NO_SELECTION)
        await self._s2.stop()

    # ---- what the resource manager says

    async def _on_start(self, connection: S2AsyncConnection, event: Any, okay: Any) -> None:
        del connection, event, okay
        await self._send(
            Handshake(message_id=uuid.uuid4(), role=EnergyManagementRole.CEM, supported_protocol_versions=[S2_VERSION])
        )

    async def _on_handshake(self, message: Handshake) -> None:
        versions = message.supported_protocol_versions or []
        if message.role is not EnergyManagementRole.RM:
            await self._refuse("the other side is no resource manager")
        elif S2_VERSION not in versions:
            await self._refuse(
                f"it speaks S2 {', '.join(versions) or 'of no version'}, and {S2_VERSION} is spoken here"
            )
        else:
            await self._send(HandshakeResponse(message_id=uuid.uuid4(), selected_protocol_version=S2_VERSION))

    async def _on_details(self, message: ResourceManagerDetails) -> None:
        offered = message.available_control_types
        if ControlType.FILL_RATE_BASED_CONTROL not in offered:
            names = ", ".join(each.value for each in offered)
            await self._refuse(f"it offers {names}, and FILL_RATE_BASED_CONTROL is needed")
            return
        types = {each.value for each in message.provides_power_measurement_types}
        self._measures = bool(types & ELECTRIC)
        if not self._selected:
            self._selected = True
            await self._select(ControlType.FILL_RATE_BASED_CONTROL)

    async def _on_description(self, message: FRBCSystemDescription) -> None:
        try:
            self._battery.describe(message)
        except NotUsableError as error:
            self._troubles["description"] = str(error)
            return
        self._troubles.pop("description", None)
        self._sent = None  # other modes: what is wanted is instructed anew
        self._woken.set()

    async def _on_storage(self, message: FRBCStorageStatus) -> None:
        self._battery.fill_level = message.present_fill_level
        self._new["soc_frac"] = self._battery.soc_frac(datetime.now(UTC))

    async def _on_actuator(self, message: FRBCActuatorStatus) -> None:
        self._battery.active = (message.active_operation_mode_id, message.operation_mode_factor)
        self._battery.heading = None
        self._stated_at = 0.0

    async def _on_timer(self, message: FRBCTimerStatus) -> None:
        self._battery.timers[message.timer_id] = message.finished_at

    async def _on_targets(self, message: FRBCFillLevelTargetProfile) -> None:
        at, found = message.start_time, []
        for element in message.elements:
            ends = at + element.duration.to_timedelta()
            levels = element.fill_level_range
            found.append((at, ends, levels.start_of_range, levels.end_of_range))
            at = ends
        self._battery.targets = found
        LOG.warning("its fill-level targets are watched, and not planned with")

    async def _on_power(self, message: PowerMeasurement) -> None:
        if any(each.commodity_quantity.value in ELECTRIC for each in message.values):
            self._measures = True
            self._new["power_kw"] = electric_sum(list(message.values), "value") / 1000

    async def _on_instruction(self, message: InstructionStatusUpdate) -> None:
        what = self._instructed.get(message.instruction_id)
        if what is None:
            return
        if message.status_type in DISOBEYED:
            self._troubles["instruction"] = f"its resource manager has {message.status_type.value.lower()} {what}"
        elif message.status_type is not InstructionStatus.REVOKED:
            self._troubles.pop("instruction", None)

    async def _on_request(self, message: SessionRequest) -> None:
        LOG.info("the resource manager asks to %s", message.request.value.lower())
        await self._s2.stop()

    async def _on_unused(self, message: Any) -> None:
        """Leakage and usage: the EMS has its own."""

    # ---- what it is told

    async def _select(self, control_type: ControlType) -> None:
        await self._send(SelectControlType(message_id=uuid.uuid4(), control_type=control_type))

    async def _refuse(self, why: str) -> None:
        self._troubles["session"] = why
        request = SessionRequest(
            message_id=uuid.uuid4(), request=SessionRequestType.TERMINATE, diagnostic_label=why[:200]
        )
        await self._send(request)
        self._flush()
        await self._s2.stop()

    async def _send(self, message: Any) -> bool:
        """Whether it was taken. A resource manager that does not confirm within 5 s is given up by the library."""
        status = await self._s2.send_msg_and_await_reception_status(message, raise_on_error=False)
        if status.status is ReceptionStatusValues.OK:
            self._troubles.pop("refused", None)
            return True
        kind = message.message_type
        self._troubles["refused"] = f"{kind} was refused: {status.status.value}, {status.diagnostic_label or ''}"[:200]
        return False

    async def _instruct(self) -> None:
        """Instructs what is wanted when it changes, and looks again each second for what could not be done before."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), 1.0)
            self._woken.clear()
            wanted, battery = self._wanted, self._battery
            if wanted is None or battery.actuator(datetime.now(UTC)) is None:
                continue
            if wanted.same_as(self._sent) and battery.way_to(wanted.power_kw, datetime.now(UTC)) == self._way:
                continue
            try:
                await self._carry_out(wanted)
            except Exception as error:  # the session ends by itself; a task that ended would command nobody
                LOG.warning("%s: %s", type(error).__name__, error)
                self._troubles["instruction"] = f"{wanted.power_kw:g} kW could not be instructed: {error}"[:200]

    async def _carry_out(self, wanted: Command) -> None:
        now = datetime.now(UTC)
        if self._scheduled is not None:
            earlier, self._scheduled = self._scheduled, None
            revoked = RevokeObject(
                message_id=uuid.uuid4(), object_type=RevokableObjects.FRBC_Instruction, object_id=earlier
            )
            await self._send(revoked)
        got_kw = await self._instruction(wanted.power_kw, now)
        if got_kw is None:
            return
        off = abs(got_kw - wanted.power_kw)
        if off > max(OFF_KW, OFF_FRAC * abs(wanted.power_kw)):
            self._troubles["reach"] = f"{wanted.power_kw:g} kW is asked, and {got_kw:.3g} kW is what it can do now"
        else:
            self._troubles.pop("reach", None)
        if wanted.until is not None and wanted.power_kw != self._safe_kw:
            await self._instruction(self._safe_kw, wanted.until + LATER, scheduled=True)
        self._sent = wanted

    async def _instruction(self, power_kw: float, at: datetime, *, scheduled: bool = False) -> float | None:
        """The power that was instructed; None: none."""
        battery, now = self._battery, datetime.now(UTC)
        actuator, way = battery.actuator(now), battery.way_to(power_kw, now)
        if actuator is None or way is None:
            return None
        message = FRBCInstruction(
            message_id=uuid.uuid4(),
            id=uuid.uuid4(),
            actuator_id=actuator.id,
            operation_mode=way.mode,
            operation_mode_factor=way.factor,
            execution_time=at,
            abnormal_condition=False,
        )
        what = f"{way.power_kw:g} kW" + (" at the set-point's end" if scheduled else "")
        self._instructed = {**dict(list(self._instructed.items())[-20:]), message.id: what}
        if not await self._send(message):
            return None
        if scheduled:
            self._scheduled = message.id
        else:
            self._way, battery.heading = way, way.mode
        return way.power_kw

    # ---- what is handed over

    async def _say(self) -> None:
        while True:
            await asyncio.sleep(SAID_EVERY_S)
            self._flush()

    def _flush(self) -> None:
        now = datetime.now(UTC)
        if not self._measures and time.monotonic() - self._stated_at > STATED_EVERY_S:
            self._stated_at = time.monotonic()
            self._new["power_kw"] = self._battery.stated_kw(now)
        if missed := self._battery.target_missed(now):
            self._troubles["target"] = missed
        else:
            self._troubles.pop("target", None)
        trouble = "; ".join(self._troubles.values())[:300]
        if not self._new and trouble == self._said_trouble:
            return
        new, self._new, self._said_trouble = self._new, {}, trouble
        self._put({**{name: value for name, value in new.items() if value is not None}, "trouble": trouble})
