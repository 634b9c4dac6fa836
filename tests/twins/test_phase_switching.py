"""A charger that switches between one and three phases: what it does on which, the pause and the hold, by hand."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.messages import ChargerNameplate, ChargerTelemetry, Fallback, Phase, PhasesSwitched, TimeMode
from schemas.participant import Received
from schemas.site import Site, phases_of, switched_phases_of
from schemas.topics import Kind
from tests.twins.builders import (
    Bench,
    at,
    charger,
    device_topic,
    energy_kwh,
    pieces,
    received,
    seconds,
    setpoint,
    site,
    stay,
    through_json,
)
from twin_devices.charger import Charger
from twin_devices.network.twin import NetworkTwin


def box(**changes: Any) -> dict[str, Any]:
    """11.04 kW and 4.14 kW on three phases, 3.68 kW and 1.38 kW on one: 16 A and 6 A at 230 V."""
    given = {
        "current": "ac",
        "max_charge_kw": 11.04,
        "max_discharge_kw": 0.0,
        "min_power_kw": 4.14,
        "phase_switch": {"pause_s": 30, "hold_s": 600},
        "sessions": [stay()],
    }
    return charger(**(given | changes))


def twin(described: Site | None = None, **changes: Any) -> Charger:
    described = site({"box": box(**changes)}) if described is None else described
    spec = described.devices["box"]
    assert spec.kind == "charger"
    return Charger(described, "box", spec)


def plugged(mode: TimeMode = TimeMode.LOCKSTEP, **changes: Any) -> Bench:
    """At 09:00 the vehicle has come."""
    bench = Bench(twin(**changes), mode)
    bench.sense(at("09:00"))
    return bench


def test_the_ranges_of_one_phase_are_a_third_where_nothing_else_is_said() -> None:
    plate = twin().birth().nameplate
    assert isinstance(plate, ChargerNameplate)
    switch = plate.phase_switch
    assert switch is not None
    assert (switch.min_power_kw, switch.max_charge_kw) == (pytest.approx(1.38), pytest.approx(3.68))


def test_two_kw_are_charged_on_one_phase_after_the_pause() -> None:
    """2 kW from 09:00:30 to 09:15: 2 · 870 / 3600 kWh."""
    bench = plugged()
    ack = bench.apply(at("09:00"), setpoint(at("09:00"), 2.0))
    assert (ack.applied_kw, ack.phases, ack.reason) == (2.0, 1, None)
    told = bench.sense(at("09:15"))
    assert pieces(told) == [(at("09:00"), 0.0), (at("09:00:30"), 2.0)]
    assert told.energy_import_kwh == pytest.approx(2 * 870 / 3600, abs=1e-12)
    assert (told.phases, told.phases_switched) == (1, (PhasesSwitched(at("09:00"), 1),))
    assert told.phase_power_kw == (2.0, 0.0, 0.0)


def test_the_present_phases_are_kept_where_they_can_do_the_power() -> None:
    """3 × 32 A: 5 kW are in both ranges, 7.36 kW at most on one."""
    bench = plugged(max_charge_kw=22.08, phase_switch={"pause_s": 30, "hold_s": 0})
    for clock, kw, phases in (("09:00", 5.0, 3), ("09:15", 3.0, 1), ("09:30", 5.0, 1), ("09:45", 8.0, 3)):
        assert bench.apply(at(clock), setpoint(at(clock), kw)).phases == phases
        assert bench.sense(at(clock) + seconds(60)).phases == phases


def test_between_the_ranges_one_phase_gives_its_most_and_says_so() -> None:
    bench = plugged()
    ack = bench.apply(at("09:00"), setpoint(at("09:00"), 4.0))
    assert ack.applied_kw == pytest.approx(3.68)
    assert ack.phases == 1
    assert ack.reason == "one phase gives no more than 3.68 kW"
    assert bench.sense(at("09:15")).power_kw == pytest.approx(3.68)


def test_a_switch_within_the_hold_is_refused_and_the_power_clipped_for_that_set_point() -> None:
    """On one phase since 09:00. 11 kW asked at 09:05 come as 3.68 kW until 09:15, though the hold ends at 09:10."""
    bench = plugged()
    bench.apply(at("09:00"), setpoint(at("09:00"), 2.0))
    bench.sense(at("09:05"))
    ack = bench.apply(at("09:05"), setpoint(at("09:05"), 11.0, valid_until=at("09:20")))
    assert ack.accepted
    assert ack.applied_kw == pytest.approx(3.68)
    assert ack.phases == 1
    assert ack.reason is not None
    assert "phases are held until 2024-05-17T07:10:00+00:00: it stays on 1" in ack.reason
    told = bench.sense(at("09:15"))
    assert [kw for _, kw in pieces(told)] == [pytest.approx(3.68)]
    assert told.phases_held_until is None
    assert bench.apply(at("09:15"), setpoint(at("09:15"), 11.0)).phases == 3
    assert bench.sense(at("09:30")).energy_import_kwh == pytest.approx(
        (2 * 270 + 3.68 * 600 + 11 * 870) / 3600, abs=1e-9
    )


def test_too_little_for_three_phases_within_the_hold_is_none() -> None:
    bench = plugged()
    bench.apply(at("09:00"), setpoint(at("09:00"), 2.0))
    bench.sense(at("09:15"))
    bench.apply(at("09:15"), setpoint(at("09:15"), 11.0))
    bench.sense(at("09:20"))
    ack = bench.apply(at("09:20"), setpoint(at("09:20"), 2.0))
    assert (ack.applied_kw, ack.phases) == (0.0, 3)
    assert ack.reason is not None
    assert "less than the smallest power, 4.14 kW" in ack.reason
    assert bench.sense(at("09:24")).power_kw == 0.0


def test_a_fallback_switches_when_the_hold_ends() -> None:
    """The set-point ends at 09:05, the hold at 09:10, the pause 30 s later."""
    bench = plugged(fallback="uncontrolled")
    bench.apply(at("09:00"), setpoint(at("09:00"), 2.0, valid_until=at("09:05"), fallback=Fallback.UNCONTROLLED))
    told = bench.sense(at("09:15"))
    assert pieces(told) == [
        (at("09:00"), 0.0),
        (at("09:00:30"), 2.0),
        (at("09:05"), pytest.approx(3.68)),
        (at("09:10"), 0.0),
        (at("09:10:30"), pytest.approx(11.04)),
    ]


def test_phases_that_are_asked_for_are_used() -> None:
    """5 kW at 22 kW chargers are in both ranges."""
    bench = plugged(max_charge_kw=22.08)
    assert bench.apply(at("09:00"), setpoint(at("09:00"), 5.0, phases=1)).phases == 1
    assert bench.sense(at("09:15")).phases == 1


def test_a_charger_that_cannot_switch_says_so_and_charges_on_its_own_phases() -> None:
    bench = plugged(phase_switch=None)
    ack = bench.apply(at("09:00"), setpoint(at("09:00"), 5.0, phases=1))
    assert (ack.applied_kw, ack.phases) == (5.0, None)
    assert ack.reason == "it charges on 3 phases and cannot switch them"
    assert bench.sense(at("09:15")).phases is None


def test_a_vehicle_with_one_phase_stays_on_one_without_a_switch() -> None:
    bench = plugged(sessions=[stay(phases=1)])
    ack = bench.apply(at("09:00"), setpoint(at("09:00"), 11.0, phases=3))
    assert ack.applied_kw == pytest.approx(3.68)
    assert ack.phases == 1
    assert ack.reason is not None
    assert ack.reason.endswith("the vehicle has one phase")
    told = bench.sense(at("09:15"))
    assert [kw for _, kw in pieces(told)] == [pytest.approx(3.68)]
    assert (told.phases, told.phases_switched) == (1, None)
    assert told.vehicle is not None
    assert told.vehicle.phases == 1


def test_wall_time_does_as_lockstep_does() -> None:
    """Instants that nobody waits for in between alter nothing."""
    bench = plugged(TimeMode.WALL)
    bench.apply(at("09:00"), setpoint(at("09:00"), 2.0, fallback=Fallback.UNCONTROLLED))
    for clock in ("09:00:07", "09:00:29", "09:03:11", "09:15", "09:15:01"):
        told = bench.sense(at(clock))
    assert told.energy_import_kwh == pytest.approx(2 * 870 / 3600, abs=1e-9)


def test_who_asks_in_between_takes_nothing_out_of_the_next_telemetry() -> None:
    """A second face looks at 09:01 and at 18:00:01: the switch and the departure are in the telemetry all the same."""
    bench = plugged(TimeMode.WALL)
    charging = bench.participant
    assert isinstance(charging, Charger)
    bench.apply(at("09:00"), setpoint(at("09:00"), 2.0))
    bench.turn(Phase.APPLY, at("09:01"))
    assert charging.reading(at("09:01")) is not None
    assert bench.sense(at("09:02")).phases_switched == (PhasesSwitched(at("09:00"), 1),)
    bench.turn(Phase.APPLY, at("18:00:01"))
    assert charging.reading(at("18:00:01")) is not None
    assert len(bench.sense(at("18:00:10")).departed) == 1
    assert bench.sense(at("18:00:20")).departed is None


def test_a_restored_twin_goes_on_within_pause_and_hold() -> None:
    bench = plugged()
    bench.apply(at("09:00"), setpoint(at("09:00"), 2.0))
    bench.sense(at("09:00:10"))
    again = Bench(through_json(bench.participant, twin()), start=bench.start)
    for each in (bench, again):
        each.apply(at("09:00:10"), setpoint(at("09:00:10"), 11.0, valid_until=at("09:20")))
    assert bench.sense(at("09:15")) == again.sense(at("09:15"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"current": "dc"}, "current is dc; ac is wanted"),
        ({"phases": 1, "max_charge_kw": 7.4}, "phases is 1; 3 is wanted"),
        ({"max_discharge_kw": 11.0}, "max_discharge_kw is 11.0; 0 is wanted"),
        ({"min_power_kw": 0.0}, "min_power_kw is 0: on three phases it is 4.14"),
        ({"phase_switch": {"max_charge_kw": 22.0}}, "max_charge_kw 22.0 of one phase is above 11.04 of three"),
        ({"phase_switch": {"min_power_kw": 3.7}}, "min_power_kw 3.7 is above max_charge_kw 3.6"),
        ({"phase_switch": None, "sessions": [stay(phases=1)]}, "give the vehicle's max_charge_kw"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        site({"box": box(**changes)})


def test_chargers_that_switch_take_their_turn_after_single_phase_devices() -> None:
    single = charger(phases=1, max_charge_kw=7.0, max_discharge_kw=0.0)
    described = site({"a": single, "b": box(), "c": box(phase="a"), "d": box(), "e": single})
    assert phases_of(described.devices) == {"a": 0, "e": 1}
    assert switched_phases_of(described.devices) == {"b": 2, "c": 0, "d": 0}


def test_the_network_twin_puts_one_phase_where_it_is() -> None:
    """2 kW on phase b alone from 09:00:30 on, 9 kW on all three after 09:15:30; the cables take little."""
    described = site({"box": box(phase="b", phase_switch={"pause_s": 30, "hold_s": 0})}, network=_short_cable())
    bench, network = Bench(twin(described)), Bench(NetworkTwin(described))
    _measured(network, at("09:00"), bench.sense(at("09:00")))
    bench.apply(at("09:00"), setpoint(at("09:00"), 2.0))
    on_one = _measured(network, at("09:15"), bench.sense(at("09:15")))
    bench.apply(at("09:15"), setpoint(at("09:15"), 9.0))
    on_three = _measured(network, at("09:30"), bench.sense(at("09:30")))
    assert on_one.phase_power_kw == pytest.approx((0.0, 2.0, 0.0), abs=0.01)
    assert on_three.phase_power_kw == pytest.approx((3.0, 3.0, 3.0), abs=0.05)
    assert on_three.energy_import_kwh == pytest.approx((2 * 870 + 9 * 870) / 3600 + on_three.losses_kwh, abs=1e-6)
    assert abs(on_three.residual_kwh) < 1e-9


def _short_cable() -> dict[str, Any]:
    cable = {"from_node": "PCC", "to_node": "MB", "r_mohm": 1, "x_mohm": 1, "ampacity_a": 100}
    return {"cables": [cable], "main_node": "MB", "pcc_node": "PCC", "nominal_kv": 0.4}


def _measured(network: Bench, t: Any, telemetry: ChargerTelemetry) -> Any:
    inbox: list[Received] = [received(device_topic(Kind.CHARGER, "box"), t, 1, telemetry)]
    sent = network.turn(Phase.MEASURE, t, inbox)
    return sent[0].body


@settings(max_examples=60, deadline=None)
@given(
    asked=st.lists(
        st.tuples(
            st.integers(1, 40),
            st.sampled_from([0.0, 1.0, 1.38, 2.5, 3.68, 3.9, 4.14, 7.0, 11.04, 30.0]),
            st.sampled_from([None, None, 1, 3]),
        ),
        min_size=1,
        max_size=8,
    ),
    pause_s=st.sampled_from([0, 7, 45]),
    hold_s=st.sampled_from([0, 90, 1200]),
    ramp=st.sampled_from([None, 0.1]),
    dead_time_s=st.sampled_from([0.0, 20.0]),
)
def test_pause_hold_and_currents_are_kept_and_energy_is_conserved(
    asked: list[tuple[int, float, int | None]], pause_s: int, hold_s: int, ramp: float | None, dead_time_s: float
) -> None:
    switch = {"pause_s": pause_s, "hold_s": hold_s}
    bench = plugged(phase_switch=switch, ramp_kw_per_s=ramp, dead_time_s=dead_time_s, fallback="uncontrolled")
    phases, switches, t, acked = 3, [], at("09:00"), None
    registers, soc = 0.0, 0.5
    for minutes, kw, wanted in asked:
        until = t + timedelta(minutes=minutes)
        acked = bench.apply(
            t, setpoint(t, kw, phases=wanted, valid_until=until + seconds(90), fallback=Fallback.UNCONTROLLED)
        )
        told = bench.sense(until)
        drawn, given_back = energy_kwh(told, until)
        assert given_back == 0
        assert told.energy_import_kwh - registers == pytest.approx(drawn, abs=1e-9)
        assert told.vehicle is not None
        assert told.vehicle.soc_frac - soc == pytest.approx(drawn * 0.9 / 50, abs=1e-9)
        registers, soc = told.energy_import_kwh, told.vehicle.soc_frac
        timeline = [(t, phases), *(told.phases_switched or ())]
        switches += [instant for instant, _ in timeline[1:]]
        for start, power in pieces(told):
            now = [count for since, count in timeline if since <= start][-1]
            phases = now
            assert power == 0 or 0 < power / now <= 3.68 + 1e-9  # 16 A a phase
            assert not (power and any(s <= start < s + seconds(pause_s) for s in switches))
        phases = timeline[-1][1]
        assert told.phases == phases
        settled = until - t > seconds(pause_s + dead_time_s + 120)
        if settled and told.vehicle.soc_frac < 0.99:
            assert told.power_kw == pytest.approx(acked.applied_kw, abs=1e-6)
            assert told.phases == acked.phases
        t = until
    assert all(b - a >= seconds(hold_s) for a, b in pairwise(switches))
