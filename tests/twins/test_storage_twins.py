"""Battery and charger by hand: dead time, ramp, taper, bounds, unplugging, expiry."""

import math

import pytest
from pytest import approx

from schemas.messages import ChargerTelemetry, Fallback, TimeMode
from tests.twins.builders import T0, Bench, at, bess, charger, pieces, seconds, setpoint, site, stay
from twin_devices.build import build_twin


def charger_bench(**changes: object) -> Bench:
    return Bench(build_twin(site({"ev": charger(**changes)}), "ev"))


def bess_bench(**changes: object) -> Bench:
    return Bench(build_twin(site({"bess": bess(**changes)}), "bess"))


def test_a_set_point_acts_from_its_quarter_on() -> None:
    bench = bess_bench()
    bench.sense(T0)
    ack = bench.apply(T0, setpoint(T0, 8.0))
    assert (ack.accepted, ack.applied_kw, ack.reason) == (True, 8.0, None)
    told = bench.sense(at("00:15"))
    assert pieces(told) == [(T0, 8.0)]
    # 8 kW · 0.25 h = 2 kWh; 0.5 + 2 · 0.9 / 40
    assert told.energy_import_kwh == approx(2.0, abs=1e-15)
    assert told.energy_export_kwh == 0
    assert told.soc_frac == approx(0.545, abs=1e-15)


def test_during_the_dead_time_the_old_value_is_held() -> None:
    bench = bess_bench(dead_time_s=30)
    bench.sense(T0)
    bench.apply(T0, setpoint(T0, 8.0))
    assert pieces(bench.sense(at("00:15"))) == [(T0, 0.0), (T0 + seconds(30), 8.0)]
    bench.apply(at("00:15"), setpoint(at("00:15"), -4.0))
    told = bench.sense(at("00:30"))
    # The set-point before is valid until 00:15 only, but the new one is on its way: nothing falls back.
    assert pieces(told) == [(at("00:15"), 8.0), (at("00:15:30"), -4.0)]
    # 8 kW for 870 s and 30 s; 4 kW for 870 s.
    assert told.energy_import_kwh == approx(8 * 900 / 3600)
    assert told.energy_export_kwh == approx(4 * 870 / 3600)


def test_a_dead_time_delays_each_of_two_set_points() -> None:
    bench = bess_bench(dead_time_s=30)
    bench.sense(T0)
    bench.apply(T0, setpoint(T0, 8.0, id="a"))
    bench.mode = TimeMode.WALL
    bench.apply(T0 + seconds(10), setpoint(T0, 4.0, id="b"))
    bench.mode = TimeMode.LOCKSTEP
    assert pieces(bench.sense(at("00:01"))) == [(T0, 0.0), (T0 + seconds(30), 8.0), (T0 + seconds(40), 4.0)]


def test_a_ramp_begins_after_the_dead_time_and_is_sampled_by_its_means() -> None:
    bench = bess_bench(dead_time_s=30, ramp_kw_per_s=0.4, sub_step_s=10)
    bench.sense(T0)
    bench.apply(T0, setpoint(T0, 10.0))
    # 25 s of ramp: means of 0..4, 4..8, and 8..10 within 5 s with 10 kW for the other 5 s.
    begin = T0 + seconds(30)
    told = bench.sense(at("00:15"))
    assert [start for start, _ in pieces(told)] == [T0, *(begin + seconds(s) for s in (0, 10, 20, 30))]
    assert [power for _, power in pieces(told)] == approx([0, 2, 6, 9.5, 10])
    # 870 s at 10 kW less the ramp's triangle of 25 s · 10 kW / 2.
    assert told.energy_import_kwh == approx((870 * 10 - 125) / 3600)


def test_a_full_battery_stops_in_mid_quarter() -> None:
    bench = bess_bench(initial_soc_frac=0.8)
    bench.sense(T0)
    bench.apply(T0, setpoint(T0, 20.0, valid_until=at("01:00")))
    told = bench.sense(at("01:00"))
    # 0.1 · 40 kWh / (16 kW · 0.9) = 1000 s
    assert pieces(told) == [(T0, 16.0), (T0 + seconds(1000), 0.0)]
    assert told.soc_frac == approx(0.9, abs=1e-9)
    assert told.soc_frac <= 0.9
    ack = bench.apply(at("01:00"), setpoint(at("01:00"), 5.0))
    assert (ack.accepted, ack.applied_kw, ack.reason) == (True, 0.0, "the SOC is at its bound")
    assert pieces(bench.sense(at("01:15"))) == [(at("01:00"), 0.0)]


def test_an_empty_battery_stops_and_can_be_charged_again() -> None:
    bench = bess_bench(initial_soc_frac=0.15)
    bench.sense(T0)
    bench.apply(T0, setpoint(T0, -16.0))
    told = bench.sense(at("00:15"))
    # 0.05 · 40 kWh · 0.8 / 16 kW = 360 s
    assert pieces(told) == [(T0, -16.0), (T0 + seconds(360), 0.0)]
    bench.apply(at("00:15"), setpoint(at("00:15"), 4.0))
    assert pieces(bench.sense(at("00:30"))) == [(at("00:15"), 4.0)]


def test_a_taper_samples_the_soc_on_the_grid_of_its_sub_steps() -> None:
    bench = charger_bench(
        taper={"start_soc_frac": 0.8, "end_power_frac": 0.0}, sub_step_s=300, sessions=[stay(arrival_soc_frac=0.77)]
    )
    bench.sense(at("09:00"))
    bench.apply(at("09:00"), setpoint(at("09:00"), 20.0))
    told = bench.sense(at("09:15"))
    # 20 kW · 0.9 / 50 kWh · 300 s = 0.03: after one sub-step the SOC is 0.8, where the taper begins. After two it is
    # 0.83: 20 · (1 - 0.03 / 0.2) = 17 kW.
    assert [start for start, _ in pieces(told)] == [at("09:00"), at("09:10")]
    assert [power for _, power in pieces(told)] == approx([20.0, 17.0])
    assert told.vehicle.soc_frac == approx(0.83 + 17 * 0.9 / 50 / 12)


def test_a_vehicle_near_full_draws_less_than_the_smallest_power_that_is_offered() -> None:
    bench = charger_bench(
        taper={"start_soc_frac": 0.8, "end_power_frac": 0.0},
        min_power_kw=15.0,
        sessions=[stay(arrival_soc_frac=0.8, soc_max_frac=1.0)],
    )
    bench.sense(at("09:00"))
    bench.apply(at("09:00"), setpoint(at("09:00"), 20.0, valid_until=at("12:00")))
    told = bench.sense(at("12:00"))
    powers = [power for _, power in pieces(told)]
    assert powers == sorted(powers, reverse=True)
    # dx/dt = 0.9 · 20/50 · (1 - x/0.2) per hour: after 3 h, x = 0.2 · (1 - exp(-5.4)).
    assert told.vehicle.soc_frac == approx(0.8 + 0.2 * (1 - math.exp(-5.4)), abs=1e-4)


def test_a_vehicle_arrives_and_leaves_in_mid_quarter() -> None:
    bench = charger_bench(sessions=[stay(arrival=at("09:04:10"), departure=at("09:20"))])
    assert bench.sense(at("09:00")).vehicle is None
    ack = bench.apply(at("09:00"), setpoint(at("09:00"), 10.0))
    assert (ack.accepted, ack.applied_kw, ack.reason) == (True, 0.0, "no vehicle is plugged")
    told = bench.sense(at("09:15"))
    assert pieces(told) == [(at("09:00"), 0.0), (at("09:04:10"), 10.0)]
    assert told.vehicle.arrival == at("09:04:10")
    # 10 kW · 650 s
    assert told.vehicle.charged_kwh == approx(6500 / 3600)
    assert told.vehicle.soc_frac == approx(0.5 + 6500 / 3600 * 0.9 / 50)
    bench.apply(at("09:15"), setpoint(at("09:15"), -10.0))
    told = bench.sense(at("09:30"))
    assert pieces(told) == [(at("09:15"), -10.0), (at("09:20"), 0.0)]
    assert told.vehicle is None
    assert told.energy_export_kwh == approx(10 * 300 / 3600)


@pytest.mark.parametrize("announced", ["17:00", "18:00"])
def test_the_announced_departure_is_told_and_the_real_one_happens(announced: str) -> None:
    bench = charger_bench(sessions=[stay(departure=at("17:30"), announced_departure=at(announced))])
    bench.sense(at("17:00"))
    bench.apply(at("17:00"), setpoint(at("17:00"), 5.0))
    told = bench.sense(at("17:15"))
    assert told.vehicle.departure == at(announced)
    assert told.power_kw == 5.0
    bench.apply(at("17:15"), setpoint(at("17:15"), 5.0))
    assert bench.sense(at("17:30")).vehicle is None


def test_a_vehicle_that_follows_another_at_once_starts_with_its_own_soc() -> None:
    first = stay(vehicle="a", departure=at("12:00"))
    second = stay(vehicle="b", arrival=at("12:00"), arrival_soc_frac=0.3)
    bench = charger_bench(sessions=[first, second])
    bench.sense(at("11:45"))
    bench.apply(at("11:45"), setpoint(at("11:45"), 10.0))
    told = bench.sense(at("12:00"))
    assert (told.vehicle.vehicle, told.vehicle.soc_frac, told.vehicle.charged_kwh) == ("b", 0.3, 0.0)


def test_a_vehicle_below_its_minimum_charges_but_does_not_discharge() -> None:
    bench = charger_bench(sessions=[stay(arrival_soc_frac=0.1, soc_min_frac=0.2)])
    bench.sense(at("09:00"))
    assert bench.apply(at("09:00"), setpoint(at("09:00"), -10.0)).applied_kw == 0
    told = bench.sense(at("09:15"))
    assert (told.power_kw, told.vehicle.soc_frac) == (0.0, 0.1)
    assert bench.apply(at("09:15"), setpoint(at("09:15"), 10.0)).applied_kw == 10.0
    assert bench.sense(at("09:30")).vehicle.soc_frac > 0.1


def test_a_vehicles_own_limits_hold() -> None:
    bench = charger_bench(sessions=[stay(max_charge_kw=7.0, max_discharge_kw=3.0)])
    bench.sense(at("09:00"))
    ack = bench.apply(at("09:00"), setpoint(at("09:00"), 15.0))
    assert (ack.applied_kw, ack.reason) == (7.0, "the vehicle allows no more")
    assert pieces(bench.sense(at("09:15"))) == [(at("09:00"), 7.0)]
    assert bench.apply(at("09:15"), setpoint(at("09:15"), -15.0)).applied_kw == -3.0


def test_an_uncontrolled_charge_stops_at_the_target() -> None:
    bench = charger_bench(fallback="uncontrolled", fallback_kw=20.0, sessions=[stay(target_soc_frac=0.6)])
    bench.sense(at("09:00"))
    told = bench.sense(at("10:00"))
    # 0.1 · 50 kWh / (20 kW · 0.9) = 1000 s
    assert pieces(told) == [(at("09:00"), 20.0), (at("09:16:40"), 0.0)]
    assert told.vehicle.soc_frac == approx(0.6, abs=1e-9)


def test_a_charger_without_control_charges_at_once_and_refuses_set_points() -> None:
    bench = charger_bench(controllable=False, fallback="idle", sessions=[stay(target_soc_frac=0.6)])
    birth = bench.participant.birth()
    assert birth.nameplate.controllable is False  # type: ignore[union-attr]
    assert birth.fallback is Fallback.UNCONTROLLED
    bench.sense(at("09:00"))
    ack = bench.apply(at("09:00"), setpoint(at("09:00"), 0.0))
    assert not ack.accepted
    assert "not controllable" in str(ack.reason)
    assert pieces(bench.sense(at("09:15"))) == [(at("09:00"), 20.0)]


def test_a_run_that_begins_amid_a_stay_finds_the_arrival_soc() -> None:
    bench = charger_bench()
    told = bench.sense(at("13:00"))
    assert isinstance(told, ChargerTelemetry)
    assert told.vehicle is not None
    assert (told.vehicle.soc_frac, told.vehicle.arrival) == (0.5, at("09:00"))
    assert pieces(told) == []


def test_daily_stays_come_back_every_day() -> None:
    daily = {key: value for key, value in stay().items() if key not in {"arrival", "departure"}}
    bench = charger_bench(
        sessions=[], daily=[daily | {"arrival": "09:00", "departure": "18:00"}], fallback="uncontrolled"
    )
    bench.sense(T0)
    told = bench.sense(at("72:00"))
    # Three times 0.4 · 50 kWh / 0.9
    assert told.energy_import_kwh == approx(3 * 20 / 0.9, abs=1e-6)
    assert [start for start, power in pieces(told) if power > 0] == [at("09:00"), at("33:00"), at("57:00")]


def test_away_nothing_flows_and_the_soc_stays() -> None:
    bench = bess_bench()
    bench.sense(T0)
    bench.apply(T0, setpoint(T0, 8.0))
    told = bench.sense(at("02:00"), gap=True)
    assert pieces(told) == [(T0, 0.0)]
    assert (told.soc_frac, told.energy_import_kwh) == (0.5, 0.0)
    bench.apply(at("02:00"), setpoint(at("02:00"), 8.0))
    assert pieces(bench.sense(at("02:15"))) == [(at("02:00"), 8.0)]
