"""A day through mutual TLS: everybody has a name and no more than its rights, and the numbers are those in memory."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from broker.mosquitto import find_mosquitto
from services.analysis.result import RunResult
from services.swarm.pipeline import conduct_in_memory
from services.swarm.up import conduct_swarm
from tests.parts import skip_without
from tests.provision.secured import Secured
from tests.system.days import contents, how_of, numbers, order_of

LENGTH = timedelta(hours=10)
"""From midnight: into the day's sun and sessions."""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker on which no test has left anything."""
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with Secured(tmp_path_factory.mktemp("day") / "provisioned").running() as secured:
        yield secured


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[tuple[str, int], str], RunResult]:
    order = order_of(tmp_path_factory.mktemp("memory"), LENGTH)
    result = conduct_in_memory(order)
    return contents(order.history, result.run), result


@pytest.mark.parametrize("one_process", [False, True], ids=["many processes", "one process"])
def test_a_day_through_mutual_tls_equals_the_day_in_memory(
    one_process: bool, fresh: Secured, in_memory: tuple[dict[tuple[str, int], str], RunResult], tmp_path: Path
) -> None:
    order = order_of(tmp_path, LENGTH)
    how = how_of(tmp_path, str(fresh.address), one_process=one_process, certificates=fresh.folder.root)
    result = conduct_swarm(order, how)
    assert contents(order.history, result.run) == in_memory[0]
    assert numbers(result) == numbers(in_memory[1])
