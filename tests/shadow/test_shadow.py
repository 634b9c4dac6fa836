"""The shadow as a participant: what it predicts, when it says nothing, and that it goes on from its snapshot."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from runtime.in_memory import run_direct
from schemas.errors import Code
from schemas.messages import (
    Alarm,
    BessTelemetry,
    Body,
    ChargerTelemetry,
    Fallback,
    Phase,
    PluggedVehicle,
    Prediction,
    Setpoint,
    Stamp,
    TimeMode,
)
from schemas.participant import Outgoing, Participant, Received, Turn
from schemas.roles import read_filters, write_filters
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic
from services.clock.lockstep import lockstep_run
from services.shadow.participant import PARTED, Shadow
from sites.loader import load_site
from tests.errors import raises
from tests.shadow.altered import RUN, altered, live_beside, site_with_shadows
from twin_devices.build import build_twin
from twinswarm.simulation.baseline import replay_of
from twinswarm.simulation.compose import maker, members, required
from twinswarm.simulation.runs import course_of

T0 = datetime(2024, 5, 16, 22, tzinfo=UTC)
SITE = site_with_shadows()


def day(shadows: Sequence[Participant]) -> dict[str, list[Prediction]]:
    """A day of the site with these shadows."""
    course = course_of(SITE, date(2024, 5, 17))
    others = [maker(SITE, name)() for name in members(SITE) if name != "recorder" and name not in SITE.shadows]
    said: dict[str, list[Prediction]] = {}

    def hear(received: Received) -> None:
        if isinstance(received.body, Prediction):
            said.setdefault(received.body.device, []).append(received.body)
        assert not (isinstance(received.body, Alarm) and received.body.code == PARTED)

    clock = Topic(SITE.site, Kind.CLOCK, "clock", Channel.RUN)
    run_direct([*others, *shadows], course, RUN, (clock, lockstep_run(course, T0)), on_message=hear)
    return said


class Reborn(Shadow):
    """Goes through its snapshot before every turn."""

    def __init__(self, device: str) -> None:
        super().__init__(SITE, device)
        self.turns = 0

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        state = json.loads(json.dumps(self.snapshot()))
        fresh = Shadow(SITE, self._of)
        fresh.restore(state)
        sent = fresh.act(turn, inbox)
        self.restore(json.loads(json.dumps(fresh.snapshot())))
        self.turns += 1
        return sent


def test_beside_a_device_as_described_nothing_is_left_over_and_a_restart_changes_nothing() -> None:
    said = day([Shadow(SITE, "bess"), Shadow(SITE, "ev1")])
    assert {name: len(each) for name, each in said.items()} == {"bess": 96, "ev1": 35}
    for each in (*said["bess"], *said["ev1"]):
        assert each.residual_kw == pytest.approx(0.0, abs=1e-6)
        assert each.residual_soc_frac == pytest.approx(0.0, abs=1e-9)
        assert each.parted is None
    assert max(abs(each.measured_kw) for each in said["bess"]) > 10
    last = said["bess"][-1]
    assert last.estimates is not None
    assert last.estimates["capacity_kwh"].value == pytest.approx(40.0, rel=1e-9)
    assert day([Reborn("bess"), Reborn("ev1")]) == said


# ---- wall time

TURN = Turn(Phase.MEASURE, T0, T0, None, 900, TimeMode.WALL)


def received(device: str, kind: Kind, channel: Channel, body: Body, at: datetime, boot: str = "b1") -> Received:
    topic = Topic(SITE.site, kind, device, channel)
    return Received(topic, Stamp(ts=at, boot=boot, seq=1), body, arrived=at)


def bess(at: datetime, **values: Any) -> Received:
    told = {"power_kw": 0.0, "energy_import_kwh": 100.0, "energy_export_kwh": 50.0, "soc_frac": 0.5} | values
    return received("bess", Kind.BESS, Channel.TELEMETRY, BessTelemetry(**told), at, values.pop("boot", "b1"))


def car(at: datetime, vehicle: PluggedVehicle | None, drawn_kwh: float = 0.0) -> Received:
    body = ChargerTelemetry(power_kw=0.0, energy_import_kwh=drawn_kwh, energy_export_kwh=0.0, vehicle=vehicle)
    return received("ev1", Kind.CHARGER, Channel.TELEMETRY, body, at)


def predictions(sent: Sequence[Outgoing]) -> list[Prediction]:
    return [each.body for each in sent if isinstance(each.body, Prediction)]


def test_in_wall_time_it_follows_set_points_by_the_described_device_and_says_what_the_real_one_does_not_do() -> None:
    """A battery that takes 8 of 10 kW: the twin takes them all, from its dead time of 30 s on."""
    shadow, ten = Shadow(SITE, "bess"), timedelta(seconds=10)
    setpoint = Setpoint(
        id="1", epoch=1, power_kw=10.0, valid_from=T0, valid_until=T0 + timedelta(minutes=20), fallback=Fallback.IDLE
    )
    shadow.act(TURN, [bess(T0)])
    shadow.act(TURN, [received("bess", Kind.BESS, Channel.SETPOINT, setpoint, T0)])
    said = []
    for tick in range(1, 91):
        at = T0 + tick * ten
        drawn = 8.0 * max(tick - 3, 0) / 360
        told = bess(at, power_kw=8.0, energy_import_kwh=100 + drawn, soc_frac=0.5 + drawn * 0.945 / 40)
        said += predictions(shadow.act(replace(TURN, t=at), [told]))
    assert len(said) == 15  # once a minute
    assert [round(each.predicted_kw, 6) for each in said[:3]] == [5.0, 10.0, 10.0]
    assert [round(each.residual_kw, 6) for each in said[:3]] == [-1.0, -2.0, -2.0]
    assert all(abs(each.residual_soc_frac or 0.0) < 1e-9 for each in said)


@pytest.mark.parametrize("behind_s", [0.0, 1800.0, -5.0])
def test_neither_delays_nor_a_wrong_clock_are_taken_for_power(behind_s: float) -> None:
    """The twin beside itself; each message is up to 5 s on its way, and the device's clock is wrong."""
    shadow, real = Shadow(SITE, "bess"), build_twin(SITE, "bess")
    behind, said = timedelta(seconds=behind_s), list[Prediction]()
    for tick in range(180):
        turn = replace(TURN, t=T0 + tick * timedelta(seconds=10))
        if tick % 30 == 0:
            power = (8.0, -4.0, 6.0)[tick // 30 % 3]
            asked = Setpoint(
                id=f"{tick}",
                epoch=1,
                power_kw=power,
                valid_from=turn.t,
                valid_until=turn.t + timedelta(minutes=6),
                fallback=Fallback.IDLE,
            )
            told = received("bess", Kind.BESS, Channel.SETPOINT, asked, turn.t)
            real.act(replace(turn, phase=Phase.APPLY), [told])
            shadow.act(turn, [told])
        late = timedelta(seconds=(0.0, 1.0, 5.0, 0.5)[tick % 4])
        for outgoing in real.act(replace(turn, phase=Phase.SENSE), []):
            assert isinstance(outgoing.body, BessTelemetry)
            told = received("bess", Kind.BESS, Channel.TELEMETRY, outgoing.body, turn.t - behind)
            said += predictions(shadow.act(replace(turn, t=turn.t + late), [told]))
    assert len(said) > 25
    assert max(abs(each.measured_kw) for each in said) == pytest.approx(8.0)
    assert max(abs(each.residual_kw) for each in said) < 1e-6


def test_in_wall_time_a_battery_of_less_capacity_is_named() -> None:
    """The real one is a twin with other numbers, in wall time, too, with telemetry of every minute."""
    shadow, real = Shadow(SITE, "bess"), build_twin(altered(SITE, "bess", "capacity_kwh"), "bess")
    alarms: list[Alarm] = []
    power, minute = 0.0, timedelta(minutes=1)
    for tick in range(2 * 1440):
        turn = replace(TURN, t=T0 + tick * minute)
        if tick % 15 == 0:
            hour = tick // 60 % 12
            power = 8.0 if hour < 3 else -8.0 if 6 <= hour < 9 else 0.0
            setpoint = Setpoint(
                id=f"{tick}",
                epoch=1,
                power_kw=power,
                valid_from=turn.t,
                valid_until=turn.t + timedelta(minutes=16),
                fallback=Fallback.IDLE,
            )
            asked = received("bess", Kind.BESS, Channel.SETPOINT, setpoint, turn.t)
            real.act(replace(turn, phase=Phase.APPLY), [asked])
            shadow.act(turn, [asked])
        for outgoing in real.act(replace(turn, phase=Phase.SENSE), []):
            assert isinstance(outgoing.body, BessTelemetry)
            shown = outgoing.body.model_copy(update={"soc_frac": round(outgoing.body.soc_frac, 2)})
            sent = shadow.act(turn, [received("bess", Kind.BESS, Channel.TELEMETRY, shown, turn.t)])
            alarms += [each.body for each in sent if isinstance(each.body, Alarm)]
    assert alarms
    assert (alarms[-1].device, alarms[-1].element, alarms[-1].active) == ("bess", "capacity_kwh", True)
    assert alarms[-1].value == pytest.approx(36.0, abs=0.7)


def test_registers_that_go_back_another_life_and_a_late_message_are_no_evidence() -> None:
    shadow = Shadow(SITE, "bess")
    step = timedelta(minutes=15)
    shadow.act(TURN, [bess(T0)])
    assert predictions(shadow.act(replace(TURN, t=T0 + step), [bess(T0 + step)]))
    wrong = [
        bess(T0 + 2 * step, energy_import_kwh=3.0),  # it went back
        bess(T0 + 3 * step, energy_import_kwh=3.0, boot="b2"),
        bess(T0 + 4 * step, energy_import_kwh=9e5, boot="b2"),  # more than can flow
        bess(T0 + step, boot="b2"),  # late
    ]
    for each in wrong:
        assert shadow.act(replace(TURN, t=each.stamp.ts), [each]) == []
    after = bess(T0 + 5 * step, energy_import_kwh=9e5, boot="b2")
    assert predictions(shadow.act(replace(TURN, t=T0 + 5 * step), [after]))


@pytest.mark.parametrize(
    ("vehicle", "told"),
    [
        (None, False),
        (PluggedVehicle(), False),  # an ordinary AC car
        (PluggedVehicle(soc_frac=0.5), False),  # whose capacity is not known
        (PluggedVehicle(capacity_kwh=50.0), False),
        (PluggedVehicle(soc_frac=0.5, capacity_kwh=50.0), True),
    ],
)
def test_of_a_vehicle_that_says_too_little_nothing_is_predicted(vehicle: PluggedVehicle | None, told: bool) -> None:
    shadow, minute = Shadow(SITE, "ev1"), timedelta(minutes=1)
    sent = [shadow.act(replace(TURN, t=T0 + n * minute), [car(T0 + n * minute, vehicle)]) for n in range(4)]
    assert bool(predictions([one for each in sent for one in each])) is told


def test_another_vehicle_is_another_store() -> None:
    shadow, minute = Shadow(SITE, "ev1"), timedelta(minutes=1)
    first = PluggedVehicle(vehicle="a", soc_frac=0.5, capacity_kwh=50.0)
    other = PluggedVehicle(vehicle="b", soc_frac=0.1, capacity_kwh=20.0)
    said = []
    for n, vehicle in enumerate((first, first, other, other, None, other)):
        at = T0 + n * minute
        said.append([p.measured_soc_frac for p in predictions(shadow.act(replace(TURN, t=at), [car(at, vehicle)]))])
    assert said == [[], [0.5], [], [0.1], [], []]


# ---- in the swarm


def test_a_shadow_can_command_nobody_and_a_run_begins_without_it() -> None:
    allowed = write_filters(SITE.site, Kind.SHADOW, "shadow-bess")
    channels = {"prediction", "birth", "state", "alarm", "metric", "reject", "done"}
    assert {one.rsplit("/", 1)[1] for one in allowed} == channels
    assert all(f"/{SITE.site}/shadow/shadow-bess/" in one for one in allowed)
    assert not any("plan" in one or "decision" in one for one in read_filters(SITE.site, Kind.SHADOW, "shadow-bess"))
    assert set(SITE.shadows) <= set(members(SITE))
    assert not set(SITE.shadows) & required(SITE)


@pytest.mark.parametrize(("device", "rename"), [("pv", None), ("building", None), ("bess", "b" * 25)])
def test_a_device_that_has_no_shadow_is_named(device: str, rename: str | None) -> None:
    text = json.loads(load_site("fit_g2v").model_dump_json())
    text["devices"][rename or device] = text["devices"].pop(device) | {"shadow": True}
    with pytest.raises(ValueError, match=rf"devices\.{rename or device}\.shadow"):
        Site.model_validate_json(json.dumps(text))


def test_the_identifier_of_a_shadow_is_not_another_device_s() -> None:
    text = json.loads(load_site("fit_g2v").model_dump_json())
    text["devices"]["bess"]["shadow"] = True
    text["devices"]["shadow-bess"] = text["devices"]["ev1"]
    with pytest.raises(ValueError, match=r"devices\.bess\.shadow: its twin would be called shadow-bess"):
        Site.model_validate_json(json.dumps(text))


def test_a_baseline_has_no_shadows() -> None:
    watched = live_beside(SITE, SITE, timedelta(hours=2), 1)
    assert replay_of(watched.history, RUN).site.shadows == {}
    assert SITE.shadows != {}  # and the site's own are not touched


def test_a_site_with_other_devices_has_their_shadows() -> None:
    quiet = {name: each.model_copy(update={"shadow": False}) for name, each in SITE.devices.items()}
    assert SITE.shadows == {"shadow-bess": "bess", "shadow-ev1": "ev1"}
    assert SITE.model_copy(update={"devices": quiet}).shadows == {}


def test_who_has_no_shadow_is_refused_with_those_that_there_are() -> None:
    with raises(Code.UNKNOWN, "shadow-bess"):
        maker(load_site("fit_g2v"), "shadow-bess")
