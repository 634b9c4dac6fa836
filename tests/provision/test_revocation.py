"""One device more, one device less, at a Mosquitto that runs: by reload, and nobody else notices."""

import dataclasses
import logging
import os
import socket
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.address import Credentials
from broker.mqtt import MqttTransport
from broker.provision import end_session as ending
from broker.provision.end_session import end_session
from broker.provision.identity import Identity
from broker.provision.reload import reload_mosquitto
from broker.provision.workspace import add_client, open_authority, provision_site, revoke_client
from broker.servers.mosquitto import find_mosquitto
from broker.transport import Will
from schemas.errors import BrokerUnreachableError, Code
from schemas.messages import Metric, Presence, State
from schemas.topics import Channel, Kind, Topic
from schemas.wire import decode
from tests.errors import raises
from tests.parts import skip_without
from tests.provision.secured import (
    ALL,
    PATIENCE_S,
    SITE,
    Secured,
    arrives,
    default_site,
    message,
    place_of,
    send_marker,
    topic,
    until,
)

EV1_STATE = topic(Kind.CHARGER, "ev1", Channel.STATE)


def now() -> datetime:
    """What takes a session over holds for ten minutes only, and the tests before these may take longer."""
    return datetime.now(UTC).replace(microsecond=0)


def revoke(secured: Secured, device: str, *, told: bool = True, wait_s: float = 10.0) -> list[str]:
    """As the command does; returns what its user was reminded of."""
    reminded: list[str] = []
    canary = revoke_client(secured.folder.root, device, now()).canary
    if told:
        reload_mosquitto(secured.pid)

    def remind() -> None:
        reminded.append("SIGHUP")
        if wait_s:
            reload_mosquitto(secured.pid)

    end_session(
        secured.address,
        open_authority(secured.folder),
        SITE,
        device,
        canary,
        now(),
        wait_s=wait_s,
        remind=remind,
    )
    return reminded


def show(transport: MqttTransport) -> None:
    transport.publish(EV1_STATE, message(State(state=Presence.ONLINE)), retain=True)
    assert transport.flush(5.0)


def test_a_revoked_device_loses_its_session_and_never_comes_back(
    secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = secured.folder.certificate("ev1").read_bytes(), secured.folder.key("ev1").read_bytes()
    ev1 = secured.client("ev1", will=Will(EV1_STATE, message(State(state=Presence.OFFLINE), seq=0)))
    show(ev1)
    ev2, observer = secured.client("ev2"), secured.client("observer", ALL)
    before = send_marker(ev1, Kind.CHARGER, "ev1")
    assert [delivery.topic for delivery in until(observer, before)] == [EV1_STATE]

    caplog.set_level(logging.WARNING)
    revoke(secured, "ev1")

    # It goes on as if nothing were: its connection is gone, and made anew it is refused.
    ev1.publish(EV1_STATE, message(State(state=Presence.ONLINE), seq=2), retain=True)
    assert not ev1.flush(0.5)
    assert not ev1.connected
    # With the files that were deleted here, but not there.
    kept = secured.folder.root / "kept"
    kept.mkdir()
    (kept / "ev1.crt").write_bytes(certificate)
    (kept / "ev1.key").write_bytes(key)
    stolen = Credentials(secured.folder.ca_certificate, kept / "ev1.crt", kept / "ev1.key")
    again = MqttTransport(secured.address, "x", stolen)
    with pytest.raises(BrokerUnreachableError):
        again.connect([ALL])

    (gone,) = until(observer, send_marker(ev2, Kind.CHARGER, "ev2"))
    stamp, body = decode(Topic.parse(gone.topic), gone.payload)
    assert isinstance(body, State)
    assert (gone.topic, body.state, stamp.boot, stamp.seq) == (EV1_STATE, Presence.OFFLINE, "b1", 0)
    assert ev2.connected
    assert observer.connected
    assert "asked by honest-ev1: connection lost" in caplog.text
    assert "asked by honest-ev2" not in caplog.text
    assert "asked by honest-observer" not in caplog.text
    late = secured.client("recorder", ALL)
    marker = send_marker(ev2, Kind.CHARGER, "ev2")
    (retained,) = until(late, marker)
    assert retained.payload == gone.payload


def test_who_was_revoked_and_added_again_comes_in_with_the_new_certificate_only(secured: Secured) -> None:
    revoke(secured, "ev1")
    add_client(secured.folder.root, "ev1", Kind.CHARGER, now())
    reload_mosquitto(secured.pid)
    observer, ev1 = secured.client("observer", ALL), secured.client("ev1")
    assert arrives(ev1, observer, "ev1")


def test_one_device_more_comes_in_after_a_reload(secured: Secured) -> None:
    observer = secured.client("observer", ALL)
    add_client(secured.folder.root, "ev9", Kind.CHARGER, now())
    ev9 = secured.client("ev9")
    assert until_denied(ev9, secured, observer) == []
    reload_mosquitto(secured.pid)
    assert arrives(ev9, observer, "ev9")
    assert observer.connected


def until_denied(ev9: MqttTransport, secured: Secured, observer: MqttTransport) -> list[object]:
    """What the observer gets of a device that the broker's list does not name yet."""
    ev9.publish(topic(Kind.CHARGER, "ev9", Channel.METRIC), message(Metric(values={})))
    assert ev9.flush(5.0)
    return list(until(observer, send_marker(secured.client("ev2"), Kind.CHARGER, "ev2")))


def test_a_broker_that_was_not_told_is_waited_for(secured: Secured) -> None:
    assert revoke(secured, "ev1", told=False) == ["SIGHUP"]
    assert revoke(secured, "ev1", told=True) in ([], ["SIGHUP"])  # and it may be repeated


def test_a_broker_that_does_not_read_its_files_anew_is_reported(secured: Secured) -> None:
    ev1, observer = secured.client("ev1"), secured.client("observer", ALL)
    with raises(Code.UNREACHABLE, "SIGHUP", kind=BrokerUnreachableError):
        revoke(secured, "ev1", told=False, wait_s=0.0)
    assert until(observer, send_marker(ev1, Kind.CHARGER, "ev1")) == []  # the session goes on, as the error says
    assert revoke(secured, "ev1") in ([], ["SIGHUP"])
    ev1.receive(0.2)
    assert not ev1.connected


def test_a_reload_alone_takes_the_rights_of_an_open_session_but_leaves_it_open(secured: Secured) -> None:
    """What docs/security.md says of Mosquitto, and why `end_session` exists."""
    setpoint = topic(Kind.CHARGER, "ev1", Channel.SETPOINT)
    ev1 = secured.client("ev1", setpoint, will=Will(EV1_STATE, message(State(state=Presence.OFFLINE), seq=0)))
    ems, observer = secured.client("ems"), secured.client("observer", ALL)
    revoke_client(secured.folder.root, "ev1", now())
    reload_mosquitto(secured.pid)
    add_client(secured.folder.root, "ev9", Kind.CHARGER, now())
    reload_mosquitto(secured.pid)
    assert arrives(secured.client("ev9"), observer, "ev9")  # so it has read the lists
    ems.publish(setpoint, b"{}")
    ev1.publish(EV1_STATE, message(State(state=Presence.ONLINE)), retain=True)
    assert ev1.flush(5.0)
    marker = send_marker(ems, Kind.EMS, "ems")
    assert [delivery.topic for delivery in until(observer, marker)] == [setpoint]
    assert ev1.receive(0.0) is None
    assert ev1.connected
    ev1.drop()
    ev1.receive(0.2)  # the broker has noticed: it refuses the next connection, and sends no last will
    assert not ev1.connected
    assert until(observer, send_marker(ems, Kind.EMS, "ems")) == []


def test_the_brokers_certificate_is_taken_by_reload_too(secured: Secured) -> None:
    observer = secured.client("observer", ALL)
    old = presented(secured)
    place = place_of(secured.folder.root, secured.address.port)
    wider = dataclasses.replace(place, names=("broker.example.org",))
    provision_site(default_site(), secured.folder.root, wider, now())
    reload_mosquitto(secured.pid)
    deadline = time.monotonic() + 5.0
    while (new := presented(secured)) == old and time.monotonic() < deadline:
        pass
    assert new != old
    assert until(observer, send_marker(secured.client("ems"), Kind.EMS, "ems")) == []
    assert observer.connected


def presented(secured: Secured) -> bytes | None:
    """The certificate that the broker shows."""
    context = ssl.create_default_context(cafile=str(secured.folder.ca_certificate))
    context.load_cert_chain(secured.folder.certificate("ev2"), secured.folder.key("ev2"))
    with (
        socket.create_connection((secured.address.host, secured.address.port), timeout=5.0) as connection,
        context.wrap_socket(connection, server_hostname=secured.address.host) as session,
    ):
        return session.getpeercert(binary_form=True)


SETPOINT = topic(Kind.CHARGER, "ev1", Channel.SETPOINT)


def leave(secured: Secured) -> None:
    """The recorder comes, for the broker to keep what it misses, and goes."""
    recorder = recorder_of(secured)
    recorder.connect([ALL])
    recorder.close()


def recorder_of(secured: Secured) -> MqttTransport:
    return MqttTransport(secured.address, "recorder", secured.folder.credentials("recorder"), persistent=True)


def missed(secured: Secured) -> int:
    """How many of two set-points the recorder finds that the EMS sends while it is away."""
    ems = secured.client("ems")
    for seq in (1, 2):
        ems.publish(SETPOINT, message(Metric(values={}), seq=seq))
    assert ems.flush(PATIENCE_S)
    recorder = recorder_of(secured)
    recorder.connect([ALL])
    try:
        found = until(recorder, send_marker(ems, Kind.EMS, "ems"))
    finally:
        recorder.close()
    return sum(delivery.topic == SETPOINT for delivery in found)


def test_without_a_reload_the_recorder_finds_what_came_while_it_was_away(secured: Secured) -> None:
    leave(secured)
    assert missed(secured) == 2


def test_a_reload_while_the_recorder_is_away_loses_what_comes_after_it(secured: Secured) -> None:
    """What docs/security.md warns of: Mosquitto gives the rights of one who is away back when it comes again."""
    leave(secured)
    add_client(secured.folder.root, "ev9", Kind.CHARGER, now())
    observer = secured.client("observer", ALL)
    reload_mosquitto(secured.pid)
    assert arrives(secured.client("ev9"), observer, "ev9")  # so it has read the list anew
    assert missed(secured) == 0
    leave(secured)  # it has its rights again
    assert missed(secured) == 2


def test_a_restart_while_the_recorder_is_away_loses_nothing(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    secured = Secured(tmp_path / "provisioned")
    with secured.running():
        leave(secured)
        add_client(secured.folder.root, "ev9", Kind.CHARGER, now())
    with secured.running():
        assert arrives(secured.client("ev9"), secured.client("observer", ALL), "ev9")
        assert missed(secured) == 2


def test_a_reload_while_the_recorder_is_connected_loses_nothing(secured: Secured) -> None:
    recorder = recorder_of(secured)
    recorder.connect([ALL])
    add_client(secured.folder.root, "ev9", Kind.CHARGER, now())
    reload_mosquitto(secured.pid)
    assert arrives(secured.client("ev9"), secured.client("observer", ALL), "ev9")
    recorder.close()
    assert missed(secured) == 2


def test_a_broker_takes_the_list_that_it_finds_though_it_is_older(secured: Secured) -> None:
    """An old copy of the list lets the revoked in again: `Authority.revocation_list` says so."""
    list_file = secured.folder.broker / "crl.pem"
    older = list_file.read_bytes()
    stolen = Identity.load(
        secured.folder.certificate("ev1").read_bytes(), secured.folder.key("ev1").read_bytes(), "ev1"
    )
    authority = open_authority(secured.folder)

    def refused_becomes(wanted: bool) -> bool:
        deadline = time.monotonic() + PATIENCE_S
        while ending._refused(secured.address, authority, stolen) is not wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        return ending._refused(secured.address, authority, stolen) is wanted

    revoke_client(secured.folder.root, "ev1", now())
    reload_mosquitto(secured.pid)
    assert refused_becomes(True)
    list_file.write_bytes(older)
    reload_mosquitto(secured.pid)
    assert refused_becomes(False)
    provision_site(default_site(), secured.folder.root, place_of(secured.folder.root, secured.address.port), now())
    reload_mosquitto(secured.pid)
    assert refused_becomes(True)


def test_only_a_mosquitto_is_sent_the_signal() -> None:
    with raises(Code.FOREIGN):
        reload_mosquitto(os.getpid())
    with raises(Code.NOT_FOUND):
        reload_mosquitto(2**22 + 1)


def test_no_short_lived_key_is_left_behind(secured: Secured) -> None:
    before = set(Path("/dev/shm").glob("twinswarm-*"))
    revoke(secured, "ev1")
    assert set(Path("/dev/shm").glob("twinswarm-*")) <= before
