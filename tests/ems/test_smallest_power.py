"""The smallest power is one of the offer: a vehicle that draws less is offered it, and planned with what it draws."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from schemas.messages import EmsMode
from services.ems.dispatch import Decision, decision_of
from services.ems.highs import Budget
from services.ems.problem import ChargerUnit, Problem, Stay
from services.ems.solution import Solution
from services.ems.solve import Solver

START = datetime(2025, 3, 3, 8, tzinfo=UTC)


def problem(car_kw: float, wanted_kwh: float, purchase: float = 0.3) -> Problem:
    """One hour of a charger of 4.14 to 11 kW without losses, and a van with 20 kWh."""
    departure = START + timedelta(hours=1)
    stay = Stay("van", START, departure, 60.0, 20.0, 20.0 + wanted_kwh, 5.0, 60.0, car_kw, 0.0)
    return Problem(
        start=START,
        step_s=900,
        steps=4,
        load_kw=(1.0,) * 4,
        losses_kw=(0.0,) * 4,
        purchase_eur_per_kwh=(purchase, 0.3, 0.3, 0.3),
        sale_eur_per_kwh=(0.05,) * 4,
        import_limit_kw=100.0,
        export_limit_kw=100.0,
        flat_reference_kw=5.0,
        chargers=(ChargerUnit("box", 11.0, 0.0, 4.14, 1.0, 1.0, (stay,)),),
    )


def decision(problem: Problem) -> Decision:
    solution = Solver(Budget()).solve(problem)
    assert isinstance(solution, Solution), solution
    return decision_of(solution, 0, EmsMode.CONTROL)


def test_a_vehicle_of_less_than_the_smallest_power_is_offered_that_and_planned_with_its_own() -> None:
    """2.3 kW on one phase, 2.3 kWh wanted in an hour: every step at what it can draw, and nothing is short."""
    found = decision(problem(car_kw=2.3, wanted_kwh=2.3))
    assert found.power_kw["box"] == 4.14
    assert found.plan.devices["box"].power_kw == pytest.approx((2.3,) * 4, abs=1e-6)
    assert not found.plan.shortfalls


def test_it_draws_all_that_it_can_or_nothing() -> None:
    """Of 1.15 kWh two steps of 2.3 kW are enough: the first is all or nothing, whatever would be flatter."""
    for purchase, drawn in ((0.2, 2.3), (0.4, 0.0)):
        found = decision(problem(car_kw=2.3, wanted_kwh=1.15, purchase=purchase))
        assert found.plan.devices["box"].power_kw[0] == pytest.approx(drawn, abs=1e-6)
        assert found.power_kw["box"] == (4.14 if drawn else 0.0)


def test_what_it_cannot_draw_is_a_shortfall_of_the_first_plan() -> None:
    found = decision(problem(car_kw=2.3, wanted_kwh=5.0))
    assert [shortfall.kwh for shortfall in found.plan.shortfalls] == [pytest.approx(2.7, abs=1e-6)]


def test_a_vehicle_that_draws_more_is_offered_at_least_the_smallest_power() -> None:
    found = decision(replace(problem(car_kw=7.0, wanted_kwh=2.3), purchase_eur_per_kwh=(0.2, 0.3, 0.3, 0.3)))
    assert found.power_kw["box"] >= 4.14
    assert found.power_kw["box"] == pytest.approx(found.plan.devices["box"].power_kw[0])
