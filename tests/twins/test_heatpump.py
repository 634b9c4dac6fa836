"""The heat pump's twin against hand calculation, and what holds whatever is asked of it."""

import itertools
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pytest import approx

from schemas.messages import Fallback, HeatPumpNameplate, TimeMode
from schemas.site import Site
from tests.twins.builders import T0, Bench, at, limit, pieces, setpoint, site, through_json
from twin_devices.build import build_twin

HOUR = timedelta(hours=1)


def heatpump(**changes: Any) -> dict[str, Any]:
    """At 0 °C: Carnot gives 318.15 / 45 = 7.07, the quality grade makes it 2.828."""
    given = {
        "kind": "heatpump",
        "max_power_kw": 10.0,
        "min_power_kw": 2.0,
        "buffer_kwh": 50.0,
        "loss_frac_per_h": 0.0,
        "soc_min_frac": 0.2,
        "soc_max_frac": 0.8,
        "initial_soc_frac": 0.5,
        "temp_outdoor_profile": "cold",
        "heat_demand_profile": "demand",
        "fallback": "idle",
    }
    return given | changes


def house(device: dict[str, Any], demand: list[float] | None = None, temps: list[float] | None = None) -> Site:
    profiles = {
        "price": {"type": "day", "values": [0.1]},
        "cold": {"type": "day", "values": temps or [0.0]},
        "demand": {"type": "day", "values": demand or [8.0]},
    }
    return site({"device": device}, profiles=profiles)


def bench(device: dict[str, Any], mode: TimeMode = TimeMode.LOCKSTEP, **profiles: Any) -> Bench:
    return Bench(build_twin(house(device, **profiles), "device"), mode)


COP = 0.4 * 318.15 / 45


@pytest.mark.parametrize(
    ("temp_c", "expected"),
    [(0.0, 2.828), (-10.0, 2.31381818), (7.0, 3.34894737), (45.0, 6.0), (50.0, 6.0), (-75.0, 1.0605)],
)
def test_cop_is_the_carnot_efficiency_times_the_quality_grade(temp_c: float, expected: float) -> None:
    """0.4 · 318.15 K / lift, as oemof.thermal's ``calc_cops(mode='heat_pump', quality_grade=0.4)``."""
    plate = HeatPumpNameplate(max_power_kw=1, buffer_kwh=1, soc_min_frac=0, soc_max_frac=1, supply_temp_c=45)
    assert plate.cop(temp_c) == approx(expected, rel=1e-8)


def test_cop_is_never_below_a_heating_rods() -> None:
    plate = HeatPumpNameplate(
        max_power_kw=1, buffer_kwh=1, soc_min_frac=0, soc_max_frac=1, supply_temp_c=90, quality_grade=0.2
    )
    assert plate.cop(-40.0) == 1.0


def test_a_set_point_heats_the_buffer_by_its_cop_less_the_demand() -> None:
    twin = bench(heatpump())
    twin.sense(T0)
    ack = twin.apply(T0, setpoint(T0, 5.0))
    assert (ack.accepted, ack.applied_kw, ack.reason) == (True, 5.0, None)
    told = twin.sense(T0 + timedelta(minutes=15))
    assert told.energy_import_kwh == 1.25
    assert told.heat_kwh == approx(1.25 * COP)
    assert told.heat_served_kwh == approx(2.0)
    assert told.soc_frac == approx(0.5 + (1.25 * COP - 2.0) / 50)
    assert (told.cop, told.temp_outdoor_c, told.heat_demand_kw) == (approx(COP), 0.0, 8.0)


def test_standing_losses_are_a_part_of_the_heat_in_store() -> None:
    """No demand, no power: after 2 h at 10 %/h e^-0.2 of 25 kWh is left."""
    twin = bench(heatpump(loss_frac_per_h=0.1), demand=[0.0])
    twin.sense(T0)
    told = twin.sense(T0 + 2 * HOUR)
    assert told.soc_frac == approx(0.5 * 0.8187307530779818)
    assert told.energy_import_kwh == 0.0


def test_the_thermostat_starts_at_the_lower_end_and_stops_at_the_upper_one() -> None:
    """From 25 to 10 kWh at 8 kW in 1.875 h; then 10 kW · 2.828 − 8 kW = 20.28 kW up to 40 kWh in 1.4793 h."""
    twin = bench(heatpump(fallback="uncontrolled"))
    twin.sense(T0)
    told = twin.sense(T0 + 4 * HOUR)
    (_, off), (start, on), (stop, off_again) = pieces(told)
    assert (off, on, off_again) == (0.0, 10.0, 0.0)
    assert start == T0 + timedelta(hours=1.875)
    assert (stop - start) / HOUR == approx(30 / (10 * COP - 8), abs=1e-9)
    assert told.soc_frac == approx(0.8 - 8 * (4 - (stop - T0) / HOUR) / 50)


def test_an_expired_set_point_leaves_the_house_to_its_thermostat_in_wall_time() -> None:
    twin = bench(heatpump(), TimeMode.WALL)
    begin = at("08:00")
    twin.sense(begin)
    given = setpoint(begin, 4.0, fallback=Fallback.UNCONTROLLED, valid_until=begin + timedelta(seconds=90))
    assert twin.apply(begin, given).accepted
    assert twin.sense(begin + timedelta(seconds=89)).power_kw == 4.0
    # It ran, so the thermostat lets it run, at full power, until the upper end of the band.
    assert twin.sense(begin + timedelta(seconds=90)).power_kw == 10.0
    assert twin.sense(begin + 3 * HOUR).power_kw == 0.0
    resting = bench(heatpump(), TimeMode.WALL)
    resting.sense(begin)
    resting.apply(begin, given.model_copy(update={"power_kw": 0.0}))
    # It rested, so it rests until the lower end: 15 kWh at 8 kW.
    assert resting.sense(begin + timedelta(minutes=112)).power_kw == 0.0
    assert resting.sense(begin + timedelta(minutes=113)).power_kw == 10.0


def test_below_its_smallest_power_the_compressor_pauses() -> None:
    twin = bench(heatpump())
    twin.sense(T0)
    ack = twin.apply(T0, setpoint(T0, 1.9))
    assert ack.applied_kw == 0.0
    assert ack.reason == "less than the smallest power, 2.0 kW, is asked"
    assert twin.sense(T0 + timedelta(minutes=5)).power_kw == 0.0


def test_a_full_buffer_takes_no_heat_until_it_is_well_within_the_band() -> None:
    """25 kWh up at 28.28 kW in 53 min; then 8 kW down from 50 to 37 kWh in 97.5 min, and up again."""
    twin = bench(heatpump())
    twin.sense(T0)
    twin.apply(T0, setpoint(T0, 10.0, valid_until=T0 + 10 * HOUR))
    told = twin.sense(T0 + 3 * HOUR)
    (_, first), (full, rests), (again, second) = pieces(told)
    assert (first, rests, second) == (10.0, 0.0, 10.0)
    assert (full - T0) / HOUR == approx(25 / (10 * COP - 8), abs=1e-9)
    assert (again - full) / HOUR == approx(13 / 8, abs=1e-9)


def test_heat_that_an_empty_buffer_cannot_give_is_counted() -> None:
    """25 kWh at 20 kW last 1.25 h; of the 15 kWh after it 2 kW · 2.828 are served."""
    twin = bench(heatpump(), demand=[20.0])
    twin.sense(T0)
    twin.apply(T0, setpoint(T0 + 1.25 * HOUR, 2.0, valid_until=T0 + 9 * HOUR))
    told = twin.sense(T0 + 2 * HOUR)
    assert told.soc_frac == approx(0.0, abs=1e-9)
    assert told.heat_unserved_kwh == approx(0.75 * (20 - 2 * COP))
    assert told.heat_served_kwh == approx(25 + 0.75 * 2 * COP)
    assert told.heat_served_kwh + told.heat_unserved_kwh == approx(40.0)


def test_set_points_beyond_the_nameplate_and_of_the_wrong_kind() -> None:
    twin = bench(heatpump())
    twin.sense(T0)
    high = twin.apply(T0, setpoint(T0, 30.0))
    assert (high.accepted, high.applied_kw) == (True, 10.0)
    assert high.reason == "power_kw 30.0 is outside the nameplate, 0.0 to 10.0 kW"
    negative = twin.apply(T0, setpoint(T0, -5.0, id="negative"))
    assert (negative.accepted, negative.applied_kw) == (True, 0.0)
    wrong = twin.apply(T0, limit(T0, 5.0, id="wrong"))
    assert (wrong.accepted, wrong.reason) == (False, "a heatpump takes power_kw, not limit_kw")


def test_one_that_is_not_controllable_follows_its_thermostat_alone() -> None:
    twin = bench(heatpump(controllable=False))
    assert set(twin.participant.birth().capabilities) == {"storage", "heat", "fixed_load"}
    twin.sense(T0)
    assert not twin.apply(T0, setpoint(T0, 5.0)).accepted
    assert [power for _, power in pieces(twin.sense(T0 + 4 * HOUR))] == [0.0, 10.0, 0.0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"min_power_kw": 11.0}, "min_power_kw 11.0 is above max_power_kw 10.0"),
        ({"soc_min_frac": 0.8}, "soc_min_frac 0.8 is not below soc_max_frac 0.8"),
        ({"temp_outdoor_profile": "warm"}, "there is no such profile; there are cold, demand, price"),
        ({"quality_grade": 0.0}, "greater than 0"),
    ],
)
def test_descriptions_that_make_no_sense_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        house(heatpump(**changes))


START, END = at("08:00"), at("14:00")
instants = st.integers(0, 21_600_000).map(lambda ms: START + timedelta(milliseconds=ms))
commands = st.lists(
    st.tuples(instants, st.sampled_from([0.0, 1.0, 2.0, 5.5, 10.0]), st.integers(1, 9_000), st.sampled_from(Fallback)),
    max_size=6,
).map(lambda given: sorted(given, key=lambda command: command[0]))
devices = st.fixed_dictionaries(
    {
        "buffer_kwh": st.sampled_from([2.0, 10.0, 50.0]),
        "loss_frac_per_h": st.sampled_from([0.0, 0.01, 0.3]),
        "initial_soc_frac": st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]),
        "soc_min_frac": st.sampled_from([0.0, 0.2]),
        "soc_max_frac": st.sampled_from([0.8, 1.0]),
        "min_power_kw": st.sampled_from([0.0, 2.0]),
        "dead_time_s": st.sampled_from([0.0, 30.0]),
        "fallback": st.sampled_from(["idle", "hold", "uncontrolled"]),
        "controllable": st.sampled_from([True, True, False]),
    }
).map(lambda given: heatpump(**given))
DEMAND = [0.0, 4.0, 8.0, 40.0, 12.0, 0.0, 6.0, 2.5] * 12
TEMPS = [-15.0 + 0.25 * i for i in range(48)]


def live(
    device: dict[str, Any], given: Any, asked: list[datetime], mode: TimeMode = TimeMode.WALL
) -> tuple[Bench, Any]:
    twin = bench(device, mode, demand=DEMAND, temps=TEMPS)
    told = [twin.sense(START)]
    events = [(command[0], 0, i) for i, command in enumerate(given)] + [(instant, 1, 0) for instant in asked]
    for instant, rank, index in sorted(events):
        if rank:
            told.append(twin.sense(instant))
        else:
            _, power, lasts, fallback = given[index]
            until = instant + timedelta(seconds=lasts)
            twin.apply(instant, setpoint(instant, power, id=f"s{index}", valid_until=until, fallback=fallback))
    return twin, [*told, twin.sense(END)]


@settings(deadline=None, max_examples=150)
@given(devices, commands, st.lists(instants, max_size=12))
def test_telemetry_that_is_asked_for_alters_nothing(device: dict[str, Any], given: Any, asked: list[datetime]) -> None:
    assert live(device, given, asked)[1][-1] == live(device, given, [])[1][-1]


@settings(deadline=None, max_examples=150)
@given(devices, commands)
def test_electricity_times_cop_is_served_lost_or_stored(device: dict[str, Any], given: Any) -> None:
    description = house(device, DEMAND, TEMPS)
    cold, zone = description.profiles["cold"], description.zone
    twin, told = live(device, given, [], TimeMode.LOCKSTEP)
    end = told[-1]
    plate = description.devices["device"].nameplate
    heat = wanted = 0.0
    cuts = pieces(end)
    for (start, power), (stop, _) in zip(cuts, [*cuts[1:], (END, 0.0)], strict=True):
        time = start
        while time < stop:
            until = min(stop, cold.next_change(time, zone))
            heat += power * plate.cop(cold.at(time, zone)) * ((until - time) / HOUR)
            time = until
    time = START
    while time < END:
        until = min(END, description.profiles["demand"].next_change(time, zone))
        wanted += description.profiles["demand"].at(time, zone) * ((until - time) / HOUR)
        time = until
    lost = twin.participant._heat_at(END).lost  # type: ignore[attr-defined]  # The integral, in a closed form of its own.
    stored = (end.soc_frac - device["initial_soc_frac"]) * device["buffer_kwh"]
    assert end.heat_kwh == approx(heat, abs=1e-9)
    assert end.heat_served_kwh + end.heat_unserved_kwh == approx(wanted, abs=1e-9)
    assert stored == approx(end.heat_kwh - end.heat_served_kwh - lost, abs=1e-8)
    assert lost >= 0


@settings(deadline=None, max_examples=12)
@given(devices, commands)
def test_losses_are_the_integral_of_the_heat_in_store(device: dict[str, Any], given: Any) -> None:
    """By the trapezoidal rule over what is told every 5 s."""
    often = [START + timedelta(seconds=5 * i) for i in range(1, 4320)]
    _, told = live(device, given, often)
    heats = [each.soc_frac * device["buffer_kwh"] for each in told]
    lost = device["loss_frac_per_h"] * sum(a + b for a, b in itertools.pairwise(heats)) / 2 * 5 / 3600
    stored = heats[-1] - heats[0]
    assert stored == approx(told[-1].heat_kwh - told[-1].heat_served_kwh - lost, abs=2e-3)


@settings(deadline=None, max_examples=60)
@given(devices, commands, st.lists(instants, max_size=6))
def test_limits_hold(device: dict[str, Any], given: Any, asked: list[datetime]) -> None:
    _, told = live(device, given, asked, TimeMode.LOCKSTEP)
    least = device["min_power_kw"]
    for each in told:
        assert 0 <= each.soc_frac <= 1
        assert all(power == 0 or max(least, 0) <= power <= 10.0 for _, power in pieces(each))


@settings(deadline=None, max_examples=60)
@given(devices, commands, instants, st.sampled_from(list(TimeMode)))
def test_a_twin_restored_from_json_continues_to_the_last_bit(
    device: dict[str, Any], given: Any, cut: datetime, mode: TimeMode
) -> None:
    description = house(device, DEMAND, TEMPS)
    whole, broken = (Bench(build_twin(description, "device"), mode) for _ in range(2))
    events = sorted([(command[0], i) for i, command in enumerate(given)] + [(cut, -1), (START, -2)])
    for number, (instant, index) in enumerate(events):
        if index == -1:
            broken.participant = through_json(broken.participant, build_twin(description, "device"))
        for twin in (whole, broken):
            twin.n = number
            if index < 0:
                twin.sense(instant)
                continue
            _, power, lasts, fallback = given[index]
            until = instant + timedelta(seconds=lasts)
            twin.apply(instant, setpoint(instant, power, id=f"s{index}", valid_until=until, fallback=fallback))
    assert broken.sense(END) == whole.sense(END)
    assert json.dumps(broken.participant.snapshot()) == json.dumps(whole.participant.snapshot())
