"""One broker for all tests that leave it as it was, and one of its own for each that does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.servers.mosquitto import find_mosquitto
from tests.parts import skip_without
from tests.provision.secured import Secured


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with Secured(tmp_path_factory.mktemp("shared") / "provisioned").running() as secured:
        yield secured


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with Secured(tmp_path / "provisioned").running() as running:
        yield running
