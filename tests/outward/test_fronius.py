"""`fronius-modbus` of PyPI, a client of Fronius' inverters, at twins that answer as SunSpec devices.

It wants Python 3.12, so it has an environment of its own (`install`): where that is not, the test is skipped, in a run
that asks for all parts, too.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from broker.servers.mosquitto import find_mosquitto
from schemas.messages import Ack
from tests.outward.swarm import serving
from tests.parts import skip_without

VERSION = "0.3.0"
"""As in `install`."""
CLIENT = Path(__file__).with_name("fronius_client.py")


@pytest.mark.parametrize(
    ("device", "models", "asked_w"),
    [("pv", [1, 103, 120, 121, 122, 123], 10_000), ("bess", [1, 103, 120, 121, 124, 802], -10_000)],
)
def test_it_reads_and_commands_a_twin_until_its_time_out(
    tmp_path: Path, device: str, models: list[int], asked_w: float
) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    python = cache / "twinswarm-peers" / f"fronius-modbus-{VERSION}" / "bin" / "python"
    if not python.with_name("pip").is_file():
        pytest.skip(f"fronius-modbus {VERSION} is not on this machine; tests/outward/install makes its environment")
    with serving(tmp_path, device) as (swarm, port):
        free_w = -1000 * (swarm.power_kw() or 0.0)
        command = [str(python), str(CLIENT), str(port), device]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            said: list[dict[str, Any]] = [json.loads(client.stdout.readline())]
            first = said[0]
            assert first["models"] == models
            assert (first["maker"], first["serial"]) == ("twinswarm", f"{swarm.site.site}/{device}")
            assert first["power_w"] == pytest.approx(free_w, abs=1)
            assert first["soc"] == (None if device == "pv" else 50.0)
            swarm.until(lambda: swarm.power_kw() == pytest.approx(-asked_w / 1000), "what it asked for")
            swarm.until(lambda: swarm.power_kw() == pytest.approx(-free_w / 1000, rel=0.01), "the end of its time-out")
            said += [json.loads(line) for line in client.stdout]
        powers = [each["power_w"] for each in said if "power_w" in each]
        assert asked_w in powers
        assert powers[-1] == pytest.approx(free_w, abs=1), "by itself, at the end"
        assert [ack.accepted for ack in swarm.all(Ack)][:1] == [True]
