"""The recorder's disk is full: it says so, waits, and goes on without hands when there is room.

A limit on the size of the process's files stands for the disk; it can be taken away while the process lives.
"""

import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from broker.servers.mosquitto import LocalMosquitto
from schemas.messages import MeterTelemetry, Presence, State
from schemas.topics import Channel, Kind
from tests.faults.live import PATIENCE_S, RUN, Live

LIMIT_BYTES = 400_000
MESSAGES = 600
"""Of some 1.5 kB: together twice the limit."""
ALARM_S = 60.0
MOST_GROWTH_MB = 50.0
"""Of the recorder's memory while its disk is full: what comes meanwhile waits at the broker."""


@pytest.fixture
def live(tmp_path: Path, forgetful: LocalMosquitto) -> Iterator[Live]:
    live = Live(tmp_path, forgetful.address)
    live.listen()
    try:
        yield live
    finally:
        live.close()


@pytest.mark.parametrize(
    "messages", [pytest.param(MESSAGES, id="600"), pytest.param(100_000, id="100000", marks=pytest.mark.long)]
)
def test_the_recorder_waits_for_room_and_stores_what_came_meanwhile(live: Live, messages: int) -> None:
    history = live.folder / "history.sqlite"
    command = [sys.executable, "-m", "twinswarm.deploy.process", "recorder", "--site", str(live.folder / "site.json")]
    command += ["--broker", str(live.address), "--history", str(history)]
    process = subprocess.Popen(command)
    live.processes["recorder"] = process
    topic = live.topic(Channel.TELEMETRY, Kind.METER, "load")
    live.until("the recorder", State, lambda body: live.heard[-1][0].device == "recorder")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, resource.RLIM_INFINITY))
    voltages = tuple(230.0 + number / 1000 for number in range(3))
    memory = psutil.Process(process.pid)
    before_mb, began = memory.memory_info().rss / 1e6, time.monotonic()
    for _ in range(MESSAGES):
        live.send(
            topic, MeterTelemetry(power_kw=1.0, energy_import_kwh=1.0, energy_export_kwh=0.0, voltages_v=voltages)
        )
    fault = live.until("the state fault", State, lambda body: body.state is Presence.FAULT)
    assert time.monotonic() - began < ALARM_S
    assert live.heard[-1][0].device == "recorder"
    assert "history" in str(fault.reason) or "checkpoint" in str(fault.reason)
    for number in range(MESSAGES, messages):
        live.send(topic, MeterTelemetry(power_kw=1.0, energy_import_kwh=1.0, energy_export_kwh=0.0))
        if number % 500 == 0:
            live.mouth.flush(PATIENCE_S)
            while (delivery := live.mouth.receive(0.0)) is not None:
                live.mouth.acknowledge(delivery)
    time.sleep(2.0)
    assert memory.memory_info().rss / 1e6 - before_mb < MOST_GROWTH_MB
    assert process.poll() is None, "it has ended"
    assert stored(history) < MESSAGES
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    live.until("the recorder again", State, lambda body: body.state is Presence.ONLINE)
    deadline = time.monotonic() + PATIENCE_S
    while stored(history) < messages and time.monotonic() < deadline:
        time.sleep(0.1)
    assert stored(history) == messages, "each once: the broker kept what was not on disk"
    assert process.poll() is None


def stored(history: Path) -> int:
    with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True)) as file:
        sql = "SELECT count(DISTINCT seq) FROM message WHERE run = ? AND topic LIKE '%/meter/load/telemetry'"
        (count,) = file.execute(sql, [RUN]).fetchone()
    return int(count)
