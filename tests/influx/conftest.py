"""A server that the tests share, each with a bucket of its own, and a real day of the swarm to be forwarded."""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sites.loader import load_site
from tests.influx.lab import ORG, TOKEN, Influx
from twinswarm.simulation.pipeline import Order, conduct_in_memory
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference, StorageChoice

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influx]:
    server = Influx(tmp_path_factory.mktemp("influxd"))
    server.start()
    server.set_up()
    yield server
    server.kill()


@pytest.fixture
def own_influx(tmp_path: Path) -> Iterator[Influx]:
    """A server that the test may kill; it does not run yet."""
    folder = tmp_path / "influxd"
    folder.mkdir()
    server = Influx(folder)
    yield server
    server.kill()


@pytest.fixture
def bucket(influx: Influx) -> str:
    """A name whose bucket for simulated runs is there."""
    name = f"tw{next(_numbers)}"
    with closing(influx.server()) as server:
        server.create_bucket(f"{name}-simulated", 0, "a test's")
    return name


@pytest.fixture
def address(influx: Influx, bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of the bucket's simulated runs as a history; the token is in the environment."""
    monkeypatch.setenv("TWINSWARM_INFLUX_TOKEN", TOKEN)
    return f"influxdb://127.0.0.1:{influx.port}/{ORG}/{bucket}-simulated"


@pytest.fixture(scope="session")
def _lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lived") / "history.sqlite"
    site = load_site("fit_g2v")
    conduct_in_memory(Order(site, course_of(site), StorageChoice.BOTH, Reference.SMART, path))
    return path


@pytest.fixture
def lived(_lived: Path, tmp_path: Path) -> Path:
    """The history of a day of the default site with its reference; a copy of the test's own."""
    return Path(shutil.copy(_lived, tmp_path / "lived.sqlite"))


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path
