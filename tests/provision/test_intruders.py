"""Who has no valid certificate gets nowhere, and who has one only where its rights reach. Against a real Mosquitto.

MQTT 3.1.1 acknowledges what it forbids, so the tests look at what arrives: a marker that is allowed arrives at an
allowed reader, and nothing of what was sent before it.
"""

import logging
import socket
import ssl
import threading
import warnings
from datetime import timedelta
from pathlib import Path

import pytest

from broker.address import BrokerAddress, Credentials
from broker.mqtt import MqttTransport
from broker.provision.authority import Authority
from broker.provision.identity import Identity, client_identity
from broker.provision.mosquitto_conf import configuration
from broker.provision.workspace import open_authority
from broker.servers.mosquitto import find_mosquitto
from broker.transport import Will
from schemas.errors import BrokerUnreachableError, Code
from schemas.messages import BessTelemetry, Fallback, Presence, Setpoint, State
from schemas.topics import Channel, Kind, forward_of, topic_filter
from schemas.wire import MAX_PAYLOAD_BYTES
from tests.errors import raises
from tests.parts import skip_without
from tests.provision.secured import (
    ALL,
    HOST,
    NOW,
    SITE,
    Secured,
    default_site,
    message,
    place_of,
    send_marker,
    topic,
    until,
)

EV1_STATE = topic(Kind.CHARGER, "ev1", Channel.STATE)
OFFLINE = Will(EV1_STATE, message(State(state=Presence.OFFLINE)))


def on_disk(folder: Path, identity: Identity, ca: Path) -> Credentials:
    (folder / "x.crt").write_bytes(identity.certificate_pem)
    (folder / "x.key").write_bytes(identity.key_pem)
    return Credentials(ca, folder / "x.crt", folder / "x.key")


def foreign(secured: Secured, folder: Path) -> Credentials:
    """Of an authority of the same name."""
    authority = Authority.new(SITE, NOW)
    return on_disk(folder, client_identity(authority, f"{SITE}_ev1", NOW), secured.folder.ca_certificate)


def expired(secured: Secured, folder: Path) -> Credentials:
    authority = open_authority(secured.folder)
    identity = client_identity(authority, f"{SITE}_ev1", NOW - timedelta(days=3), life=timedelta(days=2))
    return on_disk(folder, identity, secured.folder.ca_certificate)


def not_yet_valid(secured: Secured, folder: Path) -> Credentials:
    authority = open_authority(secured.folder)
    identity = client_identity(authority, f"{SITE}_ev1", NOW + timedelta(days=3))
    return on_disk(folder, identity, secured.folder.ca_certificate)


def signed_by_a_device(secured: Secured, folder: Path) -> Credentials:
    """A device's certificate is no authority's."""
    ev2 = secured.folder
    device = Authority.load(ev2.certificate("ev2").read_bytes(), ev2.key("ev2").read_bytes(), "ev2")
    identity = client_identity(device, f"{SITE}_ems", NOW)
    (folder / "x.crt").write_bytes(identity.certificate_pem + device.certificate_pem)
    (folder / "x.key").write_bytes(identity.key_pem)
    return Credentials(ev2.ca_certificate, folder / "x.crt", folder / "x.key")


def the_brokers_own(secured: Secured, folder: Path) -> Credentials:
    broker = secured.folder.broker
    return Credentials(secured.folder.ca_certificate, broker / "server.crt", broker / "server.key")


def none_at_all(secured: Secured, folder: Path) -> Credentials:
    return Credentials(secured.folder.ca_certificate)


INTRUDERS = [foreign, expired, not_yet_valid, signed_by_a_device, the_brokers_own, none_at_all]


@pytest.mark.parametrize("proof", INTRUDERS, ids=lambda proof: proof.__name__)
def test_without_a_valid_certificate_nobody_gets_in_and_nobody_is_disturbed(
    proof, shared: Secured, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ev1 = shared.client("ev1")
    observer = shared.client("observer", ALL)
    intruder = MqttTransport(shared.address, f"{SITE}_ev1", proof(shared, tmp_path))
    with caplog.at_level(logging.WARNING), pytest.raises(BrokerUnreachableError):
        intruder.connect([ALL], OFFLINE)
    assert until(observer, send_marker(ev1, Kind.CHARGER, "ev1")) == []
    assert ev1.connected
    assert observer.connected
    assert "asked by honest-" not in caplog.text  # who was there keeps its connection


def test_plain_mqtt_on_the_tls_port_gets_nowhere(shared: Secured) -> None:
    ev1, observer = shared.client("ev1"), shared.client("observer", ALL)
    plain = MqttTransport(BrokerAddress(HOST, shared.address.port), f"{SITE}_ev1")
    with raises(Code.UNREACHABLE, "TLS", kind=BrokerUnreachableError):
        plain.connect([ALL], OFFLINE)
    assert until(observer, send_marker(ev1, Kind.CHARGER, "ev1")) == []


def test_the_configuration_bounds_what_a_client_may_ask_of_the_broker(tmp_path: Path) -> None:
    lines = configuration(place_of(tmp_path)).splitlines()
    for line in (
        "tls_version tlsv1.2",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        "allow_anonymous false",
        "set_tcp_nodelay true",
        "message_size_limit 524288",  # the contract's largest payload, 512 KiB
        "max_queued_messages 2000000",
        "max_queued_bytes 268435456",  # 256 MiB
        "max_inflight_messages 1000",
        "persistence true",
        "autosave_interval 10",
    ):
        assert lines.count(line) == 1, line


def test_a_message_of_the_contract_s_largest_size_passes_and_a_byte_more_does_not(shared: Secured) -> None:
    ev1, observer = shared.client("ev1"), shared.client("observer", ALL)
    for size in (MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES + 1):
        ev1.publish(topic(Kind.CHARGER, "ev1", Channel.TELEMETRY), b"x" * size)
    sizes = [len(delivery.payload) for delivery in until(observer, send_marker(ev1, Kind.CHARGER, "ev1"))]
    assert sizes == [MAX_PAYLOAD_BYTES]


@pytest.mark.parametrize(
    ("version", "taken"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
    ids=lambda value: value.name if isinstance(value, ssl.TLSVersion) else "",
)
def test_tls_1_2_is_the_oldest_that_the_broker_takes(
    version: ssl.TLSVersion, taken: bool, shared: Secured, tmp_path: Path
) -> None:
    own = shared.folder
    context = ssl.create_default_context(cafile=str(own.ca_certificate))
    context.load_cert_chain(own.certificate("ev1"), own.key("ev1"))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # otherwise OpenSSL 3 itself would not offer the old ones
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    with socket.create_connection((HOST, shared.address.port), timeout=5.0) as connection:
        if taken:
            with context.wrap_socket(connection, server_hostname=HOST) as session:
                assert session.version() == version.name.replace("_", ".")
        else:
            with pytest.raises(ssl.SSLError) as error:
                context.wrap_socket(connection, server_hostname=HOST)
            # The broker's word, not that of this machine's OpenSSL, which would say NO_PROTOCOLS_AVAILABLE.
            assert error.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"


def test_a_client_trusts_only_the_sites_authority(shared: Secured, tmp_path: Path) -> None:
    other = tmp_path / "ca.crt"
    other.write_bytes(Authority.new(SITE, NOW).certificate_pem)
    own = shared.folder
    transport = MqttTransport(shared.address, "x", Credentials(other, own.certificate("ev1"), own.key("ev1")))
    with raises(Code.UNREACHABLE, kind=BrokerUnreachableError):
        transport.connect([])


def test_a_device_cannot_play_the_broker(shared: Secured) -> None:
    """It has a certificate of the site's authority, but for clients only."""
    ev2, ev1 = shared.folder.credentials("ev2"), shared.folder.credentials("ev1")
    assert ev2.cert is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ev2.cert, ev2.key)
    with socket.create_server((HOST, 0)) as server:
        rogue = Rogue(server, context)
        rogue.start()
        port = server.getsockname()[1]
        with raises(Code.UNREACHABLE, kind=BrokerUnreachableError):
            MqttTransport(BrokerAddress(HOST, port, tls=True), "x", ev1).connect([])
        rogue.join(5.0)
    assert rogue.heard == b""


class Rogue(threading.Thread):
    """Takes one connection and listens."""

    def __init__(self, server: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(daemon=True)
        self.server, self.context, self.heard = server, context, b""

    def run(self) -> None:
        connection, _ = self.server.accept()
        connection.settimeout(5.0)
        try:
            with self.context.wrap_socket(connection, server_side=True) as session:
                self.heard = session.recv(1)
        except ssl.SSLError:
            connection.close()  # the client broke off, as it should


def test_a_device_cannot_write_as_another(shared: Secured, caplog: pytest.LogCaptureFixture) -> None:
    observer = shared.client("observer", ALL)
    ev1 = shared.client("ev1")
    telemetry = message(BessTelemetry(power_kw=0.0, soc_frac=0.5))
    setpoint = message(_setpoint("1"))
    for kind, device, channel, payload in [
        (Kind.CHARGER, "ev2", Channel.STATE, message(State(state=Presence.OFFLINE))),
        (Kind.BESS, "bess", Channel.TELEMETRY, telemetry),
        (Kind.BESS, "ev1", Channel.TELEMETRY, telemetry),
        (Kind.CHARGER, "ev1", Channel.SETPOINT, setpoint),
        (Kind.CHARGER, "ev1", Channel.RUN, b"{}"),
        (Kind.CLOCK, "clock", Channel.TICK, b"{}"),
        (Kind.EMS, "ems", Channel.PLAN, b"{}"),
    ]:
        ev1.publish(topic(kind, device, channel), payload, retain=True)
    for elsewhere in ("twin/v2/other-site/charger/ev1/state", f"twin/v2/{SITE}/charger/ev1", "$SYS/broker/x", "x"):
        ev1.publish(elsewhere, b"1", retain=True)
    assert until(observer, send_marker(ev1, Kind.CHARGER, "ev1")) == []
    late = shared.client("recorder", ALL)  # and nothing of it was retained
    assert until(late, send_marker(ev1, Kind.CHARGER, "ev1")) == []
    assert "connection lost" not in caplog.text  # its mistake costs it nothing else


def test_the_twin_beside_a_device_hears_it_and_can_say_nothing_in_its_place(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    site = default_site()
    devices = {name: each.model_copy(update={"shadow": name == "bess"}) for name, each in site.devices.items()}
    secured = Secured(tmp_path / "provisioned", site.model_copy(update={"devices": devices}))
    with secured.running():
        observer, ems, bess = secured.client("observer", ALL), secured.client("ems"), secured.client("bess")
        heard = (topic_filter(SITE, Kind.BESS, "bess", Channel.TELEMETRY), topic_filter(SITE, channel=Channel.SETPOINT))
        shadow = secured.client("shadow-bess", *heard)
        for kind, device, channel in [
            (Kind.BESS, "bess", Channel.SETPOINT),
            (Kind.BESS, "bess", Channel.TELEMETRY),
            (Kind.BESS, "bess", Channel.ACK),
            (Kind.BESS, "bess", Channel.STATE),
            (Kind.EMS, "ems", Channel.PLAN),
            (Kind.SHADOW, "shadow-bess", Channel.SETPOINT),
            (Kind.SHADOW, "shadow-bess", Channel.TELEMETRY),
        ]:
            shadow.publish(topic(kind, device, channel), message(_setpoint("1")), retain=True)
        assert until(observer, send_marker(shadow, Kind.SHADOW, "shadow-bess")) == []
        ems.publish(topic(Kind.BESS, "bess", Channel.SETPOINT), message(_setpoint("2")))
        assert ems.flush(10.0)
        bess.publish(topic(Kind.BESS, "bess", Channel.TELEMETRY), message(BessTelemetry(power_kw=0.0, soc_frac=0.5)))
        assert bess.flush(10.0)
        came = [shadow.receive(10.0), shadow.receive(10.0)]
        assert {each.topic.rsplit("/", 1)[1] for each in came if each is not None} == {"setpoint", "telemetry"}


def test_ghosts_command_nobody_and_nobody_commands_them(tmp_path: Path) -> None:
    """Each with the certificate that `provision` gave it. A ghost of the battery's kind is called ``newbess``."""
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    site = default_site()
    ghost = site.devices["bess"].model_copy(update={"node": None})
    secured = Secured(tmp_path / "provisioned", site.model_copy(update={"ghosts": {"newbess": ghost}}))
    with secured.running():
        observer, ems, network = secured.client("observer", ALL), secured.client("ems"), secured.client("network")
        bess, tariff = secured.client("bess", topic(Kind.BESS, "bess", Channel.SETPOINT)), secured.client("tariff")
        ghosts = secured.client("ghosts", ALL, "#", topic_filter(SITE, channel=Channel.SETPOINT))
        refused = [
            *((Kind.BESS, name, Channel.SETPOINT) for name in ("bess", "newbess")),
            *((Kind.CHARGER, "ev1", channel) for channel in (Channel.SETPOINT, Channel.EVENT, Channel.TELEMETRY)),
            *((Kind.BESS, "newbess", channel) for channel in (Channel.BIRTH, Channel.TELEMETRY, Channel.ACK)),
            (Kind.METER, "building", Channel.TELEMETRY),
            (Kind.NETWORK, "network", Channel.TELEMETRY),
            (Kind.EMS, "ems", Channel.PLAN),
            (Kind.TARIFF, "tariff", Channel.SERIES),
            (Kind.LIMITER, "limiter", Channel.LIMIT),
            (Kind.CLOCK, "clock", Channel.RUN),
            *((Kind.GHOSTS, "ghosts", channel) for channel in (Channel.SETPOINT, Channel.TELEMETRY)),
        ]
        for kind, device, channel in refused:
            ghosts.publish(topic(kind, device, channel), message(_setpoint("1")), retain=True)
            ghosts.publish(forward_of(topic(kind, device, channel)), message(_setpoint("1")))
        assert until(observer, send_marker(ghosts, Kind.GHOSTS, "ghosts")) == []
        for device in (Kind.BESS, "bess"), (Kind.BESS, "newbess"), (Kind.GHOSTS, "ghosts"), (Kind.GHOSTS, "newbess"):
            ems.publish(topic(*device, Channel.SETPOINT), message(_setpoint("2")))
        ems.publish(topic(Kind.GHOSTS, "ghosts", Channel.EARNINGS), b"{}", retain=True)
        ems.publish(topic(Kind.EMS, "ems", Channel.DECISION), b"{}")
        assert ems.flush(10.0)
        own = bess.receive(10.0)
        assert own is not None
        assert own.topic == topic(Kind.BESS, "bess", Channel.SETPOINT)
        bess.publish(topic(Kind.BESS, "bess", Channel.TELEMETRY), message(BessTelemetry(power_kw=0.0, soc_frac=0.5)))
        assert bess.flush(10.0)
        # After all of that it hears what it needs, and nothing else.
        ems.publish(topic(Kind.EMS, "ems", Channel.PLAN), b"{}")
        assert ems.flush(10.0)
        tariff.publish(topic(Kind.TARIFF, "tariff", Channel.SERIES), b"{}")
        assert tariff.flush(10.0)
        last = topic(Kind.NETWORK, "network", Channel.TELEMETRY)
        network.publish(last, b"{}")
        heard: set[str] = set()
        while last not in heard:
            came = ghosts.receive(10.0)
            assert came is not None
            heard.add(came.topic)
        needed = {topic(Kind.EMS, "ems", Channel.PLAN), topic(Kind.TARIFF, "tariff", Channel.SERIES), last}
        assert heard == needed
        seen = {each.topic for each in until(observer, send_marker(ghosts, Kind.GHOSTS, "ghosts"))}
        assert not any("/ghosts/" in one for one in seen)


def test_a_last_will_on_anothers_topic_is_never_sent(secured: Secured) -> None:
    observer, ev2 = secured.client("observer", ALL), secured.client("ev2")
    forged = MqttTransport(secured.address, "x", secured.folder.credentials("ev1"))
    try:
        forged.connect([], Will(topic(Kind.CHARGER, "ev2", Channel.STATE), message(State(state=Presence.OFFLINE))))
        forged.drop()
        forged.receive(0.2)  # it comes back, so the broker has noticed that it was gone
    except BrokerUnreachableError:
        pass  # it was refused at the door: as good
    finally:
        forged.close()
    assert until(observer, send_marker(ev2, Kind.CHARGER, "ev2")) == []


def test_no_wildcard_gives_a_device_more_than_its_own_set_points_and_the_clock(shared: Secured) -> None:
    ems = shared.client("ems")
    curious = shared.client("ev1", "#", "+/+/+/+/+/+", topic_filter(SITE, channel=Channel.SETPOINT), "$SYS/#")
    ems.publish(topic(Kind.EMS, "ems", Channel.BIRTH), b"{}", retain=True)
    for device in ("ev2", "ev3", "ev1", "ev4"):
        ems.publish(topic(Kind.CHARGER, device, Channel.SETPOINT), message(_setpoint(device)))
    ems.publish(topic(Kind.CHARGER, "ev1", Channel.SETPOINT), message(_setpoint("last"), seq=2))
    assert ems.flush(5.0)
    own = topic(Kind.CHARGER, "ev1", Channel.SETPOINT)
    first = curious.receive(5.0)
    second = curious.receive(5.0)
    assert first is not None
    assert second is not None
    # Overlapping subscriptions: the broker may give a message once per subscription (3.3.5).
    assert {first.topic, second.topic} == {own}
    while (more := curious.receive(0.0)) is not None:
        assert more.topic == own
    ems.publish(topic(Kind.EMS, "ems", Channel.BIRTH), b"", retain=True)
    assert ems.flush(5.0)


def test_an_observer_reads_everything_and_writes_nothing(shared: Secured) -> None:
    recorder = shared.client("recorder", ALL)
    observer = shared.client("observer", ALL)
    ems = shared.client("ems")
    observer.publish(topic(Kind.CHARGER, "ev1", Channel.SETPOINT), message(_setpoint("1")))
    observer.publish(topic(Kind.METER, "observer", Channel.METRIC), b"{}")
    assert observer.flush(5.0)
    marker = send_marker(ems, Kind.EMS, "ems")
    assert until(recorder, marker) == []
    assert until(observer, marker) == []


def test_a_client_is_who_its_certificate_says_whatever_it_calls_itself(shared: Secured) -> None:
    """A client id that it chose would let it take over another's session."""
    ev2 = shared.client("ev2", topic(Kind.CHARGER, "ev2", Channel.SETPOINT))
    impostor = MqttTransport(shared.address, f"{SITE}_ev2", shared.folder.credentials("ev1"))
    impostor.connect([topic(Kind.CHARGER, "ev2", Channel.SETPOINT)])
    ems = shared.client("ems")
    ems.publish(topic(Kind.CHARGER, "ev2", Channel.SETPOINT), message(_setpoint("1")))
    assert ems.flush(5.0)
    delivery = ev2.receive(5.0)
    assert delivery is not None
    assert ev2.connected
    assert impostor.receive(0.0) is None
    impostor.close()


def _setpoint(name: str) -> Setpoint:
    return Setpoint(
        id=name,
        epoch=1,
        valid_from=NOW,
        valid_until=NOW + timedelta(minutes=15),
        power_kw=1.0,
        fallback=Fallback.IDLE,
    )
