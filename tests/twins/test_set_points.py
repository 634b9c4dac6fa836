"""Validity, fallback, epochs, refusals: what every device does with set-points."""

from datetime import timedelta

import pytest
from pytest import approx

from schemas.messages import EPOCH_STEP_MOST, SETPOINTS_AHEAD_MOST, Ack, Fallback, Phase, Setpoint, TimeMode
from schemas.topics import Kind
from tests.twins.builders import (
    T0,
    Bench,
    at,
    bess,
    charger,
    device_topic,
    limit,
    pieces,
    pv,
    received,
    seconds,
    setpoint,
    site,
)
from twin_devices.build import build_twin

METER = {"kind": "meter", "profile": "base"}


def bench(kind: str, mode: TimeMode = TimeMode.LOCKSTEP, **changes: object) -> Bench:
    make = {"bess": bess, "charger": charger, "pv": pv}
    devices = {"device": make[kind](**changes) if kind in make else METER}
    return Bench(build_twin(site(devices), "device"), mode)


@pytest.mark.parametrize(
    ("fallback", "expected"), [(Fallback.IDLE, 0.0), (Fallback.HOLD, 6.0), (Fallback.UNCONTROLLED, 4.14)]
)
def test_a_charger_falls_back_exactly_when_validity_ends(fallback: Fallback, expected: float) -> None:
    charging = bench("charger")
    charging.sense(at("09:00"))
    charging.apply(at("09:00"), setpoint(at("09:00"), 6.0, valid_until=at("09:07"), fallback=fallback))
    told = pieces(charging.sense(at("09:15")))
    assert told == ([(at("09:00"), 6.0)] if expected == 6.0 else [(at("09:00"), 6.0), (at("09:07"), expected)])


def test_a_battery_without_an_ems_rests() -> None:
    battery = bench("bess")
    battery.sense(T0)
    battery.apply(T0, setpoint(T0, 6.0, valid_until=at("00:05"), fallback=Fallback.UNCONTROLLED))
    assert pieces(battery.sense(at("00:15"))) == [(T0, 6.0), (at("00:05"), 0.0)]


def test_in_lock_step_the_end_of_validity_waits_for_the_apply_phase() -> None:
    battery = bench("bess")
    battery.sense(T0)
    battery.apply(T0, setpoint(T0, 6.0))
    assert battery.sense(at("00:15")).power_kw == 6.0
    # No new set-point came: from 00:15 on it idles.
    assert pieces(battery.sense(at("00:30"))) == [(at("00:15"), 0.0)]


def test_in_wall_time_validity_ends_at_its_instant() -> None:
    battery = bench("bess", TimeMode.WALL)
    battery.sense(T0)
    battery.apply(T0, setpoint(T0, 6.0))
    told = battery.sense(at("00:15"))
    assert (told.power_kw, told.segments) == (0.0, None)
    assert told.energy_import_kwh == approx(1.5)


def test_before_the_first_set_point_the_birth_fallback_holds() -> None:
    charging = bench("charger", fallback="uncontrolled", fallback_kw=20.0)
    assert charging.participant.birth().fallback is Fallback.UNCONTROLLED
    assert charging.sense(at("09:00")).power_kw == 20.0
    assert bench("charger", fallback="hold").sense(at("09:00")).power_kw == 0.0


def test_a_set_point_for_later_waits_for_its_time() -> None:
    battery = bench("bess", TimeMode.WALL)
    battery.sense(T0)
    battery.apply(T0 + seconds(1), setpoint(T0, 6.0, valid_until=at("00:20")))
    battery.apply(at("00:14"), setpoint(at("00:15"), -6.0))
    assert battery.sense(at("00:14:59")).power_kw == 6.0
    assert battery.sense(at("00:15")).power_kw == -6.0


def test_a_set_point_that_comes_early_has_its_dead_time_behind_it() -> None:
    battery = bench("bess", TimeMode.WALL, dead_time_s=30)
    battery.sense(T0)
    battery.apply(at("00:14"), setpoint(at("00:15"), -6.0))
    assert battery.sense(at("00:15")).power_kw == -6.0


def test_of_two_set_points_of_one_instant_the_later_counts() -> None:
    battery = bench("bess")
    battery.sense(T0)
    battery.apply(T0, setpoint(T0, 6.0, id="a"), setpoint(T0, 3.0, id="b"))
    assert pieces(battery.sense(at("00:15"))) == [(T0, 3.0)]


@pytest.mark.parametrize("phase", [Phase.SENSE, Phase.MEASURE, Phase.DECIDE, Phase.APPLY, Phase.COMMIT])
def test_a_set_point_is_handled_in_any_phase(phase: Phase) -> None:
    battery = bench("bess")
    battery.sense(T0)
    assert battery.apply(T0, setpoint(T0, 6.0), phase=phase).accepted
    assert pieces(battery.sense(at("00:15"))) == [(T0, 6.0)]


def test_a_lower_epoch_is_refused_and_changes_nothing() -> None:
    battery = bench("bess")
    battery.sense(T0)
    battery.apply(T0, setpoint(T0, 6.0, epoch=5))
    ack = battery.apply(T0, setpoint(T0, 1.0, epoch=4, id="old"))
    assert not ack.accepted
    assert ack.applied_kw is None
    assert ack.reason == "epoch 4 is below 5, which was seen before"
    assert pieces(battery.sense(at("00:15"))) == [(T0, 6.0)]


def test_power_is_clipped_to_the_nameplate_with_the_reason() -> None:
    battery = bench("bess")
    battery.sense(T0)
    ack = battery.apply(T0, setpoint(T0, 99.0))
    assert (ack.accepted, ack.applied_kw) == (True, 16.0)
    assert ack.reason == "power_kw 99.0 is outside the nameplate, -16.0 to 16.0 kW"


def test_less_than_the_smallest_power_is_applied_as_a_pause() -> None:
    charging = bench("charger", min_power_kw=4.0)
    charging.sense(at("09:00"))
    ack = charging.apply(at("09:00"), setpoint(at("09:00"), 3.0))
    assert (ack.accepted, ack.applied_kw) == (True, 0.0)
    assert "4.0 kW" in str(ack.reason)


def test_a_one_way_charger_does_not_discharge() -> None:
    charging = bench("charger", max_discharge_kw=0.0)
    charging.sense(at("09:00"))
    assert charging.apply(at("09:00"), setpoint(at("09:00"), -5.0)).applied_kw == 0.0
    assert charging.sense(at("09:15")).energy_export_kwh == 0.0


@pytest.mark.parametrize(
    ("kind", "wrong", "text"),
    [("bess", limit(T0, 5.0), "takes power_kw"), ("charger", limit(T0, 5.0), "takes power_kw"),
     ("pv", setpoint(T0, -5.0), "takes limit_kw"), ("meter", setpoint(T0, 5.0), "takes no set-point")],
)  # fmt: skip
def test_the_wrong_kind_of_set_point_is_refused(kind: str, wrong: object, text: str) -> None:
    device = bench(kind)
    device.sense(T0)
    ack = device.apply(T0, wrong)  # type: ignore[arg-type]
    assert not ack.accepted
    assert text in str(ack.reason)


def test_a_set_point_that_is_over_is_refused() -> None:
    battery = bench("bess", TimeMode.WALL)
    battery.sense(T0)
    ack = battery.apply(at("00:15"), setpoint(T0, 6.0))
    assert not ack.accepted
    assert "is not after" in str(ack.reason)


def test_a_set_point_shorter_than_the_dead_time_is_refused() -> None:
    battery = bench("bess", dead_time_s=30)
    battery.sense(T0)
    ack = battery.apply(T0, setpoint(T0, 6.0, valid_until=T0 + seconds(30)))
    assert not ack.accepted
    assert "dead time" in str(ack.reason)


def ahead(minutes: float, **changes: object) -> Setpoint:
    start = T0 + timedelta(minutes=minutes)
    return setpoint(start, 1.0, id=f"s{minutes}", valid_until=start + timedelta(minutes=1), **changes)


def test_a_sender_cannot_pile_up_set_points_without_end() -> None:
    battery = bench("bess", TimeMode.WALL)
    battery.sense(T0)
    acks = [battery.apply(T0, ahead(i + 1)) for i in range(SETPOINTS_AHEAD_MOST + 1)]
    assert [ack.accepted for ack in acks] == [True] * SETPOINTS_AHEAD_MOST + [False]
    assert acks[-1].reason == "given up: more than 200 set-points lie ahead, and it is the farthest"


def test_a_nearer_set_point_takes_the_place_of_the_farthest_and_both_are_answered() -> None:
    battery = bench("bess", TimeMode.WALL)
    battery.sense(T0)
    for i in range(SETPOINTS_AHEAD_MOST):
        battery.apply(T0, ahead(i + 1))
    sent = battery.turn(Phase.APPLY, T0, [received(device_topic(Kind.BESS, "device"), T0, 1, ahead(0.5))])
    acks = [message.body for message in sent if isinstance(message.body, Ack)]
    assert [(ack.id, ack.accepted) for ack in acks] == [("s0.5", True), (f"s{SETPOINTS_AHEAD_MOST}", False)]


def test_a_step_of_the_epoch_that_is_too_great_is_refused_and_changes_nothing() -> None:
    battery = bench("bess")
    battery.sense(T0)
    ack = battery.apply(T0, setpoint(T0, 6.0, epoch=EPOCH_STEP_MOST + 1))
    assert not ack.accepted
    assert ack.reason == "epoch 1000001 is more than 1000000 above 0, the highest that was seen before"
    assert battery.apply(T0, setpoint(T0, 6.0, epoch=EPOCH_STEP_MOST)).accepted
    assert battery.apply(T0, setpoint(T0, 6.0, epoch=2 * EPOCH_STEP_MOST)).accepted


def test_a_set_point_may_end_48_hours_ahead_and_no_later() -> None:
    battery = bench("bess", TimeMode.WALL)
    battery.sense(T0)
    assert battery.apply(T0, setpoint(T0, 6.0, valid_until=T0 + timedelta(hours=48))).accepted
    ack = battery.apply(T0, setpoint(T0, 6.0, valid_until=T0 + timedelta(hours=48, seconds=1)))
    assert not ack.accepted
    assert "is more than 48 h after 2024-05-16T22:00:00+00:00" in str(ack.reason)


def test_a_curtailed_inverter_delivers_its_limit() -> None:
    inverter = bench("pv")
    inverter.sense(at("08:00"))
    ack = inverter.apply(at("08:00"), limit(at("08:00"), 10.0, fallback=Fallback.UNCONTROLLED))
    assert (ack.accepted, ack.applied_limit_kw, ack.applied_kw) == (True, 10.0, None)
    told = inverter.sense(at("08:15"))
    # The profile: 25 kW from 08:00 on, 1 kW more each quarter.
    assert pieces(told) == [(at("08:00"), -10.0)]
    assert (told.available_kw, told.energy_export_kwh) == (26.0, approx(2.5))
    assert pieces(inverter.sense(at("08:30"))) == [(at("08:15"), -26.0)]


@pytest.mark.parametrize(
    ("fallback", "expected"), [(Fallback.IDLE, 0.0), (Fallback.HOLD, -10.0), (Fallback.UNCONTROLLED, -26.0)]
)
def test_an_inverters_fallbacks(fallback: Fallback, expected: float) -> None:
    inverter = bench("pv")
    inverter.sense(at("08:00"))
    inverter.apply(at("08:00"), limit(at("08:00"), 10.0, fallback=fallback))
    inverter.sense(at("08:15"))
    assert inverter.sense(at("08:29:59")).power_kw == expected


def test_an_inverter_never_exceeds_its_rating() -> None:
    inverter = bench("pv", rated_kw=30.0)
    assert inverter.sense(at("12:00")).power_kw == -30.0
    ack = inverter.apply(at("12:00"), limit(at("12:00"), 80.0))
    assert (ack.applied_limit_kw, ack.reason) == (30.0, "limit_kw 80.0 is above the rating 30.0 kW")


def test_an_inverter_that_cannot_be_curtailed_says_so() -> None:
    inverter = bench("pv", curtailable=False)
    inverter.sense(at("12:00"))
    ack = inverter.apply(at("12:00"), limit(at("12:00"), 1.0))
    assert not ack.accepted
    assert "cannot be curtailed" in str(ack.reason)


def test_time_that_runs_backwards_changes_nothing() -> None:
    battery = bench("bess", TimeMode.WALL)
    battery.sense(T0)
    battery.apply(T0, setpoint(T0, 6.0))
    before = battery.sense(at("00:05"))
    assert battery.sense(at("00:04")) == before
