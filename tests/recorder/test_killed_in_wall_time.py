"""The recorder's process is killed in a run in wall time: whatever was sent meanwhile is stored all the same."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from schemas.messages import Body, MeterTelemetry, Run, Stamp, TimeMode
from schemas.topics import Channel, Kind, Topic, client_id
from schemas.wire import encode
from tests.history.tape import SITE
from tests.parts import skip_without

RUN = "20261101T120000.000000Z-0001"
METER = Topic(SITE.site, Kind.METER, "load", Channel.TELEMETRY)
CLOCK = Topic(SITE.site, Kind.CLOCK, "clock", Channel.RUN)
BURST = 60
"""More than the 20 messages that Mosquitto has in flight to a client by its default."""


@pytest.fixture
def default_mosquitto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BrokerAddress]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    monkeypatch.setattr("broker.servers.mosquitto.IN_FLIGHT_MOST", 20)
    with LocalMosquitto(directory=tmp_path / "broker") as broker:
        yield broker.address


class Sender:
    """A meter that numbers what it sends, and the clock's retained run."""

    def __init__(self, address: BrokerAddress) -> None:
        self._transport = MqttTransport(address, client_id(SITE.site, "load"))
        self._transport.connect(())
        self.run = Run(mode=TimeMode.WALL, step_s=900, t0=datetime.now(UTC), wall0=datetime.now(UTC), speed=1.0)
        self.sent = 0
        self._runs_sent = 0

    def tell_run(self, run: Run) -> None:
        self.run = run
        self._runs_sent += 1
        self._publish(CLOCK, "clock", self._runs_sent, run, retain=True)

    def tell(self, count: int) -> None:
        for _ in range(count):
            self.sent += 1
            body = MeterTelemetry(power_kw=1.0, energy_import_kwh=float(self.sent), energy_export_kwh=0.0)
            self._publish(METER, "meter1", self.sent, body)
        assert self._transport.flush(10.0)

    def _publish(self, topic: Topic, boot: str, seq: int, body: Body, *, retain: bool = False) -> None:
        stamp = Stamp(ts=datetime.now(UTC), run=RUN, boot=boot, seq=seq)
        self._transport.publish(str(topic), encode(stamp, body), retain=retain)

    def close(self) -> None:
        self._transport.close()


class Process:
    """The recorder as `up` starts it."""

    def __init__(self, folder: Path, address: BrokerAddress) -> None:
        self.history = folder / "history.sqlite"
        site = folder / "site.json"
        site.write_text(SITE.model_dump_json(), encoding="utf-8")
        self._command = [sys.executable, "-m", "twinswarm.deploy.process", "recorder", "--site", str(site)]
        self._command += ["--broker", str(address), "--history", str(self.history)]
        self._command += ["--checkpoints", str(folder / "checkpoints")]
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._running = subprocess.Popen(self._command)

    def kill(self) -> None:
        assert self._running is not None
        self._running.kill()
        self._running.wait(5)

    def stored(self) -> list[int]:
        """Numbers of the meter's messages that are history of the run."""
        if not self.history.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.history}?mode=ro", uri=True)) as file:
            try:
                found = file.execute("SELECT seq FROM message WHERE run = ? AND topic = ?", (RUN, str(METER)))
                return sorted(seq for (seq,) in found)
            except sqlite3.OperationalError:
                return []  # its tables are being made

    def until_stored(self, count: int) -> list[int]:
        deadline = time.monotonic() + 20.0
        while len(self.stored()) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.stored()


@pytest.fixture
def sender(default_mosquitto: BrokerAddress) -> Iterator[Sender]:
    sender = Sender(default_mosquitto)
    yield sender
    sender.close()


@pytest.fixture
def recorder(tmp_path: Path, default_mosquitto: BrokerAddress) -> Iterator[Process]:
    process = Process(tmp_path, default_mosquitto)
    yield process
    process.kill()


def begin(sender: Sender, recorder: Process) -> int:
    """Opens the run and starts the recorder. Returns the first number that it was there for."""
    sender.tell_run(sender.run)
    recorder.start()
    deadline = time.monotonic() + 20.0
    while not recorder.stored() and time.monotonic() < deadline:
        sender.tell(1)
        time.sleep(0.1)
    return recorder.stored()[0]


def test_a_recorder_that_is_killed_time_and_again_stores_every_message_once(sender: Sender, recorder: Process) -> None:
    first = begin(sender, recorder)
    for _ in range(5):
        recorder.kill()
        sender.tell(BURST)
        recorder.start()
        time.sleep(0.4)  # it dies again while it takes in what it missed
    sender.tell(BURST)
    assert recorder.until_stored(sender.sent - first + 1) == list(range(first, sender.sent + 1))


def test_what_was_sent_up_to_the_end_of_a_run_is_stored_by_a_recorder_that_comes_back_after_it(
    sender: Sender, recorder: Process
) -> None:
    first = begin(sender, recorder)
    recorder.kill()
    sender.tell(BURST)
    sender.tell_run(sender.run.model_copy(update={"ended": datetime.now(UTC)}))
    recorder.start()
    assert recorder.until_stored(sender.sent - first + 1) == list(range(first, sender.sent + 1))
