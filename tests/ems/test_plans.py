"""What holds of every plan: balance, limits, energies that follow from powers; and that no message of a peer harms."""

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.messages import (
    BessNameplate,
    BessTelemetry,
    ChargerNameplate,
    ChargerTelemetry,
    EmsMode,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    PlanStatus,
    PluggedVehicle,
    PvNameplate,
    PvTelemetry,
    Quantity,
    Series,
)
from schemas.participant import Received
from schemas.topics import Channel, Kind
from services.ems.dispatch import decision_of
from services.ems.highs import Budget
from services.ems.participant import Ems
from services.ems.problem import ChargerUnit, Problem, Stay
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.terms.storage import energy_kwh
from tests.ems.random_sites import problems
from tests.ems.small_site import (
    STEP_S,
    T0,
    IdealPlant,
    begin,
    birth,
    column,
    cycle,
    plan_in,
    received,
    session,
    site,
    turn,
    values,
)

QUIET = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@QUIET
@given(problems())
def test_every_plan_balances_power_energy_and_euros_within_limits(problem: Problem) -> None:
    solution = Solver(Budget(mip_rel_gap=0.0)).solve(problem)
    assert isinstance(solution, Solution)
    decision = decision_of(solution, 0, EmsMode.CONTROL)
    plan = decision.plan
    powers = np.sum([np.array(device.power_kw) for device in plan.devices.values()], axis=0)
    demand = powers + np.array(problem.load_kw) + np.array(problem.losses_kw)
    assert np.array(plan.pcc_kw) == pytest.approx(demand, abs=1e-5)
    bounds = {unit.device: (-unit.max_discharge_kw, unit.max_charge_kw) for unit in (*problem.bess, *problem.chargers)}
    bounds |= {unit.device: (0.0, unit.max_power_kw) for unit in problem.heat}
    for name, power in decision.power_kw.items():
        least, most = bounds[name]
        assert least <= power <= most
    for charger in problem.chargers:
        power = abs(decision.power_kw[charger.device])
        assert power == 0 or power >= charger.min_power_kw
    spent = (
        plan.objective_eur
        + plan.wear_eur
        + (plan.calendar_wear_eur or 0.0)
        + plan.demand_eur
        + (plan.ratchet_eur or 0.0)
        + plan.penalty_eur
        + plan.later_eur
        + plan.ramping_eur
        + plan.tie_break_eur
        + (plan.weighting_eur or 0.0)
        + (plan.peak_weight_eur or 0.0)
    )
    spent += problem.prices.demand_eur_per_kw * sum(problem.paid_kw(month) for month in range(problem.months))
    raised_kw = sum(max(problem.month_peak_kw - free_kw, 0.0) for free_kw in problem.ratchet_free_kw)
    spent += problem.prices.ratchet_eur_per_kw * raised_kw
    batteries = [i for i, store in enumerate(solution.stores) if store.is_bess]
    assert spent == pytest.approx(solution.total_eur, abs=1e-5)
    charge, discharge, energy = solution.of("charge"), solution.of("discharge"), energy_kwh(solution)
    for i in batteries:
        # Energy in, less losses, is energy stored.
        (unit,) = [unit for unit in problem.bess if unit.device == solution.stores[i].device]
        flows = charge[i] * unit.charge_efficiency - discharge[i] / unit.discharge_efficiency
        stored = unit.energy_kwh + np.cumsum(flows) * problem.step_h
        assert energy[i] == pytest.approx(np.maximum(stored, 0.0), abs=1e-5)


def test_where_a_car_follows_another_within_the_step_the_set_point_is_of_the_one_that_is_there() -> None:
    """Both are to be charged as fast as they can, 10 and 20 kW: 30 kW together is no set-point of a 22 kW charger."""
    ten, change, eleven = (datetime(2024, 5, 17, 10, tzinfo=UTC) + timedelta(minutes=minutes) for minutes in (0, 5, 60))
    stays = tuple(
        Stay(
            vehicle=name,
            arrival=arrival,
            departure=departure,
            capacity_kwh=50.0,
            energy_kwh=5.0,
            target_kwh=50.0,
            energy_min_kwh=0.0,
            energy_max_kwh=50.0,
            max_charge_kw=most_kw,
            max_discharge_kw=0.0,
        )
        for name, arrival, departure, most_kw in (("first", ten, change, 10.0), ("second", change, eleven, 20.0))
    )
    charger = ChargerUnit("ev1", 22.0, 0.0, 0.0, 0.9, 0.9, stays)
    problem = Problem(
        start=ten,
        step_s=900,
        steps=4,
        load_kw=(0.0,) * 4,
        losses_kw=(0.0,) * 4,
        purchase_eur_per_kwh=(0.2,) * 4,
        sale_eur_per_kwh=(0.1,) * 4,
        import_limit_kw=100.0,
        export_limit_kw=100.0,
        flat_reference_kw=5.0,
        chargers=(charger,),
    )
    solution = Solver().solve(problem)
    assert isinstance(solution, Solution)
    assert decision_of(solution, 0, EmsMode.CONTROL).power_kw["ev1"] == pytest.approx(10.0)


def test_a_spent_budget_gives_the_incumbent_with_its_gap() -> None:
    """The sale price above the purchase price, all day, needs more than one node of branch and bound."""
    plant = IdealPlant()
    begin(ems := Ems(site(node_budget=1)), plant)
    prices = (
        values(Quantity.SALE_PRICE, column("price_italian")),
        values(Quantity.PURCHASE_PRICE, [price - 0.02 for price in column("price_italian")]),
    )
    plant.series = lambda: [  # type: ignore[method-assign]
        IdealPlant().series()[0],
        received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=prices)),
    ]
    plan = plan_in(cycle(ems, plant, 0))
    assert plan.status is PlanStatus.INCUMBENT
    assert 1e-4 < plan.mip_gap < 0.1
    assert plan.reason is not None
    assert plan.binaries > 0


fractions = st.floats(0, 1)
powers = st.sampled_from([0.0, 1e-9, 3.7, 22.0, 1e6])
signed = st.sampled_from([-1e6, -5.0, 0.0, 1e-12, 7.5, 1e6])
efficiencies = st.sampled_from([1e-3, 0.5, 0.95, 1.0])
capacities = st.sampled_from([1e-3, 40.0, 9_999.0])
minutes = st.integers(-3000, 3000)


@st.composite
def peers(draw: st.DrawFn) -> list[Received]:
    """Messages that the contract admits and that no honest device would send."""
    bess = BessNameplate(
        capacity_kwh=draw(capacities),
        max_charge_kw=draw(powers),
        max_discharge_kw=draw(powers),
        charge_efficiency=draw(efficiencies),
        discharge_efficiency=draw(efficiencies),
        soc_min_frac=draw(fractions),
        soc_max_frac=draw(fractions),
    )
    charger = ChargerNameplate(
        max_charge_kw=draw(powers),
        max_discharge_kw=draw(powers),
        min_power_kw=draw(powers),
        charge_efficiency=draw(efficiencies),
        discharge_efficiency=draw(efficiencies),
        controllable=draw(st.booleans()),
    )
    car = PluggedVehicle(
        vehicle="x",
        soc_frac=draw(fractions),
        capacity_kwh=draw(capacities),
        arrival=T0 + timedelta(minutes=draw(minutes)),
        arrival_soc_frac=draw(fractions),
        departure=T0 + timedelta(minutes=draw(minutes)),
        target_soc_frac=draw(fractions),
        soc_min_frac=draw(fractions),
        soc_max_frac=draw(fractions),
        max_charge_kw=draw(st.none() | powers),
        max_discharge_kw=draw(st.none() | powers),
    )
    arrival = T0 + timedelta(minutes=draw(minutes))
    expected = [
        session("ev", arrival, arrival + timedelta(minutes=draw(st.integers(1, 2000))), soc_max_frac=draw(fractions)),
        session("ev", arrival + timedelta(minutes=7), arrival + timedelta(minutes=1000), vehicle="y"),
        session("nobody", arrival, arrival + timedelta(hours=1)),
    ]
    price = draw(st.sampled_from([-100.0, 0.0, 0.3, 100.0]))
    series = (
        values(Quantity.SALE_PRICE, [price] * 60),
        values(Quantity.PURCHASE_PRICE, [0.3] * draw(st.integers(1, 60))),
        values(Quantity.LOAD, [draw(signed)], "building", start=T0 + timedelta(minutes=draw(minutes))),
    )
    load = MeterTelemetry(power_kw=draw(signed))
    return [
        birth(Kind.BESS, "bess", bess),
        birth(Kind.CHARGER, "ev", charger),
        birth(Kind.PV, "pv", PvNameplate(rated_kw=draw(powers), curtailable=draw(st.booleans()))),
        birth(Kind.METER, "building", MeterNameplate(role=draw(st.sampled_from(MeterRole)))),
        received(Kind.BESS, "bess", Channel.TELEMETRY, BessTelemetry(power_kw=0, soc_frac=draw(fractions))),
        received(
            Kind.CHARGER, "ev", Channel.TELEMETRY, ChargerTelemetry(power_kw=0, vehicle=draw(st.none() | st.just(car)))
        ),
        received(Kind.PV, "pv", Channel.TELEMETRY, PvTelemetry(power_kw=0, available_kw=draw(powers))),
        received(Kind.METER, "building", Channel.TELEMETRY, load),
        # Not of the kind that was born under this name.
        received(Kind.PV, "bess", Channel.TELEMETRY, PvTelemetry(power_kw=0, available_kw=1)),
        received(Kind.TARIFF, "tariff", Channel.SERIES, Series(series=series, charging_sessions=tuple(expected))),
    ]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(peers())
def test_no_message_of_the_contract_stops_the_ems(inbox: list[Received]) -> None:
    ems = Ems(site(node_budget=5, iteration_budget=20_000))
    for step in range(2):
        now = turn(T0 + timedelta(seconds=STEP_S * step), n=step)
        plan = plan_in(ems.act(now, inbox))
        assert math.isfinite(plan.objective_eur)
        ems.restore(json.loads(json.dumps(ems.snapshot())))
