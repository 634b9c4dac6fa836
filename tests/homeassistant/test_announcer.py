"""The announcer of devices on a real broker: what stands retained, and what is taken away."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from broker.provision.acl import access_list
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from schemas.examples import examples
from schemas.messages import Birth
from schemas.roles import HOME_ASSISTANT, OBSERVER
from schemas.topics import Channel, Topic
from schemas.wire import encode
from services.homeassistant.announcer import Announcer
from services.homeassistant.discovery import payload
from tests.parts import skip_without

SITE = "fit-g2v"


def births() -> dict[str, tuple[Topic, bytes, Birth]]:
    """The contract's own examples, by device."""
    return {
        topic.device: (topic, encode(stamp, body), body)
        for topic, stamp, body in examples()
        if topic.channel is Channel.BIRTH and isinstance(body, Birth)
    }


@contextmanager
def announcing(broker: BrokerAddress) -> Iterator[None]:
    transport = MqttTransport(broker, f"{SITE}_{HOME_ASSISTANT}")
    announcer = Announcer(SITE, transport)
    announcer.connect()
    stop = threading.Event()
    thread = threading.Thread(target=announcer.serve, args=(stop.is_set, time.monotonic), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        transport.close()


def until(ear: MqttTransport, kept: dict[str, Any], wanted: set[str]) -> None:
    """Listens until the devices in discovery are these."""
    deadline = time.monotonic() + 30
    while set(kept) != wanted:
        assert time.monotonic() < deadline, (set(kept), wanted)
        delivery = ear.receive(0.2)
        if delivery is None:
            continue
        ear.acknowledge(delivery)
        device = delivery.topic.split("/")[2].removeprefix(f"{SITE}_")
        if delivery.payload:
            kept[device] = json.loads(delivery.payload)
        else:
            kept.pop(device, None)


def test_a_device_is_announced_while_it_has_a_birth_and_who_was_before_is_taken_away() -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    topic, birth, _ = births()["ev1"]
    with LocalMosquitto() as broker:
        ear = MqttTransport(broker.address, "ear")
        ear.connect(["homeassistant/device/+/config"])
        ear.publish(f"homeassistant/device/{SITE}_gone/config", b"{}", retain=True)
        ear.publish(str(topic), birth, retain=True)
        kept: dict[str, Any] = {}
        until(ear, kept, {"gone"})
        with announcing(broker.address):
            until(ear, kept, {"ev1"})
            ear.publish(str(topic), b"", retain=True)
            until(ear, kept, set())
        ear.close()


def test_the_payload_says_units_classes_and_where_availability_stands() -> None:
    topic, _, birth = births()["ev1"]
    found = payload(topic, birth)
    assert found is not None
    parts = found["components"]
    assert set(parts) == {"power", "energy_import", "energy_export", "soc", "plugged"}
    energy = parts["energy_import"]
    assert (energy["device_class"], energy["state_class"], energy["unit_of_measurement"]) == (
        "energy",
        "total_increasing",
        "kWh",
    )
    assert parts["power"]["state_topic"] == "twin/v2/fit-g2v/charger/ev1/telemetry"
    assert parts["power"]["expire_after"] == 30, "three periods of 10 s"
    assert found["availability"][0]["topic"] == "twin/v2/fit-g2v/charger/ev1/state"
    assert len({part["unique_id"] for part in parts.values()}) == len(parts)


def test_the_announcer_may_write_discovery_and_nothing_else() -> None:
    blocks = access_list(SITE, {HOME_ASSISTANT: None, OBSERVER: None}).split("\n\n")
    granted = {block.splitlines()[0]: block.splitlines()[1:] for block in blocks if block.startswith("user")}
    own = [line for line in granted[f"user {SITE}_{HOME_ASSISTANT}"] if "write" in line]
    assert own == ["topic readwrite homeassistant/device/+/config"]
    assert not [line for line in granted[f"user {SITE}_{OBSERVER}"] if "write" in line]
