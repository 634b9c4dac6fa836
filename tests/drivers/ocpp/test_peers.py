"""Charge points that others wrote, from npm, at the site's central system."""

import json
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.servers.mosquitto import find_mosquitto
from tests.drivers.ocpp.running import Swarm, described, running
from tests.npm import installed
from tests.parts import skip_without

SOURCE = Path(__file__).parent / "ocpp_peers"


class Peer:
    """A script of node; what it says in JSON is read line by line."""

    def __init__(self, command: list[str], folder: Path, **environment: str) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[dict[str, Any]] = []
        self.log: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.log.append(line)
            text = line.removeprefix("SAID ").strip()
            if text.startswith('{"'):
                self.said.append(json.loads(text))

    def order(self, what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()

    def has_said(self, name: str) -> bool:
        return any(name in each for each in self.said)

    def first(self, name: str) -> Any:
        return next(each[name] for each in self.said if name in each)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The scripts beside the packages that they need."""
    modules = installed(SOURCE)
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for file in SOURCE.glob("*.js"):
        shutil.copy(file, scripts)
    (scripts / "node_modules").symlink_to(modules)
    return scripts


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with running(described(tmp_path, ocpp={"id_tags": ["TAG1"]})) as found:
        yield found


def started(make: Callable[[], Peer], name: str) -> Peer:
    """Once it is in: the central system may not listen yet, and these peers give up."""
    deadline = time.monotonic() + 40
    while True:
        peer = make()
        while peer._process.poll() is None and time.monotonic() < deadline:
            if peer.has_said(name):
                return peer
            time.sleep(0.05)
        assert time.monotonic() < deadline, peer.log
        peer.close()


def test_ocpp_rpc_in_strict_mode_finds_nothing_to_object_to_and_follows_set_points(swarm: Swarm, folder: Path) -> None:
    where = swarm.url.rpartition("/")[0]
    peer = started(lambda: Peer(["node", "ocpp_rpc.js"], folder, ENDPOINT=where, IDENTITY="CP1"), "booted")
    try:
        assert peer.first("booted")["status"] == "Accepted"
        swarm.until(lambda: peer.has_said("profile"), "the charger's own fallback")
        peer.order("stranger")
        swarm.until(lambda: peer.has_said("authorized"), "the answer")
        assert peer.first("authorized")["idTagInfo"]["status"] == "Invalid"
        peer.order("plug")
        peer.order("start")
        swarm.until(lambda: peer.has_said("started"), "a transaction")
        swarm.ask("one", 7.4, seconds=60.0)
        swarm.until(lambda: swarm.power_is(7.4), "the measured power")
        profile = [each["profile"] for each in peer.said if "profile" in each][-1]
        assert profile["transactionId"] == peer.first("started")["transactionId"]
        peer.order("stop")
        swarm.until(lambda: peer.has_said("stopped"), "the end")
        swarm.until(lambda: swarm.power_is(0.0) and swarm.telemetry().vehicle is None, "the vehicle is gone")
        assert not peer.has_said("invalid"), peer.log
        assert not peer.has_said("failed"), peer.log
    finally:
        peer.close()


def test_em_simulators_session_is_read_though_it_never_answers_a_profile(swarm: Swarm, folder: Path) -> None:
    program = folder / "node_modules" / "em-ocpp-chargepoint-simulator" / "build" / "src" / "main.js"
    peer = started(lambda: Peer(["node", str(program), "em_simulator.js"], folder, ENDPOINT=swarm.url), "booted")
    try:
        swarm.until(lambda: swarm.power_is(3.68), "its measured power")
        swarm.until(lambda: peer.has_said("done"), "the session's end")
        swarm.until(lambda: swarm.telemetry().vehicle is None, "the vehicle is gone")
        assert swarm.telemetry().energy_import_kwh == pytest.approx(1.399)
        assert any("SetChargingProfile" in line for line in peer.log), "it has heard of it"
    finally:
        peer.close()
