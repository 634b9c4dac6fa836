"""Wall time: who is there goes by what was received, a wrong clock is said, without a PCC meter batteries rest."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from schemas.messages import (
    Alarm,
    BessTelemetry,
    Birth,
    Body,
    ChargerTelemetry,
    Fallback,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    Phase,
    Plan,
    PlanStatus,
    Presence,
    Quantity,
    Series,
    SetpointCause,
    Stamp,
    State,
    TimeMode,
)
from schemas.participant import Outgoing, Received, Turn
from schemas.topics import Channel, Kind, Topic
from services.ems.algorithm import AlgorithmEms
from services.ems.participant import Ems
from services.ems.problem import Problem
from tests.ems.small_site import (
    BESS_PLATE,
    T0,
    IdealPlant,
    begin,
    birth,
    charger_plate,
    cycle,
    plan_in,
    received,
    setpoints_in,
    site,
    values,
    vehicle,
)

PERIOD_S = 20.0
PURCHASE, SALE = [0.5] * 12 + [0.1] * 84, [0.45] * 12 + [0.05] * 84
"""Three dear hours: it pays to discharge in them."""


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class Bus:
    """An EMS in wall time. Messages arrive when the test says, stamped as the test says."""

    def __init__(self, ems: Ems | None = None, pace: float = 1.0) -> None:
        self.ems = ems or Ems(site())
        self.pace = pace
        self.seq = 0
        self.waiting: list[Received] = []
        prices = [(Quantity.PURCHASE_PRICE, PURCHASE), (Quantity.SALE_PRICE, SALE)]
        series = Series(series=tuple(values(quantity, numbers) for quantity, numbers in prices))
        self.waiting.append(received(Kind.TARIFF, "tariff", Channel.SERIES, series))

    def meet(self, *births: Received) -> None:
        self.waiting += births

    def send(self, kind: Kind, device: str, body: Body, arrives_s: float, clock_s: float = 0.0) -> None:
        """``clock_s``: by how much the sender's clock is ahead."""
        self.seq += 1
        channel = Channel.STATE if isinstance(body, State) else Channel.TELEMETRY
        stamp = Stamp(ts=at(arrives_s + clock_s), boot="b1", seq=self.seq)
        self.waiting.append(Received(Topic("small", kind, device, channel), stamp, body, at(arrives_s)))

    def turn(self, seconds: float, phase: Phase = Phase.DECIDE) -> list[Outgoing]:
        inbox, self.waiting = self.waiting, []
        return self.ems.act(Turn(phase, at(seconds), T0, None, 900, TimeMode.WALL, pace=self.pace), inbox)

    def look(self, seconds: float) -> list[tuple[str, str | None, bool]]:
        return alarms_in(self.turn(seconds, Phase.SENSE))


def alarms_in(sent: Sequence[Outgoing]) -> list[tuple[str, str | None, bool]]:
    return [(each.body.code, each.body.device, each.body.active) for each in sent if isinstance(each.body, Alarm)]


def plan_of(sent: Sequence[Outgoing]) -> Plan:
    (plan,) = [each.body for each in sent if isinstance(each.body, Plan)]
    return plan


def battery(soc_frac: float = 0.6) -> BessTelemetry:
    return BessTelemetry(power_kw=0.0, soc_frac=soc_frac)


BESS = birth(Kind.BESS, "bess", BESS_PLATE, period_s=PERIOD_S)
PCC = birth(Kind.METER, "grid", MeterNameplate(role=MeterRole.PCC), period_s=PERIOD_S)


# ---- presence


@pytest.mark.parametrize("clock_s", [0.0, -240.0, -3600.0, -7 * 3600.0, 3600.0])
def test_a_device_is_planned_with_by_when_it_was_heard_whatever_its_clock_says(clock_s: float) -> None:
    bus = Bus()
    bus.meet(BESS)
    for second in range(820, 900, 20):
        bus.send(Kind.BESS, "bess", battery(), second, clock_s)
    sent = bus.turn(900)
    assert list(setpoints_in(sent)) == ["bess"]
    bus.send(Kind.BESS, "bess", battery(), 1790, clock_s)
    known = plan_of(bus.turn(1800)).knowledge
    assert known is not None and known["bess"].in_plan and known["bess"].age_s == 10
    # Nothing came for three periods.
    sent = bus.turn(2700)
    assert not setpoints_in(sent)
    known = plan_of(sent).knowledge
    assert known is not None and not known["bess"].in_plan
    assert known["bess"].why_not == "no telemetry of bess for 910 s, allowed are 60 s"


@pytest.mark.parametrize(("clock_s", "behind_s"), [(-240.0, 240.0), (3600.0, -3600.0)])
def test_a_wrong_clock_is_an_alarm_and_in_the_plan_until_it_is_right(clock_s: float, behind_s: float) -> None:
    bus = Bus()
    bus.meet(BESS)
    for second in (10, 30, 50):
        bus.send(Kind.BESS, "bess", battery(), second, clock_s)
    (alarm,) = [each.body for each in bus.turn(60, Phase.SENSE) if isinstance(each.body, Alarm)]
    assert (alarm.code, alarm.device, alarm.active, alarm.value, alarm.limit) == (
        "clock_skew",
        "bess",
        True,
        behind_s,
        60.0,
    )
    assert bus.look(70) == []
    known = plan_of(bus.turn(70)).knowledge
    assert known is not None and known["bess"].clock_behind_s == behind_s
    bus.send(Kind.BESS, "bess", battery(), 80)
    assert bus.look(120) == [("clock_skew", "bess", False)]


def test_one_message_that_is_late_is_no_wrong_clock_and_one_from_the_future_is() -> None:
    bus = Bus()
    bus.meet(BESS)
    for second, clock_s in ((10, 0.0), (30, -200.0), (50, 0.0)):
        bus.send(Kind.BESS, "bess", battery(), second, clock_s)
    assert bus.look(60) == []
    bus.send(Kind.BESS, "bess", battery(), 70, 12 * 365 * 86_400.0)
    assert bus.look(80) == [("clock_skew", "bess", True)]


def test_the_bounds_allow_a_fast_run_what_its_machine_needs() -> None:
    bus = Bus(pace=600.0)
    bus.meet(BESS)
    for second in (10, 30, 50):
        bus.send(Kind.BESS, "bess", battery(), second, -1200.0)  # 2 s of the machine
    assert bus.look(60) == []
    assert bus.look(6000) == []
    assert bus.look(6120) == [("device_silent", "bess", True)]


def test_a_device_that_falls_silent_is_an_alarm_and_one_that_says_goodbye_is_not() -> None:
    bus = Bus()
    bus.meet(BESS)
    bus.send(Kind.BESS, "bess", battery(), 10)
    assert bus.look(60) == []
    assert bus.look(80) == [("device_silent", "bess", True)]
    bus.send(Kind.BESS, "bess", battery(), 100)
    assert bus.look(120) == [("device_silent", "bess", False)]
    bus.send(Kind.BESS, "bess", State(state=Presence.OFFLINE), 130)
    assert bus.look(900) == []


def test_a_restarted_ems_knows_when_it_heard_whom() -> None:
    bus = Bus()
    bus.meet(BESS)
    bus.send(Kind.BESS, "bess", battery(), 30, -240.0)
    assert bus.look(60) == []
    again = Ems(site())
    again.restore(bus.ems.snapshot())
    bus.ems = again
    assert list(setpoints_in(bus.turn(70))) == ["bess"]
    assert bus.look(200) == [("device_silent", "bess", True)]


# ---- the PCC meter


def metered(bus: Bus, until_s: int, *, load_kw: float = 9.0) -> None:
    for second in range(0, until_s, 20):
        bus.send(Kind.METER, "grid", MeterTelemetry(power_kw=load_kw), second)


@pytest.mark.parametrize("goodbye", [False, True])
def test_without_its_pcc_meter_batteries_rest_until_it_is_heard_again(goodbye: bool) -> None:
    bus = Bus()
    bus.meet(BESS, PCC)
    bus.send(Kind.BESS, "bess", battery(), 895)
    metered(bus, 900)
    sent = bus.turn(900)
    assert (setpoints_in(sent)["bess"].power_kw or 0.0) < -1, "it pays to discharge"
    if goodbye:
        bus.send(Kind.METER, "grid", State(state=Presence.OFFLINE, reason="connection lost"), 905)
    assert bus.look(960) == [("device_silent", "bess", True), ("pcc_meter_silent", "grid", True)]
    bus.send(Kind.BESS, "bess", battery(), 1790)
    sent = bus.turn(1800)
    assert setpoints_in(sent)["bess"].power_kw == 0.0
    assert setpoints_in(sent)["bess"].cause is SetpointCause.NO_METER
    plan = plan_of(sent)
    assert plan.reason is not None and plan.reason.startswith("nobody measures the PCC: ")
    assert plan.knowledge is not None and not plan.knowledge["grid"].in_plan
    assert plan.knowledge["grid"].power_kw == 9.0, "what is known of it, and how old that is"
    assert plan.knowledge["grid"].age_s == 920
    if goodbye:
        bus.send(Kind.METER, "grid", State(state=Presence.ONLINE), 2600)
    bus.send(Kind.METER, "grid", MeterTelemetry(power_kw=9.0), 2690)
    bus.send(Kind.BESS, "bess", battery(), 2690)
    sent = bus.turn(2700)
    assert ("pcc_meter_silent", "grid", False) in alarms_in(sent)
    assert (setpoints_in(sent)["bess"].power_kw or 0.0) < -1
    assert plan_of(sent).reason is None


def test_vehicles_charge_without_the_meter_and_give_nothing_back() -> None:
    bus = Bus()
    bus.meet(PCC, birth(Kind.CHARGER, "ev1", charger_plate(), period_s=PERIOD_S))
    car = vehicle(0.75, at(0), at(20 * 900), target_soc_frac=0.79)
    for start in (900, 1800):
        if start == 900:
            metered(bus, 900)
        bus.send(Kind.CHARGER, "ev1", ChargerTelemetry(power_kw=0.0, vehicle=car), start - 5)
        powers = plan_of(bus.turn(start)).devices["ev1"].power_kw
        kwh = sum(power / 4 for power in powers)
        if start == 900:
            assert min(powers) < -1, "with the meter it discharges while that pays"
        else:
            assert min(powers) >= 0
        assert kwh > 1, "and its target is met"


def test_an_algorithm_of_ones_own_is_held_to_it() -> None:
    def discharge(problem: Problem) -> dict[str, float]:
        return {unit.device: -8.0 for unit in problem.bess}

    bus = Bus(AlgorithmEms(site(), discharge))
    bus.meet(BESS, PCC)
    metered(bus, 900)
    bus.send(Kind.BESS, "bess", battery(), 895)
    assert setpoints_in(bus.turn(900))["bess"].power_kw == -8.0
    bus.send(Kind.BESS, "bess", battery(), 1795)
    assert setpoints_in(bus.turn(1800))["bess"].power_kw == 0.0


def test_without_meter_and_prices_a_device_that_would_hold_its_power_holds_none() -> None:
    bus = Bus()
    bus.waiting.clear()  # no prices
    assert isinstance(BESS.body, Birth)
    bus.meet(replace(BESS, body=BESS.body.model_copy(update={"fallback": Fallback.HOLD})), PCC)
    metered(bus, 100)
    bus.send(Kind.BESS, "bess", BessTelemetry(power_kw=-22.0, soc_frac=0.6), 890)
    sent = bus.turn(900)
    assert plan_of(sent).status is PlanStatus.SAFE_RULE
    assert setpoints_in(sent)["bess"].power_kw == 0.0


def test_a_meter_that_was_never_there_stops_nobody_and_one_that_is_to_come_is_waited_for() -> None:
    bus = Bus()
    bus.meet(BESS)
    bus.send(Kind.BESS, "bess", battery(), 0)
    assert (setpoints_in(bus.turn(2))["bess"].power_kw or 0.0) < -1
    bus.meet(PCC)
    bus.send(Kind.BESS, "bess", battery(), 10)
    assert (setpoints_in(bus.turn(12))["bess"].power_kw or 0.0) < -1
    bus.send(Kind.BESS, "bess", battery(), 90)
    assert setpoints_in(bus.turn(100))["bess"].power_kw == 0.0, "born, and no word of it for three periods"


def test_in_lockstep_the_plan_says_nothing_of_knowledge() -> None:
    ems = Ems(site())
    plant = IdealPlant()
    begin(ems, plant)
    sent = cycle(ems, plant, 0)
    assert plan_in(sent).knowledge is None
    assert not [each for each in sent if isinstance(each.body, Alarm)]
