"""devices and twin, against a real broker."""

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from broker.mqtt import MqttTransport
from broker.servers.embedded import EmbeddedBroker
from broker.transport import Delivery
from schemas.examples import examples
from schemas.messages import (
    Birth,
    ChargerTelemetry,
    EmsMode,
    KnownDevice,
    MeterNameplate,
    MeterRole,
    Plan,
    PlanStatus,
    Receipt,
    Run,
    Stamp,
    TimeMode,
)
from schemas.topics import Channel, Kind, Topic, topic_filter
from schemas.wire import encode
from services.monitor.discovery import Roster
from tests.cli.calling import COMMAND, call, plain_environment
from twinswarm.cli.commands.devices import _show

HEAVY = ("numpy", "pandas", "xarray", "highspy", "matplotlib", "scipy", "rich")
MOST_BYTES = 54 * 1024 * 1024


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with EmbeddedBroker() as running:
        yield str(running.address)


@pytest.fixture(scope="module")
def twin(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """A charger's process, once it is online."""
    from broker.address import BrokerAddress, parse_broker

    address = parse_broker(broker)
    assert isinstance(address, BrokerAddress)
    observer = MqttTransport(address, "test")
    observer.connect([topic_filter("fit-g2v", device="ev2", channel=Channel.STATE)])
    process = subprocess.Popen(
        [*COMMAND, "twin", "ev2", "--broker", broker],
        cwd=tmp_path_factory.mktemp("twin"),
        env=plain_environment(),
        stderr=subprocess.PIPE,
    )
    try:
        assert observer.receive(20.0) is not None
        yield process
    finally:
        observer.close()
        process.terminate()
        process.communicate(timeout=10)


@pytest.mark.usefixtures("twin")
def test_a_twin_is_seen_with_birth_state_and_age(broker: str, tmp_path: Path) -> None:
    done = call("devices", "--broker", broker, "--site", "fit_g2v", "--wait", "0.5", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (device,) = json.loads(done.stdout)["devices"]
    assert (device["device"], device["kind"], device["state"]) == ("ev2", "charger", "online")
    assert device["time_modes"] == ["lockstep", "wall"]
    assert device["nameplate"]["max_charge_kw"] == 22.5
    assert 0 <= device["age_s"] < 60
    assert re.search(r"ev2 .* charger .* online .* ±22.5 kW, DC .* s ago", done.stderr)
    assert "\x1b" not in done.stderr


@pytest.mark.usefixtures("twin")
def test_another_site_is_empty(broker: str, tmp_path: Path) -> None:
    done = call("devices", "--broker", broker, "--site", "elsewhere", "--wait", "0.3", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == f"no participant was found on {broker}\n"


def test_a_charger_is_a_small_process(twin: subprocess.Popen[bytes]) -> None:
    process = psutil.Process(twin.pid)
    assert process.memory_info().rss < MOST_BYTES
    loaded = {part for mapped in process.memory_maps() for part in Path(mapped.path).parts}
    assert not loaded & set(HEAVY)


def test_a_twin_says_goodbye_and_ends_well(twin: subprocess.Popen[bytes], broker: str, tmp_path: Path) -> None:
    twin.terminate()
    assert twin.wait(10) == 0
    done = call("devices", "--broker", broker, "--wait", "0.3", "--json", "-", cwd=tmp_path)
    (device,) = json.loads(done.stdout)["devices"]
    assert device["state"] == "offline"


# ---- what is made of messages

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _example(channel: Channel, *, retained: bool, run: str | None = None, seq: int = 1) -> Delivery:
    """Stamped 30 s ago."""
    topic, stamp, body = next(e for e in examples() if e[0].channel is channel)
    stamped = stamp.model_copy(update={"run": run, "ts": NOW - timedelta(seconds=30), "seq": seq})
    return Delivery(str(topic), encode(stamped, body), retained=retained)


def test_the_age_of_a_live_message_is_since_it_came() -> None:
    roster = Roster()
    roster.note(_example(Channel.TELEMETRY, retained=False, run="20240516T220000.000000Z-5f0c"), NOW)
    (seen,) = roster
    assert roster.age_s(seen, NOW + timedelta(seconds=2)) == 2.0
    assert (seen.power_kw, seen.soc_frac) == (-11.5, 0.7)


def test_the_age_of_a_retained_message_is_by_its_stamp_outside_of_runs() -> None:
    roster = Roster()
    roster.note(_example(Channel.BIRTH, retained=True), NOW)
    (seen,) = roster
    assert roster.age_s(seen, NOW) == 30.0


def test_in_lockstep_a_retained_stamp_tells_no_age() -> None:
    roster = Roster()
    run = "20240516T220000.000000Z-5f0c"
    roster.note(_example(Channel.RUN, retained=True, run=run), NOW)
    roster.note(_example(Channel.BIRTH, retained=True, run=run), NOW)
    assert [roster.age_s(seen, NOW) for seen in roster] == [None, None]
    assert roster.runs["fit-g2v"][0] == run


def test_a_goodbye_is_stamped_with_the_time_of_the_machine() -> None:
    roster = Roster()
    run = "20240516T220000.000000Z-5f0c"
    roster.note(_example(Channel.STATE, retained=True, run=run, seq=0), NOW)
    (seen,) = roster
    assert roster.age_s(seen, NOW) == 30.0


def test_a_set_point_is_no_sign_of_its_device() -> None:
    roster = Roster()
    roster.note(_example(Channel.SETPOINT, retained=False), NOW)
    assert list(roster) == []


def test_what_is_not_of_the_contract_is_counted() -> None:
    roster = Roster()
    roster.note(Delivery("twin/v2/fit-g2v/charger/ev1/state", b"{"), NOW)
    roster.note(Delivery("twin/v2/fit-g2v/charger/ev1/state", b"", retained=True), NOW)
    assert roster.rejected == 1


def _wall(clock_behind_s: float = 0.0) -> Roster:
    """A site in wall time: the EMS' plan names a charger that it plans with and a meter that it does not hear."""
    run_id = "20260101T120000.000000Z-5f0c"
    t0 = NOW - timedelta(minutes=10)
    run = Run(mode=TimeMode.WALL, step_s=900, t0=t0, wall0=t0, simulated=False)
    known = {
        "ev1": KnownDevice(power_kw=7.25, soc_frac=0.5, age_s=4.0, in_plan=True),
        "grid": KnownDevice(power_kw=9.0, age_s=310.0, in_plan=False, why_not="no telemetry of grid for 310 s"),
    }
    plan = Plan(
        epoch=1,
        mode=EmsMode.CONTROL,
        status=PlanStatus.OPTIMAL,
        start=t0,
        step_s=900,
        objective_eur=0.0,
        knowledge=known,
    )
    telemetry = ChargerTelemetry(power_kw=7.5)
    birth = Birth(nameplate=MeterNameplate(role=MeterRole.PCC), time_modes=(TimeMode.WALL,), software="test")
    roster = Roster()
    for kind, device, channel, body, ts, retained in (
        (Kind.CLOCK, "clock", Channel.RUN, run, t0, True),
        (Kind.METER, "grid", Channel.BIRTH, birth, t0, True),
        (Kind.EMS, "ems", Channel.PLAN, plan, t0, True),
        (Kind.CHARGER, "ev1", Channel.TELEMETRY, telemetry, NOW - timedelta(seconds=clock_behind_s), False),
    ):
        topic = Topic("lab", kind, device, channel)
        roster.note(Delivery(str(topic), encode(Stamp(ts=ts, run=run_id, boot="b", seq=1), body), retained), NOW)
    return roster


def test_what_the_ems_knows_of_a_device_is_shown() -> None:
    by_device = {row["device"]: row for row in _wall().json(NOW)["devices"]}
    assert by_device["ev1"]["ems"]["in_plan"] and by_device["ev1"]["power_kw"] == 7.5
    assert by_device["grid"]["ems"]["why_not"] == "no telemetry of grid for 310 s"
    assert by_device["ems"]["ems"] is None
    shown = Console(record=True, width=200, file=StringIO())
    _show(_wall(), NOW, "mqtt://lab", shown)
    text = shown.export_text()
    assert "in the plan, 4.0 s old" in text
    assert "not in the plan: no telemetry of grid for 310 s" in " ".join(text.replace("│", " ").split())
    assert "9.00 kW" in text, "what the EMS heard of it last"


@pytest.mark.parametrize(("behind_s", "words"), [(240.0, "clock 4 min behind"), (-3600.0, "clock 60 min ahead")])
def test_a_device_with_a_wrong_clock_says_so(behind_s: float, words: str) -> None:
    roster = _wall(behind_s)
    by_device = {row["device"]: row["clock_behind_s"] for row in roster.json(NOW)["devices"]}
    assert by_device == {"clock": None, "ems": None, "ev1": behind_s, "grid": None}
    shown = Console(record=True, width=200, file=StringIO())
    _show(roster, NOW, "mqtt://lab", shown)
    assert words in shown.export_text()
    assert _wall(50.0).json(NOW)["devices"][2]["clock_behind_s"] is None


def test_who_does_not_keep_what_it_sends_is_named_in_wall_time() -> None:
    roster = _wall()
    keeping = Birth(
        nameplate=MeterNameplate(role=MeterRole.LOAD),
        time_modes=(TimeMode.WALL,),
        software="test",
        store_and_forward=True,
    )
    topic = Topic("lab", Kind.METER, "load", Channel.BIRTH)
    roster.note(Delivery(str(topic), encode(Stamp(ts=NOW, boot="b", seq=1), keeping), retained=True), NOW)
    kept = {row["device"]: row["kept"] for row in roster.json(NOW)["devices"]}
    assert kept == {"clock": None, "ems": None, "ev1": None, "grid": False, "load": True}
    shown = Console(record=True, width=200, file=StringIO())
    _show(roster, NOW, "mqtt://lab", shown)
    assert shown.export_text().count("not kept") == 1


def test_a_receipt_is_the_recorders_message_on_a_devices_topic() -> None:
    roster = Roster()
    topic = Topic("lab", Kind.METER, "load", Channel.RECEIPT)
    receipt = Receipt(stored=1, missing=0, ranges={"b": {"twin/v2/lab/meter/load/telemetry": ((1, 1),)}})
    roster.note(Delivery(str(topic), encode(Stamp(ts=NOW, boot="r", seq=1), receipt)), NOW)
    assert roster.seen == {}
