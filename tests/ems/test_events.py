"""What happens within a settlement period is in a plan of its own, with the reason, and not more often than stated."""

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from schemas.messages import (
    BessTelemetry,
    ChargerTelemetry,
    DecisionRecord,
    Limit,
    Phase,
    Plan,
    PluggedVehicle,
    Presence,
    Quantity,
    Series,
    Setpoint,
    Stamp,
    State,
    TimeMode,
)
from schemas.messages.stamp import Body
from schemas.participant import Outgoing, Received, Turn
from schemas.topics import Channel, Kind, Topic
from services.ems.decision_record import state_of, turn_of
from services.ems.participant import Ems
from tests.ems.small_site import BESS_PLATE, T0, birth, charger_plate, received, site, values, vehicle

PERIOD_S = 10.0
LEAST_S = 30.0


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class Day:
    """A BESS and a charger that are heard every 10 s, and an EMS that is asked when it wants to be asked."""

    def __init__(
        self, *, pace: float = 1.0, mode: TimeMode = TimeMode.WALL, replan_least_s: float | None = None
    ) -> None:
        self.ems = Ems(site(replan_least_s=replan_least_s, bess_terminal_soc_frac=None))
        self.pace, self.mode = pace, mode
        self.car: PluggedVehicle | None = vehicle(0.6, at(-3600), at(8 * 3600))
        self.bess_is_heard = True
        self.seq = 0
        prices = [(Quantity.PURCHASE_PRICE, [0.5] * 4 + [0.1] * 92), (Quantity.SALE_PRICE, [0.05] * 96)]
        series = Series(series=tuple(values(quantity, numbers) for quantity, numbers in prices))
        self.waiting = [
            received(Kind.TARIFF, "tariff", Channel.SERIES, series),
            birth(Kind.BESS, "bess", BESS_PLATE, period_s=PERIOD_S),
            birth(Kind.CHARGER, "ev1", charger_plate(), period_s=PERIOD_S),
        ]
        self.now = 0.0
        self.wake: datetime | None = None
        self.sent: list[tuple[float, Outgoing]] = []

    def send(self, kind: Kind, device: str, channel: Channel, body: Body) -> None:
        self.seq += 1
        stamp = Stamp(ts=at(self.now), boot="b1", seq=self.seq)
        self.waiting.append(Received(Topic("small", kind, device, channel), stamp, body, at(self.now)))

    def telemetry(self) -> None:
        if self.bess_is_heard:
            self.send(Kind.BESS, "bess", Channel.TELEMETRY, BessTelemetry(power_kw=0.0, soc_frac=0.5))
        self.send(Kind.CHARGER, "ev1", Channel.TELEMETRY, ChargerTelemetry(power_kw=0.0, vehicle=self.car))

    def turn(self, phase: Phase) -> None:
        inbox, self.waiting = self.waiting, []
        moment = Turn(phase, at(self.now), T0, None, 900, self.mode, n=int(self.now), pace=self.pace)
        self.sent += [(self.now, each) for each in self.ems.act(moment, inbox)]

    def until(self, second: float) -> None:
        """Lets time pass second by second, as the run loop does."""
        while self.now < second:
            if self.now % PERIOD_S == 0:
                self.telemetry()
            if self.now % 900 == 2:
                self.turn(Phase.DECIDE)
                self.wake = self.ems.wake_at(at(self.now))
            elif self.now % 60 == 0 or (self.wake is not None and at(self.now) >= self.wake):
                self.turn(Phase.SENSE)
                self.wake = self.ems.wake_at(at(self.now))
            self.now += 1

    def plans(self) -> list[tuple[float, Plan]]:
        return [(t, each.body) for t, each in self.sent if isinstance(each.body, Plan)]

    def reasons(self) -> list[str | None]:
        return [plan.trigger for _, plan in self.plans()]

    def setpoints(self, device: str) -> list[Setpoint]:
        found = [each for _, each in self.sent if isinstance(each.body, Setpoint) and each.topic.device == device]
        return [each.body for each in found if isinstance(each.body, Setpoint)]


def limit(kw: float) -> Limit:
    return Limit(source="grid operator", import_kw=kw, valid_from=at(0))


def test_a_vehicle_that_leaves_is_in_a_plan_within_a_minute_and_nothing_else_is_planned_anew() -> None:
    day = Day()
    day.until(400)
    assert day.reasons() == [None]
    day.car = None
    day.until(902)
    (first, _), (second, plan) = day.plans()
    assert (first, plan.trigger) == (2, "car left ev1")
    assert 400 <= second <= 460
    assert plan.start == T0, "of the period that it is made in"
    command = day.setpoints("ev1")[-1]
    assert command.power_kw == 0.0
    assert command.valid_from == at(second)
    assert command.valid_until == at(900 + 120)
    assert len({each.id for each in day.setpoints("bess")}) == 2, "two set-points have two names"


def test_vehicle_target_limit_and_device_are_each_named() -> None:
    day = Day()
    day.until(60)
    day.car = None
    day.until(160)
    day.car = vehicle(0.5, at(160), at(4 * 3600), vehicle="bus")
    day.until(260)
    day.car = day.car.model_copy(update={"target_soc_frac": 0.7})
    day.until(360)
    day.send(Kind.LIMITER, "operator", Channel.LIMIT, limit(20.0))
    day.until(460)
    day.send(Kind.LIMITER, "operator", Channel.LIMIT, limit(20.0))  # a heartbeat
    day.bess_is_heard = False
    day.until(560)
    day.bess_is_heard = True
    day.until(660)
    day.send(Kind.BESS, "bess", Channel.STATE, State(state=Presence.FAULT, reason="a fuse"))
    day.until(760)
    reasons = day.reasons()
    assert reasons[:3] == [None, "car left ev1", "bus came to ev1"]
    assert reasons[3] is not None and reasons[3].startswith("target at ev1: target_soc_frac 0.7")
    assert reasons[4:] == ["limit at pcc: import 20 kW", "bess is gone", "bess is heard", "bess is gone"]


def test_while_a_limit_from_outside_holds_a_missing_answer_is_planned_for_within_a_minute_and_once() -> None:
    day = Day()
    day.send(Kind.LIMITER, "operator", Channel.LIMIT, limit(20.0))
    day.until(800)
    (_, first), (second, plan) = day.plans()
    assert (first.trigger, plan.trigger) == (
        None,
        "bess has not answered its set-point; ev1 has not answered its set-point",
    )
    assert second <= 60
    assert set(plan.devices["bess"].power_kw) == {0.0}


def test_what_comes_and_goes_all_the_time_is_planned_for_no_more_often_than_stated() -> None:
    day = Day()
    here = day.car
    for second in range(10, 900, 10):
        day.until(second)
        day.car = here if day.car is None else None
    times = [t for t, _ in day.plans()]
    assert len(times) > 5
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= LEAST_S
    assert max(times) <= 900 - LEAST_S, "the next plan is near"


def test_what_is_as_it_was_makes_no_plan() -> None:
    day = Day()
    day.until(3)
    here, day.car = day.car, None
    day.until(12)
    day.car = here
    day.until(700)
    assert day.reasons() == [None]


@pytest.mark.parametrize(
    "day",
    [Day(mode=TimeMode.LOCKSTEP), Day(pace=60.0), Day(replan_least_s=0.0)],
    ids=["lock-step", "a fast run", "switched off"],
)
def test_where_it_is_off_there_is_one_plan_a_period(day: Day) -> None:
    day.until(300)
    day.car = None
    day.until(900)
    assert day.reasons() == [None]
    assert day.ems.wake_at(at(900)) is None


def test_the_site_may_have_it_in_a_fast_run() -> None:
    day = Day(pace=60.0, replan_least_s=60.0)
    day.until(300)
    day.car = None
    day.until(1000)
    assert day.reasons() == [None, "car left ev1", None]
    when = [t for t, _ in day.plans()][1]
    assert when >= 300 and when % 60 == 0, "it looks once in five seconds of the machine, and each minute anyway"


def test_an_ems_that_is_started_again_plans_as_soon_as_it_has_listened_and_leads() -> None:
    day = Day()
    day.until(300)
    again = Day()
    again.ems.restore(day.ems.snapshot())
    again.now, again.waiting, again.wake = 320.0, [], again.ems.wake_at(at(320))
    again.until(600)
    ((when, plan),) = again.plans()
    assert plan.trigger == "this EMS was started again"
    assert 330 <= when <= 350
    assert plan.epoch == 2


def test_a_decision_within_the_period_is_repeated_from_its_record() -> None:
    day = Day()
    day.until(300)
    day.car = None
    day.until(400)
    sent = [each for t, each in day.sent if t >= 300]
    (record,) = [each.body for each in sent if isinstance(each.body, DecisionRecord)]
    ems = Ems(site(bess_terminal_soc_frac=None))
    ems.restore(state_of(record))
    ((when, plan),) = [found for found in day.plans() if found[0] >= 300]
    again = ems.repeat(turn_of(record, Stamp(ts=at(when), boot="b9", seq=1)), plan.epoch)
    assert _commands(again) == _commands(sent)
    assert [each.body for each in again if isinstance(each.body, Plan)] == [plan]


def _commands(sent: Sequence[Outgoing]) -> list[Body]:
    return [each.body for each in sent if isinstance(each.body, Setpoint)]
