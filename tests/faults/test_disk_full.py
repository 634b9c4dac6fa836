"""The recorder's disk is full: it says so, waits, and goes on without hands when there is room.

A limit on the size of the process's files stands for the disk; it can be taken away while the process lives.
"""

import resource
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from schemas.messages import MeterTelemetry, Presence, State
from schemas.topics import Channel, Kind
from tests.faults.live import PATIENCE_S, RUN, Live

LIMIT_BYTES = 400_000
MESSAGES = 600
"""Of some 1.5 kB: together twice the limit."""


def test_the_recorder_waits_for_room_and_stores_what_came_meanwhile(live: Live) -> None:
    history = live.folder / "history.sqlite"
    command = [sys.executable, "-m", "twinswarm.deploy.process", "recorder", "--site", str(live.folder / "site.json")]
    command += ["--broker", str(live.address), "--history", str(history)]
    process = subprocess.Popen(command)
    live.processes["recorder"] = process
    topic = live.topic(Channel.TELEMETRY, Kind.METER, "load")
    live.until("the recorder", State, lambda body: live.heard[-1][0].device == "recorder")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, resource.RLIM_INFINITY))
    voltages = tuple(230.0 + number / 1000 for number in range(3))
    for _ in range(MESSAGES):
        live.send(
            topic, MeterTelemetry(power_kw=1.0, energy_import_kwh=1.0, energy_export_kwh=0.0, voltages_v=voltages)
        )
    fault = live.until("the state fault", State, lambda body: body.state is Presence.FAULT)
    assert live.heard[-1][0].device == "recorder"
    assert "history" in str(fault.reason) or "checkpoint" in str(fault.reason)
    time.sleep(2.0)
    assert process.poll() is None, "it has ended"
    assert stored(history) < MESSAGES
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    live.until("the recorder again", State, lambda body: body.state is Presence.ONLINE)
    deadline = time.monotonic() + PATIENCE_S
    while stored(history) < MESSAGES and time.monotonic() < deadline:
        time.sleep(0.1)
    assert stored(history) == MESSAGES, "each once: the broker kept what was not on disk"
    assert process.poll() is None


def stored(history: Path) -> int:
    with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True)) as file:
        sql = "SELECT count(DISTINCT seq) FROM message WHERE run = ? AND topic LIKE '%/meter/load/telemetry'"
        (count,) = file.execute(sql, [RUN]).fetchone()
    return int(count)
