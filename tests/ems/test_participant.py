"""What the EMS sends, in each mode, and that it always answers."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from schemas.messages import (
    BessTelemetry,
    ChargerTelemetry,
    EmsMode,
    Fallback,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    Metric,
    PlanStatus,
    PvNameplate,
    PvTelemetry,
    Quantity,
    Series,
    ShortfallKind,
    TimeMode,
)
from schemas.participant import Outgoing, Received
from schemas.topics import Channel, Kind
from services.ems.participant import Ems
from tests.ems.small_site import (
    BESS_PLATE,
    CAR_KW,
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
    turn,
    values,
    vehicle,
)

HOUR = timedelta(hours=1)


def prices(sale: float = 0.1, purchase: float = 0.3, steps: int = 96) -> Received:
    both = (values(Quantity.SALE_PRICE, [sale] * steps), values(Quantity.PURCHASE_PRICE, [purchase] * steps))
    return received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=both))


def load(power_kw: float) -> list[Received]:
    return [
        birth(Kind.METER, "building", MeterNameplate(role=MeterRole.LOAD)),
        received(Kind.METER, "building", Channel.TELEMETRY, MeterTelemetry(power_kw=power_kw)),
    ]


def battery(soc_frac: float) -> list[Received]:
    told = BessTelemetry(power_kw=0, soc_frac=soc_frac)
    return [birth(Kind.BESS, "bess", BESS_PLATE), received(Kind.BESS, "bess", Channel.TELEMETRY, told)]


def charger(name: str, car: Any = None, **plate: Any) -> list[Received]:
    told = ChargerTelemetry(power_kw=0, vehicle=car)
    return [
        birth(Kind.CHARGER, name, charger_plate(**plate)),
        received(Kind.CHARGER, name, Channel.TELEMETRY, told),
    ]


def sun(available_kw: float) -> list[Received]:
    told = PvTelemetry(power_kw=-available_kw, available_kw=available_kw)
    return [
        birth(Kind.PV, "pv", PvNameplate(rated_kw=50, curtailable=True)),
        received(Kind.PV, "pv", Channel.TELEMETRY, told),
    ]


def pcc(imported_kwh: float, ts: datetime) -> list[Received]:
    told = MeterTelemetry(power_kw=10.0, energy_import_kwh=imported_kwh, energy_export_kwh=0.0)
    return [
        birth(Kind.METER, "main", MeterNameplate(role=MeterRole.PCC)),
        received(Kind.METER, "main", Channel.TELEMETRY, told, ts),
    ]


def metrics_in(messages: Sequence[Outgoing]) -> list[Mapping[str, float]]:
    return [message.body.values for message in messages if isinstance(message.body, Metric)]


def test_every_controllable_device_gets_a_setpoint_for_this_quarter() -> None:
    plant = IdealPlant(chargers=2)
    begin(ems := Ems(site()), plant)
    found = setpoints_in(cycle(ems, plant, 0))
    assert sorted(found) == ["bess", "ev1", "ev2", "pv"]
    bess = found["bess"]
    assert (bess.id, bess.epoch, bess.fallback) == ("20240516T220000Z.bess", 0, Fallback.IDLE)
    assert (bess.valid_from, bess.valid_until) == (T0, T0 + timedelta(minutes=15))
    assert found["ev1"].power_kw == 0.0, "no car is plugged at midnight"
    assert found["pv"].limit_kw == 100.6672, "nothing is to be curtailed"


def test_in_wall_time_a_setpoint_outlives_its_quarter_by_the_grace() -> None:
    ems = Ems(site(grace_s=90))
    now = turn(T0 + timedelta(seconds=2), mode=TimeMode.WALL)
    found = setpoints_in(ems.act(now, [prices(), *battery(0.5)]))
    assert found["bess"].valid_until == T0 + timedelta(minutes=15, seconds=90)


def test_in_wall_time_every_plan_comes_with_what_it_took_and_its_age() -> None:
    ems = Ems(site())
    messages = ems.act(turn(T0, mode=TimeMode.WALL), [prices(), *battery(0.5), *load(10.0)])
    (fresh,) = metrics_in(messages)
    assert fresh["plan_age_s"] == 0.0
    assert 0.0 < fresh["solve_s"] < 60.0


def test_a_plan_that_is_followed_on_tells_its_age_and_no_solve() -> None:
    """Without a price of the second quarter nothing can be solved anew."""
    ems = Ems(site())
    ems.act(turn(T0, mode=TimeMode.WALL), [prices(), *battery(0.5), *load(10.0)])
    later = T0 + timedelta(minutes=15, seconds=2)
    there = received(Kind.BESS, "bess", Channel.TELEMETRY, BessTelemetry(power_kw=0, soc_frac=0.5), later)
    messages = ems.act(turn(later, mode=TimeMode.WALL), [prices(steps=1), there])
    assert plan_in(messages).status is PlanStatus.PREVIOUS
    assert metrics_in(messages) == [{"plan_age_s": 900.0}]


def test_the_safe_rule_has_no_age_and_lockstep_no_metric() -> None:
    assert metrics_in(Ems(site()).act(turn(T0, mode=TimeMode.WALL), [*battery(0.5)])) == []
    assert metrics_in(Ems(site()).act(turn(T0), [prices(), *battery(0.5), *load(10.0)])) == []


@pytest.mark.parametrize(("mode", "plans"), [(EmsMode.OBSERVE, True), (EmsMode.HOLD, False)])
def test_observe_and_hold_command_nothing(mode: EmsMode, plans: bool) -> None:
    messages = Ems(site(mode=mode)).act(turn(T0), [prices(), *battery(0.5)])
    assert setpoints_in(messages) == {}
    plan = plan_in(messages)
    assert plan.mode is mode
    assert bool(plan.devices) is plans


def test_set_points_are_the_first_step_of_the_plan() -> None:
    messages = Ems(site()).act(turn(T0), [prices(), *battery(0.2), *load(10.0)])
    plan = plan_in(messages)
    assert plan.status is PlanStatus.OPTIMAL
    assert setpoints_in(messages)["bess"].power_kw == pytest.approx(plan.devices["bess"].power_kw[0])
    assert plan.devices["bess"].soc_frac is not None
    assert plan.devices["bess"].soc_frac[-1] == pytest.approx(0.85)


def test_objective_is_the_energy_cost_alone() -> None:
    """10 kW over a day at 0.3 €/kWh: 72 €; no storage, so nothing else."""
    plan = plan_in(Ems(site(tie_flat_eur_per_kwh=0.0)).act(turn(T0), [prices(), *load(10.0)]))
    assert plan.objective_eur == pytest.approx(72.0)
    assert (plan.penalty_eur, plan.tie_break_eur) == (0.0, 0.0)


def test_wear_is_the_throughput_of_the_battery_at_its_price() -> None:
    """20 % of 40 kWh to 85 % at midnight: 26 kWh, or 26 / 0.94533 = 27.5036 kWh on the AC side; not a kWh more."""
    plan = plan_in(Ems(site(bess_wear_eur_per_kwh=0.05)).act(turn(T0), [prices(), *battery(0.2), *load(10.0)]))
    assert plan.wear_eur == pytest.approx(0.05 * 27.5036, abs=1e-5)
    assert (plan.demand_eur, plan.penalty_eur) == (0.0, 0.0)


def test_vehicles_give_back_what_is_worth_their_wear() -> None:
    """They come with more than they need; it is worth more than 5 ct/kWh of wear, and less than 30."""

    def given_back_kwh(wear: float) -> float:
        ems, plant = Ems(site(vehicle_wear_eur_per_kwh=wear)), IdealPlant()
        begin(ems, plant)
        plan = plan_in([message for step in range(37) for message in cycle(ems, plant, step)][-1:])
        kwh = -sum(min(kw, 0.0) for name in plant.names for kw in plan.devices[name].power_kw) / 4
        assert plan.wear_eur == pytest.approx(wear * kwh, abs=1e-6)
        return kwh

    assert given_back_kwh(0.05) > 10
    assert given_back_kwh(0.3) == 0


def test_demand_is_what_the_plan_adds_to_the_charge_on_the_months_peak() -> None:
    """10 kW at 3 €/kW, when the month has seen nothing yet; nothing more once it has seen 12 kW."""
    charged = site().tariff.model_copy(update={"demand_charge_eur_per_kw": 3.0})
    ems = Ems(site().model_copy(update={"tariff": charged}))
    assert plan_in(ems.act(turn(T0), [prices(), *load(10.0), *pcc(0.0, T0)])).demand_eur == pytest.approx(30.0)
    later = T0 + timedelta(minutes=15)
    plan = plan_in(ems.act(turn(later), [*load(10.0), *pcc(3.0, later)]))
    assert plan.demand_eur == 0.0


def test_a_target_out_of_reach_is_a_priced_shortfall_that_names_the_car() -> None:
    """One quarter at 23.240405 kW and 0.90066 gives 5.2329 kWh of the 11.5359 that are wanted."""
    car = vehicle(0.6, T0, T0 + timedelta(minutes=15), target_soc_frac=0.8, soc_min_frac=0.0)
    plan = plan_in(Ems(site()).act(turn(T0), [prices(), *charger("ev1", car)]))
    (missing,) = plan.shortfalls
    assert (missing.kind, missing.device, missing.at) == (ShortfallKind.DEPARTURE, "ev1", car.departure)
    assert missing.kwh == pytest.approx(0.2 * 57.6793475 - CAR_KW * 0.25 * 0.90066, abs=1e-6)
    assert plan.penalty_eur == pytest.approx(5 * missing.kwh)
    assert plan.status is PlanStatus.OPTIMAL


def test_load_above_the_connection_is_a_priced_excess() -> None:
    """600 kW at a limit of 500: 100 kW over 24 h."""
    plan = plan_in(Ems(site()).act(turn(T0), [prices(), *load(600.0)]))
    (excess,) = plan.shortfalls
    assert (excess.kind, excess.device, excess.element) == (ShortfallKind.CONNECTION_LIMIT, None, None)
    assert excess.kwh == pytest.approx(2400.0)
    assert plan.penalty_eur == pytest.approx(50 * 2400.0)


def test_a_battery_below_its_minimum_is_charged_at_once_and_says_so() -> None:
    """From 0 to 0.09724 of 40 kWh: 3.8896 kWh; a quarter at full power gives 3.8042."""
    messages = Ems(site()).act(turn(T0), [prices(), *battery(0.0)])
    assert setpoints_in(messages)["bess"].power_kw == pytest.approx(16.09688)
    kinds = [(s.kind, s.kwh) for s in plan_in(messages).shortfalls]
    assert kinds == [(ShortfallKind.SOC_MIN, pytest.approx(3.8896 - 16.09688 * 0.25 * 0.94533, abs=1e-6))]


def test_pv_is_curtailed_when_selling_costs_money() -> None:
    messages = Ems(site()).act(turn(T0), [prices(sale=-0.1), *sun(30.0), *load(12.0)])
    assert setpoints_in(messages)["pv"].limit_kw == pytest.approx(12.0)
    assert plan_in(messages).devices["pv"].power_kw[0] == pytest.approx(-12.0)


def test_without_prices_devices_are_left_to_their_fallback() -> None:
    messages = Ems(site()).act(turn(T0), [*battery(0.5)])
    assert setpoints_in(messages) == {}
    assert plan_in(messages).status is PlanStatus.SAFE_RULE


def test_without_a_usable_solution_the_previous_plan_goes_on() -> None:
    ems = Ems(site(price_extension_h=0))
    first = plan_in(ems.act(turn(T0, n=1), [prices(steps=8, sale=0.1), *battery(0.2), *load(10)]))
    later = T0 + timedelta(minutes=30)
    old = received(
        Kind.TARIFF,
        "tariff",
        Channel.SERIES,
        Series(series=(values(Quantity.SALE_PRICE, [0.1]), values(Quantity.PURCHASE_PRICE, [0.1]))),
    )
    messages = ems.act(turn(later, n=2), [old, *battery(0.2), *load(10)])
    plan = plan_in(messages)
    assert plan.status is PlanStatus.PREVIOUS
    assert plan.reason is not None
    assert "prices end" in plan.reason
    assert plan.devices["bess"].power_kw == first.devices["bess"].power_kw[2:]
    assert setpoints_in(messages)["bess"].power_kw == first.devices["bess"].power_kw[2]
    assert plan_in(ems.act(turn(T0 + 5 * HOUR, n=3), [*battery(0.2)])).status is PlanStatus.SAFE_RULE


def test_a_budget_too_small_to_solve_anything_ends_in_the_safe_rule() -> None:
    messages = Ems(site(iteration_budget=1)).act(turn(T0), [prices(), *battery(0.2), *load(10.0)])
    plan = plan_in(messages)
    assert plan.status is PlanStatus.SAFE_RULE
    assert plan.reason is not None
    assert "iteration limit" in plan.reason.lower()
    assert setpoints_in(messages) == {}


def test_a_charger_never_gets_less_than_its_smallest_power() -> None:
    """IEC 61851: 6 A on three phases are 4.14 kW. 1 kWh of surplus PV would be taken at 2 kW without it."""
    car = vehicle(0.7, T0, T0 + 18 * HOUR, target_soc_frac=0.7)
    inbox = [prices(), *charger("ev1", car, min_power_kw=4.14, max_discharge_kw=0.0), *sun(12.0), *load(10.0)]
    power = setpoints_in(Ems(site()).act(turn(T0), inbox))["ev1"].power_kw
    assert power is not None
    assert power == 0.0 or power >= 4.14


def test_negative_prices_do_not_make_a_battery_charge_and_discharge_at_once() -> None:
    plan = plan_in(Ems(site()).act(turn(T0), [prices(sale=-0.3, purchase=-0.2), *battery(0.5), *load(5.0)]))
    assert plan.status is PlanStatus.OPTIMAL
    assert plan.binaries > 0
    balance = [
        pcc - bess - load_kw
        for pcc, bess, load_kw in zip(plan.pcc_kw or (), plan.devices["bess"].power_kw, plan.load_kw or (), strict=True)
    ]
    assert balance == pytest.approx([0.0] * 96, abs=1e-6)


def test_devices_behind_one_cable_share_its_limit() -> None:
    """20 kW for an hour give 18.01 kWh of the 23.07 that the two cars want."""
    car = vehicle(0.6, T0, T0 + HOUR, target_soc_frac=0.8, soc_min_frac=0.0)
    described = site()
    described = described.model_copy(
        update={"ems": described.ems.model_validate({"cable_limits": [{"devices": ["ev1", "ev2"], "limit_kw": 20.0}]})}
    )
    messages = Ems(described).act(turn(T0), [prices(), *charger("ev1", car), *charger("ev2", car)])
    plan = plan_in(messages)
    total = [sum(pair) for pair in zip(*(plan.devices[n].power_kw for n in ("ev1", "ev2")), strict=True)]
    assert max(total) == pytest.approx(20.0)
    assert {s.kind for s in plan.shortfalls} == {ShortfallKind.DEPARTURE}
