"""A secured broker, as `provision` makes it, and programs of the examples."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.servers.mosquitto import find_mosquitto
from tests.examples.conftest import start_program
from tests.parts import skip_without
from tests.provision.secured import Secured

__all__ = ["secured", "start_program"]


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with Secured(tmp_path / "provisioned").running() as secured:
        yield secured
