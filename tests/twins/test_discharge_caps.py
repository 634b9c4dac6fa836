"""What a vehicle gives back stays within its caps of a session and a day, whatever set-points come and from whom."""

import itertools
import json
import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pytest import approx

from schemas.messages import ChargerTelemetry, Fallback, TimeMode
from tests.twins.builders import T0, Bench, at, charger, pieces, seconds, setpoint, site, stay
from twin_devices.build import build_twin


def bench_of(*stays: dict[str, Any], **changes: Any) -> Bench:
    return Bench(build_twin(site({"ev": charger(sessions=list(stays), **changes)}), "ev"))


def full(**changes: Any) -> dict[str, Any]:
    return stay(arrival_soc_frac=0.9, **changes)


def test_a_session_gives_its_cap_and_stops_within_the_quarter() -> None:
    bench = bench_of(full(max_discharge_session_kwh=3.0))
    bench.sense(at("09:00"))
    ack = bench.apply(at("09:00"), setpoint(at("09:00"), -10.0, valid_until=at("12:00")))
    assert (ack.applied_kw, ack.reason) == (-10.0, None)
    told = bench.sense(at("12:00"))
    # 3 kWh / 10 kW = 1080 s
    assert pieces(told) == [(at("09:00"), -10.0), (at("09:18"), 0.0)]
    assert told.vehicle.discharged_kwh == approx(3.0, abs=1e-9)
    ack = bench.apply(at("12:00"), setpoint(at("12:00"), -4.0))
    assert ack.applied_kw == 0.0
    assert "all the kWh that it may" in (ack.reason or "")
    assert bench.apply(at("12:00"), setpoint(at("12:00"), 5.0, id="up")).applied_kw == 5.0
    # What it charges is not given back: the cap is of what was given.
    bench.sense(at("12:15"))
    assert bench.apply(at("12:15"), setpoint(at("12:15"), -4.0)).applied_kw == 0.0
    assert bench.sense(at("12:30")).vehicle.discharged_kwh == approx(3.0, abs=1e-9)


def test_no_kwh_is_no_consent_and_a_cap_may_be_assumed_of_all_who_come() -> None:
    for changes in (
        {"sessions": [full(max_discharge_session_kwh=0.0)]},
        {"sessions": [full()], "assume": {"max_discharge_session_kwh": 0.0}},
        {"sessions": [full(max_discharge_kw=0.0)]},
    ):
        bench = Bench(build_twin(site({"ev": charger(**changes)}), "ev"))
        bench.sense(at("09:00"))
        assert bench.apply(at("09:00"), setpoint(at("09:00"), -10.0)).applied_kw == 0.0
        assert bench.sense(at("09:15")).energy_export_kwh == 0.0
    # The vehicle's own cap comes before the one assumed.
    bench = bench_of(full(max_discharge_session_kwh=2.0), assume={"max_discharge_session_kwh": 0.0})
    bench.sense(at("09:00"))
    bench.apply(at("09:00"), setpoint(at("09:00"), -10.0))
    assert bench.sense(at("09:15")).energy_export_kwh == approx(2.0, abs=1e-9)


def test_a_day_begins_anew_at_local_midnight_and_the_session_goes_on() -> None:
    night = full(arrival=at("20:00"), departure=at("32:00"), max_discharge_day_kwh=4.0, max_discharge_session_kwh=7.0)
    bench = bench_of(night)
    bench.sense(at("20:00"))
    bench.apply(at("20:00"), setpoint(at("20:00"), -2.0, valid_until=at("31:00")))
    before = bench.sense(at("23:59"))
    # 4 kWh / 2 kW = 2 h, then again from midnight; of the session 7 − 4 = 3 kWh are left: 1.5 h.
    assert pieces(before) == [(at("20:00"), -2.0), (at("22:00"), 0.0)]
    assert before.vehicle.discharged_day_kwh == approx(4.0, abs=1e-9)
    assert bench.sense(at("24:00")).vehicle.discharged_day_kwh == 0.0
    after = bench.sense(at("31:00"))
    assert pieces(after) == [(at("24:00"), -2.0), (at("25:30"), 0.0)]
    assert after.vehicle.discharged_kwh == approx(7.0, abs=1e-9)
    assert after.vehicle.discharged_day_kwh == approx(3.0, abs=1e-9)


def test_a_vehicle_that_comes_again_has_what_is_left_of_its_day() -> None:
    bench = bench_of(
        full(arrival=at("09:00"), departure=at("10:00"), max_discharge_day_kwh=5.0),
        full(arrival=at("11:00"), departure=at("12:00"), max_discharge_day_kwh=5.0, vehicle="other"),
        full(arrival=at("13:00"), departure=at("14:00"), max_discharge_day_kwh=5.0),
    )
    bench.sense(at("09:00"))
    bench.apply(at("09:00"), setpoint(at("09:00"), -3.0, valid_until=at("15:00")))
    given_kwh = [bench.sense(at(hour)).energy_export_kwh for hour in ("10:30", "12:30", "14:30")]
    # 3 kWh in an hour; the other car has a cap of its own; 5 − 3 = 2 kWh are left at 13:00.
    assert [b - a for a, b in itertools.pairwise([0.0, *given_kwh])] == approx([3.0, 3.0, 2.0], abs=1e-9)


instants = st.integers(0, 2 * 86_400).map(lambda s: T0 + seconds(s))
commands = st.lists(
    st.tuples(
        instants, st.integers(-250, 250).map(lambda n: n / 10), st.integers(30, 50_000), st.sampled_from(Fallback)
    ),
    max_size=12,
)
caps = st.sampled_from([None, 0.0, 0.7, 4.0])
DAYS = [(at("08:00"), at("17:00")), (at("18:30"), at("31:00")), (at("33:00"), at("47:00"))]


@settings(deadline=None, max_examples=150)
@given(commands, caps, caps, st.sampled_from([0.0, 4.0]), st.sampled_from([None, 0.05]), st.lists(instants, max_size=4))
def test_caps_are_never_exceeded(
    given_commands: list[tuple[datetime, float, int, Fallback]],
    session_kwh: float | None,
    day_kwh: float | None,
    least_kw: float,
    ramp: float | None,
    restarts: list[datetime],
) -> None:
    """Two days, three sessions of one car, foreign set-points at any instants; the twin is restored now and then."""
    stays = [
        full(arrival=arrival, departure=departure, max_discharge_session_kwh=session_kwh, max_discharge_day_kwh=day_kwh)
        for arrival, departure in DAYS
    ]
    house = site({"ev": charger(sessions=stays, min_power_kw=least_kw, ramp_kw_per_s=ramp, dead_time_s=20.0)})
    bench = Bench(build_twin(house, "ev"), TimeMode.WALL)
    bench.sense(T0)
    edges = sorted({edge for pair in DAYS for edge in pair} | {at("24:00"), at("48:00")})
    events = sorted(
        [(instant, 1, i) for i, (instant, *_) in enumerate(given_commands)]
        + [(instant, 0, 0) for instant in edges]
        + [(instant, 2, 0) for instant in restarts]
    )
    registers = {T0: 0.0}
    for instant, rank, i in events:
        if rank == 0:
            registers[instant] = bench.sense(instant).energy_export_kwh
        elif rank == 1:
            _, power, lasts, fallback = given_commands[i]
            until = instant + timedelta(seconds=lasts)
            bench.apply(instant, setpoint(instant, power, id=f"s{i}", valid_until=until, fallback=fallback))
        else:
            fresh = build_twin(house, "ev")
            fresh.restore(json.loads(json.dumps(bench.participant.snapshot())))
            bench.participant = fresh
    for arrival, departure in DAYS:
        assert registers[departure] - registers[arrival] <= (math.inf if session_kwh is None else session_kwh) + 1e-9
    for begin, end in ((T0, at("24:00")), (at("24:00"), at("48:00"))):
        assert registers[end] - registers[begin] <= (math.inf if day_kwh is None else day_kwh) + 1e-9


def test_a_checkpoint_of_an_earlier_version_has_no_caps() -> None:
    bench = bench_of(full())
    bench.sense(at("09:00"))
    state = json.loads(json.dumps(bench.participant.snapshot()))
    del state["own"]["caps"]
    fresh = bench_of(full())
    fresh.participant.restore(state)
    fresh.apply(at("09:00"), setpoint(at("09:00"), -10.0))
    assert fresh.sense(at("09:15")).energy_export_kwh == approx(2.5, abs=1e-9)


def test_a_day_of_a_car_has_one_charger_that_counts_it() -> None:
    capped, other = full(max_discharge_day_kwh=3.0), full(arrival=at("19:00"), departure=at("20:00"))
    with pytest.raises(ValidationError, match="car comes to ev, too, and each charger counts its day for itself"):
        site({"ev": charger(sessions=[capped]), "ew": charger(sessions=[other | {"max_discharge_day_kwh": 3.0}])})
    site({"ev": charger(sessions=[capped]), "ew": charger(sessions=[full(vehicle="w", max_discharge_day_kwh=3.0)])})


def test_a_vehicle_that_says_so_is_heard_with_its_caps() -> None:
    bench = bench_of(full(max_discharge_session_kwh=3.0, max_discharge_day_kwh=2.0))
    told = bench.sense(at("09:00"))
    assert isinstance(told, ChargerTelemetry) and told.vehicle is not None
    assert (told.vehicle.max_discharge_session_kwh, told.vehicle.max_discharge_day_kwh) == (3.0, 2.0)
    assert told.vehicle.discharged_day_kwh == 0.0
    silent = bench_of(full(max_discharge_session_kwh=3.0), reports=[]).sense(at("09:00"))
    assert silent.vehicle.max_discharge_session_kwh is None
