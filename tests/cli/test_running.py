"""up from another hour, along the machine's clock, on a stated port; its broker is found by the other commands."""

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.address import BrokerAddress
from schemas.errors import InputError
from services.history.sqlite import SqliteHistory
from tests.cli.calling import COMMAND, call, plain_environment
from twinswarm.deploy import running

SMALL = ("--storage", "none", "--reference", "no-cars", "--no-report")
"""Few processes: no BESS, no cars."""


@pytest.fixture
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What runs beside these tests is not found by them."""
    found = tmp_path / "runtime"
    monkeypatch.setenv(running.FOLDER_VARIABLE, str(found))
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _up(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, "up", *SMALL, *options]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, cwd=folder, env=plain_environment(), stdout=pipe, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _await(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        threading.Event().wait(0.1)


@pytest.mark.usefixtures("runtime_folder")
def test_a_run_begins_at_the_hour_asked_for_and_lasts_until_midnight(tmp_path: Path) -> None:
    done = call("run", *SMALL, "--from", "22:30", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with closing(SqliteHistory(tmp_path / "runs" / "history.sqlite")) as history:
        info = history.latest()
    assert info.t0 == datetime(2024, 5, 17, 20, 30, tzinfo=UTC), "22:30 in Rome"
    assert info.up_to is not None and info.up_to - info.t0 == timedelta(hours=1.5)


def test_the_broker_of_up_is_printed_found_by_devices_and_forgotten(tmp_path: Path, runtime_folder: Path) -> None:
    port = _free_port()
    address = f"mqtt://127.0.0.1:{port}"
    with _up(tmp_path, "--now", "--speed", "1", "--port", str(port)) as process:
        _await(running.running_swarms, "the swarm's file")
        (swarm,) = running.running_swarms()
        assert (swarm.broker, swarm.site, swarm.pid) == (address, "fit-g2v", process.pid)
        assert _devices(tmp_path)["broker"] == address
        before = datetime.now(UTC)
        _await(lambda: _session(tmp_path) is not None, "the run's message")
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        assert address in lines[1], lines
        taken = call("up", "--port", str(port), cwd=tmp_path)
        assert taken.returncode == 2
        assert "--port: no broker can listen there: Address already in use" in taken.stderr
        assert str(port) in taken.stderr
    assert not list(runtime_folder.iterdir()), "the file is removed at the end"
    with closing(SqliteHistory(tmp_path / "runs" / "history.sqlite")) as history:
        assert abs((history.latest().t0 - before).total_seconds()) < 60, "it began at the machine's time"


def _devices(folder: Path) -> dict:  # type: ignore[type-arg]
    done = call("devices", "--wait", "0.5", "--json", "-", cwd=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def _session(folder: Path) -> object:
    history = folder / "runs" / "history.sqlite"
    try:
        with closing(SqliteHistory(history)) as opened:
            return opened.latest()
    except InputError:  # it is being made
        return None


ADDRESS = BrokerAddress("127.0.0.1", 1234)


def test_the_file_of_a_run_that_was_killed_counts_for_nothing_and_is_removed(runtime_folder: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        started = running._started(sleeper.pid)
        file = _write(runtime_folder, sleeper.pid, str(started), "mqtt://127.0.0.1:1234")
        assert running.find_broker("default") == "mqtt://127.0.0.1:1234"
        sleeper.kill()
    assert running.find_broker("default") == "default"
    assert not file.exists()


def test_a_later_process_of_the_same_number_is_another_one(runtime_folder: Path) -> None:
    file = _write(runtime_folder, os.getpid(), "1", "mqtt://127.0.0.1:1234")
    assert running.running_swarms() == []
    assert not file.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1}', "\0"])
def test_a_file_that_is_none_of_ours_is_ignored(text: str, runtime_folder: Path) -> None:
    runtime_folder.mkdir(mode=0o700)
    (runtime_folder / "1.json").write_text(text, encoding="utf-8")
    assert running.find_broker("default") == "default"


def test_a_folder_that_others_may_write_to_is_not_trusted(runtime_folder: Path) -> None:
    with running.announced("site", "run", ADDRESS):
        assert len(running.running_swarms()) == 1
        runtime_folder.chmod(0o777)
        assert running.running_swarms() == []


@pytest.mark.usefixtures("runtime_folder")
def test_of_several_swarms_the_one_of_the_site_is_found_or_all_are_named() -> None:
    other = BrokerAddress("127.0.0.1", 4321)
    with running.announced("one", "run1", ADDRESS), running.announced("two", "run2", other):
        assert running.find_broker("default", "two") == str(other)
        assert running.find_broker("default", "three") == "default"
        with pytest.raises(InputError) as raised:
            running.find_broker("default")
    assert {"one", "two"} <= set(str(raised.value).replace(";", " ").split())


def _write(folder: Path, pid: int, started: str, broker: str) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / f"{pid}-run.json"
    fields = {"pid": pid, "started": started, "site": "site", "run": "run", "broker": broker}
    file.write_text(json.dumps(fields), encoding="utf-8")
    return file
