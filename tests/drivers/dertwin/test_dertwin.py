"""dertwin, a simulator of batteries that others wrote, behind the driver by a map of registers.

It has no SunSpec: its registers are those that a file describes, so it is a peer of ``type: modbus``.
"""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.site.drivers import ModbusDriver
from services.drivers.modbus_link import ModbusLink
from tests.drivers.modbus_device import Reader
from tests.parts import skip_without

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
PROGRAMS = sorted((CACHE / "twinswarm-peers").glob("dertwin-*/bin/dertwin"))
MAPPED: dict[str, Any] = {
    "power_kw": {"address": 20, "table": "input", "type": "int32", "factor": -0.1},
    "energy_import_kwh": {
        "address": 30, "table": "input", "type": "uint32", "factor": 0.1, "word_order": "little"
    },
    "energy_export_kwh": {"address": 32, "table": "input", "type": "uint32", "factor": 0.1},
    "soc_frac": {"address": 10, "table": "input", "type": "uint16", "factor": 0.001},
    "command": {"address": 110, "type": "int32", "factor": -10, "before": {100: 1}},
}  # fmt: skip


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Of a battery of 100 kWh and 50 kW, half full."""
    skip_without("dertwin (tests/drivers/dertwin/install)", present=bool(PROGRAMS))
    with socket.create_server(("127.0.0.1", 0)) as free:
        found = free.getsockname()[1]
    protocol = {"kind": "modbus_tcp", "ip": "127.0.0.1", "port": found, "unit_id": 1, "register_map": "bess.yaml"}
    asset = {
        "type": "bess",
        "capacity_kwh": 100.0,
        "initial_soc": 50.0,
        "max_charge_kw": 50.0,
        "max_discharge_kw": 50.0,
        "protocols": [protocol],
    }
    config = tmp_path / "site.json"
    site = {"site_name": "lab", "step": 0.1, "real_time": True, "register_map_root": str(HERE), "assets": [asset]}
    config.write_text(json.dumps(site))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([PROGRAMS[-1], "-c", config], stdout=log, stderr=log, cwd=tmp_path)
        try:
            yield found
        finally:
            process.terminate()
            process.wait(20)


def test_a_battery_of_others_is_read_charged_discharged_and_put_to_rest(port: int) -> None:
    driver = ModbusDriver.model_validate({"host": "127.0.0.1", "port": port, "poll_s": 0.2, **MAPPED})
    with Reader(ModbusLink("lab/bess", driver)) as reader:
        reader.until(lambda: any(read.soc_frac for read in reader.found), "its SOC", seconds=60.0)
        assert reader.found[-1].soc_frac == pytest.approx(0.5, abs=0.01)
        for asked_kw in (12.5, -20.0, 0.0):
            reader.link.command(asked_kw)
            reader.until(lambda asked_kw=asked_kw: reader.found[-1].power_kw == asked_kw, f"{asked_kw} kW", 60.0)
            assert not reader.found[-1].trouble
