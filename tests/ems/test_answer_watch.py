"""Devices that leave set-points unanswered while a limit from outside holds: not counted on until they answer."""

from datetime import timedelta

import pytest

from schemas.messages import (
    Ack,
    Alarm,
    BessTelemetry,
    Limit,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    Phase,
    Quantity,
    Series,
    Setpoint,
)
from schemas.participant import Outgoing, Received
from schemas.topics import Channel, Kind
from services.ems.participant import Ems
from tests.ems.small_site import (
    BESS_PLATE,
    STEP_S,
    T0,
    birth,
    plan_in,
    received,
    setpoints_in,
    site,
    turn,
    values,
)  # fmt: skip

LOAD_KW, LIMIT_KW = 10.0, 8.0


class Bench:
    """A load above a limit of import, and a battery that gives the difference if it hears."""

    def __init__(self, *, limited: bool = True) -> None:
        self.ems, self.step, self.power = Ems(site(bess_terminal_soc_frac=None)), 0, 0.0
        self.hears, self.answers, self.boot = True, True, "1"
        births = [birth(Kind.METER, "building", MeterNameplate(role=MeterRole.LOAD))]
        prices = (values(Quantity.SALE_PRICE, [0.05] * 96), values(Quantity.PURCHASE_PRICE, [0.1] * 96))
        limit = Limit(source="grid operator", valid_from=T0, import_kw=LIMIT_KW)
        self.ems.act(turn(T0, Phase.ROLLCALL, 0), [])
        self.ems.act(turn(T0, Phase.COMMIT, 0), [*births, birth(Kind.BESS, "bess", BESS_PLATE)])
        self.inbox: list[Received] = [received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=prices))]
        if limited:
            self.inbox.append(received(Kind.LIMITER, "box", Channel.LIMIT, limit))

    def quarter(self) -> tuple[Setpoint, list[Alarm], list[Outgoing]]:
        """The battery's set-point and the alarms about answers of a settlement period."""
        time, n = T0 + timedelta(seconds=STEP_S * self.step), self.step + 1
        self.step += 1
        self.ems.act(turn(time, Phase.SENSE, n), self.inbox)
        told = [
            received(Kind.BESS, "bess", Channel.TELEMETRY, BessTelemetry(power_kw=self.power, soc_frac=0.6), time),
            received(Kind.METER, "building", Channel.TELEMETRY, MeterTelemetry(power_kw=LOAD_KW), time),
        ]
        messages = self.ems.act(turn(time, Phase.DECIDE, n), told)
        asked = setpoints_in(messages)["bess"]
        self.power = (asked.power_kw or 0.0) if self.hears else 0.0
        ack = Ack(id=asked.id, accepted=True, applied_kw=asked.power_kw)
        self.inbox = [received(Kind.BESS, "bess", Channel.ACK, ack, time)] if self.hears and self.answers else []
        found = [m.body for m in messages if isinstance(m.body, Alarm) and m.body.code == "setpoint_unanswered"]
        return asked, found, messages


def test_what_does_not_answer_is_not_counted_on_from_the_next_plan_until_it_answers() -> None:
    bench = Bench()
    assert bench.quarter()[0].power_kw == pytest.approx(LIMIT_KW - LOAD_KW)
    bench.hears = False
    asked, alarms, _ = bench.quarter()
    assert (asked.power_kw, alarms) == (pytest.approx(LIMIT_KW - LOAD_KW), [])
    asked, (alarm,), messages = bench.quarter()
    assert (asked.power_kw, alarm.active, alarm.device) == (0.0, True, "bess")
    assert "has not accepted" in (plan_in(messages).devices["bess"].bounded or "")
    bench.hears = True
    asked, alarms, _ = bench.quarter()
    assert (asked.power_kw, alarms) == (0.0, []), "asked on, so that it can answer"
    asked, (alarm,), messages = bench.quarter()
    assert (asked.power_kw, alarm.active) == (pytest.approx(LIMIT_KW - LOAD_KW), False)
    assert plan_in(messages).devices["bess"].bounded is None


def test_one_that_does_what_it_is_asked_hears_though_its_answers_are_lost() -> None:
    bench = Bench()
    bench.answers = False
    for _ in range(4):
        asked, alarms, _ = bench.quarter()
        assert (asked.power_kw, alarms) == (pytest.approx(LIMIT_KW - LOAD_KW), [])


def test_without_a_limit_from_outside_it_stays_in_the_plan_and_is_an_alarm() -> None:
    bench = Bench(limited=False)
    bench.hears = False
    found = [bench.quarter() for _ in range(3)]
    assert [[alarm.active for alarm in alarms] for _, alarms, _ in found] == [[], [True], []]
    assert all(plan_in(messages).devices["bess"].power_kw for _, _, messages in found)


def test_a_late_answer_ends_it_and_a_refusal_does_not() -> None:
    late, refusing = Bench(), Bench()
    for bench in (late, refusing):
        bench.hears = False
        bench.quarter()
        assert bench.quarter()[0].power_kw == 0.0
        time = T0 + timedelta(seconds=STEP_S * bench.step - 60)
        waits = f"{time - timedelta(seconds=STEP_S - 60):%Y%m%dT%H%M%SZ}.bess"
        ack = Ack(id=waits, accepted=bench is late, applied_kw=0.0 if bench is late else None)
        bench.inbox = [received(Kind.BESS, "bess", Channel.ACK, ack, time)]
    assert late.quarter()[0].power_kw == pytest.approx(LIMIT_KW - LOAD_KW)
    assert refusing.quarter()[0].power_kw == 0.0


def test_a_restart_forgets_neither_who_was_asked_nor_who_did_not_answer() -> None:
    first, second = Bench(), Bench()
    for bench in (first, second):
        bench.quarter()
        bench.hears = False
    for _ in range(3):
        state = second.ems.snapshot()
        second.ems = Ems(site(bess_terminal_soc_frac=None))
        second.ems.restore(state)
        one, other = first.quarter(), second.quarter()
        assert one[0].power_kw == other[0].power_kw
        assert one[1] == other[1]


def test_a_new_life_is_judged_anew() -> None:
    bench = Bench()
    bench.hears = False
    bench.quarter()
    assert bench.quarter()[0].power_kw == 0.0
    bench.hears = True
    again = birth(Kind.BESS, "bess", BESS_PLATE)
    bench.inbox = [Received(again.topic, again.stamp.model_copy(update={"boot": "2"}), again.body)]
    time = T0 + timedelta(seconds=STEP_S * bench.step)
    bench.ems.act(turn(time, Phase.COMMIT, bench.step), bench.inbox)
    state = received(Kind.BESS, "bess", Channel.TELEMETRY, BessTelemetry(power_kw=0.0, soc_frac=0.6), time)
    bench.ems.act(turn(time, Phase.SENSE, bench.step + 1), [])
    told = [
        Received(state.topic, state.stamp.model_copy(update={"boot": "2"}), state.body),
        received(Kind.METER, "building", Channel.TELEMETRY, MeterTelemetry(power_kw=LOAD_KW), time),
    ]
    asked = setpoints_in(bench.ems.act(turn(time, Phase.DECIDE, bench.step + 1), told))["bess"]
    assert asked.power_kw == pytest.approx(LIMIT_KW - LOAD_KW)
