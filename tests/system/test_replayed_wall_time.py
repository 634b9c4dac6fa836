"""Plans of runs in wall time are made again from the history, byte for byte: through losses, deaths and restarts."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from broker.address import BrokerAddress
from broker.memory import MemoryBroker, MemoryTransport
from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from broker.transport import Delivery
from runtime.checkpoint import MemoryCheckpoint
from runtime.host import Host, new_boot
from runtime.wall import Loop, WallLoop, drive
from schemas.messages import PlanStatus
from schemas.site import Site
from schemas.topics import client_id
from services.clock.wall import WallClock, WallTime
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from tests.parts import skip_without
from tests.twins import builders
from twinswarm.deploy.process import utc_now
from twinswarm.simulation.compose import Recording, maker, members
from twinswarm.simulation.decisions import Decisions, Moment, decide, differences
from twinswarm.simulation.runs import new_run_id

T0 = datetime(2024, 5, 16, 22, tzinfo=UTC)
"""Local midnight."""
DAY = timedelta(days=1)
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


class Lossy(MemoryTransport):
    """Loses every tenth message on the way to its client, and repeats and delays as many."""

    chance = random.Random(14)

    def receive(self, timeout_s: float | None) -> Delivery | None:
        delivery = super().receive(timeout_s)
        if delivery is None or delivery.retained:
            return delivery
        fate = self.chance.random()
        if fate < 0.1:
            self.acknowledge(delivery)
            return self.receive(timeout_s)
        if fate < 0.2:
            self._broker._put(self._broker._box_of(self), delivery)
        return delivery


class Day:
    """A site in wall time, in one thread, along a clock that is set; processes die and come back."""

    def __init__(self, site: Site, store: HistoryStore) -> None:
        self._site = site
        self._broker = MemoryBroker()
        self._boots = (f"boot-{number}" for number in count(1))
        self._checkpoints = {device: MemoryCheckpoint() for device in members(site)}
        self._store = store
        self.now = T0 - timedelta(seconds=10)
        self._driven: dict[str, tuple[Loop, MemoryTransport]] = {}
        for device in members(site):
            self.start(device)
        transport = MemoryTransport(self._broker, client_id(site.site, "clock"))
        order = WallTime(step_s=900, t0=T0, length=DAY, lead_s=10.0)
        self._driven["clock"] = WallClock(site.site, transport, order, run=RUN, boot="clock-1"), transport
        self._driven["clock"][0].start(self.now)

    def start(self, device: str) -> None:
        recorder = device == "recorder"
        kind = Lossy if device == "ems" else MemoryTransport
        transport = kind(self._broker, client_id(self._site.site, device), persistent=recorder)
        loop = WallLoop(
            maker(self._site, device, Recording(self._store) if recorder else None)(),
            transport,
            self._checkpoints[device],
            new_boot=lambda: next(self._boots),
            zone=self._site.zone,
            once=True,
        )
        loop.start(self.now)
        self._driven[device] = loop, transport

    def kill(self, device: str) -> None:
        self._driven.pop(device)[1].drop()

    def lose(self, device: str) -> None:
        """Its file is gone with the process: a new life."""
        self.kill(device)
        self._checkpoints[device].clear()

    def until(self, time: timedelta) -> None:
        """Lives on, with a look at every device before the EMS decides and few in between."""
        while self.now < T0 + time:
            busy = True
            while busy:
                busy = False
                for loop, transport in list(self._driven.values()):
                    while (delivery := transport.receive(0.0)) is not None:
                        loop.handle(delivery, self.now)
                        busy = True
                    loop.run_due(self.now)
            in_quarter = (self.now - T0) % timedelta(minutes=15)
            self.now += timedelta(seconds=280 if timedelta(seconds=30) <= in_quarter < timedelta(seconds=600) else 10)


def test_96_of_96_plans_of_a_day_with_losses_and_restarts(tmp_path: Path) -> None:
    slow = {"telemetry_period_s": 300.0}
    devices = {"bess": builders.bess(**slow), "ev1": builders.charger(**slow), "pv": builders.pv(**slow)}
    site = builders.site({**devices, "load": {"kind": "meter", "profile": "base"} | slow})
    file = tmp_path / "history.sqlite"
    with closing(HistoryStore(file, durable=False)) as store:
        day = Day(site, store)
        for hour in range(1, 24):
            day.until(timedelta(hours=hour, seconds=7 * hour))
            device = ("ems", "bess", "ev1")[hour % 3]
            (day.lose if hour % 2 else day.kill)(device)
            if device != "ems":
                day.until(timedelta(hours=hour, minutes=20))  # a quarter without it
            day.start(device)
        day.until(DAY + timedelta(minutes=5))
    plans, epochs, lives = repeated(file)
    assert plans >= 96  # an EMS that begins anew plans at once
    assert len(epochs) == 8
    assert len(lives) == 5


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
