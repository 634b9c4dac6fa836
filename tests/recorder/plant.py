"""A site of real processes on a real Mosquitto that forgets its queue when it is killed, and a real disk."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto
from schemas.messages import Body, Fallback, Run, Setpoint, Stamp, TimeMode
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, client_id
from schemas.wire import encode
from tests.twins import builders

SPEED = 10.0
"""Receipts come every second of the machine then."""
PATIENCE_S = 60.0
RUN = "20261101T120000.000000Z-0001"
SITE: Site = builders.site(
    {
        "bess": builders.bess(telemetry_period_s=1.0),
        "load": {"kind": "meter", "profile": "base", "telemetry_period_s": 1.0},
    }
)
DEVICES = ("bess", "load")
BESS = Topic(SITE.site, Kind.BESS, "bess", Channel.SETPOINT)
BOUNDED = """
import sys
import runtime.kept
runtime.kept.MOST_BYTES = {}
from twinswarm.deploy.process import main
sys.exit(main())
"""
Numbers = dict[tuple[str, str], int]
"""By (topic, boot): the newest number that was used."""


class Broker(Protocol):
    """One that is started and ended as `LocalMosquitto` is."""

    @property
    def address(self) -> BrokerAddress: ...

    def start(self) -> BrokerAddress: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...


class Member:
    """A process of the swarm. `tend` starts it again when it ended by itself, as a supervisor does."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._running: subprocess.Popen[bytes] | None = None
        self.wanted = False

    def start(self) -> None:
        self.wanted = True
        self._running = subprocess.Popen(self._command)

    @property
    def pid(self) -> int:
        """Of the process, which runs."""
        assert self._running is not None
        assert self._running.poll() is None, f"it ended with {self._running.returncode}"
        return self._running.pid

    def tend(self) -> None:
        if self.wanted and self._running is not None and self._running.poll() is not None:
            self.start()

    def kill(self) -> None:
        self.wanted = False
        if self._running is not None:
            self._running.kill()
            self._running.wait(10)

    def stop(self) -> None:
        self.wanted = False
        assert self._running is not None
        self._running.terminate()
        self._running.wait(30)


class Plant:
    """Broker, recorder and devices. The test is the clock, and the EMS that sends set-points."""

    def __init__(
        self,
        folder: Path,
        most_bytes: int | None = None,
        *,
        broker: Broker | None = None,
        host: Sequence[str] = (),
    ) -> None:
        """``most_bytes``: bound of what each device keeps.

        ``host``: what the devices' command begins with when they run on a host of their own.
        """
        self.folder = folder
        self.history = folder / "history.sqlite"
        self.broker: Broker = broker or LocalMosquitto(directory=folder / "broker")
        self.broker.start()
        site = folder / "site.json"
        site.write_text(SITE.model_dump_json(), encoding="utf-8")
        common = ["--site", str(site), "--broker", str(self.address), "--checkpoints", str(folder / "checkpoints")]
        process = [sys.executable, "-m", "twinswarm.deploy.process"]
        self.recorder = Member([*process, "recorder", *common, "--history", str(self.history)])
        bounded = process if most_bytes is None else [sys.executable, "-c", BOUNDED.format(most_bytes)]
        self.device = Member([*host, *bounded, *DEVICES, *common])
        self._clock = MqttTransport(self.address, client_id(SITE.site, "clock"))
        self._clock.connect(())
        now = datetime.now(UTC)
        self.run = Run(mode=TimeMode.WALL, step_s=900, t0=now, wall0=now, speed=SPEED)
        self._commands = 0
        self._sent: dict[str, int] = {}
        self.tell(Topic(SITE.site, Kind.CLOCK, "clock", Channel.RUN), self.run, retain=True)

    @property
    def address(self) -> BrokerAddress:
        return self.broker.address

    def tell(self, topic: Topic, body: Body, *, retain: bool = False) -> None:
        seq = self._sent[str(topic)] = self._sent.get(str(topic), 0) + 1
        stamp = Stamp(ts=self.run.time_at(datetime.now(UTC)), run=RUN, boot="test", seq=seq)
        self._clock.publish(str(topic), encode(stamp, body), retain=retain)

    def command(self) -> None:
        """A set-point, which the BESS answers by an ack."""
        now = self.run.time_at(datetime.now(UTC))
        self._commands += 1
        setpoint = Setpoint(
            id=f"s{self._commands}",
            epoch=1,
            valid_from=now,
            valid_until=now + timedelta(minutes=15),
            power_kw=1.0,
            fallback=Fallback.IDLE,
        )
        self.tell(BESS, setpoint)

    def pass_s(self, seconds: float) -> None:
        """Lets so much time pass, in which everybody who is wanted is there."""
        self.until(lambda: False, seconds)

    def until(self, condition: Callable[[], bool], seconds: float = PATIENCE_S) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return True
            self.recorder.tend()
            self.device.tend()
            self._clock.receive(0.05)
        return condition()

    def used(self) -> Numbers:
        """What the devices have sent, by their checkpoints."""
        found: Numbers = {}
        for device in DEVICES:
            file = self.folder / "checkpoints" / f"{device}-wall.json"
            life = json.loads(file.read_text(encoding="utf-8"))["life"] if file.exists() else {"seqs": {}}
            found |= {(topic, life["boot"]): seq for topic, seq in life["seqs"].items()}
        return found

    def rows(self, question: str, parameters: tuple[object, ...] = ()) -> list[Any]:
        if not self.history.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.history}?mode=ro", uri=True)) as file:
            try:
                return file.execute(question, parameters).fetchall()
            except sqlite3.OperationalError:
                return []  # its tables are being made

    def stored(self) -> dict[tuple[str, str], list[int]]:
        """Every number of the devices that is history, as often as it is there, in order."""
        found: dict[tuple[str, str], list[int]] = {}
        question = "SELECT topic, boot, seq FROM message WHERE run = ? AND seq > 0 ORDER BY topic, boot, seq"
        for topic, boot, seq in self.rows(question, (RUN,)):
            if Topic.parse(topic).device in DEVICES and boot != "test":
                found.setdefault((topic, boot), []).append(seq)
        return found

    def lost(self) -> dict[tuple[str, str], list[int]]:
        """What was sent and is not stored."""
        stored = self.stored()
        wanted = {key: sorted(set(range(1, last + 1)) - set(stored.get(key, ()))) for key, last in self.used().items()}
        return {key: numbers for key, numbers in wanted.items() if numbers}

    def whole(self) -> bool:
        return not self.lost()

    def close(self) -> None:
        self.device.kill()
        self.recorder.kill()
        self._clock.close()
        self.broker.stop()
