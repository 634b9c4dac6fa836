"""A price on changes of power: of plans that cost about the same, the calmer one."""

from dataclasses import replace
from itertools import pairwise

import pytest

from schemas.messages import EmsMode
from services.ems.dispatch import decision_of
from services.ems.highs import Budget
from services.ems.problem import Prices, Problem
from services.ems.solution import Solution
from services.ems.solve import Solver
from tests.ems.test_sale_above_purchase import night


def planned(problem: Problem) -> tuple[tuple[float, ...], float, float]:
    """The battery's powers, the plan's cost by equation (1), and the price of its changes."""
    solution = Solver(Budget(nodes=20_000, mip_rel_gap=1e-6)).solve(problem)
    assert isinstance(solution, Solution)
    plan = decision_of(solution, 0, EmsMode.CONTROL).plan
    return plan.devices["bess"].power_kw, plan.objective_eur, plan.ramping_eur


def reversals(powers: tuple[float, ...]) -> int:
    return sum(before * after < -1e-6 for before, after in pairwise(powers))


def test_reversals_of_a_flat_night_disappear_at_no_cost() -> None:
    """Bought at 0.06 and sold at 0.14 €/kWh, 24 quarter-hours of ±4 kW in any order: the store of 10 kWh between its
    bounds takes eleven in a row, so there is no reason to reverse more than a few times."""
    jumpy, cost, _ = planned(night(prices=Prices()))
    calm, calm_cost, ramping = planned(night(prices=Prices(ramping_eur_per_kw=0.001)))
    assert reversals(calm) <= 4 < reversals(jumpy)
    assert calm_cost == pytest.approx(cost, abs=0.002)
    assert ramping == pytest.approx(0.001 * sum(abs(b - a) for a, b in pairwise((0.0, *calm))), abs=1e-6)


def test_a_change_is_made_where_it_pays_more_than_its_price() -> None:
    """A kWh is worth 0.05 €/kWh more for an hour: by hand, 4 kW up and down again cost 8 kW times the price."""
    flat = night(sale_eur_per_kwh=(0.0,) * 24, steps=24)
    dear = (0.10,) * 8 + (0.30,) * 4 + (0.10,) * 12
    asked = replace(flat, purchase_eur_per_kwh=dear, load_kw=(6.0,) * 24)
    for price, discharges in ((0.02, True), (1.0, False)):
        powers, _, _ = planned(replace(asked, prices=Prices(ramping_eur_per_kw=price)))
        assert (min(powers[8:12]) < -1.0) is discharges


def test_what_flows_now_is_the_power_before_the_first_step() -> None:
    asked = night(sale_eur_per_kwh=(0.0,) * 24, purchase_eur_per_kwh=(0.1,) * 24, load_kw=(6.0,) * 24)
    unit = replace(asked.bess[0], flowing_kw=-2.0)
    powers, _, ramping = planned(replace(asked, bess=(unit,), prices=Prices(ramping_eur_per_kw=0.01)))
    steps = sum(abs(b - a) for a, b in pairwise((-2.0, *powers)))
    assert ramping == pytest.approx(0.01 * steps, abs=1e-6)
