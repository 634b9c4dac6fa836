"""Limits from outside: what the plan makes of them, in which order of priority, and when no plan is there."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from schemas.limits import Limits
from schemas.messages import (
    Ack,
    Alarm,
    EmsMode,
    Limit,
    Plan,
    PlanStatus,
    Quantity,
    Series,
    Setpoint,
    ShortfallKind,
)
from schemas.participant import Outgoing, Received
from schemas.site import Charger, EmsOptions, GroupLimit, Site
from schemas.topics import Channel, Kind
from services.ems.participant import Ems
from tests.ems.small_site import STEP_S, T0, IdealPlant, begin, cycle, plan_in, received, site, values

STEP = timedelta(seconds=STEP_S)
NOON = 48


def limit(sent: datetime = T0, sender: str = "box", **fields: object) -> Received:
    message = Limit(**{"source": "grid operator", "valid_from": T0, **fields})  # type: ignore[arg-type]
    return received(Kind.LIMITER, sender, Channel.LIMIT, message, sent)


def at(step: float) -> datetime:
    return T0 + step * STEP


def grouped(**options: Any) -> Site:
    """The site with its chargers, which a group has to refer to."""
    charger = Charger(max_charge_kw=22.0, max_discharge_kw=22.0)
    plain = site()
    return Site.model_validate(
        {**plain.model_dump(), "devices": {"ev1": charger, "ev2": charger}, "ems": EmsOptions(**options)}
    )


def answer(message: Outgoing) -> Received:
    """To a set-point."""
    assert isinstance(message.body, Setpoint)
    topic, asked = message.topic, message.body
    ack = Ack(id=asked.id, accepted=True, applied_kw=asked.power_kw, applied_limit_kw=asked.limit_kw)
    return received(topic.kind, topic.device, Channel.ACK, ack, asked.valid_from)


class Bench:
    """An EMS and its plant; ``send`` hands it limits with the next cycle."""

    def __init__(self, **options: object) -> None:
        self.plant = IdealPlant(chargers=2)
        self.described = grouped(**options) if "cable_limits" in options else site(**options)
        self.ems = Ems(self.described)
        begin(self.ems, self.plant)
        self.waiting: list[Received] = []
        self.started = False

    def send(self, *messages: Received) -> None:
        self.waiting += messages

    def cycle(self, step: int) -> list[Outgoing]:
        first = [] if self.started or step == 0 else self.plant.series()
        self.started = True
        extra, self.waiting = [*first, *self.waiting], []
        sent = cycle(self.ems, self.plant, step, extra)
        self.waiting = [answer(message) for message in sent if isinstance(message.body, Setpoint)]
        return sent

    def plan(self, step: int) -> Plan:
        return plan_in(self.cycle(step))


def alarms(sent: list[Outgoing]) -> list[Alarm]:
    return [message.body for message in sent if isinstance(message.body, Alarm)]


def setpoints(sent: list[Outgoing]) -> Mapping[str, Setpoint]:
    return {m.topic.device: m.body for m in sent if isinstance(m.body, Setpoint)}


def highest(plan: Plan, first: int = 0, stop: int | None = None) -> float:
    assert plan.pcc_kw is not None
    return max(plan.pcc_kw[first:stop])


def test_import_stays_within_the_limit_in_the_steps_in_which_it_is_valid_and_in_no_others() -> None:
    free = Bench().plan(0)
    assert highest(free, 4, 8) > 40.0, "else the limit would not bind"
    bench = Bench()
    bench.send(limit(import_kw=40.0, valid_from=at(4), valid_until=at(8)))
    plan = bench.plan(0)
    assert highest(plan, 4, 8) <= 40.0 + 1e-6
    assert highest(plan, 0, 4) > 40.0
    assert highest(plan, 8) > 40.0
    (planned,) = plan.limits
    assert (planned.group, planned.source, planned.failsafe) == (None, "grid operator", False)
    assert planned.import_kw is not None
    assert [step for step, kw in enumerate(planned.import_kw) if kw is not None] == [4, 5, 6, 7]
    assert planned.export_kw is None


def test_validity_is_half_open_and_a_period_counts_if_the_limit_is_valid_in_any_part_of_it() -> None:
    bench = Bench()
    bench.send(limit(import_kw=40.0, valid_from=at(4.5), valid_until=at(6)))
    (planned,) = bench.plan(0).limits
    assert planned.import_kw is not None
    assert [step for step, kw in enumerate(planned.import_kw) if kw is not None] == [4, 5]


def test_after_its_end_and_after_its_withdrawal_there_is_no_limit() -> None:
    bench = Bench()
    bench.send(limit(import_kw=20.0, valid_until=at(2)))
    assert [len(bench.plan(step).limits) for step in range(3)] == [1, 1, 0]
    bench.send(limit(sent=at(3), import_kw=20.0))
    assert len(bench.plan(3).limits) == 1
    bench.send(limit(sent=at(4)))
    assert bench.plan(4).limits == ()


def test_of_several_senders_the_strictest_holds_and_an_older_message_of_one_changes_nothing() -> None:
    bench = Bench()
    bench.send(limit(import_kw=30.0), limit(import_kw=20.0, sender="relay", source="relay"))
    (planned,) = bench.plan(0).limits
    assert planned.import_kw is not None and set(planned.import_kw) == {20.0}
    bench.send(limit(sent=at(1), sender="relay", import_kw=35.0), limit(sent=T0, sender="relay", import_kw=1.0))
    (planned,) = bench.plan(1).limits
    assert planned.import_kw is not None and set(planned.import_kw) == {30.0}


def test_a_limit_below_the_load_is_kept_as_far_as_the_battery_goes_and_the_rest_is_named() -> None:
    bench = Bench()
    bench.send(limit(import_kw=0.0, valid_until=at(8)))
    plan = bench.plan(0)
    (missed,) = [each for each in plan.shortfalls if each.kind is ShortfallKind.OUTSIDE_LIMIT]
    assert missed.element == "pcc"
    assert plan.pcc_kw is not None
    above = sum(max(kw, 0.0) for kw in plan.pcc_kw[:8]) * STEP_S / 3600
    assert missed.kwh == pytest.approx(above, abs=1e-6)
    assert 0 < missed.kwh < sum(plan.load_kw[:8]) * STEP_S / 3600  # type: ignore[index]
    assert missed.at == at(0)


def test_a_limit_goes_before_what_cars_want_even_below_their_minimum() -> None:
    """A store below its minimum is short in every step, which adds up to far more than one limit's kWh would cost."""
    bench = Bench()
    for name in list(bench.plant.cars):
        bench.plant.cars[name] = 1.0
    bench.plant.bess_kwh = 0.5
    bench.send(limit(import_kw=60.0))
    plans = [bench.plan(step) for step in range(36, 60)]
    assert any(s.kind is ShortfallKind.SOC_MIN for plan in plans for s in plan.shortfalls)
    for plan in plans:
        assert not [s for s in plan.shortfalls if s.kind is ShortfallKind.OUTSIDE_LIMIT]
        assert highest(plan) <= 60.0 + 1e-6


def test_export_is_limited_by_curtailing_what_cannot_be_stored() -> None:
    bench, free = Bench(), Bench()
    assert min(free.plan(NOON).pcc_kw or ()) < -5.0, "else the limit would not bind"
    bench.send(limit(export_kw=0.0))
    plan = bench.plan(NOON)
    assert plan.pcc_kw is not None and min(plan.pcc_kw) >= -1e-6
    assert not plan.shortfalls


GROUPS = {"cable_limits": (GroupLimit(name="cars", devices=("ev1", "ev2"), limit_kw=500.0),)}


def test_a_group_keeps_to_its_own_limit() -> None:
    bench = Bench(**GROUPS)
    bench.send(limit(group="cars", import_kw=7.0, export_kw=3.0))
    for step in range(36, 44):
        plan = bench.plan(step)
        (planned,) = plan.limits
        assert planned.group == "cars"
        total = [sum(kw) for kw in zip(*(plan.devices[name].power_kw for name in ("ev1", "ev2")), strict=True)]
        assert max(total) <= 7.0 + 1e-6
        assert min(total) >= -3.0 - 1e-6


def test_a_limit_for_a_group_that_is_not_there_is_an_alarm_and_has_no_effect() -> None:
    bench = Bench(**GROUPS)
    bench.send(limit(group="pumps", import_kw=0.0))
    sent = bench.cycle(0)
    assert [(alarm.code, alarm.element) for alarm in alarms(sent)] == [("outside_limit_unknown_group", "pumps")]
    assert plan_in(sent).limits == ()
    assert alarms(bench.cycle(1)) == [], "told once"


def test_the_failsafe_holds_after_two_periods_without_a_heartbeat_until_one_comes() -> None:
    bench = Bench()
    fields = {"import_kw": 40.0, "heartbeat_s": 900.0, "failsafe_import_kw": 10.0}
    bench.send(limit(**fields))
    first = bench.plan(1).limits
    assert not first[0].failsafe
    sent = bench.cycle(2)
    (planned,) = plan_in(sent).limits
    assert planned.failsafe
    assert planned.import_kw is not None and set(planned.import_kw) == {10.0}
    (alarm,) = [alarm for alarm in alarms(sent) if alarm.code == "outside_limit_failsafe"]
    assert (alarm.device, alarm.active) == ("box", True)
    bench.send(limit(sent=at(3), **fields))
    sent = bench.cycle(3)
    assert not plan_in(sent).limits[0].failsafe
    (alarm,) = [alarm for alarm in alarms(sent) if alarm.code == "outside_limit_failsafe"]
    assert not alarm.active


def test_without_a_failsafe_the_limit_itself_holds_on_and_after_its_end_nothing_does() -> None:
    bench = Bench()
    bench.send(limit(import_kw=40.0, heartbeat_s=60.0, valid_until=at(4)))
    (planned,) = bench.plan(2).limits
    assert planned.import_kw is not None and planned.import_kw[0] == 40.0
    assert bench.plan(4).limits == ()


def test_what_is_exceeded_is_an_alarm_with_mean_power_and_limit_and_over_when_it_is_kept() -> None:
    """A load of tens of kW, and a limit of 0 that no battery can keep for long."""
    bench = Bench()
    bench.send(limit(import_kw=0.0, valid_until=at(30)))
    found = [(step, alarm) for step in range(32) for alarm in alarms(bench.cycle(step))]
    assert [(alarm.code, alarm.element, alarm.active) for _, alarm in found] == [
        ("outside_limit_exceeded", "pcc", True),
        ("outside_limit_exceeded", "pcc", False),
    ]
    (begun, alarm), (over, _) = found
    assert begun >= 1
    assert over == 30, "at its end"
    assert alarm.limit == 0.0
    assert alarm.value is not None and alarm.value > 0.1


def test_power_above_the_connections_limit_is_an_alarm_until_it_is_kept_again() -> None:
    """On hold, while a load of tens of kW has a connection of 30 kW; on a wider one nobody says anything."""
    heard = []
    for import_limit_kw in (30.0, 500.0):
        bench = Bench(mode=EmsMode.HOLD)
        connection = bench.described.connection.model_copy(update={"import_limit_kw": import_limit_kw})
        bench.ems = Ems(bench.described.model_copy(update={"connection": connection}))
        begin(bench.ems, bench.plant)
        heard.append([alarm for step in range(48) for alarm in alarms(bench.cycle(step))])
    narrow, wide = heard
    assert wide == []
    assert [alarm.code for alarm in narrow] == ["connection_limit_exceeded"] * len(narrow)
    assert [alarm.active for alarm in narrow[:2]] == [True, False]
    assert narrow[0].limit == 30.0
    assert narrow[0].value is not None and narrow[0].value > 30.0 * 1.01 + 0.1
    assert "import" in narrow[0].text


@pytest.mark.parametrize("mode", [EmsMode.HOLD, EmsMode.CONTROL])
def test_without_a_plan_nothing_draws_power_while_import_is_limited(mode: EmsMode) -> None:
    """On hold, or with prices that end: then the EMS commands what the limit demands, and nothing else."""
    bench = Bench(mode=mode)
    if mode is EmsMode.CONTROL:
        bench.plant.series = lambda: []  # type: ignore[method-assign]
        bench.ems = Ems(site())
        begin(bench.ems, bench.plant)
    sent = bench.cycle(36)
    assert setpoints(sent) == {}
    assert plan_in(sent).status is PlanStatus.SAFE_RULE
    bench.send(limit(sent=at(37), import_kw=20.0, valid_until=at(39)))
    for step in (37, 38):
        commanded = setpoints(bench.cycle(step))
        assert {name: point.power_kw for name, point in commanded.items()} == {"bess": 0.0, "ev1": 0.0, "ev2": 0.0}
    assert setpoints(bench.cycle(39)) == {}
    bench.send(limit(sent=at(40), export_kw=0.0))
    assert setpoints(bench.cycle(40))["pv"].limit_kw == 0.0


def test_observing_it_commands_nothing_and_names_the_limit_in_its_plan() -> None:
    bench = Bench(mode=EmsMode.OBSERVE)
    bench.send(limit(import_kw=20.0))
    sent = bench.cycle(0)
    assert setpoints(sent) == {}
    assert len(plan_in(sent).limits) == 1


def test_an_earlier_plan_that_breaks_a_new_limit_is_not_followed_when_no_solution_is_there() -> None:
    bench = Bench(price_extension_h=0)
    for step in range(8):
        bench.cycle(step)
    ended = Series(series=(values(Quantity.SALE_PRICE, [0.1]), values(Quantity.PURCHASE_PRICE, [0.1])))
    bench.send(received(Kind.TARIFF, "tariff", Channel.SERIES, ended))
    assert plan_in(bench.cycle(8)).status is PlanStatus.PREVIOUS
    bench.send(limit(sent=at(9), import_kw=1.0))
    sent = bench.cycle(9)
    plan = plan_in(sent)
    assert plan.status is PlanStatus.SAFE_RULE
    assert plan.reason is not None and "limits from outside" in plan.reason
    assert {point.power_kw for name, point in setpoints(sent).items() if name != "pv"} == {0.0}


def test_limits_and_alarms_survive_a_restart_from_the_checkpoint() -> None:
    bench, straight = Bench(), Bench()
    fields = {"import_kw": 0.0, "heartbeat_s": 900.0, "failsafe_import_kw": 5.0}
    for each in (bench, straight):
        each.send(limit(**fields))
    for step in range(6):
        sent = bench.cycle(step)
        assert sent == straight.cycle(step)
        state = json.loads(json.dumps(bench.ems.snapshot()))
        bench.ems = Ems(site())
        bench.ems.restore(state)


def test_a_site_without_limits_plans_as_before() -> None:
    bench = Bench()
    assert bench.plan(0).limits == ()
    assert not bench.ems._state.limits


def test_what_holds_is_decided_by_one_rule_for_ems_and_devices() -> None:
    limits = Limits()
    limits.receive(limit(import_kw=4.0, valid_from=at(1), valid_until=at(2)))
    assert limits.at(None, at(1) - timedelta(microseconds=1)).import_ is None
    assert limits.at(None, at(1)).import_ is not None
    assert limits.at(None, at(2)).import_ is None
    assert limits.at("cars", at(1)).import_ is None
    assert limits.next_change(at(0)) == at(1)
    assert limits.next_change(at(1)) == at(2)
    assert limits.next_change(at(2)) is None


def test_a_limit_that_asks_for_more_than_there_is_is_exceeded_late_rather_than_early() -> None:
    """Every kWh above it is above it at any time, but until later the limit may end: the battery is used first."""
    bench = Bench()
    bench.send(limit(import_kw=36.0, valid_until=at(16)))
    plan = bench.plan(0)
    assert plan.pcc_kw is not None
    above = [step for step, kw in enumerate(plan.pcc_kw[:16]) if kw > 36.0 + 1e-6]
    kept = [step for step in range(16) if step not in above]
    assert kept and above
    assert max(kept) < min(above), f"kept in {kept}, exceeded in {above}"
    (missed,) = [each for each in plan.shortfalls if each.kind is ShortfallKind.OUTSIDE_LIMIT]
    assert missed.at == at(above[0])
