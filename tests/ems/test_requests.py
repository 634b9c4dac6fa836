"""Set-points by hand and standby: the EMS stays the only writer, and gives way as far as limits and consent allow."""

import json
from datetime import timedelta
from typing import Any

import pytest

from schemas.messages import (
    Limit,
    Phase,
    PlannedRequest,
    PlanStatus,
    Quantity,
    Request,
    RequestedPower,
    Series,
    Setpoint,
    SetpointCause,
    TimeMode,
)
from schemas.participant import Outgoing, Received
from schemas.topics import Channel, Kind
from services.ems.participant import Ems
from tests.ems.small_site import (
    BESS_KW,
    CAR_KW,
    STEP_S,
    T0,
    IdealPlant,
    begin,
    cycle,
    plan_in,
    received,
    setpoints_in,
    site,
    turn,
)
from tests.ems.test_events import Day, at
from twinswarm.cli.plan_tables import number
from twinswarm.cli.plan_words import plan_sentences

STEP = timedelta(seconds=STEP_S)
TEN, NOON = 40, 48
"""Steps: the cars are there."""


def request(step: int, minutes: float = 15, standby_steps: int | None = None, **kw: float) -> Received:
    """Of a person, at the beginning of a step: powers by device, of ``pv`` a limit; two hours long."""
    begins = T0 + step * STEP
    until = begins + 8 * STEP
    setpoints = {
        name: RequestedPower(limit_kw=value, until=until)
        if name == "pv"
        else RequestedPower(power_kw=value, until=until)
        for name, value in kw.items()
    }
    body = Request(
        source="Ada",
        valid_from=begins,
        valid_until=begins + timedelta(minutes=minutes),
        setpoints=setpoints,
        standby_until=None if standby_steps is None else begins + standby_steps * STEP,
    )
    return received(Kind.OPERATOR, "homeassistant", Channel.REQUEST, body, begins)


class Bench:
    """An EMS that takes requests, and its plant in lock-step."""

    def __init__(self, *, one_way: bool = False, **options: Any) -> None:
        self.plant = IdealPlant(chargers=2, one_way=one_way)
        self.described = site(**{"requests": {"most_h": 4.0}, **options})
        self.ems = Ems(self.described)
        begin(self.ems, self.plant)
        self.known = False

    def cycle(self, step: int, *others: Received) -> list[Outgoing]:
        first = [] if self.known or step == 0 else self.plant.series()
        self.known = True
        return cycle(self.ems, self.plant, step, [*first, *others])


def answers(messages: list[Outgoing]) -> dict[str, PlannedRequest]:
    return plan_in(messages).requests or {}


@pytest.mark.parametrize("kw", [5.0, 0.0, -7.5])
def test_a_person_decides_and_the_ems_says_so_and_plans_with_it(kw: float) -> None:
    bench = Bench()
    free = setpoints_in(bench.cycle(NOON))["bess"].power_kw
    assert free is not None
    assert abs(free - kw) > 1.0, "else the request would show nothing"
    bench = Bench()
    sent = bench.cycle(NOON, request(NOON, bess=kw))
    command, plan = setpoints_in(sent)["bess"], plan_in(sent)
    assert command.power_kw == pytest.approx(kw)
    assert command.cause is SetpointCause.REQUEST
    assert command.valid_until == T0 + (NOON + 1) * STEP, "it ends like any other"
    assert answers(sent)["bess"].reason is None
    assert plan.devices["bess"].power_kw[0] == pytest.approx(kw)
    words = list(plan_sentences(plan, bench.described))
    assert any(each.startswith(f"Ada asks for {number(kw, 1)} kW of bess until 2024-05-17 14:00") for each in words)
    assert {each.topic.device for each in sent if isinstance(each.body, Setpoint)} == {"bess", "ev1", "ev2", "pv"}


def test_the_ems_decides_again_when_nobody_repeats_the_request_and_when_its_time_is_over() -> None:
    bench = Bench()
    assert setpoints_in(bench.cycle(NOON, request(NOON, bess=5.0)))["bess"].cause is SetpointCause.REQUEST
    assert setpoints_in(bench.cycle(NOON + 1))["bess"].cause is not SetpointCause.REQUEST, "valid until then, half-open"
    bench = Bench()
    for step in range(NOON, NOON + 8):
        repeated = request(NOON, bess=-1.0).body
        assert isinstance(repeated, Request)
        begins = T0 + step * STEP
        again = repeated.model_copy(update={"valid_from": begins, "valid_until": begins + STEP})
        sent = bench.cycle(step, received(Kind.OPERATOR, "homeassistant", Channel.REQUEST, again, begins))
        assert setpoints_in(sent)["bess"].power_kw == pytest.approx(-1.0), step
    begins = T0 + (NOON + 8) * STEP
    again = repeated.model_copy(update={"valid_from": begins, "valid_until": begins + STEP})
    sent = bench.cycle(NOON + 8, received(Kind.OPERATOR, "homeassistant", Channel.REQUEST, again, begins))
    assert answers(sent) == {}
    assert setpoints_in(sent)["bess"].cause is not SetpointCause.REQUEST


def test_off_by_default() -> None:
    bench = Bench(requests=None)
    assert not any("request" in one or one.endswith("/+") for one in bench.ems.subscriptions)
    sent = bench.cycle(NOON, request(NOON, bess=5.0))
    assert answers(sent) == {}
    assert setpoints_in(sent)["bess"].cause is not SetpointCause.REQUEST


def test_no_v2g_without_consent() -> None:
    sent = Bench(one_way=True).cycle(NOON, request(NOON, ev1=-10.0))
    assert setpoints_in(sent)["ev1"].power_kw == 0.0
    assert answers(sent)["ev1"].reason == "it may give nothing back: its vehicle or the charger does not allow it"


def test_more_than_a_device_can_is_bounded_and_says_so() -> None:
    sent = Bench().cycle(NOON, request(NOON, ev1=500.0, bess=500.0))
    assert setpoints_in(sent)["ev1"].power_kw == pytest.approx(CAR_KW)
    assert (answers(sent)["ev1"].reason or "").startswith("its rating, or that of its vehicle, is 23.24")
    assert setpoints_in(sent)["bess"].power_kw == pytest.approx(BESS_KW)


def test_a_limit_from_outside_goes_before_a_request_which_goes_before_the_others() -> None:
    asked = request(NOON, ev1=CAR_KW, ev2=CAR_KW, bess=BESS_KW)
    whole = Bench().cycle(NOON, asked)
    assert all(each.reason is None for each in answers(whole).values())
    most_kw = plan_in(whole).pcc_kw[0] - 30.0  # type: ignore[index]
    limit = Limit(source="grid operator", import_kw=most_kw, valid_from=T0)
    sent = Bench().cycle(NOON, asked, received(Kind.LIMITER, "box", Channel.LIMIT, limit))
    plan = plan_in(sent)
    assert plan.pcc_kw is not None
    assert plan.pcc_kw[0] <= most_kw + 1e-6
    given = sum(setpoints_in(sent)[name].power_kw or 0.0 for name in ("ev1", "ev2", "bess"))
    assert given == pytest.approx(2 * CAR_KW + BESS_KW - 30.0), "no more is taken off than the limit demands"
    assert "its SOC, a target or a limit leaves no more" in {each.reason for each in answers(sent).values()}
    alone = Bench().cycle(NOON, request(NOON, ev1=CAR_KW), received(Kind.LIMITER, "box", Channel.LIMIT, limit))
    assert setpoints_in(alone)["ev1"].power_kw == pytest.approx(CAR_KW), "the EMS takes it off what it decides itself"


def test_a_full_battery_takes_no_more() -> None:
    bench = Bench()
    bench.plant.bess_kwh = 0.90756 * 40.0
    sent = bench.cycle(NOON, request(NOON, bess=10.0))
    assert setpoints_in(sent)["bess"].power_kw == pytest.approx(0.0, abs=1e-6)
    assert answers(sent)["bess"].reason == "its SOC, a target or a limit leaves no more"


def test_an_inverter_takes_a_limit() -> None:
    sent = Bench().cycle(NOON, request(NOON, pv=20.0))
    assert setpoints_in(sent)["pv"].limit_kw == pytest.approx(20.0)
    assert plan_in(sent).devices["pv"].power_kw[0] == pytest.approx(-20.0)
    assert answers(sent)["pv"].reason is None


def test_what_cannot_be_done_says_why() -> None:
    wrong = Request(
        source="Ada",
        valid_from=T0,
        valid_until=T0 + STEP,
        setpoints={
            "ev1": RequestedPower(power_kw=5.0, until=T0 + STEP),
            "ghost": RequestedPower(power_kw=5.0, until=T0 + STEP),
            "pv": RequestedPower(power_kw=5.0, until=T0 + STEP),
            "bess": RequestedPower(limit_kw=5.0, until=T0 + STEP),
        },
    )
    sent = Bench().cycle(0, received(Kind.OPERATOR, "homeassistant", Channel.REQUEST, wrong))
    assert {name: each.reason for name, each in answers(sent).items()} == {
        "ev1": "no vehicle is plugged",
        "ghost": "no battery, charger or inverter of this name that can be commanded is heard",
        "pv": "an inverter takes a limit, no power",
        "bess": "it takes a power, no limit",
    }
    assert plan_in(sent).status is PlanStatus.OPTIMAL


def test_standby_commands_nothing_but_what_a_limit_demands() -> None:
    bench = Bench()
    sent = bench.cycle(TEN, request(TEN, standby_steps=4, bess=5.0))
    assert setpoints_in(sent) == {}
    plan = plan_in(sent)
    assert (plan.status, plan.reason) == (
        PlanStatus.SAFE_RULE,
        "standby, asked for by Ada: devices follow their fallback",
    )
    assert answers(sent)["bess"].planned_kw is None
    limit = Limit(source="grid operator", import_kw=1.0, valid_from=T0)
    sent = bench.cycle(TEN + 1, request(TEN + 1, standby_steps=3), received(Kind.LIMITER, "box", Channel.LIMIT, limit))
    assert {name: each.power_kw for name, each in setpoints_in(sent).items()} == {"bess": 0.0, "ev1": 0.0, "ev2": 0.0}
    assert plan_in(bench.cycle(TEN + 2)).status is PlanStatus.OPTIMAL, "nobody repeats it"


def test_calm_does_not_keep_a_power_that_a_person_changes() -> None:
    bench = Bench(calm={"deadband_kw": 2.0, "hold_s": 3600})
    assert setpoints_in(bench.cycle(NOON, request(NOON, bess=5.0)))["bess"].power_kw == pytest.approx(5.0)
    sent = bench.cycle(NOON + 1, request(NOON + 1, bess=5.5))
    assert setpoints_in(sent)["bess"].power_kw == pytest.approx(5.5)


def test_a_checkpoint_between_changes_nothing() -> None:
    straight, broken = Bench(), Bench()
    for bench in (straight, broken):
        bench.cycle(NOON, request(NOON, 30, bess=5.0))
    other = Ems(broken.described)
    other.restore(json.loads(json.dumps(broken.ems.snapshot())))
    broken.ems = other
    expected, found = straight.cycle(NOON + 1), broken.cycle(NOON + 1)
    assert [each.body for each in found] == [each.body for each in expected]
    assert answers(found)["bess"].reason is None


def test_an_earlier_checkpoint_has_no_requests() -> None:
    bench = Bench()
    bench.cycle(NOON)
    state = json.loads(json.dumps(bench.ems.snapshot()))
    del state["state"]["requests"]
    del state["solver"]["structure"]["shapes"]["requests"]
    ems = Ems(bench.described)
    ems.restore(state)
    bench.ems = ems
    assert answers(bench.cycle(NOON + 1)) == {}


class AskedDay(Day):
    """In wall time, with an EMS that takes requests."""

    def __init__(self) -> None:
        super().__init__()
        self.ems = Ems(site(requests={"most_h": 4.0}, bess_terminal_soc_frac=None))

    def ask(self, lasts_s: float, **kw: float) -> None:
        now = at(self.now)
        until = now + timedelta(hours=4)
        setpoints = {name: RequestedPower(power_kw=value, until=until) for name, value in kw.items()}
        body = Request(source="Ada", valid_from=now, valid_until=now + timedelta(seconds=lasts_s), setpoints=setpoints)
        self.send(Kind.OPERATOR, "homeassistant", Channel.REQUEST, body)


def test_in_wall_time_a_request_and_its_end_are_plans_within_the_period() -> None:
    day = AskedDay()
    day.until(100)
    day.ask(120, bess=-3.0)
    day.until(160)
    assert day.reasons() == [None, "request for bess: -3 kW"]
    command = day.setpoints("bess")[-1]
    assert (command.power_kw, command.cause) == (-3.0, SetpointCause.REQUEST)
    day.until(260)
    assert day.reasons()[-1] == "request for bess: over", "its sender is gone: after two minutes the EMS decides"
    assert day.setpoints("bess")[-1].cause is not SetpointCause.REQUEST


def test_without_the_pcc_meter_nobody_is_obeyed() -> None:
    ems, plant = Ems(site(requests={"most_h": 4.0})), IdealPlant(chargers=2)
    # Wall time: births of all, telemetry a minute later of all but the PCC meter.
    came = T0 + NOON * STEP
    births = [Received(each.topic, each.stamp, each.body, came) for each in plant.births()]
    ems.act(turn(came, Phase.SENSE, mode=TimeMode.WALL), births)
    later = came + timedelta(seconds=60)
    messages = [*plant.series(), *plant.telemetry(NOON), request(NOON, bess=5.0)]
    inbox = [Received(each.topic, each.stamp, each.body, later) for each in messages]
    sent = ems.act(turn(later + timedelta(seconds=5), Phase.DECIDE, mode=TimeMode.WALL), inbox)
    answer = answers(sent)["bess"]
    assert answer.planned_kw is None
    assert (answer.reason or "").startswith("nobody measures the PCC")


def test_the_series_of_prices_may_be_missing() -> None:
    ems = Ems(site(requests={"most_h": 4.0}))
    plant = IdealPlant(chargers=2)
    begin(ems, plant)
    plant.series = lambda: [  # type: ignore[method-assign]
        received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=()))
    ]
    sent = cycle(ems, plant, NOON, [request(NOON, bess=5.0)])
    assert answers(sent)["bess"].reason == f"no {Quantity.PURCHASE_PRICE.value} is known at 2024-05-17T10:00:00+00:00"
