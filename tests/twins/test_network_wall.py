"""The network twin in wall time: what arrives late is booked where it belongs, and no export is invented."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from schemas.messages import Alarm, Birth, MeterNameplate, MeterRole, MeterTelemetry, NetworkTelemetry, Phase, TimeMode
from schemas.participant import Outgoing, Received, Turn
from schemas.topics import Channel, Kind
from tests.twins.builders import T0, device_topic, received, seconds, site, through_json
from twin_devices.build import build_network
from twin_devices.network.twin import NetworkTwin

HOUR = timedelta(hours=1)
PERIOD_S = 10.0


class Wall:
    """The network twin as the run loop drives it, and what it published."""

    def __init__(self, devices: Sequence[str] = ("load",), end: datetime | None = None) -> None:
        self.description = site({name: {"kind": "meter", "profile": "base"} for name in devices})
        self.network = build_network(self.description)
        self.end = end
        self.told: list[tuple[datetime, NetworkTelemetry]] = []
        self.alarms: list[str] = []
        self.turn(Phase.ROLLCALL, T0, [birth(name) for name in devices])

    def turn(self, phase: Phase, t: datetime, inbox: Sequence[Received]) -> list[Outgoing]:
        return self.network.act(Turn(phase, t, T0, self.end, 900, TimeMode.WALL), list(inbox))

    def measure(self, after_s: float, *inbox: Received, pace: float = 1.0, closing: bool = False) -> list[Any]:
        """What is published at so many seconds after T0."""
        t = T0 + seconds(after_s)
        turn = Turn(Phase.MEASURE, t, T0, self.end, 900, TimeMode.WALL, pace=pace, closing=closing)
        sent = self.network.act(turn, list(inbox))
        told = [(message.ts, message.body) for message in sent if isinstance(message.body, NetworkTelemetry)]
        self.alarms += [f"{each.body.code} {each.body.device}" for each in sent if isinstance(each.body, Alarm)]
        for ts, body in told:
            assert ts is not None
            self.told.append((ts, body))
        return [body for _, body in told]

    def last(self) -> NetworkTelemetry:
        return self.told[-1][1]

    def registers(self) -> tuple[float, float, float]:
        last = self.last()
        assert last.energy_import_kwh is not None and last.energy_export_kwh is not None
        return last.energy_import_kwh, last.energy_export_kwh, last.losses_kwh


def birth(name: str, role: MeterRole = MeterRole.LOAD) -> Received:
    body = Birth(
        nameplate=MeterNameplate(role=role), telemetry_period_s=PERIOD_S, time_modes=(TimeMode.WALL,), software="test"
    )
    return received(device_topic(Kind.METER, name, Channel.BIRTH), T0, 1, body)


def telemetry(
    after_s: float,
    power_kw: float,
    imported: float | None,
    exported: float | None = 0.0,
    name: str = "load",
    **more: Any,
) -> Received:
    exported = None if imported is None else exported
    body = MeterTelemetry(power_kw=power_kw, energy_import_kwh=imported, energy_export_kwh=exported)
    seq = more.pop("seq", int(after_s * 10) + 1)
    return received(device_topic(Kind.METER, name), T0 + seconds(after_s), seq, body, **more)


def losses_at(power_kw: float) -> float:
    """Of the network with this load at its main node, by its own solver: losses themselves are tested elsewhere."""
    wall = Wall()
    (told,) = wall.measure(0, telemetry(0, power_kw, 0.0))
    return told.losses_kw


def test_the_interval_is_the_mean_by_the_registers() -> None:
    wall = Wall()
    (begin,) = wall.measure(0, telemetry(0, 40.0, 7.0))
    assert (begin.energy_import_kwh, begin.energy_export_kwh) == (0.0, 0.0)
    (told,) = wall.measure(10, telemetry(10, 20.0, 7.0 + 36 / 360))
    assert wall.told[-1][0] == T0 + seconds(10)
    assert told.segments is None
    assert told.power_kw == approx(20 + losses_at(20), rel=1e-9)
    assert told.energy_import_kwh == approx((36 + losses_at(36)) / 360, rel=1e-9)
    assert abs(told.residual_kwh) < 1e-10


def test_nothing_is_settled_beyond_the_slowest_device_that_is_present() -> None:
    wall = Wall(("a", "b"))
    assert wall.measure(0, telemetry(0, 30.0, 0.0, name="a")) == []
    assert len(wall.measure(1, telemetry(0, 5.0, 0.0, name="b"))) == 1
    assert wall.measure(11, telemetry(10, 30.0, 30 / 360, name="a")) == []
    assert wall.measure(21, telemetry(20, 30.0, 60 / 360, name="a")) == []
    (told,) = wall.measure(22, telemetry(20, 5.0, 10 / 360, name="b"))
    assert wall.told[-1][0] == T0 + seconds(20)
    assert told.energy_import_kwh == approx((35 + losses_at(35)) / 180, rel=1e-9)
    assert told.missing == ()


def test_what_is_told_at_odd_instants_is_settled_on_the_grid() -> None:
    # Registers rise linearly between 4 and 17 s: 10 s lie 6/13 of the way.
    wall = Wall()
    wall.measure(4, telemetry(4, 13.0, 0.0))
    (told,) = wall.measure(17, telemetry(17, 1.0, 0.13))
    assert wall.told[-1][0] == T0 + seconds(10)
    assert told.energy_import_kwh - told.losses_kwh == approx(0.06, abs=1e-12)
    assert told.power_kw == approx(36 + losses_at(36), rel=1e-9)


def test_the_sessions_end_is_settled_even_off_the_grid() -> None:
    wall = Wall(end=T0 + seconds(13))
    wall.measure(0, telemetry(0, 36.0, 0.0))
    (told,) = wall.measure(13, telemetry(13, 36.0, 0.13))
    assert told.energy_import_kwh - told.losses_kwh == approx(0.13, abs=1e-12)


def test_three_silent_periods_while_others_tell_are_an_absence() -> None:
    wall = Wall(("a", "b"))
    wall.measure(0, telemetry(0, 30.0, 0.0, name="a"), telemetry(0, 5.0, 0.0, name="b"))
    assert wall.measure(30, telemetry(30, 30.0, 30 / 120, name="a")) == []
    (told,) = wall.measure(40, telemetry(40, 30.0, 30 / 90, name="a"))
    assert told.missing == ("b",)
    assert told.power_kw == approx(30 + losses_at(30), rel=1e-9)
    assert told.energy_import_kwh - told.losses_kwh == approx(30 / 90, abs=1e-9)


def test_a_device_that_keeps_a_slower_pace_is_waited_for_at_that_pace() -> None:
    wall = Wall(("a", "b"))
    steps = list(range(0, 410, 10))
    for t in steps:
        b = [telemetry(t, 5.0, 5 * t / 3600, name="b")] if t % 40 == 0 else []
        wall.measure(t, telemetry(t, 30.0, 30 * t / 3600, name="a"), *b)
    # 40 s are more than three periods, yet less than three of its own.
    assert [body.missing for ts, body in wall.told if ts > T0 + seconds(200)] == [()] * 5
    assert wall.registers()[0] - wall.registers()[2] == approx(35 * 400 / 3600, abs=1e-9)


def test_two_minutes_in_which_nobody_tells_are_everybodys_absence() -> None:
    wall = Wall()
    wall.measure(0, telemetry(0, 40.0, 0.0))
    assert wall.measure(120) == []
    (told,) = wall.measure(121)
    assert told.missing == ("load",)
    assert told.power_kw == approx(losses_at(0), rel=1e-9)
    assert (told.energy_export_kwh, abs(told.residual_kwh) < 1e-10) == (0.0, True)


def test_a_device_that_was_born_and_says_nothing_is_waited_for_three_periods() -> None:
    wall = Wall(("a", "b"))
    a = [telemetry(t, 30.0, 30 * t / 3600, name="a") for t in (0, 10, 20, 30, 40)]
    for t, message in zip((0, 10, 20, 30), a, strict=False):
        assert wall.measure(t, message) == []
    assert [ts for ts, _ in wall.told] == []
    wall.measure(40, a[-1])
    assert [ts for ts, _ in wall.told] == [T0, T0 + seconds(40)]


def test_energy_that_flowed_unheard_is_booked_on_return_without_a_peak() -> None:
    wall = Wall(("a", "b"))
    wall.measure(0, telemetry(0, 30.0, 0.0, name="a"), telemetry(0, 5.0, 0.0, name="b"))
    for t in range(10, 110, 10):
        wall.measure(t, telemetry(t, 30.0, 30 * t / 3600, name="a"))
    assert wall.last().missing == ("b",)
    back = telemetry(110, 5.0, 5 * 110 / 3600, name="b")
    (told,) = wall.measure(110, telemetry(110, 30.0, 30 * 110 / 3600, name="a"), back)
    assert told.energy_import_kwh - told.losses_kwh == approx(35 * 110 / 3600, abs=1e-9)
    assert told.power_kw == approx(35 + losses_at(35), rel=1e-9)
    assert abs(told.residual_kwh) < 1e-10


def test_production_that_was_not_heard_makes_less_import_and_no_export() -> None:
    wall = Wall(("load", "sun"))
    wall.measure(0, telemetry(0, 50.0, 0.0), telemetry(0, -30.0, 0.0, 0.0, name="sun"))
    for t in range(10, 110, 10):
        wall.measure(t, telemetry(t, 50.0, 50 * t / 3600))
    imported = wall.registers()[0]
    for t in range(110, 310, 10):
        sun = telemetry(t, -30.0, 0.0, 30 * t / 3600, name="sun")
        wall.measure(t, telemetry(t, 50.0, 50 * t / 3600), sun)
        assert wall.registers()[0] >= imported
    imported, exported, losses = wall.registers()
    assert exported == 0.0
    assert imported - losses == approx(20 * 300 / 3600, abs=1e-9)


def test_another_life_counts_as_nothing_and_a_register_that_went_back_as_power_times_time() -> None:
    wall = Wall()
    wall.measure(0, telemetry(0, 40.0, 1000.0))
    (told,) = wall.measure(10, telemetry(10, 40.0, 1040.0, boot="second"))
    assert told.energy_import_kwh == approx(losses_at(0) / 360, rel=1e-9)
    assert wall.alarms == []
    (told,) = wall.measure(20, telemetry(20, 40.0, 3.0, boot="second"))
    by_power = (losses_at(0) + 40.0 + losses_at(40.0)) / 360
    assert (told.energy_import_kwh, told.energy_export_kwh) == (approx(by_power, rel=1e-9), 0.0)
    assert wall.alarms == ["register_reset load"]
    wall.measure(30, telemetry(30, 40.0, 3.1, boot="second"))
    assert wall.alarms == ["register_reset load"]


def test_a_register_that_went_back_and_came_back_is_booked_once() -> None:
    wall = Wall()
    rows = [100.0 + 0.1 * i - (0.4 if i in (4, 5) else 0.0) for i in range(12)]
    for i, imported in enumerate(rows):
        (told,) = wall.measure(10 * i, telemetry(10 * i, 36.0, imported))
    assert told.energy_import_kwh == approx(11 * (36 + losses_at(36)) / 360, rel=1e-9)
    assert abs(told.residual_kwh) < 1e-10
    assert wall.alarms == ["register_reset load", "implausible load", "implausible load"]


def test_without_registers_the_power_holds_until_the_next_word() -> None:
    wall = Wall()
    wall.measure(0, telemetry(0, 36.0, None))
    (told,) = wall.measure(10, telemetry(10, 18.0, None))
    assert told.energy_import_kwh - told.losses_kwh == approx(0.1, abs=1e-12)
    assert told.power_kw == approx(18 + losses_at(18), rel=1e-9)


@pytest.mark.parametrize("role", [MeterRole.SUBMETER, MeterRole.PCC])
def test_a_meter_that_measures_what_others_tell_is_not_waited_for(role: MeterRole) -> None:
    wall = Wall()
    wall.turn(Phase.ROLLCALL, T0, [birth("other", role)])
    wall.measure(0, telemetry(0, 40.0, 0.0), telemetry(0, 30.0, 0.0, name="other"))
    (told,) = wall.measure(10, telemetry(10, 40.0, 40 / 360))
    assert told.power_kw == approx(40 + losses_at(40), rel=1e-9)


# Properties.


@dataclass(frozen=True)
class History:
    """What devices tell every ten seconds, and how much later each message arrives [s]; None: it is lost."""

    power_kw: dict[str, list[float]]
    lateness_s: dict[str, list[float | None]]

    def messages(self, name: str) -> list[Received]:
        drawn = given = 0.0
        told = []
        for i, power in enumerate(self.power_kw[name]):
            told.append(telemetry(i * PERIOD_S, power, drawn, given, name=name, seq=i + 1))
            energy = power * PERIOD_S / 3600
            drawn, given = drawn + max(energy, 0.0), given + max(-energy, 0.0)
        return told

    def arrivals(self, *, timely: bool) -> list[tuple[float, Received]]:
        """In the order of arrival. A sender's messages do not overtake one another: QoS 1 keeps their order."""
        found = []
        for name, lateness in self.lateness_s.items():
            latest = 0.0
            for i, (message, late) in enumerate(zip(self.messages(name), lateness, strict=True)):
                if late is not None:
                    latest = max(latest, i * PERIOD_S + (0.0 if timely else late))
                    found.append((latest, message))
        return sorted(found, key=lambda item: item[0])


def run(history: History, *, timely: bool, restart_every: int = 0) -> Wall:
    wall = Wall(sorted(history.power_kw))
    for i, (t, message) in enumerate(history.arrivals(timely=timely)):
        wall.measure(t, message)
        if restart_every and i % restart_every == 0:
            fresh = build_network(wall.description)
            restored = through_json(wall.network, fresh)
            assert isinstance(restored, NetworkTwin)
            wall.network = restored
    return wall


@st.composite
def histories(draw: st.DrawFn, lowest_kw: float, latest_s: float, loss: bool) -> History:
    steps = draw(st.integers(3, 12))
    names = [f"m{i}" for i in range(draw(st.integers(1, 3)))]
    power = st.lists(st.floats(lowest_kw, 60, width=16), min_size=steps, max_size=steps)
    late: st.SearchStrategy[float | None] = st.floats(0, latest_s, width=16)
    if loss:
        late = st.none() | late
    lateness = {}
    for name in names:
        between = draw(st.lists(late, min_size=steps - 2, max_size=steps - 2))
        # The first and the last arrive: "once everybody has told".
        lateness[name] = [0.0, *between, draw(st.floats(0, latest_s, width=16))]
    return History({name: draw(power) for name in names}, lateness)


@settings(deadline=None, max_examples=25)
@given(histories(-60, 29, loss=False), st.integers(0, 5))
def test_late_messages_give_the_registers_of_timely_ones(history: History, restart_every: int) -> None:
    late, timely = run(history, timely=False, restart_every=restart_every), run(history, timely=True)
    assert late.told[-1][0] == timely.told[-1][0]
    assert late.registers() == approx(timely.registers(), abs=1e-9)
    assert late.last().power_kw == timely.last().power_kw


@settings(deadline=None, max_examples=25)
@given(histories(-60, 200, loss=True))
def test_whatever_is_late_or_lost_the_balance_closes_and_registers_only_grow(history: History) -> None:
    wall = run(history, timely=False)
    last_t = (len(next(iter(history.power_kw.values()))) - 1) * PERIOD_S
    # Everybody tells for a while after.
    for t in (10, 20, 400, 410):
        for name, powers in history.power_kw.items():
            first = History({name: powers}, {name: []}).messages(name)[-1].body
            assert isinstance(first, MeterTelemetry)
            assert first.energy_import_kwh is not None
            drawn = first.energy_import_kwh + 100 * t / 3600
            body = telemetry(last_t + t, 100.0, drawn, first.energy_export_kwh, name=name, seq=1000 + t)
            wall.measure(last_t + max(t, 250), body)
    net = {
        name: 100 * 410 / 3600 + sum(p * PERIOD_S / 3600 for p in powers[:-1])
        for name, powers in history.power_kw.items()
    }
    registers = wall.network.snapshot()["registers"]
    imported = registers["import_kwh"] - registers["carried_import_kwh"]
    exported = registers["export_kwh"] - registers["carried_export_kwh"]
    assert imported - exported - registers["losses_kwh"] == approx(sum(net.values()), abs=1e-9)
    bodies = [body for _, body in wall.told]
    for before, after in pairwise(bodies):
        assert after.energy_import_kwh >= before.energy_import_kwh  # type: ignore[operator]
        assert after.energy_export_kwh >= before.energy_export_kwh  # type: ignore[operator]
    assert [ts for ts, _ in wall.told] == sorted({ts for ts, _ in wall.told})


@settings(deadline=None, max_examples=25)
@given(histories(0, 200, loss=True))
def test_where_all_consume_nothing_is_exported_however_late_or_lost(history: History) -> None:
    wall = run(history, timely=False)
    assert all(body.energy_export_kwh == 0.0 for _, body in wall.told)
    assert all(body.power_kw > 0 for _, body in wall.told)


# Conservation of energy.

NAMES = ("load", "pv", "store")
POWERS_KW = {"load": (0.0, 40.0), "pv": (-60.0, 0.0), "store": (-30.0, 30.0)}
STEPS = 60
messages = st.lists(
    st.tuples(
        st.floats(0, 1),  # the power, between the device's bounds
        st.sampled_from([0.3, 0.5, 3.0, 35.0, 95.0, 400.0, None]),  # comes so much later [s]; None: is lost
    ),
    min_size=STEPS,
    max_size=STEPS,
)


@settings(deadline=None, max_examples=60)
@given(st.tuples(messages, messages, messages), st.sampled_from([1.0, 20.0, 600.0]), st.integers(0, STEPS))
def test_registers_hold_what_devices_measured_and_losses_whatever_was_late_or_lost(
    told: tuple[list[tuple[float, float | None]], ...], pace: float, cut: int
) -> None:
    """At the end of the run the PCC's net energy is that of all devices between their first and last telemetry that
    arrived, plus the losses. ``cut``: from then on nothing of the store arrives."""
    end_s = STEPS * PERIOD_S
    wall = Wall(NAMES, T0 + seconds(end_s))
    arrivals: list[tuple[float, int, Received]] = []
    for name, of_device in zip(NAMES, told, strict=True):
        low, high = POWERS_KW[name]
        imported = exported = 0.0
        for i, (share, delay) in enumerate(of_device):
            at = (i + 1) * PERIOD_S
            power_kw = low + share * (high - low)
            imported += max(power_kw, 0.0) / 360
            exported += max(-power_kw, 0.0) / 360
            if delay is not None and not (name == "store" and i >= cut):
                body = telemetry(at, power_kw, imported, exported, name)
                arrivals.append((min(at + delay, end_s + 90), len(arrivals), body))
    arrivals.sort(key=lambda each: each[:2])
    measured: dict[str, list[tuple[datetime, float]]] = {}
    for arrives, _, body in arrivals:
        wall.measure(min(arrives, end_s), body, pace=pace)
        assert isinstance(body.body, MeterTelemetry) and body.body.energy_import_kwh is not None
        assert body.body.energy_export_kwh is not None
        net = body.body.energy_import_kwh - body.body.energy_export_kwh
        so_far = measured.setdefault(body.topic.device, [])
        if not so_far or body.stamp.ts > so_far[-1][0]:
            so_far.append((body.stamp.ts, net))
    wall.measure(end_s, pace=pace, closing=True)
    if not wall.told:
        return
    imported, exported, losses = wall.registers()
    devices = sum(found[-1][1] - found[0][1] for found in measured.values())
    assert imported - exported - losses == approx(devices, abs=1e-9)
    assert wall.told[-1][0] == T0 + seconds(end_s)
    assert sum(body.residual_kwh for _, body in wall.told) == approx(0.0, abs=1e-9)
    for (_, a), (_, b) in pairwise(wall.told):
        assert a.energy_import_kwh is not None and b.energy_import_kwh is not None
        assert a.energy_export_kwh is not None and b.energy_export_kwh is not None
        assert b.energy_import_kwh >= a.energy_import_kwh and b.energy_export_kwh >= a.energy_export_kwh


def test_export_that_was_none_is_paid_by_import_at_the_end_and_in_the_next_life() -> None:
    """PV gives 36 kW, and a load draws as much; while the load is silent its part is booked as export."""
    wall = Wall(("load", "pv"), T0 + seconds(100))
    wall.measure(0, telemetry(0, 36.0, 0.0, name="load"), telemetry(0, -36.0, 0.0, 0.0, name="pv"))
    for i in range(1, 10):
        wall.measure(10 * i, telemetry(10 * i, -36.0, 0.0, i / 10, name="pv"))
    exported = wall.registers()[1]
    assert exported > 0.3
    wall.measure(100, telemetry(100, 36.0, 1.0, name="load"), telemetry(100, -36.0, 0.0, 1.0, name="pv"))
    imported, too_much, losses = wall.registers()
    assert too_much == exported and imported < 0.1
    next_life = wall.network.registers
    assert next_life["energy_import_kwh"] - next_life["energy_export_kwh"] == approx(losses, abs=1e-9)
    (last,) = wall.measure(100, closing=True)
    assert (last.energy_import_kwh, last.energy_export_kwh) == (next_life["energy_import_kwh"], exported)
    assert last.energy_import_kwh - last.energy_export_kwh == approx(last.losses_kwh, abs=1e-9)
    assert wall.measure(100, closing=True) == []


def test_a_device_is_waited_for_by_the_machines_clock() -> None:
    """At 600 times the speed 2 s of the machine are 20 minutes."""
    wall = Wall(("a", "b"))
    wall.measure(0, telemetry(0, 30.0, 0.0, name="a"), telemetry(0, 5.0, 0.0, name="b"), pace=600.0)
    for after in range(10, 1200, 10):
        assert wall.measure(after, telemetry(after, 30.0, 30 * after / 3600, name="a"), pace=600.0) == []
    (told,) = wall.measure(1210, telemetry(1210, 30.0, 30 * 1210 / 3600, name="a"), pace=600.0)[-1:]
    assert told.missing == ("b",)


# ---- clocks that are wrong


def by_clock(after_s: float, clock_s: float, power_kw: float, imported: float, name: str) -> Received:
    """A telemetry that arrives so many seconds after T0, of a device whose clock is ``clock_s`` ahead."""
    found = telemetry(after_s + clock_s, power_kw, imported, name=name, seq=int(after_s) + 1)
    return dataclasses.replace(found, arrived=T0 + seconds(after_s))


@pytest.mark.parametrize("clock_s", [-240.0, -45.0, 45.0, 3600.0])
def test_a_device_with_a_wrong_clock_is_there_and_its_energy_is_counted_in_time(clock_s: float) -> None:
    wall = Wall(("a", "b"))
    for t in range(0, 610, 10):
        drawn = (by_clock(t, 0.0, 36.0, 36 * t / 3600, "a"), by_clock(t, clock_s, 18.0, 18 * t / 3600, "b"))
        wall.measure(t, *drawn)
    assert all(told.missing == () for _, told in wall.told)
    at, last = wall.told[-1]
    late = timedelta(seconds=45 + 10) if abs(clock_s) == 45 else timedelta(seconds=30)
    assert T0 + seconds(600) - at <= late, "one within the bound is waited for, a worse one is put right"
    hours = (at - T0) / HOUR
    assert last.energy_import_kwh is not None
    assert last.energy_import_kwh - last.losses_kwh == approx(54 * hours, abs=0.35)


def test_one_date_far_ahead_counts_as_of_its_arrival() -> None:
    wall = Wall(("a", "b"))
    for t in range(0, 310, 10):
        ahead_s = 13 * 365 * 86_400.0 if t == 100 else 0.0
        wall.measure(t, by_clock(t, 0.0, 36.0, 36 * t / 3600, "a"), by_clock(t, ahead_s, 18.0, 18 * t / 3600, "b"))
    at, last = wall.told[-1]
    assert at == T0 + seconds(300)
    assert last.energy_import_kwh is not None
    assert last.energy_import_kwh - last.losses_kwh == approx(54 / 12, abs=1e-9)


def test_a_device_whose_clock_is_ahead_is_absent_when_it_is_dead() -> None:
    wall = Wall(("a", "b"))
    for t in range(0, 310, 10):
        dead = t > 100
        b = () if dead else (by_clock(t, 50.0, 18.0, 18 * t / 3600, "b"),)
        wall.measure(t, by_clock(t, 0.0, 36.0, 36 * t / 3600, "a"), *b)
    assert next(at for at, told in wall.told if told.missing == ("b",)) <= T0 + seconds(150)
