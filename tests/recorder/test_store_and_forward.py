"""What was sent is stored once, whoever dies in which order: real processes, Mosquitto without a disk, a real disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path

import pytest

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import find_mosquitto
from schemas.messages import Birth, MeterNameplate, MeterRole, MeterTelemetry, TimeMode
from schemas.topics import Channel, Kind, Topic, topic_filter
from tests.parts import skip_without
from tests.recorder.plant import SITE, Plant

PARTS = ("broker", "recorder", "device")
ORDERS = [(deaths, returns) for deaths, returns in zip(permutations(PARTS), [*permutations(PARTS)][::-1], strict=True)]


@contextmanager
def running(folder: Path, most_bytes: int | None = None) -> Iterator[Plant]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    plant = Plant(folder, most_bytes)
    try:
        plant.recorder.start()
        plant.device.start()
        assert plant.until(lambda: any(key[0].endswith("/telemetry") for key in plant.stored()))
        yield plant
    finally:
        plant.close()


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with running(tmp_path) as plant:
        yield plant


def heals(plant: Plant) -> None:
    """All that was sent until now is stored once, and what is sent to the end as well."""
    plant.command()
    assert plant.until(plant.whole), plant.lost()
    plant.device.stop()
    assert plant.until(plant.whole), plant.lost()
    used = plant.used()
    assert {key: numbers for key, numbers in plant.stored().items() if key in used} == {
        key: list(range(1, last + 1)) for key, last in used.items()
    }
    assert not plant.rows("SELECT reason FROM dead_letter")


def test_recorder_away_while_the_broker_is_killed_and_comes_back(plant: Plant) -> None:
    plant.recorder.kill()
    plant.command()
    plant.pass_s(1.5)
    plant.broker.kill()
    plant.broker.start()
    plant.pass_s(0.5)
    plant.recorder.start()
    heals(plant)


@pytest.mark.parametrize(("deaths", "returns"), ORDERS, ids=["-".join(deaths) for deaths, _ in ORDERS])
def test_all_three_die(plant: Plant, deaths: tuple[str, ...], returns: tuple[str, ...]) -> None:
    for name in deaths:
        plant.command()
        getattr(plant, name).kill()
        plant.pass_s(0.3)
    for name in returns:
        getattr(plant, name).start()
        plant.pass_s(0.3)
    heals(plant)


def test_at_the_disk_bound_telemetry_is_thinned_with_an_alarm_and_no_ack_is_lost(tmp_path: Path) -> None:
    """Both devices are allowed 8 kB: some twenty telemetries."""
    with running(tmp_path, most_bytes=8_000) as plant:
        plant.recorder.kill()
        for _ in range(5):
            plant.command()
            plant.pass_s(1.0)
        plant.broker.kill()
        plant.broker.start()
        plant.recorder.start()
        plant.command()
        # All is there but telemetry that was thinned, and it stays so when nothing is sent again any more.
        assert plant.until(lambda: all(topic.endswith("/telemetry") for topic, _ in plant.lost())), plant.lost()
        plant.device.stop()
        assert plant.until(lambda: all(topic.endswith("/telemetry") for topic, _ in plant.lost())), plant.lost()
        thinned, used = plant.lost(), plant.used()
        assert {topic.split("/")[-2] for topic, _ in thinned} == {"bess", "load"}
        for key, numbers in plant.stored().items():
            assert len(numbers) == len(set(numbers))
            if key in thinned:
                assert numbers[-5:] == list(range(used[key] - 4, used[key] + 1)), "the newest are whole"
        assert plant.rows("SELECT 1 FROM message WHERE channel = 'ack' AND seq >= 6")
        alarms = plant.rows("SELECT device, payload FROM message WHERE channel = 'alarm' ORDER BY id")
        assert {device for device, text in alarms if '"sent_thinned"' in text} == {"bess", "load"}


def test_a_device_from_outside_that_keeps_nothing_is_given_no_receipt_and_harms_nobody(plant: Plant) -> None:
    outside = Topic(SITE.site, Kind.METER, "outside", Channel.TELEMETRY)
    birth = Birth(nameplate=MeterNameplate(role=MeterRole.SUBMETER), time_modes=(TimeMode.WALL,), software="outside")
    plant.tell(Topic(SITE.site, Kind.METER, "outside", Channel.BIRTH), birth, retain=True)
    plant.tell(outside, MeterTelemetry(power_kw=1.0))
    question = "SELECT seq FROM message WHERE topic = ? ORDER BY seq"
    assert plant.until(lambda: plant.rows(question, (str(outside),)) == [(1,)])
    plant.recorder.kill()
    plant.tell(outside, MeterTelemetry(power_kw=2.0))
    plant.pass_s(0.5)
    plant.broker.kill()
    plant.broker.start()
    plant.recorder.start()
    assert plant.until(plant.whole), "the recorder listens again"
    listener = MqttTransport(plant.address, "listener")
    listener.connect([topic_filter(SITE.site, channel=Channel.RECEIPT)])
    try:
        plant.tell(outside, MeterTelemetry(power_kw=3.0))
        assert plant.until(lambda: (3,) in plant.rows(question, (str(outside),)))
        heals(plant)
        assert plant.rows(question, (str(outside),)) == [(1,), (3,)], "nobody has the second one any more"
        receivers = set()
        while not {"bess", "load"} <= receivers and (delivery := listener.receive(10.0)) is not None:
            listener.acknowledge(delivery)
            receivers.add(Topic.parse(delivery.topic).device)
        assert "outside" not in receivers
        assert {"bess", "load"} <= receivers
    finally:
        listener.close()
