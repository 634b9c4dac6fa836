"""A SunSpec Modbus server in front of a twin: what masters read, and what they may write."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from schemas.errors import Code, InputError
from schemas.messages import Telemetry
from services.outward.face import Asked
from services.outward.sunspec_map import BASE, SunspecMap, always_zero
from services.sunspec.block import Block
from services.sunspec.numbers import SunspecError

if TYPE_CHECKING:
    from pymodbus.constants import ExcCodes
    from pymodbus.server import ModbusTcpServer

LOG = logging.getLogger(__name__)

READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_SEVERAL = 3, 4, 6, 16
PATIENCE_S = 10.0
"""For the server to listen, and to end."""


class RefusedError(Exception):
    """A write that this device does not take. ``value``: the place is right, and what was written is not."""

    def __init__(self, why: str, *, value: bool) -> None:
        super().__init__(why)
        self.value = value


class SunspecServer:
    """A face of a twin (`services.outward.face`). A thread of its own serves any number of masters at one port."""

    name, value_type = "sunspec", Asked

    def __init__(self, device: str, served: SunspecMap, host: str, port: int, unit: int = 1) -> None:
        """``port`` 0: any that is free, see `port`."""
        self._device, self._map, self._unit = device, served, unit
        self._address = (host, port)
        self._lock = threading.Lock()
        self._shown: list[int] | None = None
        """The registers; None: the device does not answer."""
        self._number = 0
        self._commanding = False
        self._put: Callable[[object], bool] = lambda asked: False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: ModbusTcpServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """Where it listens. Only while it is open."""
        assert self._server is not None
        transport: Any = self._server.transport
        found: int = transport.sockets[0].getsockname()[1]
        return found

    # ---- from the participant's thread

    def show(self, telemetry: Telemetry | None, remaining_s: float | None) -> None:
        with self._lock:
            if telemetry is None:
                self._shown = None
                return
            try:
                self._map.show(telemetry, remaining_s)
            except SunspecError as error:  # a register that is too small: what was shown before stays
                LOG.warning("%s: %s", self._device, error)
            self._shown = self._map.registers

    def over(self, number: int) -> None:
        with self._lock:
            if number == self._number:  # the master has not asked for anything since
                self._map.release()
                self._commanding = False

    # ---- the server

    def open(self, put: Callable[[object], bool]) -> None:
        self._put = put
        self._loop = asyncio.new_event_loop()
        ready: list[BaseException | None] = []
        listening = threading.Event()

        def serve(loop: asyncio.AbstractEventLoop) -> None:
            asyncio.set_event_loop(loop)
            try:
                loop.run_until_complete(self._listen())
                ready.append(None)
            except BaseException as error:  # handed over to whoever opens
                ready.append(error)
                return
            finally:
                listening.set()
            loop.run_forever()

        self._thread = threading.Thread(target=serve, args=(self._loop,), name=f"sunspec {self._device}", daemon=True)
        self._thread.start()
        listening.wait(PATIENCE_S)
        if not ready or ready[0] is not None:
            self._loop = None
            what = "it does not listen" if not ready else str(ready[0])
            where = f"{self._address[0]}:{self._address[1]}"
            raise InputError.one("--sunspec", f"cannot listen: {what}", where, code=Code.CONFLICT)

    async def _listen(self) -> None:
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        registers = SimData(BASE, count=len(self._map.registers), values=0, datatype=DataType.REGISTERS)
        mine = SimDevice(self._unit, [registers], action=self._requested)
        others = SimDevice(0, [registers], action=_nobody)
        devices = [mine] if self._unit == 0 else [mine, others]
        self._server = ModbusTcpServer(devices, address=self._address)
        if not await self._server.listen():  # it keeps the reason to its log
            raise OSError("the port is taken, or the address is not this machine's")

    def close(self) -> None:
        loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return
        if self._server is not None:
            done: Any = self._server.shutdown()  # type: ignore[no-untyped-call]
            asyncio.run_coroutine_threadsafe(done, loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(PATIENCE_S)
        loop.close()

    async def _requested(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        wanted: list[int] | list[bool] | None,
    ) -> "ExcCodes | None":
        from pymodbus.constants import ExcCodes

        if function not in (READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_SEVERAL):
            return ExcCodes.ILLEGAL_FUNCTION
        with self._lock:
            if self._shown is None:
                return ExcCodes.DEVICE_FAILURE
            if wanted is not None:
                try:
                    self._write(address, [int(value) for value in wanted])
                except RefusedError as error:
                    LOG.info("%s: refused a write at %s: %s", self._device, address, error)
                    return ExcCodes.ILLEGAL_VALUE if error.value else ExcCodes.ILLEGAL_ADDRESS
            shown = self._shown
        registers[address - start : address - start + count] = shown[address - BASE : address - BASE + count]
        return None

    def _write(self, address: int, values: list[int]) -> None:
        """Takes registers of the control, and hands on what they ask. Raises RefusedError, and nothing is changed."""
        control, blocks = self._map.control, self._map.blocks
        if control is None:
            raise RefusedError("this device takes no commands", value=False)
        old = blocks[control.model]
        new = Block(old.definition, old.address, old.registers)
        names = _points_at(old, address, len(values), allowed={*control.points, *always_zero(control)})
        begin = address - old.address
        new.registers[begin : begin + len(values)] = values
        for name in names:
            self._check(new, name, must_be_zero=name in always_zero(control))
        try:
            asked = control.asked({**blocks, control.model: new})
        except SunspecError as error:
            raise RefusedError(str(error), value=True) from None
        blocks[control.model] = new
        self._shown = self._map.registers
        if asked.value_kw is None and not self._commanding:
            return
        self._commanding = asked.value_kw is not None
        self._number += 1
        self._put(Asked(number=self._number, value_kw=asked.value_kw, for_s=asked.revert_s))

    @staticmethod
    def _check(block: Block, name: str, *, must_be_zero: bool) -> None:
        raw, allowed = block.raw(name), block.definition.points[name].values
        if raw is None:
            raise RefusedError(f"{name}: the number that means that there is none", value=True)
        if must_be_zero and raw != 0:
            raise RefusedError(f"{name}: {raw}, and it can only be 0 here", value=True)
        if allowed and raw not in allowed:
            raise RefusedError(f"{name}: {raw}, and {', '.join(map(str, allowed))} are allowed", value=True)


async def _nobody(
    function: int, start: int, address: int, count: int, registers: list[int], wanted: list[int] | list[bool] | None
) -> "ExcCodes | None":
    """Another unit than the twin's: what a gateway says of a device that it does not have."""
    from pymodbus.constants import ExcCodes

    del function, start, address, count, registers, wanted
    return ExcCodes.GATEWAY_NO_RESPONSE


def _points_at(block: Block, address: int, count: int, allowed: set[str]) -> list[str]:
    """The points in these registers. Raises RefusedError for registers that no point of ``allowed`` fills."""
    begin, end = address - block.address, address - block.address + count
    names = []
    for point in block.definition.points.values():
        if point.offset + point.size <= begin or point.offset >= end:
            continue
        if point.name not in allowed:
            raise RefusedError(f"{point.name} of model {block.id} cannot be written", value=False)
        if point.offset < begin or point.offset + point.size > end:
            raise RefusedError(f"{point.name} has {point.size} registers, which are written together", value=False)
        names.append(point.name)
    if begin < 0 or end > block.definition.size or not names:
        raise RefusedError("no register of the control", value=False)
    return names
