"""The programs of the stores: their bound is one, and it is close enough to be the proof of a plan."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ems import decomposition, solve
from services.ems.compile import COST_SCALE
from services.ems.decomposition import Relaxation, StoreByStore, store_by_store
from services.ems.highs import Budget
from services.ems.problem import BessUnit, ChargerUnit, Problem, Stay
from services.ems.solution import Solution
from services.ems.solve import Solver
from tests.ems.plain_milp import least_cost_eur
from tests.ems.random_sites import START, problems

FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(problems(), st.sampled_from([-0.3, -0.12]), st.sampled_from([0.0, 0.1]))
def test_the_bound_is_between_the_relaxation_and_the_optimum(problem: Problem, price: float, margin: float) -> None:
    """Negative prices, at which every store is paid for burning energy; all kinds of limits."""
    steps = problem.steps
    paid = replace(problem, purchase_eur_per_kwh=(price + margin,) * steps, sale_eur_per_kwh=(price,) * steps)
    seen: list[tuple[float, float]] = []

    def observed(relaxation: Relaxation, *rest: Any) -> StoreByStore:
        found = store_by_store(relaxation, *rest)
        seen.append((relaxation.bound, found.bound))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solve, "store_by_store", observed)
        solution = Solver(Budget(nodes=1_000_000, mip_rel_gap=0.0)).solve(paid)
    least = least_cost_eur(paid)
    assert isinstance(solution, Solution)
    assert solution.total_eur == pytest.approx(least, abs=1e-6)
    for relaxed, bound in seen:
        assert relaxed <= bound <= (least + 1e-6) * COST_SCALE


def park_in_negative_hours(cars: int, steps: int = 32) -> Problem:
    """V2G cars and a BESS, the first four of eight hours with a negative price, each car with a SOC of its own."""
    price = tuple(-0.2 if step < 16 else round(0.1 + 0.02 * math.sin(step // 4), 3) for step in range(steps))
    end = START.replace(hour=START.hour + 8)
    chargers = tuple(
        ChargerUnit(
            f"ev{i}", 11.0, 11.0, 0.0, 0.93, 0.94, (Stay("car", START, end, 50.0, 38.0 + 0.7 * i, 40, 8, 46, 11, 11),)
        )
        for i in range(cars)
    )
    return Problem(
        start=START,
        step_s=900,
        steps=steps,
        load_kw=tuple(5.0 + 0.1 * (step % 5) for step in range(steps)),
        losses_kw=(0.2,) * steps,
        purchase_eur_per_kwh=price,
        sale_eur_per_kwh=price,
        import_limit_kw=20.0 * cars,
        export_limit_kw=20.0 * cars,
        flat_reference_kw=10.0,
        bess=(BessUnit("bess", 12.0, 5.0, 5.0, 0.95, 0.95, 1.2, 11.0, 6.0),),
        chargers=chargers,
    )


def test_a_car_park_in_negative_hours_is_proved_without_branching_over_all_cars(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: Any) -> Any:
        raise AssertionError("all cars in one program")

    monkeypatch.setattr(solve, "mixed_integer_program", refused)
    problem = park_in_negative_hours(cars=4)
    solution = Solver().solve(problem)
    assert isinstance(solution, Solution)
    assert solution.proven
    assert 0 < solution.mip_gap <= 1e-4
    charge, discharge = solution.of("charge"), solution.of("discharge")
    assert not ((charge > 1e-6) & (discharge > 1e-6))[:, :16].any(), "no store burns energy in both directions at once"
    again = Solver().solve(problem)
    assert isinstance(again, Solution)
    assert (again.values.vector == solution.values.vector).all()


def test_its_plan_costs_what_the_whole_program_costs_within_the_gap() -> None:
    problem = park_in_negative_hours(cars=2, steps=12)
    found = Solver().solve(problem)
    assert isinstance(found, Solution)
    least = least_cost_eur(problem)
    assert least - 1e-6 <= found.total_eur <= least + found.mip_gap * abs(found.total_eur) + 1e-6


def test_a_day_whose_costs_and_earnings_cancel_is_proved_to_half_a_cent() -> None:
    """1e-4 of its cost, next to nothing, could not be proved."""
    problem = replace(park_in_negative_hours(cars=1, steps=24), import_limit_kw=200.0)
    dear = Solver().solve(problem)
    assert isinstance(dear, Solution)
    # A load in the last two hours, at 0.1 €/kWh and more, shifts the cost of every plan by the same.
    shift_kw = dear.total_eur / (problem.step_h * sum(problem.purchase_eur_per_kwh[16:]))
    load = tuple(kw - (shift_kw if step >= 16 else 0.0) for step, kw in enumerate(problem.load_kw))
    even = replace(problem, load_kw=load)
    found = Solver().solve(even)
    assert isinstance(found, Solution)
    assert found.proven
    assert abs(found.total_eur) < 0.05
    assert found.mip_gap > 1e-4
    least = least_cost_eur(even)
    assert least - 1e-6 <= found.total_eur <= least + 0.005


def test_vehicles_that_are_alike_are_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    solved: list[object] = []
    solve_own = decomposition._solved

    def counted(*given: Any) -> Any:
        solved.append(given)
        return solve_own(*given)

    monkeypatch.setattr(decomposition, "_solved", counted)
    problem = park_in_negative_hours(cars=3)
    stays = problem.chargers[0].stays
    alike = replace(problem, chargers=tuple(replace(unit, stays=stays) for unit in problem.chargers), bess=())
    found = Solver().solve(alike)
    assert isinstance(found, Solution)
    assert found.proven
    assert len(solved) == 1
    charge = found.of("charge").sum(axis=1)
    assert charge == pytest.approx([charge[0]] * 3, abs=1e-6)
