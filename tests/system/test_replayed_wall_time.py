"""Plans of runs in wall time are made again from the history, byte for byte: through losses, deaths and restarts.

`upgrade-check` does so with an unchanged version of the EMS, and with one of another constant.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from runtime.checkpoint import MemoryCheckpoint
from runtime.drive import drive
from runtime.host import Host, new_boot
from schemas.messages import PlanStatus
from schemas.site import Site
from schemas.topics import client_id
from services.clock.wall import WallClock, WallTime
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from tests.cli.calling import plain_environment
from tests.parts import skip_without
from tests.system.wall_day import DAY, T0, Day, live_a_day_of_deaths
from tests.twins import builders
from twinswarm.deploy.process import utc_now
from twinswarm.simulation.compose import Recording, maker, members
from twinswarm.simulation.decisions import Decisions, Moment, decide, differences
from twinswarm.simulation.runs import new_run_id

RUN = "20261101T120000.000000Z-0001"


def repeated(file: Path) -> tuple[int, set[int], set[str]]:
    """Number of plans, all of them made again; the epochs and the lives of their EMS."""
    with closing(SqliteHistory(file)) as history:
        decisions = Decisions(history, history.latest().run)
        ems = decisions.ems()
        for moment in decisions.moments():
            assert isinstance(moment, Moment), moment
            assert differences(moment, decide(ems, moment)) == [], moment.turn.t
        lives = {plan.stamp.boot for plan in decisions.plans}
        return len(decisions.plans), {body.epoch for _, body in history.plans(decisions.info.run)}, lives


@pytest.fixture(scope="module")
def wall_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prices move by more than a full cycle of the batteries loses, so that these are used."""
    slow = {"telemetry_period_s": 300.0}
    devices = {"bess": builders.bess(**slow), "ev1": builders.charger(**slow), "pv": builders.pv(**slow)}
    prices = [0.08] * 24 + [0.30] * 16 + [0.05] * 16 + [0.20] * 16 + [0.50] * 16 + [0.10] * 8
    profiles = {
        "price": {"type": "day", "values": prices},
        "base": {"type": "day", "values": [30.0 + 0.7 * (i % 11) for i in range(96)]},
        "sun": {"type": "day", "values": [0.0] * 32 + [25.0 + i for i in range(32)] + [0.0] * 32},
    }
    site = builders.site({**devices, "load": {"kind": "meter", "profile": "base"} | slow}, profiles=profiles)
    file = tmp_path_factory.mktemp("wall") / "history.sqlite"
    live_a_day_of_deaths(site, file)
    return file


def test_96_of_96_plans_of_a_day_with_losses_and_restarts(wall_day: Path) -> None:
    plans, epochs, lives = repeated(wall_day)
    assert plans >= 96  # an EMS that begins anew plans at once
    assert len(epochs) == 8
    assert len(lives) == 5


ROOT = Path(__file__).parents[2]
PARTS = ("schemas", "broker", "runtime", "twin_devices", "services", "sites", "twinswarm")
LINE = "        discharge_efficiency=plate.discharge_efficiency,\n"
"""Of the problem builder: what a battery and a charger give of what they take from the cells."""


@pytest.fixture
def pessimist(tmp_path: Path) -> dict[str, str]:
    """Environment of a second checkout, whose EMS takes every battery for one that loses half of what it gives."""
    folder = tmp_path / "checkout"
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("bess.py", "charger.py"):
        builder = folder / "services" / "ems" / "problem_builder" / part
        text = builder.read_text(encoding="utf-8")
        assert text.count(LINE) == 1
        builder.write_text(text.replace(LINE, LINE.replace("plate.", "0.5 * plate.")), encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def upgrade_check(history: Path, environment: dict[str, str], *options: str | Path) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-P", "-m", "twinswarm.cli", "upgrade-check", "--history", f"sqlite:{history}"]
    done = subprocess.run(
        [*command, *options, "--json", "-"],
        env=plain_environment() | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


def battery_eur(side: dict[str, Any]) -> float:
    return float(side["cost_eur"] - side["stored_eur"])


def test_an_upgrade_to_the_same_version_changes_nothing_and_one_to_another_is_seen(
    wall_day: Path, pessimist: dict[str, str], tmp_path: Path
) -> None:
    code, same = upgrade_check(wall_day, {})
    again, before, now = (same["sum"][part] for part in ("again", "before", "now"))
    assert (code, same["worse"]) == (0, [])
    assert again["taken"] == again["decisions"] >= 96
    assert (again["different"], again["setpoints_different"], again["sum_kw"]) == (0, 0, 0.0)
    assert again["setpoints"] > 150
    assert before["not_made"] > now["not_made"] == 0, "what the recorded EMS lost is not lost again"

    known = tmp_path / "known.json"
    known.write_text(json.dumps(same), encoding="utf-8")
    code, other = upgrade_check(wall_day, pessimist, "--baseline", known)
    again, before, now = (other["sum"][part] for part in ("again", "before", "now"))
    assert before == same["sum"]["now"]
    assert again["taken"] == again["decisions"]
    assert again["different"] > 20
    assert again["setpoints_different"] > 20
    assert again["largest_kw"] > 10.0
    assert battery_eur(now) - battery_eur(before) > 4.0, "it leaves the batteries alone at prices that pay"
    assert code == 1
    assert any("€ more" in line for line in other["worse"])


SPEED = 900.0
"""A settlement period takes a second."""


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[BrokerAddress]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto(directory=tmp_path / "broker") as broker:
        yield broker.address


@contextmanager
def process(device: str, site: Path, address: BrokerAddress) -> Iterator["Process"]:
    started = Process(device, site, address)
    try:
        yield started
    finally:
        started.kill()


class Process:
    """A participant as `up` starts it, which can be killed."""

    def __init__(self, device: str, site: Path, address: BrokerAddress) -> None:
        self._command = [sys.executable, "-m", "twinswarm.deploy.process", device, "--site", str(site)]
        self._command += ["--broker", str(address), "--checkpoints", str(site.parent / "checkpoints")]
        self.start()

    def start(self) -> None:
        self._running = subprocess.Popen(self._command)

    def kill(self) -> None:
        os.kill(self._running.pid, signal.SIGKILL)
        self._running.wait(10)


@contextmanager
def everybody_else(site: Site, history: Path, address: BrokerAddress, alone: set[str]) -> Iterator[None]:
    """The other participants and the clock, in threads, until the block ends."""
    stop = threading.Event()
    store = HistoryStore(history, durable=False)

    def serve(device: str) -> None:
        Host(
            make=maker(site, device, Recording(store) if device == "recorder" else None),
            transport=lambda persistent: MqttTransport(address, client_id(site.site, device), persistent=persistent),
            lockstep_store=MemoryCheckpoint(),
            wall_store=MemoryCheckpoint(),
            zone=site.zone,
            stop=stop,
            now=utc_now,
            once=True,
        ).serve()

    def clock() -> None:
        transport = MqttTransport(address, client_id(site.site, "clock"))
        order = WallTime(site.time.step_s, T0, DAY, SPEED, lead_s=2.0)
        run = new_run_id(utc_now())
        drive(WallClock(site.site, transport, order, run=run, boot=new_boot()), transport, stop)

    threads = [threading.Thread(target=serve, args=(device,)) for device in members(site) if device not in alone]
    threads.append(threading.Thread(target=clock))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30.0)
        store.close()


def until_plans(file: Path, number: int, epoch: int) -> None:
    """Until so many plans of an EMS of this epoch are in the history."""
    deadline, found = time.monotonic() + 60.0, 0
    while found < number:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        with closing(SqliteHistory(file)) as history:
            runs = history.runs()
            found = sum(plan.epoch == epoch for _, plan in history.plans(runs[-1].run)) if runs else 0


def test_plans_over_mosquitto_of_an_ems_and_a_battery_that_are_killed(mosquitto: BrokerAddress, tmp_path: Path) -> None:
    period = {"telemetry_period_s": 300.0}
    site = builders.site({"bess": builders.bess(**period), "load": {"kind": "meter", "profile": "base"} | period})
    described, file = tmp_path / "site.json", tmp_path / "history.sqlite"
    described.write_text(site.model_dump_json(), encoding="utf-8")
    with (
        process("ems", described, mosquitto) as ems,
        process("bess", described, mosquitto) as bess,
        everybody_else(site, file, mosquitto, {"ems", "bess"}),
    ):
        until_plans(file, 2, epoch=1)
        for each in (ems, bess):
            each.kill()
            each.start()
        until_plans(file, 2, epoch=2)
    plans, epochs, _ = repeated(file)
    assert plans >= 4
    assert epochs == {1, 2}


def test_a_decision_that_was_ended_by_time_says_so(tmp_path: Path) -> None:
    """With a thousandth of a millisecond no plan is found; without haste there is one."""
    site = builders.site({"bess": builders.bess(), "load": {"kind": "meter", "profile": "base"}})
    hasty = site.model_copy(update={"ems": site.ems.model_copy(update={"wall_budget_s": 1e-6})})
    file = tmp_path / "history.sqlite"
    with closing(HistoryStore(file, durable=False)) as store:
        day = Day(hasty, store)
        day.until(timedelta(minutes=31))
    with closing(SqliteHistory(file)) as history:
        decisions = Decisions(history, history.latest().run)
        moment = decisions.moment(decisions.plans[-1])
        outcome = decide(decisions.ems(), moment)
        assert moment.ended_by_time
        assert differences(moment, outcome)[0].startswith("not repeatable: ended by time")
        assert outcome.plan.status is PlanStatus.OPTIMAL
