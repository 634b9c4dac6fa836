"""The EMS does not act on what cannot be, and names it in an alarm and in its plan."""

import json
from datetime import timedelta
from typing import Any

import pytest

from schemas.messages import Alarm, BessTelemetry, MeterNameplate, MeterRole, MeterTelemetry, Plan, Quantity, Series
from schemas.messages import TimeMode as Mode
from schemas.participant import Outgoing, Received
from schemas.topics import Channel, Kind
from services.ems.participant import Ems
from tests.ems.small_site import BESS_PLATE, STEP_S, T0, birth, plan_in, received, setpoints_in, site, turn, values

QUARTER = timedelta(seconds=STEP_S)
METER = MeterNameplate(role=MeterRole.LOAD)


def prices(purchase: float = 0.3) -> Received:
    both = (
        values(Quantity.SALE_PRICE, [min(0.1, purchase - 0.1)] * 96),
        values(Quantity.PURCHASE_PRICE, [purchase] * 96),
    )
    return received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=both))


def load(power_kw: float, step: int = 0, **registers: float) -> Received:
    body = MeterTelemetry(power_kw=power_kw, **registers)
    return received(Kind.METER, "building", Channel.TELEMETRY, body, T0 + step * QUARTER)


def battery(soc_frac: float, step: int = 0, power_kw: float = 0.0) -> Received:
    body = BessTelemetry(power_kw=power_kw, soc_frac=soc_frac)
    return received(Kind.BESS, "bess", Channel.TELEMETRY, body, T0 + step * QUARTER)


def begun(*inbox: Received, mode: Mode = Mode.LOCKSTEP) -> Ems:
    ems = Ems(site())
    births = [birth(Kind.METER, "building", METER), birth(Kind.BESS, "bess", BESS_PLATE)]
    ems.act(turn(T0, n=0, mode=mode), [*births, prices(), *inbox])
    return ems


def decide(ems: Ems, step: int, *inbox: Received) -> list[Outgoing]:
    return ems.act(turn(T0 + step * QUARTER, n=step), list(inbox))


def alarms(messages: list[Outgoing]) -> list[tuple[str, bool, str]]:
    return [
        (m.body.text, m.body.active, m.body.code)
        for m in messages
        if isinstance(m.body, Alarm) and m.body.code == "implausible"
    ]


def pcc_kw(plan: Plan) -> tuple[float, ...]:
    assert plan.load_kw is not None
    return plan.load_kw


def test_a_meter_in_watts_empties_no_battery_and_is_named() -> None:
    ems = begun(load(7.0), battery(0.5))
    sent = decide(ems, 1, load(7_000.0, 1), battery(0.5, 1))
    assert set(pcc_kw(plan_in(sent))) == {0.0}, "nothing is known of the load, and nothing invented"
    assert setpoints_in(sent)["bess"].power_kw is not None
    assert (setpoints_in(sent)["bess"].power_kw or 0.0) >= 0.0
    ((text, active, _),) = alarms(sent)
    assert (text.startswith("power of building: 7000 kW"), active) == (True, True)
    assert plan_in(sent).doubts == (text.removesuffix("; it is recorded and not acted on"),)
    sent = decide(ems, 2, load(7_000.0, 2), battery(0.5, 2))
    assert (alarms(sent), plan_in(sent).doubts is None) == ([], False), "one alarm while it goes on"
    sent = decide(ems, 3, load(7.0, 3), battery(0.5, 3))
    assert [each[:2] for each in alarms(sent)] == [("over: power of building", False)]
    assert plan_in(sent).doubts is None
    assert set(pcc_kw(plan_in(sent))) == {7.0}


def test_a_register_that_leaps_leaves_the_power_believed() -> None:
    ems = begun(load(7.0, energy_import_kwh=912.0, energy_export_kwh=0.0), battery(0.5))
    told = load(7.0, 1, energy_import_kwh=913_000.0, energy_export_kwh=0.0)
    sent = decide(ems, 1, told, battery(0.5, 1))
    assert set(pcc_kw(plan_in(sent))) == {7.0}
    assert [each[0].split(":")[0] for each in alarms(sent)] == ["register of building"]


def test_a_soc_that_leaps_is_believed_when_three_telemetries_agree() -> None:
    ems = begun(load(7.0), battery(0.8))
    for step, wanted in ((1, False), (2, False), (3, True)):
        sent = decide(ems, step, load(7.0, step), battery(0.1, step))
        assert ("bess" in plan_in(sent).devices) is wanted
    assert [each[:2] for each in alarms(sent)] == [("over: SOC of bess", False)]


def test_a_single_wrong_soc_is_never_believed() -> None:
    ems = begun(load(7.0), battery(0.8))
    assert "bess" not in plan_in(decide(ems, 1, load(7.0, 1), battery(0.0, 1))).devices
    assert "bess" in plan_in(decide(ems, 2, load(7.0, 2), battery(0.79, 2))).devices


@pytest.mark.parametrize("purchase", [61.5, 730.0])
def test_prices_per_megawatt_hour_are_not_planned_with(purchase: float) -> None:
    ems = begun(load(7.0), battery(0.5))
    sent = decide(ems, 1, prices(purchase), load(7.0, 1), battery(0.5, 1))
    assert f"{purchase:g} €/kWh" in alarms(sent)[0][0]
    assert plan_in(sent).status == "previous"
    sent = decide(ems, 2, prices(-0.4), load(7.0, 2), battery(0.5, 2))
    assert (plan_in(sent).status, [each[1] for each in alarms(sent)]) == ("optimal", [False])


def forecast(quantity: Quantity, power_kw: float, ended_h: float, device: str = "building") -> Received:
    start = T0 - timedelta(hours=ended_h) - 96 * QUARTER
    return received(
        Kind.FORECAST, "forecast", Channel.SERIES, Series(series=(values(quantity, [power_kw] * 96, device, start),))
    )


def test_a_forecast_that_ended_weeks_ago_is_replaced_by_the_measurement() -> None:
    ems = begun(load(9.0), battery(0.5))
    sent = decide(ems, 1, forecast(Quantity.LOAD, 44.0, 24 * 31), load(9.0, 1), battery(0.5, 1))
    assert set(pcc_kw(plan_in(sent))) == {9.0}
    assert [each[0].split(":")[0] for each in alarms(sent)] == ["age of load_kw of building"]
    sent = decide(ems, 2, forecast(Quantity.LOAD, 44.0, 20), load(9.0, 2), battery(0.5, 2))
    assert set(pcc_kw(plan_in(sent))[1:]) == {44.0}
    assert [each[1] for each in alarms(sent)] == [False]


def test_a_forecast_in_watts_is_not_planned_with() -> None:
    ems = begun(load(9.0), battery(0.5))
    sent = decide(ems, 1, forecast(Quantity.LOAD, 9_300.0, 0), load(9.0, 1), battery(0.5, 1))
    assert set(pcc_kw(plan_in(sent))) == {9.0}
    assert "9300 is beyond" in alarms(sent)[0][0]


def test_what_is_doubtful_survives_a_restart() -> None:
    ems = begun(load(7.0), battery(0.5))
    decide(ems, 1, load(7_000.0, 1), battery(0.5, 1), prices(88.0))
    again = Ems(site())
    again.restore(json.loads(json.dumps(ems.snapshot())))
    assert again.snapshot() == ems.snapshot()
    inbox: list[Any] = [load(7_000.0, 2), battery(0.5, 2)]
    sent, same = decide(again, 2, *inbox), decide(ems, 2, *inbox)
    assert [m.body for m in sent] == [m.body for m in same]
    assert alarms(sent) == []


def test_in_wall_time_the_last_plausible_value_holds_while_it_is_fresh() -> None:
    ems = begun(load(7.0), battery(0.5), mode=Mode.WALL)
    late = T0 + timedelta(seconds=20)
    wrong = received(Kind.METER, "building", Channel.TELEMETRY, MeterTelemetry(power_kw=7_000.0), late)
    there = received(Kind.BESS, "bess", Channel.TELEMETRY, BessTelemetry(power_kw=0.0, soc_frac=0.5), late)
    sent = ems.act(turn(late, mode=Mode.WALL), [wrong, there])
    assert set(pcc_kw(plan_in(sent))) == {7.0}
