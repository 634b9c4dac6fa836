"""The services alone: what `up` starts, started one by one."""

import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from broker.servers.embedded import EmbeddedBroker
from services.history.sqlite import SqliteHistory
from sites.loader import load_description
from tests.cli.calling import COMMAND, call, plain_environment
from twinswarm.simulation.variants import Reference, StorageChoice, resolve

_FOLDER = tempfile.TemporaryDirectory()
_FILE = Path(_FOLDER.name) / "site.json"
_FILE.write_text(
    resolve(load_description("fit_g2v"), None, StorageChoice.NONE, Reference.NO_CARS).model_dump_json(),
    encoding="utf-8",
)
SITE_OPTION = ("--site", str(_FILE))
"""Resolved for few processes: no BESS, no cars."""
MEMBERS = (
    ("twin", "pv"),
    ("twin", "building"),
    ("network",),
    ("ems",),
    ("forecast",),
    ("tariff",),
    ("recorder", "--history", "sqlite:alone.sqlite"),
)


@contextlib.contextmanager
def _started(broker: str, folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for member in MEMBERS:
            name = member[1] if member[0] == "twin" else member[0]
            options = ("--broker", broker, "--checkpoints", "state", "--once", "--heartbeat", f"alive-{name}")
            processes.append(
                subprocess.Popen(
                    [*COMMAND, *member, *SITE_OPTION, *options],
                    cwd=folder,
                    env=plain_environment(),
                    stderr=subprocess.DEVNULL,
                )
            )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def await_file(path: Path) -> None:
    deadline = time.monotonic() + 20.0
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        threading.Event().wait(0.05)


def test_services_started_one_by_one_live_through_a_run_and_end_with_it(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker, _started(str(broker.address), tmp_path) as processes:
        address = str(broker.address)
        clock = call(
            "clock", *SITE_OPTION, "--for", "1h", "--broker", address, "--heartbeat", "alive-clock", cwd=tmp_path
        )
        assert clock.returncode == 0, clock.stderr
        assert [process.wait(20) for process in processes] == [0] * len(MEMBERS)
    members = {"pv", "building", "network", "ems", "forecast", "tariff", "recorder", "clock"}
    assert {file.name for file in tmp_path.glob("alive-*")} == {f"alive-{member}" for member in members}
    with closing(SqliteHistory(tmp_path / "alone.sqlite")) as history:
        info = history.latest()
        assert info.complete
        assert info.t_end is not None
        assert (info.t_end - info.t0).total_seconds() == 3600
        counts = history.counts(info.run)
        assert counts.missing == 0
        assert history.births(info.run).keys() == {"pv", "building", "network", "ems", "forecast", "tariff"}


def test_the_forwarder_is_alive_though_influxdb_is_away(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    nowhere = "http://127.0.0.1:9"
    forwarder = subprocess.Popen(
        [*COMMAND, "forward", "--influx", nowhere, "--history", "sqlite:site.sqlite", "--heartbeat", str(alive)],
        cwd=tmp_path,
        env=plain_environment() | {"TWINSWARM_INFLUX_TOKEN": "none"},
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(3):
            await_file(alive)
            alive.unlink()
        assert forwarder.poll() is None
    finally:
        forwarder.kill()
        forwarder.wait()
