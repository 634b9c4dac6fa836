"""The brokers that this program starts, and the one in memory."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from broker.address import BrokerAddress
from broker.memory import MemoryBroker, MemoryTransport
from broker.mqtt import MqttTransport
from broker.servers.embedded import EmbeddedBroker
from broker.servers.loopback import LoopbackBroker
from broker.servers.mosquitto import LocalMosquitto, configuration, find_mosquitto
from broker.transport import Will
from schemas.errors import BrokerUnreachableError, Code, InputError, MessageRefusedError
from schemas.wire import MAX_PAYLOAD_BYTES
from tests.parts import skip_without

OWNER = """
import sys, time
from broker.servers.{module} import {broker}
broker = {broker}()
broker.start()
print(broker.pid, flush=True)
time.sleep(60)
"""


def gone(pid: int, within_s: float) -> bool:
    try:
        psutil.Process(pid).wait(within_s)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


@pytest.mark.parametrize(("module", "broker"), [("embedded", "EmbeddedBroker"), ("mosquitto", "LocalMosquitto")])
def test_a_broker_dies_with_whoever_started_it(module: str, broker: str) -> None:
    skip_without("Mosquitto", present=module != "mosquitto" or find_mosquitto() is not None)
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(module=module, broker=broker)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert gone(pid, 5.0)


def test_the_embedded_broker_listens_on_the_loopback_interface_only() -> None:
    with EmbeddedBroker() as broker:
        listening = [c.laddr for c in psutil.Process(broker.pid).net_connections("tcp") if c.status == "LISTEN"]
        assert [(a.ip, a.port) for a in listening] == [("127.0.0.1", broker.address.port)]


def test_the_embedded_broker_ends_within_two_seconds_though_clients_are_connected() -> None:
    broker = EmbeddedBroker()
    clients = [MqttTransport(broker.start(), f"c{i}") for i in range(3)]
    for client in clients:
        client.connect(["x"])
    pid, start = broker.pid, time.monotonic()
    broker.stop()
    broker.stop()
    assert time.monotonic() - start < 2.0
    assert not psutil.pid_exists(pid)
    for client in clients:
        client.close()


CONNECT = bytes([0x10, 13, 0, 4]) + b"MQTT" + bytes([4, 2, 0, 60, 0, 1]) + b"p"
"""MQTT 3.1.1, 3.1: protocol level 4, clean session, keepalive 60 s, client identifier p."""


@pytest.mark.parametrize(
    "rubbish",
    [
        bytes([0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),  # a length of five bytes
        bytes([0x30, 0xFF, 0xFF, 0xFF, 0x7F]),  # 256 MB announced
        bytes([0x30, 3, 0, 1]) + b"+",  # a publication on a wildcard
        bytes([0x30, 3, 0, 1]) + b"\0",  # a publication on NUL
        bytes([0x32, 3, 0, 1]) + b"x",  # QoS 1 without its identifier
        bytes([0x32, 5, 0, 1]) + b"x" + bytes(2),  # QoS 1 with the identifier 0
        bytes([0x30, 2, 0, 9]),  # a topic longer than its packet
        bytes([0x82, 1, 0]),  # a subscription of one byte
        bytes([0xF0, 0]),  # a packet of no type
    ],
)
def test_the_embedded_broker_closes_the_connection_of_who_speaks_no_mqtt_and_serves_the_others(
    amqtt: BrokerAddress, rubbish: bytes
) -> None:
    with socket.create_connection((amqtt.host, amqtt.port), timeout=5.0) as peer:
        peer.sendall(CONNECT)
        assert peer.recv(4) == bytes([0x20, 2, 0, 0])
        peer.sendall(rubbish)
        assert peer.recv(1) == b""
    transport = MqttTransport(amqtt, "other")
    transport.connect(["x"])
    transport.publish("x", b"alive")
    delivery = transport.receive(5.0)
    assert delivery is not None
    assert delivery.payload == b"alive"
    transport.close()


def with_will(topic: bytes, flags: int = 0, keepalive_s: int = 60) -> bytes:
    body = bytes([0, 4]) + b"MQTT" + bytes([4, 2 | 4 | flags, 0, keepalive_s, 0, 1]) + b"w"
    body += bytes([0, len(topic)]) + topic + bytes([0, 1]) + b"!"
    return bytes([0x10, len(body)]) + body


@pytest.mark.parametrize(("topic", "flags"), [(b"", 0), (b"a/#", 0), (b"$SYS/x", 0), (b"a\0b", 0), (b"a", 0x18)])
def test_the_embedded_broker_admits_nobody_whose_last_will_could_not_be_published(
    amqtt: BrokerAddress, topic: bytes, flags: int
) -> None:
    with socket.create_connection((amqtt.host, amqtt.port), timeout=5.0) as peer:
        peer.sendall(with_will(topic, flags))
        assert peer.recv(1) == b""


def test_the_embedded_broker_takes_a_client_for_dead_that_is_silent_for_longer_than_its_keepalive(
    amqtt: BrokerAddress,
) -> None:
    """As of a process that is stopped: its connection stands, and nothing comes."""
    heir = MqttTransport(amqtt, "heir")
    heir.connect(["last/will"])
    with socket.create_connection((amqtt.host, amqtt.port), timeout=30.0) as peer:
        peer.sendall(with_will(b"last/will", keepalive_s=1))
        assert peer.recv(4) == bytes([0x20, 2, 0, 0])
        peer.sendall(bytes([0xC0, 0]))
        assert peer.recv(2) == bytes([0xD0, 0])
        delivery = heir.receive(30.0)
        assert delivery is not None
        assert delivery.payload == b"!"
        assert peer.recv(1) == b""
    heir.close()


@contextmanager
def changed(**constants: float) -> Iterator[BrokerAddress]:
    """An embedded broker in which some bounds are others."""
    changes = "".join(f"l.{name} = {value!r}; " for name, value in constants.items())
    code = f"import broker.servers.loopback as l, broker.servers.embedded as e; {changes}e.main()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        yield BrokerAddress("127.0.0.1", int(process.stdout.readline()))
        process.stdin.close()


def test_the_embedded_broker_retains_no_more_than_its_bound_and_goes_on() -> None:
    with changed(RETAINED_MOST_BYTES=1_000_000) as address:
        hoarder, other = MqttTransport(address, "hoarder"), MqttTransport(address, "other")
        hoarder.connect([])
        for _ in range(3):  # the same topics again take no more room
            for number in range(9):
                hoarder.publish(f"kept/{number}", b"x" * 100_000, retain=True)
        assert hoarder.flush(30.0)
        hoarder.publish("kept/8", b"", retain=True)
        hoarder.publish("instead", b"x" * 100_000, retain=True)
        assert hoarder.flush(30.0)
        hoarder.publish("more", b"x" * 150_000, retain=True)
        with pytest.raises(MessageRefusedError, match="more of 150000 bytes"):
            hoarder.flush(30.0)
        other.connect(["#"])
        kept = {delivery.topic for _ in range(9) if (delivery := other.receive(10.0)) is not None}
        assert kept == {f"kept/{number}" for number in range(8)} | {"instead"}
        other.close()


def test_the_embedded_broker_refuses_to_listen_on_a_network() -> None:
    for host in ("0.0.0.0", "192.0.2.1", "::", "broker.example.org"):
        with pytest.raises(InputError, match="loopback interface only") as error:
            LoopbackBroker.on(host, 0)
        assert error.value.codes == (Code.UNENCRYPTED,)


def test_the_embedded_broker_closes_a_connection_that_never_says_who_it_is() -> None:
    with changed(CONNECT_S=0.5) as address, socket.create_connection((address.host, address.port), 30.0) as peer:
        peer.sendall(CONNECT[:5])
        assert peer.recv(1) == b""


def test_an_embedded_broker_without_its_port_says_so_and_where_its_log_is(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        log = tmp_path / "broker.log"
        with pytest.raises(BrokerUnreachableError, match=rf"127\.0\.0\.1:{port}.*broker\.log"):
            EmbeddedBroker(port=port, log=log).start()
    assert "address already in use" in log.read_text()


def test_a_mosquitto_without_its_port_says_so_in_its_own_words() -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    # Bound but not listening: nothing answers there, and nobody else can have it.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(BrokerUnreachableError, match=rf"127\.0\.0\.1:{port}.*in use"):
            LocalMosquitto(port=port).start()


def test_a_missing_mosquitto_is_named_with_what_can_be_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TWINSWARM_MOSQUITTO", str(tmp_path / "none"))
    with pytest.raises(InputError, match="use --broker embedded"):
        LocalMosquitto()


def test_mosquitto_is_configured_for_loopback_small_messages_at_once_and_bounded_size(tmp_path: Path) -> None:
    lines = configuration(1234, tmp_path).splitlines()
    for line in (
        "listener 1234 127.0.0.1",
        "set_tcp_nodelay true",
        f"message_size_limit {MAX_PAYLOAD_BYTES}",
        "max_queued_messages 0",
        "persistence false",
    ):
        assert line in lines


def test_a_persistent_mosquitto_keeps_what_is_retained_over_a_crash(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    broker = LocalMosquitto(directory=tmp_path, persistence=True)
    with broker:
        writer = MqttTransport(broker.address, "writer")
        writer.connect([])
        writer.publish("kept", b"value", retain=True)
        assert writer.flush(5.0)
        writer.close()
        database = tmp_path / "mosquitto.db"
        deadline = time.monotonic() + 5.0
        while not (database.exists() and b"value" in database.read_bytes()):
            assert time.monotonic() < deadline
            os.sched_yield()
        broker.kill()
        broker.start()
        reader = MqttTransport(broker.address, "reader")
        reader.connect(["kept"])
        delivery = reader.receive(5.0)
        assert delivery is not None
        assert delivery.payload == b"value"
        reader.close()


# ---- in memory


def join(broker: MemoryBroker, name: str, *patterns: str, will: Will | None = None) -> MemoryTransport:
    transport = MemoryTransport(broker, name)
    transport.connect(patterns, will)
    return transport


def payloads(transport: MemoryTransport) -> list[bytes]:
    found = []
    while (delivery := transport.receive(0.0)) is not None:
        transport.acknowledge(delivery)
        found.append(delivery.payload)
    return found


def test_in_memory_what_is_retained_reaches_who_comes_later_until_it_is_deleted() -> None:
    broker = MemoryBroker()
    writer = join(broker, "writer")
    writer.publish("a/b", b"1", retain=True)
    writer.publish("a/b", b"2", retain=True)
    late = join(broker, "late", "a/+")
    delivery = late.receive(0.0)
    assert delivery is not None
    assert (delivery.payload, delivery.retained) == (b"2", True)
    writer.publish("a/b", b"", retain=True)
    assert payloads(join(broker, "later", "a/+")) == []


def test_in_memory_a_message_comes_once_though_two_subscriptions_match() -> None:
    broker = MemoryBroker()
    reader = join(broker, "reader", "a/+", "a/#")
    join(broker, "writer").publish("a/b", b"1")
    assert payloads(reader) == [b"1"]


def test_in_memory_a_broken_connection_has_a_last_will_and_a_goodbye_none() -> None:
    broker = MemoryBroker()
    watcher = join(broker, "watcher", "+/state")
    join(broker, "polite", will=Will("polite/state", b"offline")).close()
    join(broker, "victim", will=Will("victim/state", b"offline")).drop()
    assert payloads(watcher) == [b"offline"]
    assert broker.retained("victim/state") == b"offline"
    assert broker.retained("polite/state") is None


def test_in_memory_a_second_client_of_one_name_ends_the_first() -> None:
    broker = MemoryBroker()
    first = join(broker, "twin", "x", will=Will("twin/state", b"offline"))
    join(broker, "twin", "x")
    with pytest.raises(BrokerUnreachableError):
        first.receive(0.0)
    assert broker.retained("twin/state") == b"offline"


def test_in_memory_a_persistent_session_gets_again_what_it_did_not_acknowledge_and_what_it_missed() -> None:
    broker = MemoryBroker()
    keeper = MemoryTransport(broker, "keeper", persistent=True)
    keeper.connect(["x"])
    writer = join(broker, "writer")
    writer.publish("x", b"1")
    writer.publish("x", b"2")
    first = keeper.receive(0.0)
    assert first is not None
    keeper.acknowledge(first)
    assert keeper.receive(0.0) is not None
    keeper.drop()
    writer.publish("x", b"3")
    keeper.connect(["x"])
    assert payloads(keeper) == [b"2", b"3"]


def test_in_memory_a_waiting_thread_is_woken_by_a_message() -> None:
    broker = MemoryBroker()
    reader, found = join(broker, "reader", "x"), []
    thread = threading.Thread(target=lambda: found.append(reader.receive(10.0)))
    thread.start()
    join(broker, "writer").publish("x", b"1")
    thread.join(5.0)
    assert [d.payload for d in found if d] == [b"1"]
