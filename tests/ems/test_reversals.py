"""Steps of equal prices in a calmer order: fewer reversals from charging to discharging at about the same cost."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ems.highs import Budget
from services.ems.problem import BessUnit, ChargerUnit, Prices, Problem, Stay
from services.ems.reversals import net_kw, reversals
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.terms.storage import energy_kwh
from tests.ems.random_sites import problems
from tests.ems.test_sale_above_purchase import night, solved_once

PRICE = 0.002
"""Of a reversal [€]."""


def solved(problem: Problem, price: float) -> Solution:
    solution = Solver(Budget(nodes=2_000)).solve(replace(problem, prices=replace(problem.prices, reversal_eur=price)))
    assert isinstance(solution, Solution), solution
    return solved_once(solution)


def lived(price: float) -> tuple[list[float], float]:
    """The battery's powers and the cost of a night in which every step is planned again and only the first is lived."""
    small = BessUnit("bess", 7.0, 4.0, 4.0, 0.95, 0.95, 1.0, 6.0, 3.5)
    problem, powers, cost = night(steps=16, bess=(small,)), [], 0.0
    solver = Solver(Budget(nodes=2_000))
    load = problem.load_kw[0] + problem.losses_kw[0]
    for step in range(problem.steps):
        left = problem.steps - step
        unit = problem.bess[0]
        now = night(
            start=problem.start + timedelta(seconds=900 * step),
            steps=left,
            bess=(unit,),
            prices=Prices(reversal_eur=price),
            **{name: getattr(problem, name)[:left] for name in SERIES},
        )
        solution = solver.solve(now)
        assert isinstance(solution, Solution)
        power = float(net_kw(solution)[0, 1])
        kw = load + power
        cost += 0.25 * (0.06 * max(kw, 0.0) - 0.14 * max(-kw, 0.0))
        powers.append(power)
        energy = float(energy_kwh(solution)[0, 0])
        problem = replace(problem, bess=(replace(unit, energy_kwh=energy, flowing_kw=power),))
    return powers, cost


SERIES = ("load_kw", "losses_kw", "purchase_eur_per_kwh", "sale_eur_per_kwh")


def turned(powers: list[float]) -> int:
    return sum(before * after < -1e-6 for before, after in pairwise(powers))


def test_a_night_that_is_lived_has_the_reversals_of_its_cycles_at_the_same_cost() -> None:
    """The battery of 5 kWh between its bounds at ±4 kW takes five quarter-hours in a row and begins in the middle: four
    hours are three turns, and one more as they do not end with a whole one."""
    (jumpy, cost), (calm, calm_cost) = lived(0.0), lived(PRICE)
    assert turned(calm) <= 4 < turned(jumpy)
    assert calm_cost == pytest.approx(cost, abs=PRICE * turned(jumpy))


def test_what_flows_now_goes_on() -> None:
    """At half its level it may do both; it does what it does already."""
    for flowing in (4.0, -4.0):
        unit = replace(night().bess[0], flowing_kw=flowing)
        powers = net_kw(solved(night(bess=(unit,)), PRICE))[0]
        assert np.sign(powers[1]) == np.sign(flowing)


@pytest.mark.parametrize(("more_kw", "is_calm"), [(0.1, True), (0.3, False)])
def test_a_reversal_that_gains_more_than_its_price_is_made(more_kw: float, is_calm: bool) -> None:
    """Every other quarter-hour has a higher load: buying there and selling in the others instead gains the 0.08 €/kWh
    between the prices for that load, by hand 0.002 € with 0.1 kW, which is once per two reversals, and 0.006 €."""
    uneven = night(load_kw=(0.6, 0.6 + more_kw) * 12)
    free, calm = solved(uneven, 0.0), solved(uneven, PRICE)
    assert (reversals(calm) < reversals(free) / 2) is is_calm
    assert calm.total_eur - free.total_eur == pytest.approx(calm.calm_eur, abs=1e-9)
    assert calm.calm_eur <= PRICE * (reversals(free) - reversals(calm))


def test_a_vehicle_and_a_battery_are_calm_together() -> None:
    start = night().start
    stay = Stay("car", start, start + timedelta(hours=6), 60.0, 30.0, 30.0, 8.0, 54.0, 8.0, 8.0)
    problem = night(chargers=(ChargerUnit("ev", 8.0, 8.0, 0.0, 0.95, 0.95, (stay,)),))
    free, calm = solved(problem, 0.0), solved(problem, PRICE)
    assert reversals(calm) < reversals(free)
    assert calm.total_eur <= free.total_eur + PRICE * (reversals(free) - reversals(calm)) + 1e-9


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(problems(), st.sampled_from([0.0, 0.05]), st.sampled_from([0.001, 0.1]))
def test_a_plan_never_costs_more_than_the_reversals_that_it_saves(
    problem: Problem, margin: float, price: float
) -> None:
    """Over random sites with flat prices. Bounds, targets and limits are those of the problem's own linear program."""
    steps = problem.steps
    flat = replace(problem, purchase_eur_per_kwh=(0.1,) * steps, sale_eur_per_kwh=(round(0.1 + margin, 2),) * steps)
    free, calm = solved(flat, 0.0), solved(flat, price)
    assert calm.total_eur - free.total_eur <= price * (reversals(free) - reversals(calm)) + 1e-6
    assert calm.total_eur - free.total_eur == pytest.approx(calm.calm_eur, abs=1e-6)
    assert calm.proven == free.proven


def test_where_nothing_turns_round_nothing_is_solved_again() -> None:
    rests = BessUnit("bess", 12.0, 4.0, 0.0, 0.95, 0.95, 1.0, 11.0, 6.0)
    free, calm = (solved(night(bess=(rests,)), price) for price in (0.0, PRICE))
    assert (calm.iterations, calm.total_eur) == (free.iterations, free.total_eur)
