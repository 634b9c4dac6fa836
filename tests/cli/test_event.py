"""event: something happens to a twin while a run in scaled real time goes on."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from broker.servers.embedded import EmbeddedBroker
from schemas.errors import Code
from sites.loader import load_site
from tests.cli.calling import call
from twinswarm.deploy.clock_order import ClockOrder
from twinswarm.deploy.process import Connection
from twinswarm.deploy.threads import ThreadedSwarm
from twinswarm.simulation.runs import course_of


@dataclass(frozen=True)
class Running:
    broker: str
    folder: Path

    def event(self, *words: str) -> tuple[int, str, str]:
        done = call("event", *words, "--broker", self.broker, cwd=self.folder)
        return done.returncode, done.stdout, done.stderr

    def power_kw(self, device: str) -> float | None:
        """By a telemetry of the next seconds; None: none came."""
        done = call("devices", "--broker", self.broker, "--wait", "2", "--json", "-", cwd=self.folder)
        found: float | None = next(d["power_kw"] for d in json.loads(done.stdout)["devices"] if d["device"] == device)
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A PV plant, a battery, a charger and the building from noon on, a minute in two seconds, without an EMS."""
    folder = tmp_path_factory.mktemp("running")
    site = load_site("fit_g2v")
    noon = course_of(site).t0 + timedelta(hours=12)
    with EmbeddedBroker() as broker:
        order = ClockOrder(run="20260101T000000.000000Z-0000", t0=noon, length=None, allowed=None, speed=30.0)
        swarm = ThreadedSwarm(site, order, Connection(broker.address), folder / "history.sqlite")
        for member in ("bess", "pv", "ev1", "building", "network", "recorder", "clock"):
            swarm.start(member)
        found = Running(str(broker.address), folder)
        try:
            deadline = time.monotonic() + 180  # a busy machine starts slowly
            while not found.power_kw("pv"):
                swarm.watch()
                assert time.monotonic() < deadline
            yield found
        finally:
            swarm.stop()


def test_a_cloud_comes_and_goes(running: Running) -> None:
    code, shown, errors = running.event("cloud", "pv", "--available", "0", "--for", "4min")
    assert code == 0, errors
    assert "cloud: from" in shown and "by command" in shown
    assert running.power_kw("pv") == 0.0
    deadline = time.monotonic() + 60
    while not running.power_kw("pv"):
        assert time.monotonic() < deadline


def test_a_car_leaves(running: Running) -> None:
    code, shown, errors = running.event("leaves", "ev1", "--json", "-")
    assert code == 0, errors
    assert json.loads(shown)["answer"]["code"] == "scripted_event"
    assert running.power_kw("ev1") == 0.0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("cloud", "ev9"), Code.UNKNOWN),
        (("cloud", "bess"), Code.INVALID),
        (("cloud", "pv", "--available", "1.5"), Code.RANGE),
        (("cloud", "pv", "--factor", "2"), Code.UNKNOWN),
        (("meter", "building"), Code.MISSING),
        (("meter", "building", "--reads", "scaled"), Code.INVALID),
        (("offline", "bess", "--site", "other"), Code.UNKNOWN),
    ],
)
def test_what_cannot_happen_is_said(words: tuple[str, ...], code: Code, running: Running) -> None:
    exit_code, _, errors = running.event(*words)
    assert exit_code == 2, errors
    assert f"[{code}]" in errors and "Traceback" not in errors
