"""Somebody is killed (SIGKILL) time and again, the broker among them, and started again as a supervisor does it."""

import random

import pytest

from tests.faults.swarm import Swarm


@pytest.mark.parametrize(
    "kills", [6, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(1800)])], ids=["short", "ten minutes"]
)
def test_whoever_is_killed_at_random_every_message_is_stored_once_and_all_are_back(
    swarm: Swarm, kills: int, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(14)
    parts = ("broker", "recorder", "device", "ems")
    for number in range(kills):
        swarm.command()
        victim = getattr(swarm, parts[number] if number < len(parts) else chance.choice(parts))
        victim.kill()
        swarm.pass_s(chance.uniform(0.0, 2.0))
        victim.start()
        swarm.pass_s(chance.uniform(0.0, 4.0))
    swarm.command()
    swarm.check_all_are_back()
    number = swarm.check_nothing_is_lost()
    with capsys.disabled():
        print(f"\n{kills} kills: {number} messages of the devices, each stored once")
