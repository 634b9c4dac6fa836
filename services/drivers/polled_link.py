"""Any device with Modbus TCP: a thread that polls and commands it, and begins anew when it does not answer."""

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from schemas.messages import Phases
from schemas.site.drivers import ModbusTcp
from services.drivers.complaints import Complaints
from services.drivers.link import Measured

if TYPE_CHECKING:
    from pymodbus.client import ModbusTcpClient

RETRY_S, MOST_RETRY_S = 1.0, 10.0
"""After a device that did not answer; twice as long each further time."""
FUNCTIONS = {
    "read_coils": 1,
    "read_discrete_inputs": 2,
    "read_holding_registers": 3,
    "read_input_registers": 4,
    "write_registers": 16,
}
"""Of the client's requests, by name: it takes an answer with its transaction for its own, whatever function it has."""


class NoAnswerError(Exception):
    """The device refused a request, did not answer it, or is not what it should be."""


class PolledLink(ABC):
    """Polls and commands in a thread of its own, so that a slow device stalls nobody else."""

    value_type: type[BaseModel] = Measured

    def __init__(self, name: str, driver: ModbusTcp) -> None:
        self.name = name
        self._tcp = driver
        self._stop, self._wanted = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._wanted_kw: float | None = None
        self._complaints = Complaints(name)

    @property
    @abstractmethod
    def commanded(self) -> bool: ...

    @property
    @abstractmethod
    def _repeat_s(self) -> float | None:
        """A command is written again after so long; None: only when it changes."""

    @abstractmethod
    def _read(self, client: "ModbusTcpClient") -> BaseModel: ...

    def _troubled(self, why: str) -> BaseModel:
        """The value that says that nothing can be read."""
        return Measured(trouble=why[:300])

    @abstractmethod
    def _write(self, client: "ModbusTcpClient", wanted_kw: float) -> None:
        """Commands a power or a limit, and reads it back."""

    def _begin(self, client: "ModbusTcpClient") -> None:  # noqa: B027 - a map of registers needs no beginning
        """Looks at a device that has just been reached."""

    def command(self, value_kw: float, for_s: float | None = None, phases: Phases | None = None) -> None:
        del for_s, phases  # what ends is commanded by the driver's own clock; phases no such device is asked for
        if value_kw != self._wanted_kw:
            self._wanted_kw = value_kw
            self._wanted.set()

    def open(self, put: Callable[[object], bool]) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(put,), name=f"link {self.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(2 * self._tcp.timeout_s + 1.0)

    def _run(self, put: Callable[[object], bool]) -> None:
        from pymodbus.client import ModbusTcpClient

        tcp, wait_s = self._tcp, RETRY_S
        while not self._stop.is_set():
            client = ModbusTcpClient(tcp.host, port=tcp.port, timeout=tcp.timeout_s, retries=1)
            try:
                for _ in self._served(client, put):
                    wait_s = RETRY_S
            except Exception as error:  # a thread that ended would leave a device that nobody hears, and say nothing
                known = isinstance(error, NoAnswerError)
                self._complaints.write(str(error), traced=not known)
                put(self._troubled(str(error) if known else f"{type(error).__name__}: {error}"))
                self._stop.wait(wait_s)
                wait_s = min(2 * wait_s, MOST_RETRY_S)
            finally:
                client.close()  # type: ignore[no-untyped-call]

    def _served(self, client: "ModbusTcpClient", put: Callable[[object], bool]) -> Iterator[None]:
        """Reads and commands until it is stopped; yields after each good round. Raises NoAnswerError."""
        if not client.connect():  # type: ignore[no-untyped-call]
            raise NoAnswerError(f"{self._tcp.host}:{self._tcp.port} cannot be reached")
        self._begin(client)
        written: float | None = None
        written_at = -math.inf
        while not self._stop.is_set():
            self._wanted.clear()
            wanted_kw = self._wanted_kw
            due = wanted_kw != written or self._again_in_s(written_at) <= 0
            if self.commanded and wanted_kw is not None and due:
                self._write(client, wanted_kw)
                written, written_at = wanted_kw, time.monotonic()
            put(self._read(client))
            yield
            self._wanted.wait(min(self._tcp.poll_s, max(0.0, self._again_in_s(written_at))))

    def _again_in_s(self, written_at: float) -> float:
        repeat_s = self._repeat_s
        return math.inf if repeat_s is None else written_at + repeat_s - time.monotonic()

    def _asked(self, what: str, ask: Callable[..., Any], *given: Any, **more: Any) -> Any:
        """The device's answer to a request. Raises NoAnswerError."""
        answer = self._answered(what, ask, *given, **more)
        if answer.isError():
            raise NoAnswerError(f"{what}: refused, {answer}"[:300])
        if answer.function_code != (function := FUNCTIONS[ask.__name__]):
            raise NoAnswerError(f"{what}: function {function} was asked for, and {answer.function_code} came")
        count = more.get("count")
        came = len(answer.registers) or min(len(answer.bits), count or 0)  # bits are filled up to whole bytes
        if count is not None and came != count:
            raise NoAnswerError(f"{what}: {count} were asked for, and {came} came")
        return answer

    def _answered(self, what: str, ask: Callable[..., Any], *given: Any, **more: Any) -> Any:
        """The same, and a refusal is an answer, too."""
        from pymodbus.exceptions import ModbusException

        try:
            return ask(*given, device_id=self._tcp.unit, **more)
        except (ModbusException, OSError) as error:
            raise NoAnswerError(f"{what}: {str(error).splitlines()[0][:200]}") from None
