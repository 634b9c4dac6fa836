"""What was sent is stored once, whoever dies in which order: real processes, Mosquitto without a disk, a real disk."""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from broker.servers.mosquitto import find_mosquitto
from tests.parts import skip_without
from tests.recorder.plant import Plant

PARTS = ("broker", "recorder", "device")
ORDERS = [(deaths, returns) for deaths, returns in zip(permutations(PARTS), [*permutations(PARTS)][::-1], strict=True)]


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    plant = Plant(tmp_path)
    try:
        plant.recorder.start()
        plant.device.start()
        assert plant.until(lambda: any(key[0].endswith("/telemetry") for key in plant.stored()))
        yield plant
    finally:
        plant.close()


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
