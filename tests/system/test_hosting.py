"""One process hosts several participants, each with its own connection, and nobody else notices."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from broker.address import BrokerAddress
from broker.heartbeat import Heartbeat
from broker.mqtt import MqttTransport
from broker.servers.embedded import EmbeddedBroker
from schemas.errors import LocalStateError, RunFailedError
from schemas.messages import Presence, Stamp, State
from schemas.participant import Participant
from schemas.topics import Channel, Topic, topic_filter
from schemas.wire import decode
from services.history.sqlite import SqliteHistory
from sites.loader import load_site
from tests.system.days import contents, how_of, order_of
from twinswarm.deploy.hosting import Hosting, SharedHeartbeat, host
from twinswarm.deploy.process import Connection, Life
from twinswarm.deploy.up import conduct_swarm
from twinswarm.simulation.compose import maker
from twinswarm.simulation.pipeline import conduct_in_memory

TOGETHER = ("bess", "ev1", "pv")


@pytest.fixture
def broker() -> Iterator[BrokerAddress]:
    with EmbeddedBroker() as running:
        yield running.address


def start(folder: Path, broker: BrokerAddress, *devices: str) -> subprocess.Popen[bytes]:
    site = folder / "site.json"
    folder.mkdir(parents=True, exist_ok=True)
    site.write_text(order_of(folder / "variant").taking_part.model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-m", "twinswarm.deploy.process", *devices, "--site", str(site)]
    return subprocess.Popen([*command, "--broker", str(broker), "--checkpoints", str(folder / "checkpoints")])


def test_a_day_with_three_devices_in_one_process_is_the_same_to_the_last_bit(
    broker: BrokerAddress, tmp_path: Path
) -> None:
    process = start(tmp_path / "gateway", broker, *TOGETHER)
    try:
        order = order_of(tmp_path / "over", timedelta(hours=3))
        run = conduct_swarm(order, how_of(tmp_path / "over", str(broker), attach=frozenset(TOGETHER))).run
        alone = order_of(tmp_path / "memory", timedelta(hours=3))
        assert contents(order.history, run) == contents(alone.history, conduct_in_memory(alone).run)
        with closing(SqliteHistory(order.history)) as history:
            assert set(TOGETHER) <= set(history.tracks(run))
    finally:
        process.terminate()
        assert process.wait(10) == 0


class Ear:
    def __init__(self, broker: BrokerAddress) -> None:
        self._transport = MqttTransport(broker, "ear")
        self._transport.connect([topic_filter("fit-g2v", channel=Channel.STATE)])
        self.states: dict[str, tuple[Stamp, State]] = {}

    def until(self, presence: Presence, *devices: str) -> None:
        deadline = time.monotonic() + 20.0
        while any(device not in self.states or self.states[device][1].state is not presence for device in devices):
            assert time.monotonic() < deadline, self.states
            delivery = self._transport.receive(0.2)
            if delivery is not None:
                topic = Topic.parse(delivery.topic)
                stamp, body = decode(topic, delivery.payload)
                assert isinstance(body, State)
                self.states[topic.device] = stamp, body

    def close(self) -> None:
        self._transport.close()


def test_each_has_its_own_life_and_last_will_and_leaves_properly(broker: BrokerAddress, tmp_path: Path) -> None:
    ear = Ear(broker)
    process = start(tmp_path, broker, *TOGETHER)
    ear.until(Presence.ONLINE, *TOGETHER)
    assert len({stamp.boot for stamp, _ in ear.states.values()}) == len(TOGETHER)
    process.kill()
    process.wait(5)
    ear.until(Presence.OFFLINE, *TOGETHER)
    again = start(tmp_path, broker, *TOGETHER)
    ear.until(Presence.ONLINE, *TOGETHER)
    again.terminate()
    assert again.wait(10) == 0
    ear.until(Presence.OFFLINE, *TOGETHER)
    ear.close()


def test_a_device_that_the_site_does_not_have_is_wrong_input(broker: BrokerAddress, tmp_path: Path) -> None:
    assert start(tmp_path, broker, "bess", "ev99").wait(20) == 2


def test_one_that_fails_ends_all_of_them_and_its_error_is_raised(broker: BrokerAddress, tmp_path: Path) -> None:
    site = load_site("fit_g2v")
    stop = threading.Event()
    made: list[Participant] = []

    def broken() -> Participant:
        if made:
            raise LocalStateError("of the tests")
        made.append(maker(site, "ev1")())
        raise LocalStateError("of the tests")

    makers = {"bess": maker(site, "bess"), "ev1": broken}
    with pytest.raises(LocalStateError, match="of the tests"):
        host(makers, site, Connection(broker), tmp_path, Life(), stop)
    assert stop.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name in makers]


def test_an_error_that_is_not_ours_names_the_participant() -> None:
    hosting = Hosting()
    hosting.start("ev7", lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(RunFailedError, match="ev7 failed: ZeroDivisionError"):
        hosting.wait()


def test_the_heartbeat_of_a_process_is_that_of_the_slowest(tmp_path: Path) -> None:
    now = [0.0]
    file = tmp_path / "alive"
    shared = SharedHeartbeat(Heartbeat(file, now=lambda: now[0]), ["a", "b"])
    a, b = shared.of("a"), shared.of("b")
    a.beat()
    a.beat()
    assert not file.exists(), "b is stuck"
    b.beat()
    assert file.exists()
