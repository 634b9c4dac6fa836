"""Whatever is asked of a twin, and however often it is asked for telemetry: energies, limits, continuation."""

import itertools
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from schemas.messages import ChargerTelemetry, Fallback, TimeMode
from schemas.site import Site
from tests.twins.builders import (
    Bench,
    at,
    bess,
    charger,
    energy_kwh,
    limit,
    pieces,
    pv,
    setpoint,
    site,
    stay,
    through_json,
)
from twin_devices.build import build_twin

START, END = at("08:00"), at("10:30")
"""The vehicles below come and go in it, the sun rises, quarters end."""

powers = st.one_of(st.floats(-25, 25), st.sampled_from([0.0, 20.0, -20.0, 16.0, -16.0, 5.0, 5e-324]))
fallbacks = st.sampled_from(list(Fallback))
instants = st.integers(0, 9_000_000).map(lambda ms: START + timedelta(milliseconds=ms))
commands = st.lists(
    st.tuples(instants, powers, st.integers(1, 3_000), fallbacks), max_size=6
).map(lambda given: sorted(given, key=lambda command: command[0]))  # fmt: skip

battery_changes = st.fixed_dictionaries(
    {
        "initial_soc_frac": st.sampled_from([0.1, 0.15, 0.5, 0.89, 0.9]),
        "capacity_kwh": st.sampled_from([1.0, 5.0, 40.0]),
        "dead_time_s": st.sampled_from([0.0, 7.5, 30.0]),
        "ramp_kw_per_s": st.sampled_from([None, 0.05, 3.0]),
        "sub_step_s": st.sampled_from([1.0, 10.0, 77.7]),
        "fallback": st.sampled_from(["idle", "hold", "uncontrolled"]),
    }
)
stays = st.tuples(
    st.sampled_from([0.05, 0.3, 0.79, 0.95]),
    st.sampled_from([0.8, 0.95]),
    st.integers(0, 2_000),
    st.integers(1, 4_000),
).map(
    lambda given: [
        stay(
            arrival_soc_frac=given[0],
            target_soc_frac=given[1],
            soc_min_frac=0.2,
            soc_max_frac=0.97,
            max_charge_kw=17.0,
            arrival=START + timedelta(seconds=given[2]),
            departure=START + timedelta(seconds=given[2] + given[3]),
            capacity_kwh=8.0,
        ),
        stay(vehicle="next", arrival=START + timedelta(seconds=given[2] + given[3] + 60), departure=at("18:00")),
    ]
)
charger_changes = st.fixed_dictionaries(
    {
        "sessions": stays,
        "dead_time_s": st.sampled_from([0.0, 30.0]),
        "ramp_kw_per_s": st.sampled_from([None, 0.1]),
        "taper": st.sampled_from([None, {"start_soc_frac": 0.8, "end_power_frac": 0.05}]),
        "min_power_kw": st.sampled_from([0.0, 4.0]),
        "sub_step_s": st.sampled_from([10.0, 60.0]),
        "controllable": st.sampled_from([True, True, False]),
        "fallback": st.sampled_from(["idle", "uncontrolled"]),
    }
)
devices = st.one_of(
    battery_changes.map(lambda given: bess(**given)), charger_changes.map(lambda given: charger(**given))
)


def house(device: dict[str, Any]) -> Site:
    return site({"device": device})


def command_of(command: tuple[datetime, float, int, Fallback], index: int, kind: str) -> Any:
    instant, power, lasts, fallback = command
    changes = {"id": f"s{index}", "valid_until": instant + timedelta(seconds=lasts), "fallback": fallback}
    return limit(instant, abs(power), **changes) if kind == "pv" else setpoint(instant, power, **changes)


def live(device: dict[str, Any], given: Any, asked: list[datetime], mode: TimeMode = TimeMode.WALL) -> list[Any]:
    """The twin's telemetry at the instants asked for, and at the end, with the set-points coming at theirs."""
    bench = Bench(build_twin(house(device), "device"), mode)
    events: list[tuple[datetime, int, int]] = [(command[0], 0, i) for i, command in enumerate(given)]
    events += [(instant, 1, 0) for instant in asked]
    told = [bench.sense(START)]
    for instant, rank, index in sorted(events):
        if rank == 0:
            bench.apply(instant, command_of(given[index], index, device["kind"]))
        else:
            told.append(bench.sense(instant))
    return [*told, bench.sense(END)]


@settings(deadline=None, max_examples=150)
@given(devices, commands, st.lists(instants, max_size=12))
def test_telemetry_that_is_asked_for_alters_nothing(device: dict[str, Any], given: Any, asked: list[datetime]) -> None:
    often, once = live(device, given, asked), live(device, given, [])
    # To the last bit, which is more than the 1e-9 kWh that is promised.
    assert without_departed(often[-1]) == without_departed(once[-1])
    assert departed(often) == departed(once)


def without_departed(body: Any) -> Any:
    return body.model_copy(update={"departed": None}) if isinstance(body, ChargerTelemetry) else body


def departed(bodies: list[Any]) -> list[Any]:
    """Each vehicle that left is published once, whenever telemetry is asked for."""
    return [vehicle for body in bodies for vehicle in getattr(body, "departed", None) or ()]


@settings(deadline=None, max_examples=30)
@given(commands, st.lists(instants, max_size=12), st.sampled_from([pv(), {"kind": "meter", "profile": "base"}]))
def test_neither_does_it_for_inverters_and_meters(given: Any, asked: list[datetime], device: dict[str, Any]) -> None:
    given = given if device["kind"] == "pv" else []
    assert live(device, given, asked)[-1] == live(device, given, [])[-1]


@settings(deadline=None, max_examples=150)
@given(devices, commands, st.lists(instants, max_size=6))
def test_limits_hold_and_pieces_make_up_the_registers(
    device: dict[str, Any], given: Any, asked: list[datetime]
) -> None:
    times = [START, *sorted(asked), END]
    told = live(device, given, asked, TimeMode.LOCKSTEP)
    least = device.get("min_power_kw", 0.0)
    for before, after, begin, end in zip(told, told[1:], times, times[1:], strict=False):
        cut = pieces(after)
        assert [start for start, _ in cut][:1] == ([begin] if end > begin else [])
        assert all(a < b for (a, _), (b, _) in itertools.pairwise(cut))
        assert all(a != b for (_, a), (_, b) in itertools.pairwise(cut))
        assert all(-device["max_discharge_kw"] <= power <= device["max_charge_kw"] for _, power in cut)
        assert all(power >= 0 or -power >= least for _, power in cut)
        if not device.get("taper"):
            assert all(power == 0 or power >= least for _, power in cut if power >= 0)
        imported, exported = energy_kwh(after, end)
        assert after.energy_import_kwh - before.energy_import_kwh == approx(imported, rel=1e-12, abs=1e-12)
        assert after.energy_export_kwh - before.energy_export_kwh == approx(exported, rel=1e-12, abs=1e-12)
        if device["kind"] == "bess":
            assert device.get("soc_min_frac", 0.1) <= after.soc_frac <= device.get("soc_max_frac", 0.9)
        elif after.vehicle is not None:
            vehicle = after.vehicle
            assert min(vehicle.soc_min_frac, vehicle.arrival_soc_frac) <= vehicle.soc_frac <= vehicle.soc_max_frac


@settings(deadline=None, max_examples=100)
@given(devices, commands)
def test_energy_in_minus_losses_is_energy_stored(device: dict[str, Any], given: Any) -> None:
    end = live(device, given, [])[-1]
    charge, discharge = device["charge_efficiency"], device["discharge_efficiency"]
    if device["kind"] == "bess":
        stored = (end.soc_frac - device["initial_soc_frac"]) * device["capacity_kwh"]
        moved = end.energy_import_kwh * charge - end.energy_export_kwh / discharge
        assert stored == approx(moved, abs=1e-9)
    elif end.vehicle is not None:
        vehicle = end.vehicle
        stored = (vehicle.soc_frac - vehicle.arrival_soc_frac) * vehicle.capacity_kwh
        assert stored == approx(vehicle.charged_kwh * charge - vehicle.discharged_kwh / discharge, abs=1e-9)


@pytest.mark.parametrize("mode", list(TimeMode))
@settings(deadline=None, max_examples=60)
@given(
    st.one_of(devices, st.sampled_from([pv(), {"kind": "meter", "profile": "base", "power_factor": 0.9}])),
    commands,
    st.lists(instants, min_size=1, max_size=8),
    st.integers(0, 15),
)
def test_a_twin_restored_from_json_continues_to_the_last_bit(
    mode: TimeMode, device: dict[str, Any], given: Any, asked: list[datetime], cut: int
) -> None:
    description = house(device)
    whole, broken = (Bench(build_twin(description, "device"), mode) for _ in range(2))
    given = [] if device["kind"] == "meter" else given
    events: list[tuple[datetime, int, int]] = [(command[0], 0, i) for i, command in enumerate(given)]
    events += [(instant, 1, 0) for instant in asked]
    for number, (instant, rank, index) in enumerate(sorted(events)):
        if number == cut % len(events):
            broken.participant = through_json(broken.participant, build_twin(description, "device"))
            assert json.dumps(broken.participant.snapshot()) == json.dumps(whole.participant.snapshot())
        for bench in (whole, broken):
            bench.n = number
        if rank == 0:
            order = command_of(given[index], index, device["kind"])
            assert broken.apply(instant, order) == whole.apply(instant, order)
        else:
            assert broken.sense(instant) == whole.sense(instant)
    assert broken.sense(END) == whole.sense(END)
    assert json.dumps(broken.participant.snapshot()) == json.dumps(whole.participant.snapshot())


def test_registers_begin_at_zero_and_only_grow() -> None:
    told = live(bess(), [(START, 8.0, 900, Fallback.IDLE)], [at("08:10"), at("08:20")])
    registers = [(reading.energy_import_kwh, reading.energy_export_kwh) for reading in told]
    assert registers[0] == (0.0, 0.0)
    assert registers == sorted(registers)
