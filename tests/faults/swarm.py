"""Broker, recorder, devices and an EMS as processes, and what must be true of them after any fault."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.recorder.plant import DEVICES, SITE, Broker, Member, Plant

EVERYBODY = (*DEVICES, "ems", "recorder")
_ANYTHING = "SELECT 1 FROM message WHERE device = ? AND id > ? LIMIT 1"
_TELEMETRY = "SELECT payload FROM message WHERE device = 'bess' AND channel = 'telemetry'"


class Swarm(Plant):
    """``host``: what the commands of devices and EMS begin with when they run on a host of their own."""

    def __init__(self, folder: Path, broker: Broker | None = None, host: Sequence[str] = ()) -> None:
        super().__init__(folder, broker=broker, host=host)
        command = [*host, sys.executable, "-m", "twinswarm.deploy.process", "ems", "--site", str(folder / "site.json")]
        self.ems = Member([*command, "--broker", str(self.address), "--checkpoints", str(folder / "checkpoints")])

    def start(self) -> None:
        """Returns when messages of each are stored."""
        for member in (self.recorder, self.device, self.ems):
            member.start()
        for device in EVERYBODY:
            assert self.until(lambda d=device: bool(self.rows(_ANYTHING, (d, 0)))), f"{device} does not come"

    def check_is_running(self) -> list[int]:
        """The process of each, which must not have ended."""
        return [member.pid for member in (self.recorder, self.device, self.ems)]

    def check_all_are_back(self) -> None:
        """Of each something is stored that is newer than this call."""
        heard = max(self.rows("SELECT coalesce(max(id), 0) FROM message"))[0]
        for device in EVERYBODY:
            assert self.until(lambda d=device: bool(self.rows(_ANYTHING, (d, heard)))), f"{device} is not back"

    def check_nothing_is_lost(self) -> int:
        """Stops the devices. Each message that they ever sent is stored once, and no power was above a limit. Returns
        how many messages were checked."""
        assert self.until(self.whole), self.lost()
        self.device.stop()
        assert self.until(self.whole), self.lost()
        used, stored = self.used(), self.stored()
        assert {key: stored[key][-1] for key in used} == used
        assert stored == {key: list(range(1, numbers[-1] + 1)) for key, numbers in stored.items()}
        powers = [json.loads(text)["power_kw"] for (text,) in self.rows(_TELEMETRY)]
        assert powers
        assert all(abs(kw) <= SITE.devices["bess"].max_charge_kw for kw in powers)  # type: ignore[union-attr]
        return sum(len(numbers) for numbers in stored.values())

    def close(self) -> None:
        self.ems.kill()
        super().close()
