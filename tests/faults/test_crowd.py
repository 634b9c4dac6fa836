"""A thousand devices that send a telemetry every second: nothing is lost, and it is soon on disk."""

import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from broker.servers.mosquitto import LocalMosquitto
from schemas.messages import State
from schemas.topics import Channel, topic_filter
from tests.faults.live import RUN, Live

WARM_UP_FRAC = 0.1
"""Part of the time after which the recorder's memory is taken for the first time."""
LATEST_S = 1.0
MOST_GROWTH_MB = 50.0


@pytest.fixture
def deaf(tmp_path: Path, forgetful: LocalMosquitto) -> Iterator[Live]:
    live = Live(tmp_path, forgetful.address)
    live.listen(topic_filter(live.site.site, channel=Channel.STATE))  # and nothing of the crowd's telemetry
    try:
        yield live
    finally:
        live.close()


@pytest.mark.parametrize(
    ("devices", "seconds"),
    [
        pytest.param(50, 5, id="50"),
        pytest.param(1000, 600, id="1000", marks=[pytest.mark.long, pytest.mark.timeout(1200)]),
    ],
)
def test_a_crowd_of_devices_is_stored_whole_and_soon(deaf: Live, devices: int, seconds: int) -> None:
    """Prints what it measured: ``-s``. A machine that does other work makes the latency longer."""
    history = deaf.folder / "history.sqlite"
    deaf.start("recorder", "--history", str(history))
    deaf.until("the recorder", State, lambda body: deaf.heard[-1][0].device == "recorder")
    recorder = psutil.Process(deaf.processes["recorder"].pid)
    crowd = [sys.executable, "-m", "tests.faults.crowd", str(deaf.address), deaf.site.site, RUN, str(devices)]
    sender = subprocess.Popen([*crowd, str(seconds)], stdout=subprocess.PIPE, text=True)
    deaf.processes["sender"] = sender
    wanted = devices * seconds
    latencies: list[float] = []
    memory: list[float] = []
    for late_s in arrivals(history, wanted, deadline_s=seconds + 300.0):
        latencies += late_s
        memory.append(recorder.memory_info().rss / 1e6)
    assert sender.wait(60.0) == 0
    assert sender.stdout is not None
    assert int(sender.stdout.read()) == seconds
    with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True)) as file:
        sql = "SELECT count(*), count(DISTINCT topic || seq) FROM message WHERE channel = 'telemetry' AND run = ?"
        assert file.execute(sql, [RUN]).fetchone() == (wanted, wanted), "each once"
    warm = memory[int(WARM_UP_FRAC * len(memory)) :]
    growth_mb = statistics.fmean(warm[-10:]) - statistics.fmean(warm[:10])
    p50, p99 = (statistics.quantiles(latencies, n=100)[place] for place in (49, 98))
    cpu_us = 1e6 * sum(recorder.cpu_times()[:2]) / wanted
    print(f"\n{wanted} messages of {devices} devices in {seconds} s: each is stored once")
    print(f"to the disk: p50 {p50:.3f} s, p99 {p99:.3f} s, longest {max(latencies):.3f} s")
    print(f"memory of the recorder: {warm[0]:.1f} to {warm[-1]:.1f} MB; its CPU: {cpu_us:.0f} µs a message")
    print(f"load of the machine: {psutil.getloadavg()[0]:.1f}")
    assert growth_mb < MOST_GROWTH_MB
    if seconds >= 600:
        assert p99 < LATEST_S


def arrivals(history: Path, wanted: int, deadline_s: float) -> Iterator[list[float]]:
    """Time from each telemetry's stamp until it was seen on disk [s], as they come, until all are there."""
    deadline, last, seen = time.monotonic() + deadline_s, 0, 0
    while not history.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True, timeout=30.0)) as file:
        while seen < wanted:
            assert time.monotonic() < deadline, f"{seen} of {wanted} are on disk"
            time.sleep(0.05)
            try:
                rows = file.execute("SELECT id, channel, ts_us FROM message WHERE id > ?", [last]).fetchall()
            except sqlite3.OperationalError:
                continue  # its tables are being made
            now = time.time()
            found = [now - ts_us / 1e6 for _, channel, ts_us in rows if channel == "telemetry"]
            last, seen = max((row[0] for row in rows), default=last), seen + len(found)
            yield found
