"""Sites of many chargers: what is done otherwise there gives the same optimum, and the next plans go on from it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from services.ems import highs
from services.ems.highs import Budget
from services.ems.problem import ChargerUnit, Group, Problem, Stay
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.terms.storage import energy_kwh
from tests.ems.random_sites import problems

START = datetime(2025, 3, 3, 8, tzinfo=UTC)
EXACT = Budget(nodes=1_000_000, mip_rel_gap=0.0)


def car_park(cars: int, steps: int = 32) -> Problem:
    """Cars with hours and SOCs of their own, at chargers with a smallest power, behind a limit of 4 kW a car."""
    chargers = []
    for number in range(cars):
        departure = START + timedelta(minutes=15 * (steps // 2 + number % (steps // 2)))
        stay = Stay(f"car{number}", START, departure, 60.0, 10.0 + number % 17, 40.0, 6.0, 54.0, 11.0, 0.0)
        chargers.append(ChargerUnit(f"ev{number}", 11.0, 0.0, 4.14, 0.94, 0.94, (stay,)))
    return Problem(
        start=START,
        step_s=900,
        steps=steps,
        load_kw=(float(cars),) * steps,
        losses_kw=(0.2,) * steps,
        purchase_eur_per_kwh=tuple(round(0.2 + 0.01 * (step % 7), 2) for step in range(steps)),
        sale_eur_per_kwh=(0.05,) * steps,
        import_limit_kw=20.0 * cars,
        export_limit_kw=20.0 * cars,
        flat_reference_kw=3.0 * cars,
        chargers=tuple(chargers),
        groups=(Group(tuple(unit.device for unit in chargers), 4.0 * cars),),
    )


def later(problem: Problem, solution: Solution) -> Problem:
    """The problem a step later: every car has what was planned, less up to 0.2 kWh."""
    held = energy_kwh(solution)[:, 0]
    chargers = tuple(
        replace(unit, stays=(replace(unit.stays[0], energy_kwh=float(energy) - 0.05 * (number % 5)),))
        for number, (unit, energy) in enumerate(zip(problem.chargers, held, strict=True))
    )
    return replace(
        problem,
        start=problem.step_start(1),
        steps=problem.steps - 1,
        load_kw=problem.load_kw[1:],
        losses_kw=problem.losses_kw[1:],
        purchase_eur_per_kwh=problem.purchase_eur_per_kwh[1:],
        sale_eur_per_kwh=problem.sale_eur_per_kwh[1:],
        chargers=chargers,
    )


def solved(solver: Solver, problem: Problem) -> Solution:
    solution = solver.solve(problem)
    assert isinstance(solution, Solution), solution
    return solution


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(problems())
def test_a_first_plan_with_presolve_costs_the_same(problem: Problem) -> None:
    plain = solved(Solver(EXACT), problem).total_eur
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(highs, "PRESOLVED_FROM_COLUMNS", 0)
        assert solved(Solver(EXACT), problem).total_eur == pytest.approx(plain, abs=1e-6)


def test_the_next_plans_go_on_from_a_presolved_one_and_from_its_checkpoint_to_the_last_bit() -> None:
    problem = car_park(cars=160)
    solver = Solver()
    first = solved(solver, problem)
    assert first.values.model.n_columns >= highs.PRESOLVED_FROM_COLUMNS, "else this shows nothing"
    assert first.proven
    restored = Solver()
    restored.restore(json.loads(json.dumps(solver.snapshot())))
    then = later(problem, first)
    second, again = solved(solver, then), solved(restored, then)
    assert second.proven
    assert (second.values.vector == again.values.vector).all()
    other = Solver()
    assert (solved(other, problem).values.vector == first.values.vector).all()
    assert (solved(other, then).values.vector == second.values.vector).all()
