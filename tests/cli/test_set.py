"""set: a set-point by hand, on a run in wall time."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from broker.servers.embedded import EmbeddedBroker
from schemas.errors import Code, RunFailedError
from schemas.messages import (
    Birth,
    EmsMode,
    Fallback,
    Plan,
    PlanStatus,
    Presence,
    Run,
    ServiceNameplate,
    Setpoint,
    Stamp,
    State,
    TimeMode,
)
from schemas.topics import Channel, Kind, Topic
from schemas.units import UtcTime
from services.monitor.live_site import LiveSite
from sites.loader import load_site
from tests.cli.calling import call
from twinswarm.deploy.clock_order import ClockOrder
from twinswarm.deploy.process import Connection
from twinswarm.deploy.threads import ThreadedSwarm
from twinswarm.simulation.runs import course_of

DAY = course_of(load_site("fit_g2v")).t0
NOON = DAY + timedelta(hours=12)


@dataclass(frozen=True)
class Running:
    broker: str
    folder: Path


@pytest.fixture(scope="module", params=["without an EMS", "with an EMS"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A site in real time from noon on: a BESS, a PV inverter, a charger, with or without an EMS that leads."""
    folder = tmp_path_factory.mktemp("running")
    site = load_site("fit_g2v")
    with EmbeddedBroker() as broker:
        order = ClockOrder(run="20260101T000000.000000Z-0000", t0=NOON, length=None, allowed=None, speed=1.0)
        swarm = ThreadedSwarm(site, order, Connection(broker.address), folder / "history.sqlite")
        members = ["bess", "pv", "ev1", "building", "clock"]
        if request.param == "with an EMS":
            members += ["ems", "forecast", "tariff", "network"]
        for member in members:
            swarm.start(member)
        try:
            address = str(broker.address)
            deadline = time.monotonic() + 180  # a busy machine starts slowly
            # The session begins some seconds after its announcement; the EMS plans a little later.
            while not _ready(address, folder, planned=request.param == "with an EMS"):
                swarm.watch()
                assert time.monotonic() < deadline
            yield Running(address, folder)
        finally:
            swarm.stop()


def _ready(broker: str, folder: Path, *, planned: bool) -> bool:
    done = call("devices", "--broker", broker, "--wait", "1", "--json", "-", cwd=folder)
    last = {device["device"]: device for device in json.loads(done.stdout)["devices"]}
    ready = last.get("bess", {}).get("power_kw") is not None
    return ready and (not planned or last.get("ems", {}).get("last_channel") in ("plan", "metric"))


@pytest.mark.parametrize("running", ["without an EMS"], indirect=True)
def test_a_battery_shows_what_it_applies(running: Running) -> None:
    done = call("set", "bess", "-5kW", "--for", "1h", "--broker", running.broker, "--json", "-", cwd=running.folder)
    assert done.returncode == 0, done.stderr
    sent = json.loads(done.stdout)
    assert sent["ack"]["accepted"] and sent["ack"]["applied_kw"] == -5.0
    assert sent["setpoint"]["power_kw"] == -5.0
    assert "bess follows it: -5 kW" in done.stderr


@pytest.mark.parametrize("running", ["without an EMS"], indirect=True)
def test_an_inverter_takes_a_limit_and_an_epoch_that_the_device_has_passed_is_refused(running: Running) -> None:
    options = ("--broker", running.broker, "--site", "fit_g2v")
    done = call("set", "pv", "--limit", "2500 W", "--epoch", "7", *options, cwd=running.folder)
    assert done.returncode == 0, done.stderr
    assert "at most 2.5 kW" in done.stdout
    assert _power_kw(running, "pv") == -2.5
    refused = call("set", "pv", "--limit", "3kW", "--epoch", "6", *options, cwd=running.folder)
    assert refused.returncode == 1
    assert "epoch 6" in refused.stdout and "7" in refused.stdout


@pytest.mark.parametrize("running", ["without an EMS"], indirect=True)
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("ev9", "5kW"), Code.UNKNOWN),
        (("building", "5kW"), Code.INVALID),
        (("pv", "5kW"), Code.CONFLICT),
        (("ev1", "--limit", "5kW"), Code.CONFLICT),
        (("ev1", "5kW", "--site", "other"), Code.UNKNOWN),
    ],
    ids=["unknown", "meter", "power of PV", "limit of a charger", "other site"],
)
def test_what_cannot_be_set_is_said(words: tuple[str, ...], code: Code, running: Running) -> None:
    done = call("set", *words, "--broker", running.broker, cwd=running.folder)
    assert done.returncode == 2, done.stdout
    assert f"[{code}]" in done.stderr


@pytest.mark.parametrize("running", ["with an EMS"], indirect=True)
def test_while_an_ems_leads_it_takes_force(running: Running) -> None:
    words = ("set", "bess", "-5kW", "--broker", running.broker)
    refused = call(*words, cwd=running.folder)
    assert refused.returncode == 1
    assert "ems leads site fit-g2v" in refused.stderr and "--force" in refused.stderr
    forced = call(*words, "--force", cwd=running.folder)
    assert forced.returncode == 0, forced.stderr
    assert "Until ems sends its next set-point" in forced.stdout


@pytest.mark.parametrize("text", ["5", "kW", "5 kWh", "5,5kW", "1e3kW", "nankW", "--fore"])
def test_a_power_without_its_unit_is_refused(text: str, tmp_path: Path) -> None:
    done = call("set", "ev1", text, "--broker", "mqtt://127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 2
    assert f"[{Code.FORMAT}]" in done.stderr and repr(text) in done.stderr


def _power_kw(running: Running, name: str) -> float | None:
    """By its next telemetry, which comes every 10 s."""
    done = call("devices", "--broker", running.broker, "--wait", "11", "--json", "-", cwd=running.folder)
    found: float | None = next(d["power_kw"] for d in json.loads(done.stdout)["devices"] if d["device"] == name)
    return found


# What was heard of a site, without a broker.

RUN = "20260101T000000.000000Z-0000"


def _stamp(boot: str, run: str = RUN, at: UtcTime = NOON) -> Stamp:
    return Stamp(ts=at, run=run, boot=boot, seq=1)


def _topic(kind: Kind, device: str, channel: Channel) -> Topic:
    return Topic("site", kind, device, channel)


def _heard(mode: EmsMode = EmsMode.CONTROL, state_boot: str = "a", ended: bool = False) -> LiveSite:
    site = LiveSite("site")
    wall = Run(mode=TimeMode.WALL, step_s=900, t0=NOON, wall0=NOON, speed=1.0, ended=NOON if ended else None)
    site.note(_topic(Kind.CLOCK, "clock", Channel.RUN), _stamp("c"), wall)
    birth = Birth(nameplate=ServiceNameplate(), time_modes=(TimeMode.WALL,), software="x")
    site.note(_topic(Kind.EMS, "ems", Channel.BIRTH), _stamp("a"), birth)
    site.note(_topic(Kind.EMS, "ems", Channel.STATE), _stamp(state_boot), State(state=Presence.ONLINE))
    plan = Plan(epoch=3, mode=mode, status=PlanStatus.OPTIMAL, start=NOON, step_s=900, objective_eur=0.0)
    site.note(_topic(Kind.EMS, "ems", Channel.PLAN), _stamp("a"), plan)
    return site


def test_only_an_ems_in_control_that_is_online_leads() -> None:
    assert _heard().leading_ems == "ems"
    assert _heard(mode=EmsMode.OBSERVE).leading_ems is None
    assert _heard(state_boot="b").leading_ems is None, "it is online in another life"


def test_the_epoch_is_the_highest_of_the_runs_plans_and_set_points() -> None:
    site = _heard()
    assert site.epoch == 3
    setpoint = Setpoint(
        id="x", epoch=5, valid_from=NOON, valid_until=NOON + timedelta(hours=1), power_kw=1.0, fallback=Fallback.IDLE
    )
    site.note(_topic(Kind.BESS, "bess", Channel.SETPOINT), _stamp("m", run="20250101T000000.000000Z-0000"), setpoint)
    assert site.epoch == 3, "of another run"
    site.note(_topic(Kind.BESS, "bess", Channel.SETPOINT), _stamp("m"), setpoint)
    assert site.epoch == 5


def test_nobody_acts_on_a_run_that_ended_or_in_lock_step() -> None:
    with pytest.raises(RunFailedError):
        _heard(ended=True).wall_run()
    site = LiveSite("site")
    lockstep = Run(mode=TimeMode.LOCKSTEP, step_s=900, t0=NOON, wall0=NOON)
    site.note(_topic(Kind.CLOCK, "clock", Channel.RUN), _stamp("c"), lockstep)
    with pytest.raises(RunFailedError):
        site.wall_run()
