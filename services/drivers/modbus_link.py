"""A device with Modbus TCP, by a map of its registers."""

import logging
import math
from typing import TYPE_CHECKING, Any

from schemas.site.drivers import ModbusDriver, ModbusRegister, ModbusState
from services.drivers.link import Measured, what_is_possible
from services.drivers.polled_link import PolledLink

if TYPE_CHECKING:
    from pymodbus.client import ModbusTcpClient

LOG = logging.getLogger(__name__)

VALUES = ("power_kw", "energy_import_kwh", "energy_export_kwh", "soc_frac", "available_kw", "plugged")


class ModbusLink(PolledLink):
    """Reads and writes the registers that the site's description names."""

    def __init__(self, name: str, driver: ModbusDriver) -> None:
        super().__init__(name, driver)
        self._driver = driver
        self._trouble: str | None = None

    @property
    def commanded(self) -> bool:
        return self._driver.command is not None

    @property
    def _repeat_s(self) -> float | None:
        command = self._driver.command
        return None if command is None else command.repeat_s

    def _read(self, client: "ModbusTcpClient") -> Measured:
        found: dict[str, Any] = {}
        for name in VALUES:
            mapped = getattr(self._driver, name)
            if mapped is not None and (value := self._value(client, name, mapped)) is not None:
                found[name] = value
        wanted = [name for name in VALUES if getattr(self._driver, name) is not None]
        return what_is_possible(self._complaints, found, self._trouble or "", wanted=wanted)

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

    def _write(self, client: "ModbusTcpClient", wanted_kw: float) -> None:
        """Raises NoAnswerError. What is read back and differs is named with the measurements."""
        command = self._driver.command
        assert command is not None, "nobody else is commanded"
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
