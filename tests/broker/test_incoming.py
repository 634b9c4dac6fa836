"""What a broker sends is taken apart as MQTT 3.1.1 says, however the network cuts it; what is no packet ends the
connection."""

import queue
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.address import BrokerAddress
from broker.incoming import Incoming, Publication
from broker.mqtt import MqttTransport

PINGRESP = b"\xd0\x00"
SUBACK = b"\x90\x03\x00\x01\x01"


def length(size: int) -> bytes:
    """Section 2.2.3."""
    out = bytearray()
    while True:
        size, digit = divmod(size, 128)
        out.append(digit | (0x80 if size else 0))
        if not size:
            return bytes(out)


def publish(topic: bytes, payload: bytes, qos: int, retained: bool, mid: int) -> bytes:
    """Section 3.3."""
    body = len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if qos else b"") + payload
    return bytes([0x30 | qos << 1 | retained]) + length(len(body)) + body


publications = st.tuples(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.one_of(st.binary(max_size=300), st.integers(120, 20_000).map(bytes)),
    st.integers(0, 1),
    st.booleans(),
    st.integers(1, 65_535),
)
packets = st.one_of(publications, st.sampled_from([PINGRESP, SUBACK]))


@given(st.lists(packets, max_size=12), st.lists(st.integers(1, 700), min_size=1, max_size=50))
def test_packets_come_out_as_they_went_in_wherever_they_are_cut(
    sent: list[bytes | tuple[str, bytes, int, bool, int]], cuts: list[int]
) -> None:
    stream = b"".join(p if isinstance(p, bytes) else publish(p[0].encode(), *p[1:]) for p in sent)
    incoming, found, at = Incoming(), [], 0
    while at < len(stream):
        size = cuts[len(found) % len(cuts)]
        found += list(incoming.take(stream[at : at + size]))
        at += size
    expected = [p if isinstance(p, bytes) else Publication(p[0], p[1], p[3], p[4] if p[2] else None) for p in sent]
    assert found == expected


def test_a_topic_that_is_no_text_is_marked() -> None:
    (found,) = Incoming().take(publish(b"\xff\xfe", b"x", 1, False, 7))
    assert found == Publication("\N{REPLACEMENT CHARACTER}", b"x", False, 7)


@pytest.mark.parametrize(
    "packet",
    [
        publish(b"t", b"x", 2, False, 1),
        b"\x36\x05\x00\x01t\x00\x01",  # QoS 3
        b"\x32\x03\x00\x01t",  # no identifier
        b"\x30\x03\x00\x09t",  # a topic that is longer than its packet
        b"\x30\x01\x00",
        b"\x30\x00",
    ],
    ids=["QoS 2", "QoS 3", "no identifier", "long topic", "cut", "empty"],
)
def test_what_is_not_an_ordinary_publication_is_left_to_paho_whole(packet: bytes) -> None:
    assert list(Incoming().take(packet + PINGRESP)) == [packet, PINGRESP]


def test_a_length_without_an_end_is_left_to_paho() -> None:
    endless = b"\x30\xff\xff\xff\xff\x01abc"
    assert list(Incoming().take(endless)) == [endless]


class Impostor:
    """Accepts one client, lets it in, and sends what the test puts into its hands."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = BrokerAddress("127.0.0.1", self._server.getsockname()[1])
        self._to_send: queue.Queue[bytes] = queue.Queue()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._server.accept()
        with client:
            client.recv(1000)
            client.sendall(b"\x20\x02\x00\x00")
            client.sendall(self._to_send.get(timeout=10.0))
            client.settimeout(10.0)
            while client.recv(1000):
                pass

    def send(self, data: bytes) -> None:
        self._to_send.put(data)

    def close(self) -> None:
        self._server.close()
        self._thread.join(10.0)


@pytest.fixture
def impostor() -> Iterator[Impostor]:
    impostor = Impostor()
    yield impostor
    impostor.close()


@pytest.mark.parametrize(
    "garbage", [b"\x30\xff\xff\xff\xff\x01", b"\x32\x03\x00\x01t", b"\x30\x03\x00\x09t", b"\x00\x00"]
)
def test_garbage_ends_the_connection_and_hangs_nobody(impostor: Impostor, garbage: bytes) -> None:
    transport = MqttTransport(impostor.address, "victim")
    transport.connect(())
    impostor.send(publish(b"t", b"before", 0, False, 0) + garbage)
    before = transport.receive(10.0)
    assert before is not None
    assert before.payload == b"before"
    assert not transport.connected
    transport.close()
