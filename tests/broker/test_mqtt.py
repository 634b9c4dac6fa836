"""The MQTT transport against real brokers."""

import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.address import BrokerAddress, Credentials
from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from broker.transport import Delivery, Will
from schemas.errors import BrokerUnreachableError, InputError
from schemas.wire import MAX_PAYLOAD_BYTES
from tests.broker.half_open import HalfOpenProxy
from tests.parts import skip_without

WAIT_S = 10.0


@contextmanager
def connected(
    address: BrokerAddress, name: str, *patterns: str, will: Will | None = None, persistent: bool = False
) -> Iterator[MqttTransport]:
    transport = MqttTransport(address, name, persistent=persistent)
    transport.connect(patterns, will)
    try:
        yield transport
    finally:
        transport.close()


def take(transport: MqttTransport) -> Delivery:
    delivery = transport.receive(WAIT_S)
    assert delivery is not None, "no message came"
    transport.acknowledge(delivery)
    return delivery


def await_payload(transport: MqttTransport, payload: bytes) -> Delivery:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        delivery = take(transport)
        if delivery.payload == payload:
            return delivery
    raise AssertionError(f"{payload!r} did not come")


def test_a_retained_message_reaches_who_comes_later_and_says_that_it_was_kept(address: BrokerAddress) -> None:
    with connected(address, "writer") as writer:
        writer.publish("kept/topic", b"value", retain=True)
        assert writer.flush(WAIT_S)
        with connected(address, "late", "kept/#") as late:
            delivery = take(late)
            assert (delivery.topic, delivery.payload, delivery.retained) == ("kept/topic", b"value", True)
            writer.publish("kept/topic", b"newer", retain=True)
            delivery = take(late)
            if delivery.payload == b"value":  # mochi acknowledges first and distributes then, to who came meanwhile too
                delivery = take(late)
            assert (delivery.payload, delivery.retained) == (b"newer", False)
        writer.publish("kept/topic", b"", retain=True)
        assert writer.flush(WAIT_S)
    with connected(address, "latest", "kept/#") as latest:
        assert latest.receive(0.2) is None


def test_several_hundred_retained_messages_all_arrive_though_none_is_acknowledged(address: BrokerAddress) -> None:
    with connected(address, "writer") as writer:
        for i in range(300):
            writer.publish(f"many/{i}", b"%d" % i, retain=True)
        assert writer.flush(WAIT_S)
        with connected(address, "reader", "many/+") as reader:
            arrived = [reader.receive(WAIT_S) for _ in range(300)]
            assert sorted(int(d.payload) for d in arrived if d) == list(range(300))
        for i in range(300):
            writer.publish(f"many/{i}", b"", retain=True)
        assert writer.flush(WAIT_S)


def test_messages_of_one_topic_keep_their_order(address: BrokerAddress) -> None:
    with connected(address, "writer") as writer, connected(address, "reader", "order") as reader:
        for i in range(2500):  # more than the window of publications under way
            writer.publish("order", b"%d" % i)
        sending = threading.Thread(target=writer.flush, args=(WAIT_S,))
        sending.start()
        assert [int(take(reader).payload) for _ in range(2500)] == list(range(2500))
        sending.join()


def test_the_last_will_of_a_killed_process_is_published_and_retained(address: BrokerAddress) -> None:
    script = Path(__file__).with_name("client_to_kill.py")
    with connected(address, "watcher", "victim/state") as watcher:
        process = subprocess.Popen(
            [sys.executable, str(script), str(address.port), "victim"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            assert take(watcher).payload == b"online"
            process.send_signal(signal.SIGKILL)
            assert take(watcher).payload == b"offline"
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    with connected(address, "latecomer", "victim/state") as late:
        assert take(late).payload == b"offline"
        late.publish("victim/state", b"", retain=True)
        assert late.flush(WAIT_S)


def test_a_goodbye_publishes_no_last_will(address: BrokerAddress) -> None:
    with connected(address, "watcher", "polite/state") as watcher:
        with connected(address, "polite", will=Will("polite/state", b"offline")):
            pass
        assert watcher.receive(0.2) is None


def test_who_says_goodbye_and_comes_back_at_once_has_no_last_will(address: BrokerAddress) -> None:
    with connected(address, "watcher", "restless/state") as watcher:
        for _ in range(5):
            with connected(address, "restless", "x", will=Will("restless/state", b"offline")):
                pass
        assert watcher.receive(0.3) is None


def test_both_ends_send_small_messages_at_once(address: BrokerAddress) -> None:
    with connected(address, "hasty", "echo") as transport:
        sock = transport._client.socket()
        assert isinstance(sock, socket.socket)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        start = time.perf_counter()
        for _ in range(50):
            transport.publish("echo", b"x")
            take(transport)
        # Nagle's algorithm against a delayed acknowledgement takes 40 ms a round: 2 s.
        assert time.perf_counter() - start < 1.0


def test_after_a_broken_connection_it_subscribes_again_and_repeats_what_it_retains(address: BrokerAddress) -> None:
    with (
        connected(address, "watcher", "fragile/#") as watcher,
        connected(address, "fragile", "to/fragile", will=Will("fragile/state", b"offline")) as fragile,
    ):
        fragile.publish("fragile/state", b"online", retain=True)
        assert take(watcher).payload == b"online"
        fragile.drop()
        assert fragile.receive(0.0) is None
        fragile.publish("fragile/value", b"made meanwhile")
        assert fragile.flush(WAIT_S)
        assert take(watcher).payload == b"offline"
        assert sorted([take(watcher).payload, take(watcher).payload]) == [b"made meanwhile", b"online"]
        watcher.publish("to/fragile", b"hello again")
        assert take(fragile).payload == b"hello again"


def test_a_second_client_of_one_name_displaces_the_first_which_does_not_fight_in_a_tight_loop(
    address: BrokerAddress,
) -> None:
    with connected(address, "twin", "t") as first, connected(address, "twin", "t") as second:
        deadline, takeovers, before = time.monotonic() + 2.0, 0, second.connected
        while time.monotonic() < deadline:
            first.receive(0.01)
            second.receive(0.01)
            takeovers += before and not second.connected
            before = second.connected
        assert 1 <= takeovers <= 8


def test_a_payload_of_the_greatest_size_arrives_whole(address: BrokerAddress) -> None:
    payload = bytes(range(256)) * ((MAX_PAYLOAD_BYTES - 1024) // 256)
    with connected(address, "writer") as writer, connected(address, "reader", "large") as reader:
        writer.publish("large", payload)
        sending = threading.Thread(target=writer.flush, args=(WAIT_S,))
        sending.start()
        assert take(reader).payload == payload
        sending.join()


def test_it_waits_no_longer_than_it_was_told(address: BrokerAddress) -> None:
    with connected(address, "patient", "nothing") as transport:
        start = time.monotonic()
        assert transport.receive(0.0) is None
        assert transport.receive(0.1) is None
        assert 0.1 <= time.monotonic() - start < 0.5


def test_a_persistent_session_gets_again_what_it_did_not_acknowledge(mosquitto: BrokerAddress) -> None:
    check_persistent_session(mosquitto)


def check_persistent_session(address: BrokerAddress) -> None:
    """The broker keeps for a client that is away what it did not acknowledge, and what was sent meanwhile."""
    with connected(address, "writer") as writer:
        with connected(address, "keeper", "durable", persistent=True) as keeper:
            for payload in (b"1", b"2"):
                writer.publish("durable", payload)
            assert writer.flush(WAIT_S)
            assert take(keeper).payload == b"1"
            second = keeper.receive(WAIT_S)
            assert second is not None
            assert second.payload == b"2"
            keeper.drop()
            assert await_payload(keeper, b"2").payload == b"2"
            keeper.acknowledge(second)  # of the connection before: without effect
        writer.publish("durable", b"3")
        assert writer.flush(WAIT_S)
        with connected(address, "keeper", "durable", persistent=True) as keeper:
            assert await_payload(keeper, b"3").payload == b"3"
            assert keeper.receive(0.1) is None
    with connected(address, "keeper"):
        pass  # a clean session ends the persistent one


def test_publications_made_while_the_broker_is_away_are_sent_when_it_is_back(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    broker = LocalMosquitto(directory=tmp_path)
    with broker, connected(broker.address, "sturdy", "echo") as sturdy:
        sturdy.publish("sturdy/birth", b"born", retain=True)
        assert sturdy.flush(WAIT_S)
        broker.kill()
        for i in range(30):
            sturdy.publish("echo", b"%d" % i)
            sturdy.receive(0.0)
        assert not sturdy.flush(0.1)
        broker.start()
        # QoS 1: what was under way when the broker died may come twice, never not at all.
        arrived: list[int] = []
        while 29 not in arrived:
            arrived.append(int(take(sturdy).payload))
        assert sorted(set(arrived)) == list(range(30))
        assert sturdy.flush(WAIT_S)
        with connected(broker.address, "latecomer", "sturdy/birth") as late:
            assert take(late).payload == b"born"  # the broker forgot it and was told again


def test_a_connection_that_is_taken_and_never_answered_is_given_up_and_tried_again(
    mosquitto: BrokerAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something on the way takes it and passes nothing on; on the next one it does."""
    monkeypatch.setattr("broker.mqtt.REJOIN_TIMEOUT_S", 0.5)
    with HalfOpenProxy(mosquitto) as proxy, connected(proxy.address, "patient", "echo") as patient:
        assert patient.flush(WAIT_S)
        proxy.fall_silent()
        patient.drop()
        deadline = time.monotonic() + WAIT_S
        while proxy.swallowed < 2 and time.monotonic() < deadline:
            patient.receive(0.05)
        assert proxy.swallowed >= 2, "it was not tried again"
        proxy.pass_on()
        patient.publish("echo", b"there again")
        assert await_payload(patient, b"there again")


def test_where_no_broker_is_the_error_names_host_and_port() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    transport = MqttTransport(BrokerAddress("127.0.0.1", port), "lonely")
    with pytest.raises(BrokerUnreachableError, match=rf"127\.0\.0\.1:{port}.*Connection refused") as error:
        transport.connect(["x"])
    assert error.value.retryable
    with pytest.raises(BrokerUnreachableError, match="closed or never connected"):
        transport.receive(0.0)
    with pytest.raises(BrokerUnreachableError, match="closed or never connected"):
        transport.publish("x", b"y")
    transport.close()


def test_tls_towards_a_broker_without_it_is_an_error_that_says_so(mosquitto: BrokerAddress) -> None:
    transport = MqttTransport(BrokerAddress(mosquitto.host, mosquitto.port, tls=True), "cautious")
    with pytest.raises(BrokerUnreachableError, match=f"mqtts://127.0.0.1:{mosquitto.port}"):
        transport.connect(["x"])


def scripted_broker(server: socket.socket, suback: list[int]) -> None:
    """Takes a connection for each return code, accepts it, and answers its one subscription with that code.

    Bytes by MQTT 3.1.1: CONNACK 3.2, SUBACK 3.9.
    """
    for code in suback:
        peer, _ = server.accept()
        with peer:
            peer.recv(1024)
            peer.sendall(bytes([0x20, 2, 0, 0]))
            subscribe = peer.recv(1024)
            peer.sendall(bytes([0x90, 3, *subscribe[2:4], code]))
            if code == 1:
                peer.recv(1024)  # the first thing said afterwards; then the connection breaks


@pytest.mark.parametrize("codes", [[0x80], [1, 0x80]], ids=["at once", "after a reconnect"])
def test_a_refused_subscription_is_an_error_that_names_it(codes: list[int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=scripted_broker, args=(server, codes))
        thread.start()
        transport = MqttTransport(BrokerAddress("127.0.0.1", server.getsockname()[1]), "denied")
        if len(codes) > 1:
            transport.connect(["secret/#"])
            transport.publish("x", b"y")
        with pytest.raises(BrokerUnreachableError, match="refuses the subscription to secret/#"):
            if len(codes) > 1:
                transport.receive(WAIT_S)
            else:
                transport.connect(["secret/#"])
        transport.close()
        thread.join()


def test_certificates_that_are_none_are_refused_before_connecting(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text("not a certificate")
    with pytest.raises(InputError, match="--cafile"):
        MqttTransport(BrokerAddress("127.0.0.1", 8883, tls=True), "x", Credentials(cafile=file))


@contextmanager
def guarded_mosquitto(directory: Path, extra: str) -> Iterator[BrokerAddress]:
    """A Mosquitto of its own, with more in its configuration than `LocalMosquitto` writes."""
    binary = find_mosquitto()
    skip_without("Mosquitto", present=binary is not None)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = directory / "guarded.conf"
    file.write_text(f"user root\nlistener {port} 127.0.0.1\n{extra}\n")
    process = subprocess.Popen([str(binary), "-c", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "Mosquitto refuses the test's configuration"
        yield BrokerAddress("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait()


def password_file(directory: Path, content: str) -> Path:
    file = directory / "client-password"
    file.write_text(content)
    return file


def test_wrong_or_missing_credentials_are_errors_with_their_reason(tmp_path: Path) -> None:
    skip_without("mosquitto_passwd", present=find_mosquitto() is not None)
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "ems", "right"], check=True)
    users.chmod(0o600)
    with guarded_mosquitto(tmp_path, f"allow_anonymous false\npassword_file {users}") as address:
        right = Credentials(username="ems", password_file=password_file(tmp_path, "right\n"))
        transport = MqttTransport(address, "ems", right)
        transport.connect(["allowed/#"])
        transport.close()
        wrong = Credentials(username="ems", password_file=password_file(tmp_path, "wrong\n"))
        with pytest.raises(BrokerUnreachableError, match=rf"{address}.*[Nn]ot authorized") as error:
            MqttTransport(address, "ems", wrong).connect(["allowed/#"])
        assert "wrong" not in str(error.value)
        with pytest.raises(BrokerUnreachableError, match=r"[Nn]ot authorized"):
            MqttTransport(address, "nobody").connect([])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.crt and server.crt for 127.0.0.1, made by openssl."""
    directory = tmp_path_factory.mktemp("certificates")
    run = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    files = ["-keyout", str(directory / "server.key"), "-out", str(directory / "server.crt")]
    subprocess.run([*run, *names, *files], check=True, capture_output=True)
    return directory


def test_a_connection_is_encrypted_and_the_brokers_certificate_checked(certificates: Path, tmp_path: Path) -> None:
    lines = f"allow_anonymous true\ncertfile {certificates}/server.crt\nkeyfile {certificates}/server.key"
    with guarded_mosquitto(tmp_path, lines) as plain:
        address = BrokerAddress(plain.host, plain.port, tls=True)
        trusting = MqttTransport(address, "trusting", Credentials(cafile=certificates / "server.crt"))
        trusting.connect(["secret"])
        assert isinstance(trusting._client.socket(), ssl.SSLSocket)
        for _ in range(20):
            trusting.publish("secret", b"x" * 20_000)  # more than one TLS record each
        for _ in range(20):
            assert take(trusting).payload == b"x" * 20_000
        trusting.close()
        with pytest.raises(BrokerUnreachableError, match="certificate is not trusted"):
            MqttTransport(address, "wary").connect(["secret"])
        with pytest.raises(BrokerUnreachableError, match="does it want TLS"):
            MqttTransport(plain, "naive").connect(["secret"])
