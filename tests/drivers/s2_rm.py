"""A battery's resource manager, built with the RM side of the library s2-python: its connection and its handlers.

The protocol on this side is that library's code; the battery behind it is a few lines.
"""

import asyncio
import socket
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from s2python.common import (
    Commodity,
    CommodityQuantity,
    Duration,
    InstructionStatus,
    InstructionStatusUpdate,
    NumberRange,
    PowerMeasurement,
    PowerRange,
    PowerValue,
    RevokeObject,
    Role,
    RoleType,
    Timer,
    Transition,
)
from s2python.connection import AssetDetails
from s2python.connection.async_ import S2AsyncConnection
from s2python.connection.async_.control_type.class_based import FRBCControlType, ResourceManagerHandler
from s2python.connection.async_.medium.websocket import WebsocketClientMedium
from s2python.frbc import (
    FRBCActuatorDescription,
    FRBCActuatorStatus,
    FRBCFillLevelTargetProfile,
    FRBCFillLevelTargetProfileElement,
    FRBCInstruction,
    FRBCOperationMode,
    FRBCOperationModeElement,
    FRBCStorageDescription,
    FRBCStorageStatus,
    FRBCSystemDescription,
)

L1 = CommodityQuantity.ELECTRIC_POWER_L1
IDLE, CHARGE, DISCHARGE = "idle", "charge", "discharge"


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


class Battery:
    """What the resource manager manages. Powers in W, the fill level in percent."""

    def __init__(self, *, measures: bool = True, direct: bool = True) -> None:
        self.modes = {IDLE: (0.0, 0.0), CHARGE: (500.0, 8000.0), DISCHARGE: (-8000.0, 0.0)}
        self.ids = {name: uuid.uuid4() for name in (*self.modes, "actuator", "timer")}
        self.measures = measures
        self.direct = direct
        """Whether it goes from charging to discharging at once; else by idling."""
        self.level = 55.0
        self.mode, self.factor = IDLE, 0.0
        self.rejects = False
        self.wrong: dict[str, float] = {}
        """Measured powers that are not its own."""
        self.instructed: list[tuple[datetime, float]] = []
        """When each was carried out, and its power."""

    @property
    def watts(self) -> float:
        first, last = self.modes[self.mode]
        return first + self.factor * (last - first)

    def description(self) -> FRBCSystemDescription:
        whole = NumberRange(start_of_range=0.0, end_of_range=100.0)

        def mode(name: str) -> FRBCOperationMode:
            first, last = self.modes[name]
            element = FRBCOperationModeElement(
                fill_level_range=whole,
                fill_rate=NumberRange(start_of_range=first / 1e6, end_of_range=last / 1e6),
                power_ranges=[PowerRange(start_of_range=first, end_of_range=last, commodity_quantity=L1)],
            )
            return FRBCOperationMode(
                id=self.ids[name], diagnostic_label=name, elements=[element], abnormal_condition_only=False
            )

        pairs = [(a, b) for a in self.modes for b in self.modes if a != b and (self.direct or IDLE in (a, b))]
        transitions = [
            Transition(
                id=uuid.uuid4(),
                from_=self.ids[a],
                to=self.ids[b],
                start_timers=[],
                blocking_timers=[],
                abnormal_condition_only=False,
            )
            for a, b in pairs
        ]
        actuator = FRBCActuatorDescription(
            id=self.ids["actuator"],
            supported_commodities=[Commodity.ELECTRICITY],
            operation_modes=[mode(name) for name in self.modes],
            transitions=transitions,
            timers=[Timer(id=self.ids["timer"], duration=Duration.from_milliseconds(60_000))],
        )
        storage = FRBCStorageDescription(
            provides_leakage_behaviour=False,
            provides_fill_level_target_profile=True,
            provides_usage_forecast=False,
            fill_level_range=whole,
            fill_level_label="SOC %",
        )
        return FRBCSystemDescription(
            message_id=uuid.uuid4(), valid_from=datetime.now(UTC), actuators=[actuator], storage=storage
        )


class Control(FRBCControlType):
    """Carries out instructions at their execution time, and reports what comes of them."""

    def __init__(self, battery: Battery) -> None:
        self.battery = battery
        self.active = False
        self._ahead: dict[uuid.UUID, asyncio.TimerHandle] = {}

    async def activate(self, connection: S2AsyncConnection) -> None:
        self.active = True
        connection.register_handler(RevokeObject, self._revoke)
        await connection.send_msg_and_await_reception_status(self.battery.description())
        await self.status(connection)

    async def deactivate(self, connection: S2AsyncConnection) -> None:
        del connection
        self.active = False  # instructions that lie ahead stay

    async def status(self, connection: S2AsyncConnection) -> None:
        battery = self.battery
        await connection.send_msg_and_await_reception_status(
            FRBCStorageStatus(message_id=uuid.uuid4(), present_fill_level=battery.level)
        )
        await connection.send_msg_and_await_reception_status(
            FRBCActuatorStatus(
                message_id=uuid.uuid4(),
                actuator_id=battery.ids["actuator"],
                active_operation_mode_id=battery.ids[battery.mode],
                operation_mode_factor=battery.factor,
            )
        )

    async def _revoke(self, connection: S2AsyncConnection, message: Any, send_okay: Any) -> None:
        del connection
        await send_okay()
        ahead = self._ahead.pop(message.object_id, None)
        if ahead is not None:
            ahead.cancel()

    async def handle_instruction(self, connection: S2AsyncConnection, msg: Any, send_okay: Any) -> None:
        await send_okay()
        assert isinstance(msg, FRBCInstruction)
        if self.battery.rejects:
            await self._update(connection, msg, InstructionStatus.REJECTED)
            return
        await self._update(connection, msg, InstructionStatus.ACCEPTED)
        delay = (msg.execution_time - datetime.now(UTC)).total_seconds()
        if delay > 0:
            loop = asyncio.get_running_loop()
            self._ahead[msg.id] = loop.call_later(delay, self._execute, connection, msg)
        else:
            self._execute(connection, msg)

    def _execute(self, connection: S2AsyncConnection, msg: FRBCInstruction) -> None:
        battery = self.battery
        self._ahead.pop(msg.id, None)
        battery.mode = next(name for name, each in battery.ids.items() if each == msg.operation_mode)
        battery.factor = msg.operation_mode_factor
        battery.instructed.append((datetime.now(UTC), battery.watts))
        self._later = asyncio.ensure_future(self._after(connection, msg))

    async def _after(self, connection: S2AsyncConnection, msg: FRBCInstruction) -> None:
        await self._update(connection, msg, InstructionStatus.STARTED)
        await self.status(connection)

    @staticmethod
    async def _update(connection: S2AsyncConnection, msg: FRBCInstruction, status: InstructionStatus) -> None:
        await connection.send_msg_and_await_reception_status(
            InstructionStatusUpdate(
                message_id=uuid.uuid4(), instruction_id=msg.id, status_type=status, timestamp=datetime.now(UTC)
            )
        )


class ResourceManager:
    """Connects, comes again when the connection is lost, and measures ten times a second. In a thread of its own."""

    def __init__(self, url: str, battery: Battery, token: str | None = None, control_types: Any = None) -> None:
        self.battery = battery
        self.quiet = False
        self.sessions = 0
        self.control = Control(battery)
        self._url, self._token = url, token
        self._types = [self.control] if control_types is None else control_types
        self._stop = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._connection: S2AsyncConnection | None = None
        self._medium: WebsocketClientMedium | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._stop.is_set():
            try:
                self._loop.run_until_complete(self._session())
            except Exception:  # the endpoint is not there, or refuses
                time.sleep(0.1)
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _session(self) -> None:
        details = AssetDetails(
            resource_id=uuid.uuid4(),
            provides_forecast=False,
            provides_power_measurements=[L1 if self.battery.measures else CommodityQuantity.HEAT_THERMAL_POWER],
            instruction_processing_delay=Duration.from_milliseconds(100),
            roles=[Role(role=RoleType.ENERGY_STORAGE, commodity=Commodity.ELECTRICITY)],
        )
        self._medium = WebsocketClientMedium(self._url, bearer_token=self._token)
        await self._medium.connect()
        connection = self._connection = S2AsyncConnection(self._medium, self._loop)
        ResourceManagerHandler(self._types, details).register_handlers(connection)
        self.sessions += 1
        measuring = self._loop.create_task(self._measure(connection))
        try:
            await connection.run()
        finally:
            measuring.cancel()
            self._connection = None
            await self._medium.disconnect()

    async def _measure(self, connection: S2AsyncConnection) -> None:
        while True:
            await asyncio.sleep(0.1)
            if not self.battery.measures or self.quiet or not self.control.active:
                continue
            watts = self.battery.wrong.get("power", self.battery.watts)
            await connection.send_msg_and_await_reception_status(
                PowerMeasurement(
                    message_id=uuid.uuid4(),
                    measurement_timestamp=datetime.now(UTC),
                    values=[PowerValue(commodity_quantity=L1, value=watts)],
                )
            )

    def say(self, make: Callable[[], Any]) -> None:
        """Sends a message, in the resource manager's own thread."""
        connection = self._connection
        assert connection is not None
        asyncio.run_coroutine_threadsafe(connection.send_msg_and_await_reception_status(make()), self._loop).result(20)

    def level(self, percent: float) -> None:
        self.battery.level = percent
        self.say(lambda: FRBCStorageStatus(message_id=uuid.uuid4(), present_fill_level=percent))

    def target(self, low: float, high: float) -> None:
        element = FRBCFillLevelTargetProfileElement(
            duration=Duration.from_timedelta(timedelta(hours=1)),
            fill_level_range=NumberRange(start_of_range=low, end_of_range=high),
        )
        self.say(
            lambda: FRBCFillLevelTargetProfile(
                message_id=uuid.uuid4(), start_time=datetime.now(UTC), elements=[element]
            )
        )

    def raw(self, text: str) -> None:
        medium = self._medium
        assert medium is not None
        asyncio.run_coroutine_threadsafe(medium.send(text), self._loop).result(20)

    def hang_up(self) -> None:
        medium = self._medium
        assert medium is not None
        asyncio.run_coroutine_threadsafe(medium.disconnect(), self._loop).result(20)

    def close(self) -> None:
        self._stop.set()
        connection = self._connection
        if connection is not None:
            asyncio.run_coroutine_threadsafe(connection.stop(), self._loop)
        self._thread.join(20)

    def __enter__(self) -> "ResourceManager":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
