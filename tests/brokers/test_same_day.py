"""A lock-step day gives the same record on every broker as in memory, to the last bit."""

import hashlib
import json
from pathlib import Path

import pytest

from broker.address import BrokerAddress
from tests.system.days import contents, how_of, order_of
from twinswarm.deploy.up import conduct_swarm
from twinswarm.simulation.pipeline import conduct_in_memory

pytestmark = pytest.mark.slow


def digest(history: Path, run: str) -> str:
    """SHA-256 of every recorded message but identifiers and receipt times."""
    return hashlib.sha256(json.dumps(sorted(contents(history, run).items())).encode()).hexdigest()


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> str:
    order = order_of(tmp_path_factory.mktemp("memory"))
    return digest(order.history, conduct_in_memory(order).run)


def test_the_default_day_is_the_same_on_every_broker(address: BrokerAddress, in_memory: str, tmp_path: Path) -> None:
    order = order_of(tmp_path)
    result = conduct_swarm(order, how_of(tmp_path, str(address), one_process=True))
    assert digest(order.history, result.run) == in_memory
