"""Somebody is killed (SIGKILL) time and again, the broker among them, and started again as a supervisor does it."""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.servers.mosquitto import find_mosquitto
from tests.parts import skip_without
from tests.recorder.plant import DEVICES, SITE, Member, Plant


class Swarm(Plant):
    """With an EMS."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        command = [sys.executable, "-m", "twinswarm.deploy.process", "ems", "--site", str(folder / "site.json")]
        self.ems = Member([*command, "--broker", str(self.address), "--checkpoints", str(folder / "checkpoints")])

    def close(self) -> None:
        self.ems.kill()
        super().close()


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    swarm = Swarm(tmp_path)
    try:
        for member in (swarm.recorder, swarm.device, swarm.ems):
            member.start()
        assert swarm.until(lambda: {topic.split("/")[-2] for topic, _ in swarm.stored()} >= set(DEVICES))
        yield swarm
    finally:
        swarm.close()


@pytest.mark.parametrize(
    "kills", [6, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(1800)])], ids=["short", "ten minutes"]
)
def test_whoever_is_killed_at_random_every_message_is_stored_once_and_all_are_back(swarm: Swarm, kills: int) -> None:
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
    heard = max(swarm.rows("SELECT coalesce(max(id), 0) FROM message"))[0]
    for device in (*DEVICES, "ems", "recorder"):
        question = "SELECT 1 FROM message WHERE device = ? AND id > ? LIMIT 1"
        assert swarm.until(lambda q=question, d=device: bool(swarm.rows(q, (d, heard)))), f"{device} is not back"
    assert swarm.until(swarm.whole), swarm.lost()
    swarm.device.stop()
    assert swarm.until(swarm.whole), swarm.lost()
    used = swarm.used()
    stored = {key: numbers for key, numbers in swarm.stored().items() if key in used}
    assert stored == {key: list(range(1, last + 1)) for key, last in used.items()}
    powers = [json.loads(text)["power_kw"] for (text,) in swarm.rows(_TELEMETRY)]
    assert powers
    assert all(abs(kw) <= SITE.devices["bess"].max_charge_kw for kw in powers)  # type: ignore[union-attr]


_TELEMETRY = "SELECT payload FROM message WHERE device = 'bess' AND channel = 'telemetry'"
