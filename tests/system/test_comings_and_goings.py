"""Devices that come late, runs that are stopped, sites that are taken: with real processes and brokers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from broker.address import BrokerAddress
from broker.servers.embedded import EmbeddedBroker
from schemas.errors import Code, InputError, SiteBusyError
from schemas.participant import Received
from schemas.site import Charger, OnSilence
from services.history.sqlite import SqliteHistory
from sites.loader import load_site
from tests.errors import raises
from tests.system.days import how_of, kill, order_of, processes_of
from twinswarm.deploy.up import conduct_swarm


@pytest.fixture
def broker() -> Iterator[BrokerAddress]:
    with EmbeddedBroker() as running:
        yield running.address


def test_a_charger_that_comes_late_is_in_the_next_plan(broker: BrokerAddress, tmp_path: Path) -> None:
    site = load_site("fit_g2v")
    ev4 = site.devices["ev4"]
    assert isinstance(ev4, Charger)
    optional = site.model_copy(update={"devices": {**site.devices, "ev4": ev4.model_copy(update={"required": False})}})
    order = order_of(tmp_path, timedelta(hours=14), optional)
    late_after = order.course.t0 + timedelta(hours=6.1)  # long before the end: nobody waits for its process to start
    started: list[subprocess.Popen[bytes]] = []

    def on_message(received: Received) -> None:
        if received.stamp.ts >= late_after and not started:
            folder = next(tmp_path.glob("*Z-*"))
            command = [sys.executable, "-m", "twinswarm.deploy.process", "ev4", "--site", str(folder / "site.json")]
            started.append(
                subprocess.Popen([*command, "--broker", str(broker), "--checkpoints", str(tmp_path / "late")])
            )

    try:
        result = conduct_swarm(order, how_of(tmp_path, str(broker), attach=frozenset({"ev4"})), on_message)
    finally:
        for process in started:
            process.terminate()
            process.wait(5)
    with closing(SqliteHistory(order.history)) as history:
        first = min(sample.ts for sample in history.tracks(result.run)["ev4"].samples)
        planned = {plan.start for _, plan in history.plans(result.run) if "ev4" in plan.devices}
    assert first > late_after - timedelta(minutes=15)
    assert planned == {first + i * order.course.step for i in range((order.course.t_end - first) // order.course.step)}
    assert result.energy_residual_kwh_max <= 1e-9


def test_a_device_that_dies_for_good_is_dropped_and_the_rest_goes_on(broker: BrokerAddress, tmp_path: Path) -> None:
    site = load_site("fit_g2v")
    time_options = site.time.model_copy(
        update={"on_silence": OnSilence.DROP, "silent_attempts": 8, "tick_timeout_s": 1.0}
    )
    order = order_of(tmp_path, timedelta(hours=12), site.model_copy(update={"time": time_options}))
    dies_at = order.course.t0 + timedelta(hours=10)
    dead: list[datetime] = []

    def on_message(received: Received) -> None:
        if received.stamp.ts >= dies_at and not dead and kill(tmp_path, "ev2"):
            dead.append(received.stamp.ts)
            # So that its supervisor cannot start it again: somebody else holds its checkpoint.
            checkpoint = next(tmp_path.glob("*Z-*")) / "checkpoints" / "ev2.lock"
            holder.append(_hold(checkpoint))

    holder: list[int] = []
    news: list[str] = []
    result = conduct_swarm(order, how_of(tmp_path, str(broker)), on_message, news.append)
    for descriptor in holder:
        os.close(descriptor)
    assert dead
    assert "in use by another process" in news[-1]
    assert "not started again" in news[-1]
    assert result.complete
    assert any("ev2" in cause for cause, _ in result.energy_causes), "the report names who was away, and how long"
    with closing(SqliteHistory(order.history)) as history:
        last = max(sample.ts for sample in history.tracks(result.run)["ev2"].samples)
        # What it had told in the cycle in which it is dropped is taken back with it (rule 9 of the clock), so that
        # cycle's plan may have counted on it; the next one may not.
        dropped_at = last + order.course.step
        later = [plan for _, plan in history.plans(result.run) if plan.start > dropped_at]
    assert later
    assert all("ev2" not in plan.devices for plan in later)


def _hold(lock: Path) -> int:
    import fcntl

    descriptor = os.open(lock, os.O_RDWR)
    deadline = time.monotonic() + 5
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            assert time.monotonic() < deadline
        else:
            return descriptor


def test_up_refuses_a_site_whose_session_lives(broker: BrokerAddress, tmp_path: Path) -> None:
    first = order_of(tmp_path / "first", timedelta(hours=12))
    ticking = threading.Event()
    done: list[object] = []

    def run_first() -> None:
        done.append(conduct_swarm(first, how_of(tmp_path / "first", str(broker)), lambda received: ticking.set()))

    running = threading.Thread(target=run_first)
    running.start()
    assert ticking.wait(30)
    with raises(Code.SITE_BUSY, "fit-g2v", kind=SiteBusyError):
        conduct_swarm(order_of(tmp_path / "second"), how_of(tmp_path / "second", str(broker)))
    running.join(120)
    assert done, "the first run was not disturbed"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["Ctrl-C", "SIGTERM", "SIGKILL"])
def test_a_run_that_is_stopped_leaves_no_process_and_a_readable_history(how: signal.Signals, tmp_path: Path) -> None:
    history = tmp_path / "history.sqlite"
    command = [sys.executable, "-m", "twinswarm.cli", "up", "--history", f"sqlite:{history}", "--report", "report"]
    up = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        _wait_until(lambda: history.exists() and _steps(history) > 5, 60)
        assert len(processes_of(tmp_path)) >= 10
        up.send_signal(how)
        up.wait(5)
        _wait_until(lambda: not processes_of(tmp_path), 30)
    finally:
        if up.poll() is None:
            up.kill()
            up.wait()
    assert up.returncode != 0
    with closing(SqliteHistory(history)) as opened:
        info = opened.latest()
        assert not info.complete
        assert opened.dataset(info.run).sizes["time"] > 5


def _steps(history: Path) -> int:
    try:
        with closing(SqliteHistory(history)) as opened:
            return opened.latest().cycle or 0
    except InputError:  # it is being made
        return 0


def _wait_until(condition, timeout_s: float) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        threading.Event().wait(0.05)
