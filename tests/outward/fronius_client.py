"""What the library `fronius-modbus` of PyPI reads and commands at a SunSpec device: one JSON object a line.

For an interpreter of its own (it wants Python 3.12): ``python fronius_client.py PORT pv|bess``. It ends when
its time-out has ended what it asked for; the device's side of it is in `test_fronius.py`.
"""

import asyncio
import json
import sys
from typing import Any

from fronius_modbus import FroniusModbusInverter  # type: ignore[import-not-found]
from modbus_connection import ModbusTcpParams  # type: ignore[import-not-found]
from modbus_connection.pymodbus import ModbusConnection  # type: ignore[import-not-found]


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


async def main(port: int, device: str) -> None:
    connection = ModbusConnection(ModbusTcpParams(host="127.0.0.1", port=port))
    inverter = FroniusModbusInverter(connection.for_unit(1))
    await inverter.discover()
    await inverter.async_update()
    ac, common = inverter.inverter, inverter.common
    say(
        models=[each.model_id for each in inverter.model_chain],
        maker=common.manufacturer,
        serial=common.serial_number,
        power_w=ac.ac_power,
        float_mode=inverter.float_mode,
        soc=inverter.storage.state_of_charge if inverter.storage else None,
    )
    if device == "pv":
        await inverter.controls.set_power_limit(20.0, revert_seconds=3)
    else:
        # A discharge limit below 0 forces charging: with half the power at least.
        await inverter.storage.set_limits(charge=60.0, discharge=-50.0, revert_seconds=3)
    free_w, obeyed = ac.ac_power, False
    for _ in range(300):
        await asyncio.sleep(0.2)
        await inverter.async_update()
        power_w = inverter.inverter.ac_power
        say(power_w=power_w)
        obeyed = obeyed or power_w != free_w
        if obeyed and power_w == free_w:
            break
    await connection.close()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
