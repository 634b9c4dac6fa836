"""A broker that takes no large messages: said at once, with topic and size, instead of a day that hangs."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from schemas.errors import MessageRefusedError
from tests.brokers.servers import SERVERS
from tests.cli.calling import call

LIMITED = {"mosquitto": 8092, "nats": 8092, "moquette": None}
"""The largest message [bytes]; None: the default, which for Moquette is 8,092."""


@pytest.fixture(params=LIMITED)
def limited(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerAddress]:
    server = SERVERS[request.param]
    with server.running(tmp_path / "broker", LIMITED[request.param]) as address:
        yield address


def test_a_message_that_the_broker_refuses_is_an_error_with_topic_and_size(limited: BrokerAddress) -> None:
    transport = MqttTransport(limited, "site_ems")
    transport.connect(["x"])
    try:
        transport.publish("small", bytes(7_000), retain=True)
        assert transport.flush(5.0)
        began = time.monotonic()
        transport.publish("large", bytes(9_000), retain=True)
        with pytest.raises(MessageRefusedError, match=r"upon large of 9000 bytes .* does the broker limit messages\?"):
            transport.receive(10.0)
        assert time.monotonic() - began < 5.0
    finally:
        transport.close()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["--processes", "--one-process"])
def test_a_day_on_such_a_broker_ends_at_once_in_one_line(limited: BrokerAddress, way: str, tmp_path: Path) -> None:
    options = ["--one-process"] if way == "--one-process" else []
    done = call("up", "--broker", str(limited), "--no-report", *options, cwd=tmp_path, timeout_s=70.0)
    assert done.returncode == 1, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "limit messages" in line)
    topic, size = re.search(r"upon (\S+) of (\d+) bytes", line).groups()  # type: ignore[union-attr]
    assert topic.endswith("/ems/ems/plan")
    assert int(size) > 8_092
