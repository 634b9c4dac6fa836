"""Devices that acknowledge a power and do another: an alarm, and a plan with what they show, until they follow."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from schemas.messages import (
    Ack,
    Alarm,
    BessTelemetry,
    ChargerTelemetry,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    Phase,
    Plan,
    Quantity,
    Series,
    TimeMode,
)
from schemas.participant import Outgoing, Received
from schemas.topics import Channel, Kind
from services.ems.participant import Ems
from tests.ems.small_site import (
    BESS_KW,
    BESS_KWH,
    BESS_PLATE,
    STEP_S,
    T0,
    birth,
    charger_plate,
    plan_in,
    received,
    setpoints_in,
    site,
    turn,
    values,
    vehicle,
)


class Plant:
    """A load of 60 kW and a battery that gives ``part`` of what it acknowledges. Electricity gets cheaper all day."""

    def __init__(self, *, watch: bool = True) -> None:
        self.ems = Ems(site(power_watch=watch, bess_terminal_soc_frac=None))
        self.energy, self.power, self.step, self.part = 34.0, 0.0, 0, 1.0
        births = [
            birth(Kind.BESS, "bess", BESS_PLATE),
            birth(Kind.METER, "building", MeterNameplate(role=MeterRole.LOAD)),
        ]
        prices = (
            values(Quantity.SALE_PRICE, [0.05] * 96),
            values(Quantity.PURCHASE_PRICE, [0.4 - 0.003 * i for i in range(96)]),
        )
        self.ems.act(turn(T0, Phase.ROLLCALL, 0), [])
        self.ems.act(turn(T0, Phase.COMMIT, 0), births)
        self.inbox: list[Received] = [received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=prices))]

    def quarter(self) -> tuple[Plan, list[Alarm], float]:
        time, n = T0 + timedelta(seconds=STEP_S * self.step), self.step + 1
        self.ems.act(turn(time, Phase.SENSE, n), self.inbox)
        soc = self.energy / BESS_KWH
        bess = BessTelemetry(power_kw=self.power, soc_frac=soc)
        told = [
            received(Kind.BESS, "bess", Channel.TELEMETRY, bess, time),
            received(Kind.METER, "building", Channel.TELEMETRY, MeterTelemetry(power_kw=60.0), time),
        ]
        messages = self.ems.act(turn(time, Phase.DECIDE, n), told)
        setpoint = setpoints_in(messages)["bess"]
        asked = setpoint.power_kw or 0.0
        self.inbox = [
            received(Kind.BESS, "bess", Channel.ACK, Ack(id=setpoint.id, accepted=True, applied_kw=asked), time)
        ]
        self.power = asked * self.part
        self.energy += self.power / 4
        self.step += 1
        return plan_in(messages), _alarms(messages), asked


def _alarms(messages: Sequence[Outgoing]) -> list[Alarm]:
    return [m.body for m in messages if isinstance(m.body, Alarm)]


def test_a_device_that_follows_is_left_alone() -> None:
    plant = Plant()
    for _ in range(4):
        plan, alarms, _ = plant.quarter()
        assert (alarms, plan.devices["bess"].bounded) == ([], None)


def test_one_that_gives_less_is_planned_with_that_and_an_alarm_says_so() -> None:
    """It gives 6 of 16.1 kW. By the rule: planned with 6, and then 9, 13.5 and its rating if it follows."""
    plant = Plant()
    plant.part = 6.0 / BESS_KW
    _, alarms, asked = plant.quarter()
    assert alarms == []
    assert asked == pytest.approx(-BESS_KW)
    plant.part = 1.0
    plan, (alarm,), asked = plant.quarter()
    assert asked == pytest.approx(-6.0)
    assert (alarm.code, alarm.device, alarm.active) == ("setpoint_not_followed", "bess", True)
    assert alarm.value == pytest.approx(-6.0)
    assert alarm.limit == pytest.approx(-BESS_KW)
    assert "discharging at most 6.00 kW" in (plan.devices["bess"].bounded or "")
    seen = [plant.quarter() for _ in range(3)]
    assert [asked for _, _, asked in seen] == pytest.approx([-9.0, -13.5, -BESS_KW])
    assert [[alarm.active for alarm in alarms] for _, alarms, _ in seen] == [[], [], [False]]
    assert seen[-1][0].devices["bess"].bounded is None


def test_one_that_does_nothing_is_asked_for_a_tenth() -> None:
    plant = Plant()
    plant.part = 0.0
    asked = [plant.quarter()[2] for _ in range(4)]
    assert asked == pytest.approx([-BESS_KW, *(-0.1 * BESS_KW,) * 3])


def test_what_was_shown_survives_a_restart() -> None:
    plant = Plant()
    plant.part = 0.25
    plant.quarter()
    plant.part = 1.0
    plant.quarter()
    again = Ems(site(power_watch=True, bess_terminal_soc_frac=None))
    again.restore(plant.ems.snapshot())
    assert again.snapshot() == plant.ems.snapshot()
    plant.ems = again
    assert plant.quarter()[2] == pytest.approx(-0.25 * BESS_KW * 1.5)


def test_near_its_end_a_store_is_not_expected_to_follow() -> None:
    plant = Plant()
    plant.energy = BESS_PLATE.soc_min_frac * BESS_KWH + 0.5
    plant.part = 0.5
    for _ in range(3):
        plan, alarms, _ = plant.quarter()
        assert (alarms, plan.devices["bess"].bounded) == ([], None)


def test_without_the_option_nothing_is_learned() -> None:
    plant = Plant(watch=False)
    plant.part = 0.1
    asked = [plant.quarter() for _ in range(2)]
    assert [alarms for _, alarms, _ in asked] == [[], []]
    assert asked[1][2] == pytest.approx(-BESS_KW)


def test_a_vehicle_takes_its_bound_with_it() -> None:
    """A car that takes 4 of 11 kW is planned with 4 until it leaves; the next one with 11."""
    ems = Ems(site(power_watch=True))
    plate = charger_plate(max_charge_kw=11.0, max_discharge_kw=0.0)
    prices = (
        values(Quantity.SALE_PRICE, [0.05] * 96),
        values(Quantity.PURCHASE_PRICE, [0.1 + 0.003 * i for i in range(96)]),
    )
    ems.act(turn(T0, Phase.ROLLCALL, 0), [])
    ems.act(turn(T0, Phase.COMMIT, 0), [birth(Kind.CHARGER, "ev", plate)])
    inbox: list[Received] = [received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=prices))]
    asked, power, bounded = [], 0.0, []
    for step, name in enumerate(("first", "first", "first", "", "second", "second")):
        time = T0 + timedelta(seconds=STEP_S * step)
        ems.act(turn(time, Phase.SENSE, step + 1), inbox)
        car = vehicle(0.3, T0 + timedelta(seconds=STEP_S * (4 if name == "second" else 0)), T0 + timedelta(hours=20))
        there = car.model_copy(update={"vehicle": name}) if name else None
        body = ChargerTelemetry(power_kw=power if name else 0.0, vehicle=there)
        messages = ems.act(
            turn(time, Phase.DECIDE, step + 1), [received(Kind.CHARGER, "ev", Channel.TELEMETRY, body, time)]
        )
        setpoint = setpoints_in(messages)["ev"]
        asked.append(setpoint.power_kw)
        bounded.append(plan_in(messages).devices["ev"].bounded is not None)
        ack = Ack(id=setpoint.id, accepted=True, applied_kw=setpoint.power_kw)
        inbox = [received(Kind.CHARGER, "ev", Channel.ACK, ack, time)]
        power = min(setpoint.power_kw or 0.0, 4.0)
    assert asked == pytest.approx([11.0, 4.0, 6.0, 0.0, 11.0, 4.0])
    assert bounded == [False, True, True, False, False, True]


class Live:
    """A battery in wall time: it acknowledges 3 s after it was asked, with a clock of its own, begins 20 s later, moves
    at 1 kW a second, and publishes every minute. Its load of 60 kW is measured, electricity gets cheaper all day."""

    ramp_kw_per_s = 1.0

    def __init__(
        self, *, watch: bool | None = None, skew_s: float = 0.0, period_s: int = 60, dead_s: float = 20.0
    ) -> None:
        self.period_s, self.dead_s = period_s, dead_s
        self.ems = Ems(site(power_watch=watch, bess_terminal_soc_frac=None))
        self.skew = timedelta(seconds=skew_s)
        self.power, self.part, self.most, self.step = 0.0, 1.0, BESS_KW, 0
        self.soc = 0.6
        self.decided: list[Outgoing] = []
        plate = BESS_PLATE.model_copy(update={"dead_time_s": self.dead_s, "ramp_kw_per_s": self.ramp_kw_per_s})
        births = [
            birth(Kind.BESS, "bess", plate, period_s=self.period_s),
            birth(Kind.METER, "building", MeterNameplate(role=MeterRole.LOAD), period_s=self.period_s),
        ]
        prices = (
            values(Quantity.SALE_PRICE, [0.05] * 96),
            values(Quantity.PURCHASE_PRICE, [0.4 - 0.003 * i for i in range(96)]),
        )
        tariff = received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=prices))
        self.act(T0, Phase.SENSE, [*births, tariff])
        self.telemetry(T0)

    def act(self, time: datetime, phase: Phase, inbox: list[Received]) -> list[Outgoing]:
        arrived = [replace(each, arrived=time) for each in inbox]
        return self.ems.act(turn(time, phase, 0, TimeMode.WALL), arrived)

    def telemetry(self, time: datetime) -> None:
        body = BessTelemetry(power_kw=self.power, soc_frac=self.soc)
        load = MeterTelemetry(power_kw=60.0)
        self.act(
            time,
            Phase.SENSE,
            [
                received(Kind.BESS, "bess", Channel.TELEMETRY, body, time + self.skew),
                received(Kind.METER, "building", Channel.TELEMETRY, load, time),
            ],
        )

    def plan(self) -> Plan:
        """Of the newest decision."""
        return plan_in(self.decided)

    def quarter(self) -> tuple[list[Alarm], float]:
        """The alarms of a decision, and what it asks; then the time up to the next decision passes."""
        decided = T0 + timedelta(seconds=STEP_S * self.step + 2)
        messages = self.decided = self.act(decided, Phase.DECIDE, [])
        setpoint = setpoints_in(messages)["bess"]
        asked, acked = setpoint.power_kw or 0.0, decided + timedelta(seconds=3)
        ack = Ack(id=setpoint.id, accepted=True, applied_kw=asked)
        self.act(
            acked,
            Phase.SENSE,
            [
                received(Kind.BESS, "bess", Channel.ACK, ack, acked + self.skew),
                received(Kind.BESS, "bess", Channel.SETPOINT, setpoint, decided),
            ],
        )
        target = max(min(asked * self.part, self.most), -self.most)
        before = self.power
        for second in range(self.period_s, STEP_S + 1, self.period_s):
            passed = max(second - 5 - self.dead_s, 0.0) * self.ramp_kw_per_s
            self.power = before + max(min(target - before, passed), -passed)
            self.telemetry(T0 + timedelta(seconds=STEP_S * self.step + second))
        self.step += 1
        return _alarms(messages), asked


@pytest.mark.parametrize("skew_s", [0.0, -240.0, 90.0])
def test_in_wall_time_a_device_that_follows_with_its_dead_time_and_ramp_is_left_alone(skew_s: float) -> None:
    live = Live(skew_s=skew_s)
    for _ in range(6):
        alarms, _ = live.quarter()
        assert [alarm for alarm in alarms if alarm.code == "setpoint_not_followed"] == []
    assert live.power != 0.0


def test_what_a_device_measures_before_it_can_have_followed_says_nothing() -> None:
    """Of three telemetries in the period the first is 10 s before its dead time is over."""
    live = Live(period_s=300, dead_s=305.0)
    for _ in range(3):
        alarms, _ = live.quarter()
        assert alarms == []
    assert live.power == pytest.approx(-BESS_KW)


def test_in_wall_time_one_that_gives_less_is_planned_with_that_without_any_option() -> None:
    live = Live()
    live.part = 6.0 / BESS_KW
    alarms, asked = live.quarter()
    assert alarms == []
    assert asked == pytest.approx(-BESS_KW)
    live.part = 1.0
    (alarm,), asked = live.quarter()
    assert (alarm.code, alarm.device, alarm.active) == ("setpoint_not_followed", "bess", True)
    assert alarm.value == pytest.approx(-6.0)
    assert asked == pytest.approx(-6.0)
    assert [live.quarter()[1] for _ in range(3)] == pytest.approx([-9.0, -13.5, -BESS_KW])


def test_one_that_can_do_less_for_good_is_asked_for_more_less_and_less_often() -> None:
    """Of 16.1 kW it gives 12: by the rule asked for more after 1, 2, 4 settlement periods at 12."""
    live = Live()
    live.most = 12.0
    asked = [live.quarter()[1] for _ in range(12)]
    more = [number for number, kw in enumerate(asked) if kw < -12.5]
    assert more == [0, 2, 5, 10]


def test_one_stray_sample_is_no_proof() -> None:
    live = Live()
    live.quarter()
    kept, live.power = live.power, 0.0
    live.telemetry(T0 + timedelta(seconds=STEP_S + 1))
    live.power = kept
    assert live.quarter()[0] == []


def test_after_its_validity_a_set_point_says_nothing() -> None:
    """The EMS misses a decision: 1,020 s after the quarter the battery is on its fallback, and that is right."""
    live = Live()
    live.quarter()
    live.power = 0.0
    for second in range(STEP_S + 180, 2 * STEP_S + 1, 60):
        live.telemetry(T0 + timedelta(seconds=second))
    live.step = 2
    assert [alarm for alarm in live.quarter()[0] if alarm.code == "setpoint_not_followed"] == []


def test_switched_off_it_is_silent_in_wall_time() -> None:
    live = Live(watch=False)
    live.part = 0.1
    assert [live.quarter()[0] for _ in range(3)] == [[], [], []]


def test_one_that_does_a_part_of_whatever_it_is_asked_is_asked_for_more() -> None:
    """It gives half: asked for 16.1 it gives 8.05, asked for that it gives 4.03, and so it is asked for 16.1 again and
    planned with 8.05. Whole again, it gives twice what was expected, and is asked for what is planned."""
    live = Live()
    live.part = 0.5
    asked = [live.quarter()[1] for _ in range(5)]
    assert asked == pytest.approx([-BESS_KW, -BESS_KW / 2, -BESS_KW, -BESS_KW, -BESS_KW], rel=1e-6)
    plan = live.plan()
    assert plan.devices["bess"].power_kw[0] == pytest.approx(-BESS_KW / 2, rel=1e-6)
    assert "50% of what it is asked" in (plan.devices["bess"].bounded or "")
    live.part = 1.0
    live.quarter()
    assert live.quarter()[1] == pytest.approx(-BESS_KW)
    assert live.plan().devices["bess"].bounded is None


def test_of_one_that_does_nothing_no_part_is_known() -> None:
    live = Live()
    live.part = 0.0
    assert [live.quarter()[1] for _ in range(4)] == pytest.approx([-BESS_KW, *(-0.1 * BESS_KW,) * 3])
