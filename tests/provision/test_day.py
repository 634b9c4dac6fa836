"""A day through mutual TLS: everybody has a name and no more than its rights, and the numbers are those in memory."""

from datetime import timedelta
from pathlib import Path

from schemas.topics import Channel
from tests.provision.secured import Secured
from tests.system.days import contents, how_of, numbers, order_of
from twinswarm.deploy.up import conduct_swarm
from twinswarm.simulation.pipeline import conduct_in_memory

LENGTH = timedelta(hours=10)
"""From midnight: into the day's sun and sessions."""


def test_a_day_through_mutual_tls_equals_the_day_in_memory(secured: Secured, tmp_path: Path) -> None:
    in_memory = order_of(tmp_path / "memory", LENGTH)
    expected = conduct_in_memory(in_memory)
    order = order_of(tmp_path / "tls", LENGTH)
    how = how_of(tmp_path / "tls", str(secured.address), certificates=secured.folder.root)
    result = conduct_swarm(order, how)
    assert contents(order.history, result.run) == contents(in_memory.history, expected.run)
    assert numbers(result) == numbers(expected)
    assert secured.denied == []


def test_in_wall_time_nobody_needs_a_right_that_it_has_not(secured: Secured, tmp_path: Path) -> None:
    order = order_of(tmp_path, timedelta(minutes=15))
    how = how_of(tmp_path, str(secured.address), one_process=True, certificates=secured.folder.root, speed=450.0)
    told: set[Channel] = set()
    result = conduct_swarm(order, how, lambda received: told.add(received.topic.channel))
    assert told >= {Channel.TELEMETRY, Channel.SERIES, Channel.PLAN, Channel.RECEIPT}
    assert result.dead_letters == 0
    assert secured.denied == []
