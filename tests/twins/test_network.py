"""The network twin: balance, bookkeeping of who tells and who does not, alarms, continuation."""

import json
import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from schemas.errors import Code
from schemas.messages import (
    Alarm,
    BessTelemetry,
    Birth,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    NetworkTelemetry,
    Phase,
    Segment,
    TimeMode,
)
from schemas.participant import Received
from schemas.topics import Channel, Kind
from tests.errors import raises
from tests.twins.builders import (
    T0,
    Bench,
    at,
    bess,
    charger,
    device_topic,
    energy_kwh,
    pieces,
    pv,
    received,
    seconds,
    setpoint,
    site,
    through_json,
)
from twin_devices.build import build_network, build_twin

QUARTER = timedelta(minutes=15)
CABLE = {"from_node": "TR_LV", "to_node": "MB", "r_mohm": 50.0, "x_mohm": 0.0, "ampacity_a": 250.0}
RESISTIVE = {
    "transformer": {
        "to_node": "TR_LV",
        "rated_kva": 400,
        "high_kv": 20,
        "low_kv": 0.4,
        "vk_frac": 0.01,
        "vkr_frac": 0.01,
        "iron_loss_kw": 0.0,
    },
    "cables": [CABLE],
    "main_node": "MB",
}


def two_nodes(**changes: Any) -> Bench:
    network = RESISTIVE | changes
    return Bench(build_network(site({"load": {"kind": "meter", "profile": "base"}}, network=network)))


def losses_kw(power_kw: float) -> float:
    """Of 54 mΩ (the transformer's 4 mΩ and the cable): U₂² - U₁ U₂ + P R = 0, P² R / U₂²."""
    watts, resistance = power_kw * 1e3, 0.054
    end = (400 + math.sqrt(400**2 - 4 * watts * resistance)) / 2
    return watts**2 * resistance / end**2 / 1e3


def load(
    t: datetime,
    power_kw: float,
    register: float | None,
    segments: list[tuple[datetime, float]] | None = None,
    boot: str = "life",
    device: str = "load",
    seq: int = 1,
) -> Received:
    told = None if segments is None else tuple(Segment(start, power) for start, power in segments)
    net = register or 0.0
    body = MeterTelemetry(
        power_kw=power_kw,
        energy_import_kwh=None if register is None else max(net, 0.0),
        energy_export_kwh=None if register is None else max(-net, 0.0),
        segments=told,
    )
    return received(device_topic(Kind.METER, device), t, seq, body, boot)


def measure(bench: Bench, t: datetime, *inbox: Received) -> NetworkTelemetry:
    first, *alarms = bench.turn(Phase.MEASURE, t, inbox)
    assert isinstance(first.body, NetworkTelemetry)
    assert all(isinstance(alarm.body, Alarm) for alarm in alarms)
    return first.body


def test_the_pcc_by_hand() -> None:
    bench = two_nodes()
    bench.turn(Phase.ROLLCALL, T0)
    begin = measure(bench, T0, load(T0, 40.0, 0.0, []))
    assert begin.power_kw == approx(40 + losses_kw(40), rel=1e-9)
    assert (begin.energy_import_kwh, begin.losses_kwh, begin.segments) == (0.0, 0.0, ())
    # 5 minutes at 40 kW, 10 minutes delivering 60 kW.
    change, end = T0 + seconds(300), T0 + QUARTER
    told = measure(bench, end, load(end, 20.0, 40 / 12 - 60 / 6, [(T0, 40.0), (change, -60.0)]))
    imported, exported = 40 + losses_kw(40), -60 + losses_kw(-60)
    assert pieces(told) == [(T0, approx(imported, rel=1e-9)), (change, approx(exported, rel=1e-9))]
    assert told.energy_import_kwh == approx(imported / 12, rel=1e-9)
    assert told.energy_export_kwh == approx(-exported / 6, rel=1e-9)
    assert told.losses_kwh == approx(losses_kw(40) / 12 + losses_kw(-60) / 6, rel=1e-8)
    assert told.power_kw == approx(20 + losses_kw(20), rel=1e-9)
    assert told.losses_kw == approx(losses_kw(20), rel=1e-8)
    assert abs(told.residual_kwh) < 1e-10
    assert told.voltages_pu["PCC"] == approx(1, abs=1e-12)
    assert set(told.loadings_frac) == {"TR_LV-MB", "transformer"}


def test_reactive_power_of_a_load_raises_its_losses() -> None:
    loads = {"load": {"kind": "meter", "profile": "base", "power_factor": 0.8}}
    plain, lagging = two_nodes(), Bench(build_network(site(loads, network=RESISTIVE)))
    losses = [measure(bench, T0, load(T0, 40.0, 0.0, [])).losses_kw for bench in (plain, lagging)]
    # Current, and with it losses, as 1 / cos φ; the voltage falls somewhat, too.
    assert losses[1] / losses[0] == approx(1 / 0.8**2, rel=0.02)


def test_a_device_that_does_not_tell_is_missing_and_counts_as_nothing() -> None:
    bench = two_nodes()
    measure(bench, T0, load(T0, 40.0, 0.0, []))
    told = measure(bench, T0 + QUARTER)
    assert told.missing == ("load",)
    assert (told.power_kw, told.energy_import_kwh) == (approx(0, abs=1e-9), approx(0, abs=1e-9))
    assert abs(told.residual_kwh) < 1e-10


def test_energy_told_too_late_is_booked_when_the_device_is_heard_again() -> None:
    bench = two_nodes()
    measure(bench, T0, load(T0, 40.0, 0.0, []))
    measure(bench, T0 + QUARTER)
    back = T0 + 2 * QUARTER
    # It was at 40 kW for 300 s after T0, and then away: its segments of this interval hold nothing.
    segments = [(T0, 40.0), (T0 + seconds(300), 0.0)]
    told = measure(bench, back, load(back, 0.0, 40 / 12, segments))
    assert told.missing == ()
    assert told.energy_import_kwh - told.losses_kwh == approx(40 / 12, abs=1e-9)
    assert pieces(told) == [(T0 + QUARTER, approx(40 / 3 + losses_kw(40 / 3)))]
    assert abs(told.residual_kwh) < 1e-10


def test_another_life_of_a_device_begins_with_registers_of_its_own() -> None:
    bench = two_nodes()
    measure(bench, T0, load(T0, 40.0, 1000.0, []))
    first = T0 + QUARTER
    told = measure(bench, first, load(first, 8.0, 0.0, [], boot="second"))
    assert told.energy_import_kwh == approx(0, abs=1e-9)
    second = T0 + 2 * QUARTER
    told = measure(bench, second, load(second, 8.0, 2.0, [(first, 8.0)], boot="second"))
    assert told.energy_import_kwh - told.losses_kwh == approx(2.0, abs=1e-9)
    assert abs(told.residual_kwh) < 1e-10


@pytest.mark.parametrize("segmented", [True, False])
def test_a_register_that_falls_within_a_life_is_a_reset_with_an_alarm(*, segmented: bool) -> None:
    bench = two_nodes()
    measure(bench, T0, load(T0, 40.0, 1000.0, [] if segmented else None))
    end = T0 + QUARTER
    first, *alarms = bench.turn(Phase.MEASURE, end, [load(end, 40.0, 3.0, [(T0, 40.0)] if segmented else None)])
    assert isinstance(first.body, NetworkTelemetry)
    # By its power: the registers know nothing of this interval.
    assert first.body.energy_import_kwh - first.body.losses_kwh == approx(10.0, abs=1e-9)
    assert abs(first.body.residual_kwh) < 1e-10
    assert [(each.body.code, each.body.device) for each in alarms if isinstance(each.body, Alarm)] == [
        ("register_reset", "load")
    ]
    again = T0 + 2 * QUARTER
    told = measure(bench, again, load(again, 40.0, 13.0, [(end, 40.0)] if segmented else None))
    assert told.energy_import_kwh - told.losses_kwh == approx(20.0, abs=1e-9)
    assert len(bench.turn(Phase.MEASURE, T0 + 3 * QUARTER)) == 1, "one alarm for one reset"


@pytest.mark.parametrize("segmented", [True, False])
def test_a_register_that_went_back_and_came_back_is_booked_once(*, segmented: bool) -> None:
    bench = two_nodes()
    told = measure(bench, T0, load(T0, 40.0, 1000.0, [] if segmented else None))
    for step in range(1, 8):
        begin, end = T0 + (step - 1) * QUARTER, T0 + step * QUARTER
        register = 1000.0 + 10.0 * step - (25.0 if step in (3, 4) else 0.0)
        sent = bench.turn(Phase.MEASURE, end, [load(end, 40.0, register, [(begin, 40.0)] if segmented else None)])
        told = sent[0].body
        codes = [each.body.code for each in sent if isinstance(each.body, Alarm)]
        assert codes == {3: ["register_reset"], 5: ["implausible"], 6: ["implausible"]}.get(step, [])
    assert isinstance(told, NetworkTelemetry)
    assert told.energy_import_kwh - told.losses_kwh == approx(70.0, abs=1e-9)


def test_great_registers_differ_by_their_rounding_and_that_is_no_energy_told_too_late() -> None:
    bench = two_nodes()
    begun = 3.3e8
    measure(bench, T0, load(T0, 40.0, begun, []))
    for step in range(1, 9):
        start, end = T0 + (step - 1) * QUARTER, T0 + step * QUARTER
        told = measure(bench, end, load(end, 40.1, begun + step * 40.1 / 4, [(start, 40.1)]))
        assert pieces(told) == [(start, approx(40.1 + losses_kw(40.1), rel=1e-12))]


def test_the_meter_of_the_pcc_goes_on_from_the_registers_of_an_earlier_life() -> None:
    bench = two_nodes()
    bench.participant.continue_registers({"energy_import_kwh": 70.0, "energy_export_kwh": 5.0, "losses_kwh": 2.0})  # type: ignore[attr-defined]
    begin = measure(bench, T0, load(T0, 40.0, 0.0, []))
    assert (begin.energy_import_kwh, begin.energy_export_kwh, begin.losses_kwh) == (70.0, 5.0, 2.0)
    bench.participant = through_json(bench.participant, two_nodes().participant)
    end = T0 + QUARTER
    told = measure(bench, end, load(end, 40.0, 10.0, [(T0, 40.0)]))
    assert told.energy_import_kwh == approx(80.0 + told.losses_kwh - 2.0, rel=1e-12)
    assert abs(told.residual_kwh) < 1e-10


def test_a_device_without_segments_is_taken_at_the_mean_of_its_registers() -> None:
    bench = two_nodes()
    measure(bench, T0, load(T0, 40.0, 5.0))
    end = T0 + QUARTER
    told = measure(bench, end, load(end, 40.0, 7.0))
    assert pieces(told) == [(T0, approx(8 + losses_kw(8)))]
    assert abs(told.residual_kwh) < 1e-10


def test_a_device_without_segments_and_registers_is_taken_at_its_last_power() -> None:
    bench = two_nodes()
    measure(bench, T0, load(T0, 40.0, None))
    end = T0 + QUARTER
    told = measure(bench, end, load(end, 12.0, None))
    assert pieces(told) == [(T0, approx(40 + losses_kw(40)))]
    assert told.power_kw == approx(12 + losses_kw(12))


@pytest.mark.parametrize("role", [MeterRole.SUBMETER, MeterRole.PCC])
def test_meters_that_measure_what_others_tell_load_nothing(role: MeterRole) -> None:
    bench = two_nodes()
    birth = Birth(nameplate=MeterNameplate(role=role), time_modes=(TimeMode.WALL,), software="a meter")
    topic = device_topic(Kind.METER, "other", Channel.BIRTH)
    bench.turn(Phase.ROLLCALL, T0, [received(topic, T0, 1, birth)])
    told = measure(bench, T0, load(T0, 40.0, 0.0, []), load(T0, 30.0, 0.0, [], device="other"))
    assert told.power_kw == approx(40 + losses_kw(40), rel=1e-9)


def test_a_device_that_the_site_does_not_know_hangs_at_the_main_node_with_one_alarm() -> None:
    bench = two_nodes()
    inbox = [load(T0, 40.0, 0.0, []), load(T0, 10.0, 0.0, [], device="stranger")]
    telemetry, alarm = bench.turn(Phase.MEASURE, T0, inbox)
    assert isinstance(telemetry.body, NetworkTelemetry)
    assert telemetry.body.power_kw == approx(50 + losses_kw(50), rel=1e-9)
    assert isinstance(alarm.body, Alarm)
    assert (alarm.body.code, alarm.body.device) == ("unknown_device", "stranger")
    assert len(bench.turn(Phase.MEASURE, T0, inbox)) == 1


def alarms(bench: Bench, t: datetime, *inbox: Received) -> list[tuple[str, bool, str | None]]:
    sent = bench.turn(Phase.MEASURE, t, inbox)[1:]
    bodies = [message.body for message in sent]
    return [(body.code, body.active, body.element) for body in bodies if isinstance(body, Alarm)]


def test_overload_and_low_voltage_are_told_when_they_begin_and_when_they_are_over() -> None:
    bench = two_nodes()
    assert alarms(bench, T0, load(T0, 100.0, 0.0, [])) == []
    first, second, third = T0 + QUARTER, T0 + 2 * QUARTER, T0 + 3 * QUARTER
    begun = alarms(bench, first, load(first, 300.0, 25.0, [(T0, 100.0)]))
    assert begun == [("voltage_low", True, "MB"), ("overload", True, "TR_LV-MB")]
    assert alarms(bench, second, load(second, 100.0, 100.0, [(first, 300.0)])) == []
    over = alarms(bench, third, load(third, 100.0, 125.0, [(second, 100.0)]))
    assert over == [("voltage_low", False, "MB"), ("overload", False, "TR_LV-MB")]


def test_power_that_no_voltage_carries_is_an_alarm_and_no_end() -> None:
    bench = two_nodes()
    first, *told = bench.turn(Phase.MEASURE, T0, [load(T0, 900.0, 0.0, [])])
    assert isinstance(first.body, NetworkTelemetry)
    # At 400 V 900 kW are 1299 A; 3 I² (4 + 50) mΩ = 273.375 kW.
    assert first.body.losses_kw == approx(273.375, rel=2e-4)
    assert first.body.power_kw == approx(900.0 + first.body.losses_kw, rel=1e-12)
    assert first.body.unsolved_s is None
    later, *_ = bench.turn(Phase.MEASURE, T0 + QUARTER, [load(T0 + QUARTER, 900.0, 225.0, [(T0, 900.0)])])
    assert isinstance(later.body, NetworkTelemetry)
    assert later.body.unsolved_s == 900.0
    assert later.body.estimated_losses_kwh == later.body.losses_kwh == approx(273.375 / 4, rel=2e-4)
    assert later.body.energy_import_kwh == approx(225.0 + later.body.losses_kwh, rel=1e-12)
    assert later.body.residual_kwh == approx(0.0, abs=1e-9)
    end = T0 + 2 * QUARTER
    below, *_ = bench.turn(Phase.MEASURE, end, [load(end, 9.0, 227.25, [(T0 + QUARTER, 9.0)])])
    assert isinstance(below.body, NetworkTelemetry) and below.body.estimated_losses_kwh is not None
    assert below.body.losses_kwh > below.body.estimated_losses_kwh == later.body.estimated_losses_kwh
    assert [message.body.code for message in told if isinstance(message.body, Alarm)] == ["power_flow_diverged"]


def test_a_network_that_makes_no_sense_is_the_users_fault() -> None:
    described = site({"load": {"kind": "meter", "profile": "base"}}, network=RESISTIVE)
    (cable,) = described.network.cables
    around = cable.model_copy(update={"to_node": "PCC"})
    network = described.network.model_copy(update={"cables": (cable, around)})
    with raises(Code.CONFLICT):
        build_network(described.model_copy(update={"network": network}))
    itself = cable.model_copy(update={"to_node": cable.from_node})
    network = described.network.model_copy(update={"cables": (cable, itself)})
    with raises(Code.CONFLICT):
        build_network(described.model_copy(update={"network": network}))


# The whole plant.


def plant() -> Any:
    return site(
        {
            **{
                f"ev0{i}": charger(
                    node=f"EV0{i}",
                    dead_time_s=30,
                    ramp_kw_per_s=0.5,
                    taper={"start_soc_frac": 0.8},
                    max_charge_kw=12.0 + i,
                )
                for i in range(1, 5)
            },
            "bess": bess(node="BESS", dead_time_s=10),
            "pv": pv(node="PV"),
            "load": {"kind": "meter", "node": "OFF1", "profile": "base", "power_factor": 0.95},
        }
    )


class Day:
    """A plant in lock-step, quarter by quarter."""

    def __init__(self) -> None:
        self.description = plant()
        self.twins = {name: Bench(build_twin(self.description, name)) for name in sorted(self.description.devices)}
        self.network = Bench(build_network(self.description))

    def step(self, t: datetime, powers: dict[str, float], away: tuple[str, ...] = ()) -> NetworkTelemetry:
        inbox = []
        for name, bench in self.twins.items():
            if name in away:
                continue
            # As the run loop does it: who was away at the last phase comes back with a gap.
            gap = getattr(bench, "was_away", False)
            told = bench.sense(t, gap=gap)
            inbox.append(received(device_topic(bench.participant.kind, name), t, bench.n, told))
        telemetry = measure(self.network, t, *inbox)
        for name, bench in self.twins.items():
            bench.was_away = name in away  # type: ignore[attr-defined]
            if name in powers and name not in away:
                bench.apply(t, setpoint(t, powers[name], id=name))
        return telemetry

    def registers(self, t: datetime) -> float:
        told = [bench.sense(t) for bench in self.twins.values()]
        return sum(reading.energy_import_kwh - reading.energy_export_kwh for reading in told)


ASKED = st.lists(
    st.dictionaries(st.sampled_from(["ev01", "ev02", "ev03", "ev04", "bess"]), st.floats(-20, 20)),
    min_size=2,
    max_size=8,
)


@settings(deadline=None, max_examples=15)
@given(ASKED)
def test_the_balance_closes_whatever_the_devices_do(asked: list[dict[str, float]]) -> None:
    day = Day()
    begin = at("08:45")
    last = begin
    for i, powers in enumerate(asked):
        last = begin + i * QUARTER
        before = last - QUARTER
        telemetry = day.step(last, powers)
        assert abs(telemetry.residual_kwh) <= 1e-9
        if i:
            assert pieces(telemetry)[0][0] == before
    imported, exported = energy_kwh(telemetry, last)
    assert imported >= 0 <= exported
    net = telemetry.energy_import_kwh - telemetry.energy_export_kwh  # type: ignore[operator]
    assert net == approx(day.registers(last) + telemetry.losses_kwh, abs=1e-9)


@settings(deadline=None, max_examples=10)
@given(ASKED, st.data())
def test_the_balance_closes_when_devices_go_and_come_back(asked: list[dict[str, float]], data: st.DataObject) -> None:
    day = Day()
    begin = at("08:45")
    names = sorted(day.twins)
    for i, powers in enumerate([*asked, {}]):
        away = data.draw(st.lists(st.sampled_from(names), max_size=3)) if 0 < i < len(asked) else []
        telemetry = day.step(begin + i * QUARTER, powers, tuple(away))
        assert telemetry.missing == tuple(sorted(set(away)))
        assert abs(telemetry.residual_kwh) <= 1e-9
    net = telemetry.energy_import_kwh - telemetry.energy_export_kwh  # type: ignore[operator]
    assert net == approx(day.registers(begin + len(asked) * QUARTER) + telemetry.losses_kwh, abs=1e-8)


def test_segments_of_the_pcc_make_up_its_registers() -> None:
    day = Day()
    before = day.step(at("08:45"), {"ev01": 10.0, "bess": -16.0})
    for i in range(1, 12):
        t = at("08:45") + i * QUARTER
        told = day.step(t, {"ev01": 10.0 - 2 * i, "ev02": 14.0, "bess": 16.0 * (-1) ** i})
        imported, exported = energy_kwh(told, t)
        assert told.energy_import_kwh - before.energy_import_kwh == approx(imported, rel=1e-12, abs=1e-12)  # type: ignore[operator]
        assert told.energy_export_kwh - before.energy_export_kwh == approx(exported, rel=1e-12, abs=1e-12)  # type: ignore[operator]
        before = told


def test_a_network_twin_restored_from_json_continues_to_the_last_bit() -> None:
    whole, broken = Day(), Day()
    for i in range(10):
        t = at("08:45") + i * QUARTER
        broken.network.participant = through_json(broken.network.participant, build_network(broken.description))
        away = ("ev02",) if i in (3, 4) else ()
        powers = {"ev01": 15.0 - 3 * i, "ev02": 5.0, "bess": 7.0 - i}
        assert broken.step(t, powers, away) == whole.step(t, powers, away)
        snapshots = [json.dumps(day.network.participant.snapshot()) for day in (whole, broken)]
        assert snapshots[0] == snapshots[1]


def test_the_birth_of_the_network_twin_is_that_of_the_pcc_meter() -> None:
    network = build_network(plant())
    birth = network.birth()
    assert isinstance(birth.nameplate, MeterNameplate)
    assert birth.nameplate.role is MeterRole.PCC
    assert (network.device, network.kind) == ("network", Kind.NETWORK)
    assert [topic for topic in network.subscriptions if "/network/" in topic] == ["twin/v2/house/network/network/event"]


def test_a_battery_is_no_meter() -> None:
    # Telemetry of each kind is booked alike.
    bench = two_nodes()
    body = BessTelemetry(power_kw=12.0, energy_import_kwh=0.0, energy_export_kwh=0.0, segments=(), soc_frac=0.5)
    told = measure(bench, T0, received(device_topic(Kind.BESS, "bess"), T0, 1, body))
    assert told.power_kw == approx(12 + losses_kw(12), rel=1e-9)
