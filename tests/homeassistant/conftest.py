"""The site's processes, until the test is over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from tests.homeassistant.home import Home
from tests.parts import skip_without


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto(directory=tmp_path / "broker") as broker:
        home = Home(tmp_path, broker.address)
        try:
            yield home
        finally:
            home.close()
