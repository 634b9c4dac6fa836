"""A limit from outside by command, on a swarm that runs in scaled real time on a broker: obeyed, then its failsafe."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from broker.servers.embedded import EmbeddedBroker
from schemas.messages import Alarm, NetworkTelemetry, Plan
from schemas.topics import Channel, Topic, topic_filter
from schemas.wire import decode
from sites.loader import load_site
from twinswarm.deploy.clock_order import ClockOrder
from twinswarm.deploy.process import Connection, utc_now
from twinswarm.deploy.threads import ThreadedSwarm
from twinswarm.simulation.compose import members
from twinswarm.simulation.runs import new_run_id

SPEED = 225.0
"""A settlement period takes 4 s."""
T0 = datetime(2024, 5, 16, 22, tzinfo=UTC)
"""Midnight in Turin: for hours the load is 50 kW, and the battery rests unless it must do something."""
STEP = timedelta(minutes=15)
BEAT_S = 300.0
PATIENCE_S = 60.0
TOLERANCE_KW = 2.0
"""The measured load deviates by some 3 % from what is known of it when a plan is made."""


class Watch:
    """What an observer sees of PCC, plans and alarms."""

    def __init__(self, address: BrokerAddress) -> None:
        self.transport = MqttTransport(address, "fit-g2v_watch")
        channels = (Channel.TELEMETRY, Channel.PLAN, Channel.ALARM)
        self.transport.connect([topic_filter("fit-g2v", channel=channel) for channel in channels])
        self.registers: list[tuple[float, float]] = []
        self.plans: list[Plan] = []
        self.alarms: list[Alarm] = []

    def until(self, there: "object", what: str) -> None:
        assert callable(there)
        deadline = time.monotonic() + PATIENCE_S
        while not there():
            assert time.monotonic() < deadline, f"{what}: {self.plans[-1:]} {self.alarms}"
            delivery = self.transport.receive(0.2)
            if delivery is None:
                continue
            self.transport.acknowledge(delivery)
            stamp, body = decode(Topic.parse(delivery.topic), delivery.payload)
            if isinstance(body, NetworkTelemetry):
                net = (body.energy_import_kwh or 0.0) - (body.energy_export_kwh or 0.0)
                self.registers.append(((stamp.ts - T0).total_seconds(), net))
            elif isinstance(body, Plan):
                self.plans.append(body)
            elif isinstance(body, Alarm):
                self.alarms.append(body)

    def mean_kw(self, start: datetime) -> float:
        """Mean power at the PCC in the settlement period that begins at ``start``, by its registers."""
        end = (start + STEP - T0).total_seconds()
        self.until(lambda: self.registers and self.registers[-1][0] >= end, f"telemetry up to {end}")
        times, net = np.array(self.registers).T
        before, after = np.interp([end - STEP.total_seconds(), end], times, net)
        return float(after - before) / (STEP / timedelta(hours=1))

    def next_plan(self) -> Plan:
        count = len(self.plans)
        self.until(lambda: len(self.plans) > count, "a plan")
        return self.plans[-1]


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[BrokerAddress]:
    """The default site, everybody with a connection of their own."""
    site = load_site("fit_g2v")
    order = ClockOrder(run=new_run_id(utc_now()), t0=T0, length=timedelta(hours=20), speed=SPEED, allowed=None)
    with EmbeddedBroker() as broker:
        running = ThreadedSwarm(site, order, Connection(broker.address), tmp_path / "history.sqlite")
        try:
            for device in (*members(site), "clock"):
                running.start(device)
            yield broker.address
            running.watch()
        finally:
            running.stop()


def command(address: BrokerAddress, *options: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "twinswarm.cli", "limit", "fit_g2v", "--broker", str(address), *options]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_limit_is_obeyed_within_a_settlement_period_and_its_failsafe_after_the_heartbeat_stops(
    swarm: BrokerAddress,
) -> None:
    watch = Watch(swarm)
    with closing(watch.transport):
        free_kw = watch.mean_kw(watch.next_plan().start)
        limit_kw, failsafe_kw = round(free_kw - 3.0, 1), round(free_kw - 6.0, 1)
        limits = ["--import", f"{limit_kw}kW", "--failsafe-import", f"{failsafe_kw}kW"]
        # For no longer than the battery's energy suffices.
        box = command(swarm, *limits, "--for", "2h", "--beat", f"{BEAT_S}", "--source", "grid operator")
        try:
            watch.until(lambda: watch.plans[-1].limits, "a plan with the limit")
            planned = watch.plans[-1]
            assert (planned.limits[0].source, planned.limits[0].failsafe) == ("grid operator", False)
            # The plan is there some seconds of machine time after its start, so minutes of the run at this speed.
            assert watch.mean_kw(planned.start + STEP) <= limit_kw + TOLERANCE_KW
        finally:
            box.kill()
            box.wait(10)
        watch.until(lambda: watch.plans[-1].limits and watch.plans[-1].limits[0].failsafe, "a plan with the failsafe")
        assert watch.mean_kw(watch.plans[-1].start + STEP) <= failsafe_kw + TOLERANCE_KW
        assert any(alarm.code == "outside_limit_failsafe" and alarm.active for alarm in watch.alarms)
        cleared = command(swarm, "--clear")
        assert cleared.wait(PATIENCE_S) == 0
        watch.until(lambda: not watch.plans[-1].limits, "a plan without a limit")
        assert any(alarm.code == "outside_limit_failsafe" and not alarm.active for alarm in watch.alarms)
