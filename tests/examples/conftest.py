"""The example charger as a process of its own, against real brokers."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from broker.address import BrokerAddress
from broker.servers.embedded import EmbeddedBroker
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from tests.parts import skip_without
from tests.provision.secured import Secured

EXAMPLES = Path(__file__).parents[2] / "examples"
LOG = "examples.log"
"""In the test's folder: what the examples print."""
StartCharger = Callable[[BrokerAddress], subprocess.Popen[bytes]]


class StartProgram(Protocol):
    """Starts a program of an example, in the test's folder."""

    def __call__(self, *command: str) -> subprocess.Popen[bytes]: ...


class StartScript(Protocol):
    """Starts a Python script of examples/ with these options."""

    def __call__(self, script: str, *options: str) -> subprocess.Popen[bytes]: ...


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
def start_program(tmp_path: Path) -> Iterator[StartProgram]:
    """As a user does. It may not see this project's packages: it runs from another folder."""
    started: list[subprocess.Popen[bytes]] = []
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def start(*command: str) -> subprocess.Popen[bytes]:
        with (tmp_path / LOG).open("ab") as log:
            started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    log = (tmp_path / LOG).read_text() if started else ""
    assert "Traceback" not in log, log
    assert "    at " not in log, log  # of a stack in JavaScript


@pytest.fixture
def start_script(start_program: StartProgram) -> StartScript:
    return lambda script, *options: start_program(sys.executable, str(EXAMPLES / script), *options)


@pytest.fixture
def start_charger(start_script: StartScript) -> StartCharger:
    return lambda address: start_script("charger.py", "--broker", str(address), "--site", "fit-g2v", "--device", "ev1")


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with Secured(tmp_path / "provisioned").running() as secured:
        yield secured
