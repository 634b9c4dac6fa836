"""Scripted events: what they do, that they are the same to the last bit everywhere, and what is wrong with a file."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import twinswarm
from schemas.errors import Code, InputError
from schemas.messages import MeterTelemetry, NetworkTelemetry
from schemas.site import Cloud, MeterLies
from schemas.topics import Channel, Kind
from services.analysis.run_result import RunResult
from tests.system.days import contents, numbers
from twin_devices.scenario import LyingMeter, Script

SPAN = {"begin": "10:00", "length": "3h"}
T0 = datetime(2024, 5, 17, 8, tzinfo=UTC)
"""10:00 in Rome."""
ALL = """
events:
  - {type: leaves, device: ev1, at: "11:20"}
  - {type: cloud, device: pv, start: "11:05", end: "12:10", available_frac: 0.2}
  - {type: offline, device: bess, start: "10:40", end: "11:20"}
  - {type: meter, device: building, start: "11:00", end: "11:50", reads: scaled, factor: 1.5}
  - {type: meter, device: network, start: "12:00", end: "12:30", reads: stuck}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[[str], Path]:
    def written(events: str) -> Path:
        file = tmp_path / "scenario.yaml"
        file.write_text(events if "events:" in events else f"events:\n{events}", encoding="utf-8")
        return file

    return written


@pytest.fixture(scope="module")
def quiet() -> RunResult:
    """The same hours without any event."""
    return twinswarm.run_day(**SPAN)  # type: ignore[arg-type]


def _run(file: Path, **options: object) -> RunResult:
    return twinswarm.run_day(scenario=file, **{**SPAN, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [True, False], ids=["threads", "processes"])
def test_a_scenario_is_the_same_to_the_last_bit_in_memory_and_over_a_broker(
    threads: bool, scenario: Callable[[str], Path], tmp_path: Path
) -> None:
    file, history = scenario(ALL), tmp_path / "swarm.sqlite"
    alone = _run(file, history=tmp_path / "alone.sqlite")
    with twinswarm.Swarm(scenario=file, threads=threads, history=history, **SPAN) as swarm:  # type: ignore[arg-type]
        result = swarm.wait(120)
    assert numbers(result) == numbers(alone)
    assert contents(history, result.run) == contents(tmp_path / "alone.sqlite", alone.run)


def test_a_cloud_takes_its_part_of_the_power_from_its_first_minute_on(
    scenario: Callable[[str], Path], quiet: RunResult
) -> None:
    event = '  - {type: cloud, device: pv, start: "11:05", end: "11:30", available_frac: 0.25}'
    clouded = _run(scenario(event))
    both = zip(clouded.quarters, quiet.quarters, strict=True)
    powers = [(quarter.power_kw["pv"] or 0.0, clear.power_kw["pv"] or 0.0) for quarter, clear in both]
    # 11:00 to 11:15 is 5 min clear and 10 min clouded.
    expected = [1.0] * 4 + [(5 + 10 * 0.25) / 15, 0.25] + [1.0] * 6
    assert [pv / clear for pv, clear in powers] == pytest.approx(expected)
    assert clouded.energy_residual_kwh_max == pytest.approx(0.0, abs=1e-9)


def test_a_car_that_leaves_early_is_gone_and_lacks_its_energy(scenario: Callable[[str], Path], tmp_path: Path) -> None:
    history = tmp_path / "left.sqlite"
    left = _run(scenario('  - {type: leaves, device: ev1, at: "10:20"}'), history=history)
    assert left.departure_shortfall_kwh > 1.0
    with closing(twinswarm.open_history(history)) as opened:
        told = [m for m in opened.messages(left.run, Channel.TELEMETRY) if m.topic.device == "ev1"]
    there = [(m.stamp.ts - T0, m.body.vehicle) for m in told]  # type: ignore[attr-defined]
    assert [vehicle is not None for since, vehicle in there] == [since < timedelta(minutes=20) for since, _ in there]
    announced = there[0][1].departure
    assert announced - T0 > timedelta(hours=1), "nobody was warned"


def test_a_device_offline_is_silent_and_without_power_and_comes_back(
    scenario: Callable[[str], Path], tmp_path: Path
) -> None:
    history = tmp_path / "offline.sqlite"
    event = '  - {type: offline, device: bess, start: "10:40", end: "11:20"}'
    result = _run(scenario(event), history=history)
    with closing(twinswarm.open_history(history)) as opened:
        told = [m for m in opened.messages(result.run, Channel.TELEMETRY) if m.topic.device == "bess"]
        plans = list(opened.messages(result.run, Channel.PLAN))
    minutes = [(m.stamp.ts - T0) / timedelta(minutes=1) for m in told]
    assert minutes == [m for m in range(0, 181, 15) if not 40 <= m < 80]
    registers = [m.body.energy_import_kwh + m.body.energy_export_kwh for m in told]  # type: ignore[attr-defined]
    place = minutes.index(90.0)
    # From 10:30 to 10:40 at the power of 10:30, then nothing until 11:20, then idle: it has no set-point yet.
    assert registers[place] - registers[place - 1] <= abs(told[place - 1].body.power_kw) * 10 / 60 + 1e-9  # type: ignore[attr-defined]
    planned = {(p.stamp.ts - T0) / timedelta(minutes=1): "bess" in p.body.devices for p in plans}  # type: ignore[attr-defined]
    assert [minute for minute, there in planned.items() if not there] == [45.0, 60.0, 75.0]
    assert result.energy_residual_undisturbed_kwh_max == pytest.approx(0.0, abs=1e-9)


def test_a_lying_load_meter_deceives_the_ems_and_not_the_network(
    scenario: Callable[[str], Path], quiet: RunResult, tmp_path: Path
) -> None:
    event = '  - {type: meter, device: building, start: "11:00", end: "12:00", reads: scaled, factor: 2}'
    lied = _run(scenario(event), storage="none", baseline="no-cars")
    truth = twinswarm.run_day(storage="none", baseline="no-cars", **SPAN)  # type: ignore[arg-type]
    assert [q.pcc_kw for q in lied.quarters] == [q.pcc_kw for q in truth.quarters]
    factors = [
        (q.power_kw["building"] or 0.0) / (t.power_kw["building"] or 1.0)
        for q, t in zip(lied.quarters, truth.quarters, strict=True)
    ]
    assert factors == pytest.approx([1.0] * 4 + [2.0] * 4 + [1.0] * 4)
    assert lied.energy_residual_kwh_max == pytest.approx(
        max(q.power_kw["building"] or 0 for q in truth.quarters[4:8]) / 4
    )


def test_registers_of_a_lying_meter_count_on_from_where_they_are() -> None:
    minute = timedelta(minutes=1)
    lies = [
        MeterLies(device="m", start=T0 + minute, end=T0 + 2 * minute, reads="scaled", factor=3.0),
        MeterLies(device="m", start=T0 + 3 * minute, end=T0 + 4 * minute, reads="zero"),
        MeterLies(device="m", start=T0 + 5 * minute, end=T0 + 6 * minute, reads="stuck"),
    ]
    meter = LyingMeter(Script(lies, Kind.METER, "m"))
    published = []
    for step in range(8):
        true = MeterTelemetry(power_kw=60.0 + step, energy_import_kwh=float(step), energy_export_kwh=0.0)
        published.append(meter.publishes(true, T0 + step * minute))
        fresh = LyingMeter(Script(lies, Kind.METER, "m"))
        fresh.restore(meter.snapshot())
        meter = fresh
    assert [t.energy_import_kwh for t in published] == [0, 1, 4, 5, 5, 6, 6, 7]
    assert [t.power_kw for t in published] == [60, 183, 62, 0, 64, 64, 66, 67]
    assert [None if t.actual is None else t.actual.energy_import_kwh for t in published] == [None, *range(1, 8)]


def test_a_meter_that_tells_the_truth_is_left_alone() -> None:
    telemetry = NetworkTelemetry.model_construct(power_kw=1.0, energy_import_kwh=1.0, energy_export_kwh=0.0)
    assert LyingMeter(Script((), Kind.NETWORK, "network")).publishes(telemetry, T0) is telemetry
    cloud = Cloud(device="pv", start=T0, end=T0 + timedelta(hours=1), available_frac=0.5)
    assert LyingMeter(Script([cloud], Kind.PV, "pv")).publishes(telemetry, T0) is telemetry


def test_a_run_from_a_checkpoint_lives_through_the_events_as_well(
    scenario: Callable[[str], Path], tmp_path: Path
) -> None:
    """Twins that are killed amid the events go on as if nothing had been."""
    import os
    import signal
    import threading

    file = scenario(ALL)
    alone = _run(file, history=tmp_path / "alone.sqlite")
    history = tmp_path / "killed.sqlite"
    with twinswarm.Swarm(scenario=file, history=history, **SPAN) as swarm:  # type: ignore[arg-type]
        supervisor = swarm._running.participants.supervisor  # type: ignore[attr-defined]
        for device in ("building", "pv", "ev1", "network"):
            threading.Event().wait(0.6)
            if (pid := supervisor.pid(device)) is not None:
                os.kill(pid, signal.SIGKILL)
        result = swarm.wait(120)
    assert contents(history, result.run) == contents(tmp_path / "alone.sqlite", alone.run)


FAULTY = """events:
  - {type: leaves, device: ev9, at: "10:20"}
  - {type: leaves, device: ev1, at: "10:20", until: "11:00"}
  - {type: cloud, device: bess, start: "11:00", end: "12:00"}
  - {type: cloud, device: pv, start: "12:00", end: "11:00"}
  - {type: cloud, device: pv, start: "11:00", end: "12:00", available_frac: 2}
  - {type: storm, device: pv}
  - {type: meter, device: building, start: "11:00", end: "12:00", reads: scaled}
  - {type: offline, device: bess, start: "22:00", end: "23:00"}
  - {type: offline, device: bess, start: "25:00", end: "23:00"}
  - {type: offline, device: bess, start: 10:30, end: 2024-05-17}
wind: true
"""


def test_all_faults_of_a_file_are_told_at_once_with_their_lines(scenario: Callable[[str], Path]) -> None:
    file = scenario(FAULTY)
    with pytest.raises(InputError) as raised:
        _run(file)
    lines = [int(str(fault.where).split("line ")[1].split(":")[0]) for fault in raised.value.faults]
    assert sorted(set(lines)) == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert all(str(fault.where).startswith(f"{file}: line ") for fault in raised.value.faults)
    by_line = dict(zip(lines, raised.value.faults, strict=True))
    assert "ev1, ev2, ev3, ev4" in by_line[2].what
    assert by_line[9].code is Code.RANGE


def test_an_hour_without_a_vehicle_is_told(scenario: Callable[[str], Path]) -> None:
    with pytest.raises(InputError) as raised:
        _run(scenario('  - {type: leaves, device: ev1, at: "05:00"}'), begin="04:00")
    assert raised.value.codes == (Code.CONFLICT,)


@pytest.mark.parametrize("text", ["", "[]", "events: {}", "events: [1]", "events: ["])
def test_what_is_no_scenario_is_told(text: str, tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        _run(file)
