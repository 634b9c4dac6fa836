"""A Modbus TCP server on loopback in the place of a device, and a reader of what a driver's link makes of it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from services.drivers.link import Link, Measured

WRITE = 16
"""Function code of writing several registers."""


class Device:
    """Registers of one device, served by pymodbus' server. ``keeps`` False: it accepts and forgets."""

    def __init__(self, begin: int = 0, count: int = 200) -> None:
        self._begin, self._count = begin, count
        self.written: list[tuple[int, list[int]]] = []
        self.keeps = True
        self.slow_s = 0.0
        """So long it takes to answer."""
        self._put: dict[int, int] = {}

    def put(self, address: int, *values: int) -> None:
        self._put |= {address + i: value & 0xFFFF for i, value in enumerate(values)}

    def register(self, address: int) -> int:
        return self._put[address]

    async def _asked(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        wanted: list[int] | list[bool] | None,
    ) -> None:
        del count
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        for place, value in self._put.items():
            registers[place - start] = value
        if function == WRITE and wanted is not None:
            self.written.append((address, [int(value) for value in wanted]))
            values = [int(value) for value in wanted]
            if self.keeps:
                self.put(address, *values)
            else:
                wanted[:] = registers[address - start : address - start + len(values)]

    def _described(self) -> SimDevice:
        registers = SimData(self._begin, count=self._count, values=0, datatype=DataType.REGISTERS)
        return SimDevice(0, [registers], action=self._asked)

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[int]:
        loop, ready = asyncio.new_event_loop(), threading.Event()
        servers: list[ModbusTcpServer] = []

        async def run() -> None:
            servers.append(ModbusTcpServer(self._described(), address=("127.0.0.1", port)))
            await servers[0].listen()
            ready.set()

        def work() -> None:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(run())
            loop.run_forever()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert ready.wait(20)
        transport: Any = servers[0].transport
        try:
            yield transport.sockets[0].getsockname()[1]
        finally:
            asyncio.run_coroutine_threadsafe(servers[0].shutdown(), loop).result(20)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(20)
            loop.close()


class Contacts(Device):
    """Sixteen contacts of which some are closed, read as coils or as discrete inputs."""

    def __init__(self, *closed: int) -> None:
        super().__init__()
        self.closed = set(closed)

    async def _asked(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        wanted: list[int] | list[bool] | None,
    ) -> None:
        registers[0] = sum(1 << contact for contact in self.closed)

    def _described(self) -> SimDevice:
        bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        registers = [SimData(0, count=16, values=0, datatype=DataType.REGISTERS)]
        return SimDevice(0, (bits, bits, registers, registers), action=self._asked)


class Reader:
    """A link that is open, and what it has put."""

    def __init__(self, link: Link) -> None:
        self.found: list[Measured] = []
        self.link = link
        self.link.open(self._put)

    def _put(self, value: object) -> bool:
        assert isinstance(value, Measured)
        self.found.append(value)
        return True

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s; {self.found[-1:]}"
            time.sleep(0.01)

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()
