"""The database is away while a swarm goes on: the history file takes everything, and it is forwarded afterwards."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from broker.servers.mosquitto import find_mosquitto
from services.history.reader import RunInfo
from tests.influx.lab import ORG, TOKEN, Influx
from tests.influx.test_forward import identities, messages_of_runs, same_history
from tests.parts import skip_without
from tests.recorder.plant import Plant
from twinswarm.simulation.histories import open_history

BUCKET = "tw"
PATIENCE_S = 120.0
"""The forwarder asks a server that is away once a minute at last."""
BACKLOG_FRACTION = 0.25
"""Of the time away, in which the backlog is sent, on a busy machine too."""
MOST_GROWTH_MB = 50
_WAITING = "SELECT count(*) FROM message WHERE run IS NOT NULL AND forwarded = 0"
_STORED = "SELECT coalesce(max(id), 0) FROM message"


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    plant = Plant(tmp_path)
    try:
        plant.recorder.start()
        plant.device.start()
        assert plant.until(lambda: bool(plant.stored()))
        yield plant
    finally:
        plant.close()


def runs(address: str) -> Sequence[RunInfo]:
    with closing(open_history(address)) as history:
        return history.runs()


def count(plant: Plant, question: str) -> int:
    return int(plant.rows(question)[0][0])


@pytest.mark.parametrize(
    "away_s", [5, pytest.param(3600, marks=[pytest.mark.long, pytest.mark.timeout(4200)])], ids=["short", "an hour"]
)
def test_while_the_database_is_away_everything_is_stored_and_forwarded_once_when_it_is_back(
    away_s: float,
    plant: Plant,
    own_influx: Influx,
    token_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TWINSWARM_INFLUX_TOKEN", TOKEN)
    own_influx.start()
    own_influx.set_up()
    with closing(own_influx.server()) as server:
        server.create_bucket(f"{BUCKET}-simulated", 0, "a test's")
    command = [sys.executable, "-m", "twinswarm.cli", "forward", "--history", f"sqlite:{plant.history}"]
    command += ["--influx", own_influx.url, "--org", ORG, "--bucket", BUCKET, "--token-file", str(token_file)]
    log = plant.folder / "forward.log"
    with log.open("wb") as output:
        forwarder = subprocess.Popen(command, stderr=output)
    try:
        assert plant.until(lambda: bool(plant.rows("SELECT 1 FROM message WHERE forwarded = 1 LIMIT 1")))
        memory = psutil.Process(forwarder.pid)
        before_mb = memory.memory_info().rss / 1e6
        own_influx.kill()
        begin, began = count(plant, _STORED), time.monotonic()
        while time.monotonic() < began + away_s:
            stored = count(plant, _STORED)
            plant.command()
            assert plant.until(lambda n=stored: count(plant, _STORED) > n), "the recorder waits for the database"
            plant.pass_s(min(1.0, away_s))
            assert forwarder.poll() is None, log.read_text()
        meanwhile, waiting = count(plant, _STORED) - begin, count(plant, _WAITING)
        assert waiting >= meanwhile > 0
        patience_s = PATIENCE_S + BACKLOG_FRACTION * away_s
        own_influx.start()
        back = time.monotonic()
        assert plant.until(lambda: count(plant, _WAITING) < waiting / 10, patience_s), log.read_text()
        took_s, after_mb = time.monotonic() - back, memory.memory_info().rss / 1e6
        plant.device.stop()
        assert plant.until(plant.whole), plant.lost()
        plant.recorder.stop()
        assert plant.until(lambda: count(plant, _WAITING) == 0, PATIENCE_S), log.read_text()
        assert forwarder.poll() is None, log.read_text()
        with capsys.disabled():
            print(
                f"\n{meanwhile} messages in {away_s:g} s, sent in {took_s:.0f} s, {before_mb:.0f} to {after_mb:.0f} MB"
            )
        assert after_mb - before_mb < MOST_GROWTH_MB
    finally:
        forwarder.terminate()
        forwarder.wait(30)
    assert "InfluxDB is away; the history is kept meanwhile" in log.read_text()
    assert "InfluxDB takes points again" in log.read_text()
    with closing(own_influx.server()) as server:
        assert identities(server, f"{BUCKET}-simulated") == messages_of_runs(plant.history)
    same_history(plant.history, f"influxdb://127.0.0.1:{own_influx.port}/{ORG}/{BUCKET}-simulated")
