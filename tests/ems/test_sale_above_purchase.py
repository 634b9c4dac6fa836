"""Where the sale price is above the purchase price: the optimum, its bound, and the rounded first solution."""

import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ems.binaries import largest_exchange
from services.ems.highs import Budget
from services.ems.instance import RequiredBinaries
from services.ems.problem import BessUnit, ChargerUnit, HeatUnit, OutsideLimit, Prices, Problem, PvUnit, Stay
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.stores import Store
from services.ems.terms.base import spread
from services.ems.terms.exchange import EXPORT, IMPORT
from tests.ems.plain_milp import least_cost_eur
from tests.ems.random_sites import problems

START = datetime(2025, 3, 4, 22, tzinfo=UTC)
STEPS = 24
EXACT = Budget(nodes=1_000_000, mip_rel_gap=0.0)
FEW = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


def night(**changes: object) -> Problem:
    """Six hours at 0.06 €/kWh bought and 0.14 €/kWh sold: the more flows through the battery the better."""
    problem = Problem(
        start=START,
        step_s=900,
        steps=STEPS,
        load_kw=(0.6,) * STEPS,
        losses_kw=(0.1,) * STEPS,
        purchase_eur_per_kwh=(0.06,) * STEPS,
        sale_eur_per_kwh=(0.14,) * STEPS,
        import_limit_kw=30.0,
        export_limit_kw=15.0,
        flat_reference_kw=5.0,
        bess=(BessUnit("bess", 12.0, 4.0, 4.0, 0.95, 0.95, 1.0, 11.0, 6.0),),
    )
    return replace(problem, **changes)  # type: ignore[arg-type]


def solved(problem: Problem, budget: Budget) -> Solution:
    solution = Solver(budget).solve(problem)
    assert isinstance(solution, Solution), solution
    return solved_once(solution)


def solved_once(solution: Solution) -> Solution:
    """Nothing is bought and sold at once where that would pay, by the objective's weights."""
    bought, sold, problem = IMPORT.total_kw(solution), EXPORT.total_kw(solution), solution.problem
    co2 = problem.co2_g_per_kwh or (0.0,) * problem.steps
    costs = map(problem.weights.of_import, problem.purchase_eur_per_kwh, co2)
    worth = map(problem.weights.of_export, problem.sale_eur_per_kwh)
    pays = np.array([*worth]) > np.array([*costs]) + 1e-9
    assert not (pays & (bought > 1e-6) & (sold > 1e-6)).any()
    return solution


@FEW
@given(problems(), st.sampled_from([-0.2, 0.0, 0.15]), st.sampled_from([0.0, 0.08]))
def test_the_optimum_is_that_of_the_plain_milp(problem: Problem, purchase: float, margin: float) -> None:
    """Flat prices, equal or with the sale above: every step is a choice, and many plans cost the same."""
    steps = problem.steps
    flat = replace(
        problem, purchase_eur_per_kwh=(purchase,) * steps, sale_eur_per_kwh=(round(purchase + margin, 2),) * steps
    )
    assert solved(flat, EXACT).total_eur == pytest.approx(least_cost_eur(flat), abs=1e-6)


@FEW
@given(problems())
def test_a_stated_gap_is_at_least_the_true_one(problem: Problem) -> None:
    """With so wide a gap the rounded solution of the relaxation is accepted where it exists."""
    found, least = solved(problem, Budget(mip_rel_gap=0.5)), least_cost_eur(problem)
    assert found.total_eur >= least - 1e-6
    assert found.total_eur - least <= found.mip_gap * abs(found.total_eur) + 1e-6


def test_a_night_of_buying_and_selling_is_proved_within_few_nodes() -> None:
    problem = night()
    solution = solved(problem, Budget(nodes=1000))
    assert solution.proven
    assert solution.mip_gap <= 1e-4
    assert solution.binaries == 2 * STEPS


def test_a_night_with_vehicles_is_proved_within_few_nodes() -> None:
    """Without a balance for each direction a car charges from another while the site is paid for both."""
    chargers = []
    for number, (hour, kwh) in enumerate(((22, 14.0), (23, 31.0))):
        stay = Stay("car", START.replace(hour=hour), START + timedelta(hours=7), 60.0, kwh, 40.0, 8.0, 54.0, 11.0, 11.0)
        chargers.append(ChargerUnit(f"ev{number}", 11.0, 11.0, 0.0, 0.93, 0.94, (stay,)))
    solution = solved(night(chargers=tuple(chargers), import_limit_kw=60.0, export_limit_kw=60.0), Budget(nodes=1000))
    assert solution.proven
    assert solution.mip_gap <= 1e-4


def test_with_pv_and_a_heat_pump_it_is_the_best_of_all_choices_of_directions() -> None:
    """The judge knows no binaries: in each of its problems limits from outside close one direction in every step."""
    steps, closed, free = 4, 0.0, math.inf
    problem = night(
        steps=steps,
        load_kw=(1.5, 0.2, 0.9, 0.4),
        losses_kw=(0.1,) * steps,
        purchase_eur_per_kwh=(0.06, 0.05, 0.3, 0.06),
        sale_eur_per_kwh=(0.14, 0.14, 0.1, 0.14),
        pv=(PvUnit("b", 5.0, True, (1.0, 2.5, 0.5, 0.0)),),
        heat=(HeatUnit("heat", 3.0, 0.0, 0.01, 10.0, 1.0, 9.0, 1.2, (3.0,) * steps, (2.0, 1.0, 4.0, 2.0)),),
        prices=Prices(limit_eur_per_kwh=500.0, outside_limit_eur_per_kwh=100.0),
    )

    def no_binaries(problem: Problem, stores: tuple[Store, ...]) -> RequiredBinaries:
        by_store = np.zeros((len(stores), problem.steps), bool)
        return RequiredBinaries(by_store, np.zeros(problem.steps, bool), by_store)

    costs = []
    for imports in itertools.product((True, False), repeat=steps):
        limit = OutsideLimit(
            "judge", tuple(free if i else closed for i in imports), tuple(closed if i else free for i in imports)
        )
        solution = Solver(EXACT, binaries=no_binaries).solve(replace(problem, outside_limits=(limit,)))
        assert isinstance(solution, Solution)
        costs.append(solution.total_eur)
    assert solved(problem, EXACT).total_eur == pytest.approx(min(costs), abs=1e-6)


def test_the_relaxation_pays_for_what_it_trades() -> None:
    """The battery rests when it is full and must stay so: then nothing can be sold, so nothing is to be decided."""
    full = BessUnit("bess", 12.0, 4.0, 4.0, 0.95, 0.95, 11.0, 11.0, 11.0)
    solution = solved(night(bess=(full,)), Budget(nodes=1))
    assert solution.total_eur == pytest.approx(0.7 * 6 * 0.06, abs=1e-3)
    assert solution.mip_gap == 0.0


def test_bounds_of_a_step_are_what_the_devices_can_draw_and_give() -> None:
    """By hand: 0.7 kW of demand, 2 kW of PV that is sold as it comes, 5 kW that can be curtailed, 3 kW of heat pump."""
    pv = (PvUnit("a", 2.0, False, (2.0,) * STEPS), PvUnit("b", 5.0, True, (5.0,) * STEPS))
    pump = HeatUnit("heat", 3.0, 0.0, 0.0, 10.0, 1.0, 9.0, 5.0, (3.0,) * STEPS, (1.0,) * STEPS)
    problem = night(pv=pv, heat=(pump,), export_limit_kw=9.0)
    solution = solved(problem, Budget(nodes=50))
    most = largest_exchange(problem, solution.stores)
    assert most[0] == pytest.approx(0.7 - 2 + 4 + 3)
    assert most[1] == pytest.approx(9.0), "10.3 kW, cut off at the connection's limit"


def test_no_binary_where_a_direction_is_impossible() -> None:
    """Load above all that the battery gives: nothing can be exported, whatever it would earn."""
    solution = solved(night(load_kw=(5.0,) * STEPS), Budget(nodes=1))
    assert solution.binaries == 0
    assert solution.proven


def test_rounding_owes_what_a_step_did_not_give() -> None:
    thirds, rest = np.full((1, 9), 1 / 3), np.full((1, 9), 2 / 3)
    chosen = spread(thirds, rest)[0]
    assert chosen.sum() == 3
    assert np.abs(np.cumsum(chosen - 1 / 3)).max() <= 1.0
