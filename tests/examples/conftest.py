"""The example charger as a process of its own, against real brokers."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.address import BrokerAddress
from broker.embedded import EmbeddedBroker
from broker.mosquitto import LocalMosquitto, find_mosquitto
from tests.parts import skip_without

EXAMPLES = Path(__file__).parents[2] / "examples"
StartCharger = Callable[[BrokerAddress], subprocess.Popen[bytes]]


@pytest.fixture(params=["amqtt", "mosquitto"])
def address(request: pytest.FixtureRequest) -> Iterator[BrokerAddress]:
    """A fresh broker for each test: nothing retained."""
    if request.param == "amqtt":
        with EmbeddedBroker() as embedded:
            yield embedded.address
    else:
        skip_without("Mosquitto", present=find_mosquitto() is not None)
        with LocalMosquitto() as mosquitto:
            yield mosquitto.address


@pytest.fixture
def amqtt_address() -> Iterator[BrokerAddress]:
    with EmbeddedBroker() as embedded:
        yield embedded.address


@pytest.fixture
def start_charger(tmp_path: Path) -> Iterator[StartCharger]:
    """Starts the script as a user does. It may not see this project's packages: it runs from another folder."""
    started: list[subprocess.Popen[bytes]] = []
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def start(address: BrokerAddress) -> subprocess.Popen[bytes]:
        options = ["--host", address.host, "--port", str(address.port), "--site", "fit-g2v", "--device", "ev1"]
        with (tmp_path / "charger.log").open("ab") as log:
            command = [sys.executable, str(EXAMPLES / "charger.py"), *options]
            started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    log = (tmp_path / "charger.log").read_text()
    assert "Traceback" not in log, log
