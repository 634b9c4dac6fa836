"""Real processes on Mosquitto: a service that is stopped, though its connection stands, is named on the bus.

The heartbeat is a second instead of fifteen, so silence is three; `tests/runtime/test_service_watch.py` has the real
durations along a clock of its own.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from runtime.service_watch import SERVICE_SILENT
from schemas.messages import Alarm
from schemas.topics import Channel, Topic, topic_filter
from schemas.wire import decode
from tests.history.tape import SITE
from tests.parts import skip_without
from twinswarm.deploy.clock_order import ClockOrder
from twinswarm.deploy.logs import FORMAT_VARIABLE, JSON

QUICK = """
import sys
import schemas.presence
schemas.presence.HEARTBEAT_S = 1.0
from twinswarm.deploy.process import main
sys.exit(main(sys.argv[1:]))
"""
PATIENCE_S = 30.0
RUN = "20261101T120000.000000Z-0001"


class Swarm:
    """Clock, recorder and EMS as processes, and an ear for alarms and heartbeats."""

    def __init__(self, folder: Path, broker: LocalMosquitto) -> None:
        self._folder, self._address = folder, broker.address
        (folder / "site.json").write_text(SITE.model_dump_json(), encoding="utf-8")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ear = MqttTransport(broker.address, f"{SITE.site}_ear")
        channels = (Channel.ALARM, Channel.METRIC)
        self._ear.connect([topic_filter(SITE.site, channel=channel) for channel in channels])

    def start(self, name: str, *options: str) -> None:
        command = [sys.executable, "-c", QUICK, name, "--site", str(self._folder / "site.json")]
        log = (self._folder / f"{name}.log").open("wb")
        environment = os.environ | {FORMAT_VARIABLE: JSON}
        command += ["--broker", str(self._address), *options]
        self.processes[name] = subprocess.Popen(command, stderr=log, env=environment)
        log.close()

    def log(self, name: str) -> list[dict[str, str | None]]:
        """The lines of a process's log so far."""
        return [json.loads(line) for line in (self._folder / f"{name}.log").read_text(encoding="utf-8").splitlines()]

    def until(self, what: str, is_there: Callable[[str, object], bool]) -> float:
        """Waits for a message; returns how long it took [s]."""
        began = time.monotonic()
        while (left := began + PATIENCE_S - time.monotonic()) > 0:
            if (delivery := self._ear.receive(left)) is None:
                continue
            self._ear.acknowledge(delivery)
            topic = Topic.parse(delivery.topic)
            if is_there(topic.device, decode(topic, delivery.payload)[1]):
                return time.monotonic() - began
        raise AssertionError(f"{what} was not heard within {PATIENCE_S} s")

    def until_all_beat(self) -> None:
        beaten: set[str] = set()

        def all_of_them(sender: str, body: object) -> bool:
            if not isinstance(body, Alarm):
                beaten.add(sender)
            return beaten >= {"clock", "ems", "recorder"}

        self.until("a heartbeat of everybody", all_of_them)

    def until_named(self, device: str, *senders: str, active: bool = True) -> None:
        missing = set(senders)

        def named(sender: str, body: object) -> bool:
            if isinstance(body, Alarm) and (body.code, body.device, body.active) == (SERVICE_SILENT, device, active):
                missing.discard(sender)
            return not missing

        self.until(f"the alarm of {', '.join(senders)} about {device}", named)

    def close(self) -> None:
        self._ear.close()
        for process in self.processes.values():
            process.kill()
            process.wait(10)


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto(directory=tmp_path / "broker") as broker:
        swarm = Swarm(tmp_path, broker)
        try:
            order = ClockOrder(run=RUN, t0=None, length=None, speed=1.0, simulated=False)
            swarm.start("recorder", "--history", str(tmp_path / "history.sqlite"))
            swarm.start("ems")
            swarm.start("clock", "--course", order.model_dump_json())
            swarm.until_all_beat()
            yield swarm
        finally:
            swarm.close()


def test_services_that_are_stopped_or_killed_are_named_by_who_watches_them_until_they_are_back(swarm: Swarm) -> None:
    swarm.processes["ems"].send_signal(signal.SIGSTOP)
    swarm.until_named("ems", "recorder")
    swarm.processes["ems"].send_signal(signal.SIGCONT)
    swarm.until_named("ems", "recorder", active=False)

    swarm.processes["recorder"].send_signal(signal.SIGSTOP)
    swarm.until_named("recorder", "ems")
    swarm.processes["recorder"].send_signal(signal.SIGCONT)
    swarm.until_named("recorder", "ems", active=False)

    swarm.processes["clock"].kill()
    swarm.until_named("clock", "recorder", "ems")

    lines = [line for line in swarm.log("recorder") if "the ems ems is silent" in str(line["message"])]
    assert [(line["level"], line["device"], line["run"]) for line in lines] == [("warning", "recorder", RUN)]
