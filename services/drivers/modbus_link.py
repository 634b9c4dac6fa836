"""A device with Modbus TCP, by a map of its registers."""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from schemas.site.drivers import ModbusCommand, ModbusDriver, ModbusRegister, ModbusState
from services.drivers.link import Measured

if TYPE_CHECKING:
    from pymodbus.client import ModbusTcpClient

LOG = logging.getLogger(__name__)

RETRY_S, MOST_RETRY_S = 1.0, 60.0
"""After a device that did not answer; twice as long each further time."""
VALUES = ("power_kw", "energy_import_kwh", "energy_export_kwh", "soc_frac", "available_kw", "plugged")


class NoAnswerError(Exception):
    """The device refused a request, or did not answer it."""


class ModbusLink:
    """Polls and commands in a thread of its own, so that a slow device stalls nobody else."""

    value_type = Measured

    def __init__(self, name: str, driver: ModbusDriver) -> None:
        self.name = name
        self._driver = driver
        self._stop, self._wanted = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._wanted_kw: float | None = None
        self._trouble: str | None = None

    @property
    def commanded(self) -> bool:
        return self._driver.command is not None

    def command(self, value_kw: float) -> None:
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
            self._thread.join(2 * self._driver.timeout_s + 1.0)

    def _run(self, put: Callable[[object], bool]) -> None:
        from pymodbus.client import ModbusTcpClient

        driver, wait_s = self._driver, RETRY_S
        while not self._stop.is_set():
            client = ModbusTcpClient(driver.host, port=driver.port, timeout=driver.timeout_s, retries=1)
            try:
                for _ in self._served(client, put):
                    wait_s = RETRY_S
            except Exception as error:  # a thread that ended would leave a device that nobody hears, and say nothing
                known = isinstance(error, NoAnswerError)
                LOG.warning("%s: %s", self.name, error, exc_info=not known)
                put(Measured(trouble=(str(error) if known else f"{type(error).__name__}: {error}")[:300]))
                self._stop.wait(wait_s)
                wait_s = min(2 * wait_s, MOST_RETRY_S)
            finally:
                client.close()  # type: ignore[no-untyped-call]

    def _served(self, client: "ModbusTcpClient", put: Callable[[object], bool]) -> Any:
        """Reads and commands until it is stopped; yields after each good round. Raises NoAnswerError."""
        if not client.connect():  # type: ignore[no-untyped-call]
            raise NoAnswerError(f"{self._driver.host}:{self._driver.port} cannot be reached")
        written: float | None = None
        again = math.inf
        while not self._stop.is_set():
            self._wanted.clear()
            command, wanted_kw = self._driver.command, self._wanted_kw
            if command is not None and wanted_kw is not None and (wanted_kw != written or time.monotonic() >= again):
                self._write(client, command, wanted_kw)
                written = wanted_kw
                again = math.inf if command.repeat_s is None else time.monotonic() + command.repeat_s
            put(self._read(client))
            yield
            self._wanted.wait(min(self._driver.poll_s, max(0.0, again - time.monotonic())))

    def _read(self, client: "ModbusTcpClient") -> Measured:
        found: dict[str, Any] = {}
        for name in VALUES:
            mapped = getattr(self._driver, name)
            if mapped is not None and (value := self._value(client, name, mapped)) is not None:
                found[name] = value
        try:
            return Measured(**found, trouble=self._trouble or "")
        except ValidationError as error:
            first = error.errors()[0]
            return self._unread(f"{first['loc'][0]}: {first['input']}: {first['msg']}")

    def _unread(self, trouble: str) -> Measured:
        LOG.warning("%s: %s", self.name, trouble)
        return Measured(trouble=trouble)

    def _value(self, client: "ModbusTcpClient", name: str, mapped: ModbusRegister) -> float | bool | None:
        """None: the device has none now."""
        kind = client.DATATYPE[mapped.type.name]
        read = client.read_holding_registers if mapped.table == "holding" else client.read_input_registers
        answer = self._asked(f"read {name} at {mapped.address}", read, mapped.address, count=kind.value[1])
        number = client.convert_from_registers(answer.registers, kind, mapped.word_order)
        assert isinstance(number, int | float)
        if isinstance(number, float) and not math.isfinite(number):
            return None  # how devices with floats say that there is none
        if mapped.absent is not None and number == mapped.absent:
            return None
        if isinstance(mapped, ModbusState):
            return number in mapped.is_
        return number * mapped.factor

    def _write(self, client: "ModbusTcpClient", command: ModbusCommand, wanted_kw: float) -> None:
        """Raises NoAnswerError. What is read back and differs is named with the measurements."""
        kind = client.DATATYPE[command.type.name]
        scaled = wanted_kw * command.factor
        number = scaled if "FLOAT" in command.type.name else round(scaled)
        for address, value in command.before.items():
            self._asked(f"write {value} at {address}", client.write_registers, address, [value])
        registers = client.convert_to_registers(number, kind, command.word_order)
        self._asked(f"write {number} at {command.address}", client.write_registers, command.address, registers)
        self._trouble = None
        if not command.read_back:
            return
        what = f"read back {command.address}"
        answer = self._asked(what, client.read_holding_registers, command.address, count=len(registers))
        if list(answer.registers) != list(registers):
            has = client.convert_from_registers(answer.registers, kind, command.word_order)
            self._trouble = f"{number} was written at {command.address} and {has} stands there"
            LOG.warning("%s: %s", self.name, self._trouble)

    def _asked(self, what: str, ask: Callable[..., Any], *given: Any, **more: Any) -> Any:
        from pymodbus.exceptions import ModbusException

        try:
            answer = ask(*given, device_id=self._driver.unit, **more)
        except (ModbusException, OSError) as error:
            raise NoAnswerError(f"{what}: {str(error).splitlines()[0][:200]}") from None
        if answer.isError():
            raise NoAnswerError(f"{what}: refused, {answer}"[:300])
        return answer
