"""A site in wall time whose EMS is restarted, doubled or out-voted: who leads, and that nobody is locked out.

The run loops that each process has, over the broker in memory, along a clock that is set.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TypeVar

import pytest

from broker.memory import MemoryBroker, MemoryTransport
from runtime.checkpoint import CheckpointStore, MemoryCheckpoint, NoCheckpoint
from runtime.wall import WallLoop
from schemas.messages import (
    EPOCH_STEP_MOST,
    SETPOINTS_AHEAD_MOST,
    Ack,
    Alarm,
    Body,
    Fallback,
    Plan,
    Run,
    Setpoint,
    Stamp,
    TimeMode,
)
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import decode, encode
from sites.loader import load_site
from twinswarm.simulation.compose import maker

T0 = datetime(2024, 5, 17, 8, 0, tzinfo=UTC)
RUN = "20261101T120000.000000Z-0001"
BESS = Topic("fit-g2v", Kind.BESS, "bess", Channel.SETPOINT)
PLAN = Topic("fit-g2v", Kind.EMS, "ems", Channel.PLAN)
QUARTER_S = 900
MEMBERS = ("bess", "tariff", "forecast", "ems")
B = TypeVar("B", bound=Body)


@dataclass
class Process:
    loop: WallLoop
    transport: MemoryTransport


class Living:
    def __init__(self) -> None:
        site = load_site("fit_g2v")
        # Each plan is one of a quarter-hour's start, so that they can be counted.
        self.site = site.model_copy(update={"ems": site.ems.model_copy(update={"replan_least_s": 0.0})})
        self.broker = MemoryBroker()
        self._boots = (f"boot-{number:02}" for number in count(1))
        self._ear = MemoryTransport(self.broker, "ear")
        self._ear.connect([everything(self.site.site)])
        self._seq = count(1)
        self.heard: list[tuple[Stamp, Topic, Body]] = []
        self.processes: dict[str, Process] = {}
        self.now = T0
        self.send(
            Topic(self.site.site, Kind.CLOCK, "clock", Channel.RUN),
            Run(mode=TimeMode.WALL, step_s=QUARTER_S, t0=T0, wall0=T0, speed=1.0),
        )
        self.checkpoint = MemoryCheckpoint()
        for device in MEMBERS:
            self.start(device, checkpoint=self.checkpoint if device == "ems" else NoCheckpoint())

    def start(self, device: str, name: str | None = None, checkpoint: CheckpointStore | None = None) -> None:
        transport = MemoryTransport(self.broker, f"{self.site.site}_{name or device}")
        make = maker(self.site, device)
        loop = WallLoop(make(), transport, checkpoint, new_boot=lambda: next(self._boots), zone=self.site.zone)
        loop.start(self.now)
        self.processes[name or device] = Process(loop, transport)

    def kill(self, name: str) -> None:
        self.processes.pop(name).transport.drop()

    def send(self, topic: Topic, body: Body) -> None:
        stamp = Stamp(ts=self.now, run=RUN, boot="elsewhere", seq=next(self._seq))
        self._ear.publish(str(topic), encode(stamp, body), retain=topic.retained)

    def forget(self, topic: Topic) -> None:
        self._ear.publish(str(topic), b"", retain=True)

    def until(self, seconds: float) -> None:
        """Lives on to so many seconds after T0."""
        while self.now < T0 + timedelta(seconds=seconds):
            busy = True
            while busy:
                busy = False
                for process in list(self.processes.values()):
                    while (delivery := process.transport.receive(0.0)) is not None:
                        process.loop.handle(delivery, self.now)
                        busy = True
                    process.loop.run_due(self.now)
            self._listen()
            self.now += timedelta(seconds=2)

    def _listen(self) -> None:
        while (delivery := self._ear.receive(0.0)) is not None:
            self._ear.acknowledge(delivery)
            if delivery.payload:
                topic = Topic.parse(delivery.topic)
                stamp, body = decode(topic, delivery.payload)
                self.heard.append((stamp, topic, body))

    def of(self, kind: type[B], where: Callable[[B], bool] = lambda body: True) -> list[B]:
        return [body for _, _, body in self.heard if isinstance(body, kind) and where(body)]

    def plans(self) -> list[int]:
        return [plan.epoch for plan in self.of(Plan)]

    def acked(self, setpoint: Setpoint) -> list[bool]:
        """Answers of the battery to a set-point of the EMS, of which two may carry one name."""
        return [ack.accepted for ack in self.of(Ack) if ack.id == setpoint.id]

    def commands(self) -> list[Setpoint]:
        """Set-points of an EMS for the battery."""
        return [b for s, t, b in self.heard if isinstance(b, Setpoint) and t == BESS and s.boot != "elsewhere"]


@pytest.fixture
def living() -> Living:
    living = Living()
    living.until(QUARTER_S + 10)
    assert living.plans() == [1, 1]
    assert living.acked(living.commands()[-1]) == [True]
    return living


def test_an_ems_that_is_started_again_leads_by_a_higher_epoch(living: Living) -> None:
    living.kill("ems")
    living.start("ems", checkpoint=living.checkpoint)
    living.until(2 * QUARTER_S + 10)
    assert living.plans() == [1, 1, 2]
    assert living.acked(living.commands()[-1]) == [True]


def test_an_ems_without_its_file_learns_the_epoch_from_the_retained_plan(living: Living) -> None:
    living.kill("ems")
    living.start("ems")
    living.until(2 * QUARTER_S + 10)
    assert living.plans()[-1] == 2
    assert living.acked(living.commands()[-1]) == [True]


def test_an_ems_without_file_and_retained_plan_learns_from_the_refusals(living: Living) -> None:
    for _ in range(3):  # the epoch is at 4
        living.kill("ems")
        living.start("ems", checkpoint=living.checkpoint)
        living.until((living.now - T0).total_seconds() + QUARTER_S)
    assert living.plans()[-1] == 4
    living.kill("ems")
    living.forget(PLAN)
    living.heard.clear()
    living.start("ems")
    living.until((living.now - T0).total_seconds() + 2.2 * QUARTER_S)
    refused = living.of(Ack, lambda ack: not ack.accepted)
    assert refused[0].epoch == 4
    assert "below 4, which was seen before" in str(refused[0].reason)
    assert living.plans()[-1] == 4
    assert living.acked(living.commands()[-1]) == [True]


def test_of_two_ems_the_later_one_leads_and_the_other_steps_back_with_an_alarm(living: Living) -> None:
    living.start("ems", "second-ems")
    living.until(4 * QUARTER_S + 10)
    alarms = living.of(Alarm, lambda alarm: alarm.code == "ems_stepped_back")
    assert [alarm.value for alarm in alarms] == [2.0]
    assert living.plans()[-1] == 2
    last = [plan for plan in living.of(Plan) if plan.start == T0 + timedelta(seconds=4 * QUARTER_S)]
    assert [plan.epoch for plan in last] == [2], "the first EMS plans no more"
    assert living.acked(living.commands()[-1]) == [True]
    living.kill("second-ems")
    living.kill("ems")
    living.start("ems", checkpoint=living.checkpoint)
    living.until(5 * QUARTER_S + 10)
    assert living.plans()[-1] == 3, "started again it leads again"


def test_an_epoch_out_of_reach_is_refused_and_the_ems_goes_on(living: Living) -> None:
    rogue = Setpoint(
        id="rogue",
        epoch=2**53,
        valid_from=living.now,
        valid_until=living.now + timedelta(hours=1),
        power_kw=1.0,
        fallback=Fallback.IDLE,
    )
    living.send(BESS, rogue)
    living.until(2 * QUARTER_S + 10)
    (ack,) = living.of(Ack, lambda ack: ack.id == "rogue")
    assert not ack.accepted
    assert ack.reason == f"epoch {2**53} is more than {EPOCH_STEP_MOST} above 1, the highest that was seen before"
    assert ack.epoch == 1
    assert living.acked(living.commands()[-1]) == [True]


def test_an_ems_catches_up_with_the_highest_epoch_that_a_device_takes(living: Living) -> None:
    rogue = Setpoint(
        id="rogue",
        epoch=1 + EPOCH_STEP_MOST,
        valid_from=living.now,
        valid_until=living.now + timedelta(minutes=1),
        power_kw=1.0,
        fallback=Fallback.IDLE,
    )
    living.send(BESS, rogue)
    living.until(2 * QUARTER_S + 10)
    assert living.of(Ack, lambda ack: ack.id == "rogue")[0].accepted
    assert living.acked(living.commands()[-1]) == [True]


def test_a_set_point_without_an_end_in_sight_holds_nobody(living: Living) -> None:
    living.send(
        BESS,
        Setpoint(
            id="for ever",
            epoch=1,
            valid_from=living.now,
            valid_until=datetime(2260, 1, 1, tzinfo=UTC),
            power_kw=1.0,
            fallback=Fallback.HOLD,
        ),
    )
    living.until(2 * QUARTER_S + 10)
    (ack,) = living.of(Ack, lambda ack: ack.id == "for ever")
    assert not ack.accepted
    assert str(ack.reason).startswith("valid_until 2260-01-01T00:00:00+00:00 is more than 48 h after 2024-05-17T")


def test_set_points_that_lie_ahead_do_not_shut_the_ems_out(living: Living) -> None:
    begin = living.now + timedelta(hours=1)
    for number in range(250):
        start = begin + timedelta(minutes=number)
        living.send(
            BESS,
            Setpoint(
                id=f"ahead-{number}",
                epoch=1,
                valid_from=start,
                valid_until=start + timedelta(minutes=1),
                power_kw=1.0,
                fallback=Fallback.IDLE,
            ),
        )
    living.until(2 * QUARTER_S + 10)
    last = {ack.id: ack for ack in living.of(Ack) if ack.id.startswith("ahead")}
    kept = [f"ahead-{number}" for number in range(250) if last[f"ahead-{number}"].accepted]
    # The nearest stay; the EMS's own, which come sooner, took the place of one or two of the farthest.
    assert kept == [f"ahead-{number}" for number in range(len(kept))]
    assert SETPOINTS_AHEAD_MOST - 3 <= len(kept) <= SETPOINTS_AHEAD_MOST
    assert "200 set-points lie ahead, and it is the farthest" in str(last["ahead-249"].reason)
    assert living.acked(living.commands()[-1]) == [True]
