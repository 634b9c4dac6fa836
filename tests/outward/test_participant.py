"""Who commands a twin with two doors: its turns by hand, a face that only notes, no broker and no clock."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.messages import Ack, BessTelemetry, Fallback, Phase, Setpoint, Stamp, Telemetry, TimeMode
from schemas.participant import Input, Outgoing, Received, Turn
from schemas.site import Site
from schemas.topics import Channel, Topic
from services.outward.face import Asked
from services.outward.participant import COMMANDED, Outward
from tests.outward.swarm import NOON, a_site
from twin_devices.base import Twin
from twin_devices.build import build_twin


class Noted:
    """A face without a server."""

    name, value_type = "noted", Asked

    def __init__(self) -> None:
        self.shown: list[Telemetry | None] = []
        self.remaining: list[float | None] = []
        self.ended: list[int] = []

    def open(self, put: Callable[[object], bool]) -> None:
        """Nothing to be opened."""

    def close(self) -> None:
        """Nothing to be closed."""

    def show(self, telemetry: Telemetry | None, remaining_s: float | None) -> None:
        self.shown.append(telemetry)
        self.remaining.append(remaining_s)

    def over(self, number: int) -> None:
        self.ended.append(number)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


class Bench:
    def __init__(self, site: Site, device: str = "bess") -> None:
        self.site, self.face = site, Noted()
        twin = build_twin(site, device)
        assert isinstance(twin, Twin)
        self.outward = Outward(twin, self.face)
        self.numbers = 0

    def act(self, seconds: float, *asked: Asked, mqtt: Setpoint | None = None, pace: float = 1.0) -> list[Any]:
        outward = self.outward
        topic = Topic(outward.site, outward.kind, outward.device, Channel.SETPOINT)
        inbox = [] if mqtt is None else [Received(topic, Stamp(ts=at(seconds), boot="ems", seq=1), mqtt)]
        inputs = tuple(Input("noted", at(seconds), each) for each in asked)
        turn = Turn(Phase.SENSE, at(seconds), NOON, None, 900, TimeMode.WALL, inputs=inputs, pace=pace)
        return [sent.body for sent in self.sent(turn, inbox)]

    def sent(self, turn: Turn, inbox: list[Received]) -> list[Outgoing]:
        return self.outward.act(turn, inbox)

    def ask(self, value_kw: float | None, for_s: float = 0.0) -> Asked:
        self.numbers += 1
        return Asked(number=self.numbers, value_kw=value_kw, for_s=for_s)

    @property
    def power_kw(self) -> float:
        shown = self.face.shown[-1]
        assert shown is not None
        return shown.power_kw


def mqtt(name: str, power_kw: float, begin: float, end: float, epoch: int = 5) -> Setpoint:
    return Setpoint(
        id=name, epoch=epoch, valid_from=at(begin), valid_until=at(end), power_kw=power_kw, fallback=Fallback.IDLE
    )


def acks(sent: list[Any]) -> list[tuple[str, bool]]:
    return [(body.id, body.accepted) for body in sent if isinstance(body, Ack)]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return a_site(tmp_path)


def test_a_master_takes_over_and_the_ems_is_told_so_until_it_lets_go(site: Site) -> None:
    bench = Bench(site)
    assert acks(bench.act(0, mqtt=mqtt("now", 2.0, 0, 600))) == [("now", True)]
    assert acks(bench.act(1, mqtt=mqtt("ahead", 3.0, 300, 900))) == [("ahead", True)]
    assert bench.power_kw == 2.0
    taken = bench.act(2, bench.ask(-1.5))
    assert acks(taken) == [("now", False), ("ahead", False), ("master-1", True)]
    assert {body.reason for body in taken if isinstance(body, Ack) and not body.accepted} == {COMMANDED}
    assert bench.power_kw == -1.5
    assert acks(bench.act(10, mqtt=mqtt("refused", 4.0, 10, 600))) == [("refused", False)]
    bench.act(400)
    assert bench.power_kw == -1.5, "what lay ahead is gone"
    let_go = bench.act(401, bench.ask(None))
    assert acks(let_go) == [("master-1", False)]
    assert bench.power_kw == 0.0, "the fallback"
    assert acks(bench.act(402, mqtt=mqtt("again", 4.0, 402, 600))) == [("again", True)]
    assert bench.power_kw == 4.0


def test_its_time_out_ends_what_a_master_asked_to_the_instant(site: Site) -> None:
    bench = Bench(site)
    bench.act(0, bench.ask(3.0, for_s=30))
    assert bench.outward.wake_at(at(0)) == at(1)
    assert bench.outward.wake_at(at(29.5)) == at(30)
    bench.act(20)
    assert (bench.power_kw, bench.face.remaining[-1]) == (3.0, 10.0)
    bench.act(25, bench.ask(3.0, for_s=30))
    bench.act(54.9)
    assert (bench.power_kw, bench.face.ended) == (3.0, [])
    bench.act(55)
    assert (bench.power_kw, bench.face.ended, bench.face.remaining[-1]) == (0.0, [2], None)
    assert acks(bench.act(56, mqtt=mqtt("ems", 1.0, 56, 90))) == [("ems", True)]


def test_a_time_out_counts_seconds_of_the_machine_as_its_master_does(site: Site) -> None:
    bench = Bench(site)
    bench.act(0, bench.ask(3.0, for_s=30), pace=60.0)
    bench.act(1200, pace=60.0)
    assert (bench.power_kw, bench.face.remaining[-1]) == (3.0, 10.0)
    assert bench.outward.wake_at(at(1795)) == at(1800)
    bench.act(1800, pace=60.0)
    assert (bench.power_kw, bench.face.ended) == (0.0, [1])


def test_energy_is_that_of_the_instants_however_late_the_turns_are(site: Site) -> None:
    bench = Bench(site)
    bench.act(0)
    before = bench.face.shown[-1]
    bench.act(0, bench.ask(3.6, for_s=100))
    bench.act(1000)
    after = bench.face.shown[-1]
    assert before is not None
    assert after is not None
    assert before.energy_import_kwh is not None
    assert after.energy_import_kwh == pytest.approx(before.energy_import_kwh + 0.1)


def test_what_is_asked_is_clipped_by_the_nameplate_and_the_answer_says_why(site: Site) -> None:
    bench = Bench(site)
    most_kw = site.devices["bess"].max_charge_kw  # type: ignore[union-attr]
    (ack,) = [body for body in bench.act(0, bench.ask(1000.0)) if isinstance(body, Ack)]
    assert (ack.accepted, bench.power_kw) == (True, most_kw)
    assert "outside the nameplate" in ack.reason


def test_a_refused_command_is_over_at_once(site: Site) -> None:
    spec = site.devices["pv"].model_copy(update={"curtailable": False})
    bench = Bench(site.model_copy(update={"devices": {**site.devices, "pv": spec}}), "pv")
    sent = bench.act(0, bench.ask(1.0))
    assert acks(sent) == [("master-1", False)]
    assert bench.face.ended == [1]


def test_what_has_no_end_outlasts_the_longest_set_point(site: Site) -> None:
    bench = Bench(site)
    bench.act(0, bench.ask(0.001))
    for hour in range(1, 120):
        bench.act(3600 * hour)
        assert bench.power_kw == 0.001, hour
    bench.act(3600 * 120, bench.ask(0.002, for_s=80 * 3600.0))
    for hour in range(121, 200):
        bench.act(3600 * hour)
        assert bench.power_kw == 0.002, hour
    bench.act(3600 * 200)
    assert bench.power_kw == 0.0


def test_after_a_restart_the_masters_command_is_gone_and_the_registers_go_on(site: Site) -> None:
    bench = Bench(site)
    bench.act(0, bench.ask(3.0))
    bench.act(600)
    kept = bench.outward.snapshot()
    again = Bench(site)
    again.outward.restore(kept)
    sent = again.act(601)
    assert acks(sent) == [("master-1", False)]
    assert again.power_kw == 0.0
    shown = again.face.shown[-1]
    assert isinstance(shown, BessTelemetry)
    assert shown.energy_import_kwh == pytest.approx(3.0 * 601 / 3600)
    assert acks(again.act(602, again.ask(1.0))) == [("master-2", True)]


def test_a_checkpoint_of_the_twin_alone_is_taken_up(site: Site) -> None:
    twin = build_twin(site, "bess")
    twin.act(Turn(Phase.SENSE, at(0), NOON, None, 900, TimeMode.WALL), [])
    bench = Bench(site)
    bench.outward.restore(twin.snapshot())
    bench.act(1)
    assert bench.power_kw == 0.0


def test_lock_step_refuses_a_twin_with_a_second_door(site: Site) -> None:
    from runtime.admission import modes_of

    bench = Bench(site)
    assert modes_of(bench.outward) == (TimeMode.WALL,)
