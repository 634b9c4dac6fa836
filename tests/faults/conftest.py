"""A real Mosquitto that remembers, and the processes on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from tests.faults.live import Live
from tests.faults.swarm import Swarm
from tests.parts import skip_without


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[LocalMosquitto]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    broker = LocalMosquitto(directory=tmp_path / "broker", persistence=True)
    with broker:
        yield broker


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[LocalMosquitto]:
    """One that writes nothing to its disk: the other one writes all that it holds upon every message."""
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto(directory=tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def live(tmp_path: Path, mosquitto: LocalMosquitto) -> Iterator[Live]:
    live = Live(tmp_path, mosquitto.address)
    live.listen()
    try:
        yield live
    finally:
        live.close()


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    """Everybody is there, and what the devices send is stored."""
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    swarm = Swarm(tmp_path)
    try:
        swarm.start()
        yield swarm
    finally:
        swarm.close()
