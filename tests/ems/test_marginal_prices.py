"""The prices in a plan are what another kWh costs: the objective of the problem with a little more of it says so."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from services.ems.highs import Budget
from services.ems.marginal_prices import AT_PCC, CONNECTION, PEAK, MarginalPrices, marginal_prices
from services.ems.problem import BessUnit, Group, OutsideLimit, Prices, Problem
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.terms.exchange import EXPORT, IMPORT
from tests.ems.random_sites import START, problems

MORE_KWH = 1e-3
STEPS = 4
NO_LIMIT = (float("inf"),) * STEPS


def solved(problem: Problem, mip_rel_gap: float = 0.0) -> Solution:
    solution = Solver(Budget(mip_rel_gap=mip_rel_gap)).solve(problem)
    assert isinstance(solution, Solution)
    return solution


def prices_of(problem: Problem) -> MarginalPrices:
    found = marginal_prices(solved(problem))
    assert found is not None
    return found


def with_load(problem: Problem, step: int, kwh: float) -> Problem:
    load = list(problem.load_kw)
    load[step] += kwh / problem.step_h
    return replace(problem, load_kw=tuple(load))


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(problems(), st.integers(0, 5))
def test_a_kwh_more_or_less_costs_the_price_of_its_step(problem: Problem, place: int) -> None:
    """Without binaries the least cost is convex in the load: the dual is between the slopes on its left and right."""
    solution = solved(problem, mip_rel_gap=0.01)  # only those count that have no binaries: others can take a minute
    assume(solution.binaries == 0)
    prices = marginal_prices(solution)
    assert prices is not None
    step = place % problem.steps
    more, less = (solved(with_load(problem, step, sign * MORE_KWH)) for sign in (1, -1))
    assume(more.binaries == less.binaries == 0)
    below = (solution.total_eur - less.total_eur) / MORE_KWH
    above = (more.total_eur - solution.total_eur) / MORE_KWH
    assert below - 1e-4 <= prices.bus[step] <= above + 1e-4


SERIES = st.lists(st.integers(10, 60).map(lambda cents: cents / 100), min_size=STEPS, max_size=STEPS)


@settings(max_examples=30, deadline=None)
@given(SERIES, st.lists(st.integers(-10, 10).map(float), min_size=STEPS, max_size=STEPS))
def test_a_kwh_in_a_battery_is_worth_what_it_spares(purchase: list[float], load: list[float]) -> None:
    unit = BessUnit("bess", 10.0, 4.0, 3.0, 0.9, 0.95, 1.0, 9.0, 2.0, left_eur_per_kwh=0.15)
    sale = tuple(price - 0.1 for price in purchase)
    problem = importing(purchase_eur_per_kwh=tuple(purchase), sale_eur_per_kwh=sale, load_kw=tuple(load))

    def with_energy(kwh: float) -> Solution:
        return solved(replace(problem, bess=(replace(unit, energy_kwh=unit.energy_kwh + kwh),)))

    solution = with_energy(0.0)
    prices = marginal_prices(solution)
    assert prices is not None
    gained = (solution.total_eur - with_energy(MORE_KWH).total_eur) / MORE_KWH
    lost = (with_energy(-MORE_KWH).total_eur - solution.total_eur) / MORE_KWH
    assert gained - 1e-4 <= prices.stored[0, 0] <= lost + 1e-4


def importing(**changes: object) -> Problem:
    """A load of 10 kW, and nothing that could be decided but how much too much it is."""
    problem = Problem(
        start=START,
        step_s=900,
        steps=STEPS,
        load_kw=(10.0,) * STEPS,
        losses_kw=(0.0,) * STEPS,
        purchase_eur_per_kwh=(0.3,) * STEPS,
        sale_eur_per_kwh=(0.1,) * STEPS,
        import_limit_kw=50.0,
        export_limit_kw=50.0,
        flat_reference_kw=100.0,
        bess=(BessUnit("bess", 10.0, 0.0, 0.0, 1.0, 1.0, 0.0, 10.0, 5.0),),
    )
    return replace(problem, **changes)  # type: ignore[arg-type]


def test_it_is_the_price_of_what_is_bought_or_sold() -> None:
    assert prices_of(importing()).bus == pytest.approx([0.3] * STEPS)
    assert prices_of(importing(load_kw=(-10.0,) * STEPS)).bus == pytest.approx([0.1] * STEPS)


def test_the_month_s_peak_adds_its_charge() -> None:
    """12 €/kW for the one quarter-hour that is the highest: 48 € for each kWh in it."""
    problem = importing(load_kw=(10.0, 20.0, 10.0, 10.0), prices=Prices(demand_eur_per_kw=12.0), month_peak_kw=15.0)
    prices = prices_of(problem)
    assert prices.bus == pytest.approx([0.3, 48.3, 0.3, 0.3])
    assert prices.parts[PEAK] == pytest.approx([0, 48.0, 0, 0])


def test_limits_add_the_price_of_what_exceeds_them() -> None:
    over = prices_of(importing(import_limit_kw=8.0))
    assert over.parts[CONNECTION] == pytest.approx([50.0] * STEPS, abs=1e-3)  # the flat-PCC tie-break is in it
    charges = Prices(outside_limit_eur_per_kwh=80.0, limit_eur_per_kwh=160.0)
    outside = OutsideLimit("operator", (8.0,) * STEPS, NO_LIMIT)
    limited = prices_of(importing(outside_limits=(outside,), prices=charges))
    price = [80.0 * (1 + 0.01 * (STEPS - 1 - step) / STEPS) for step in range(STEPS)]  # earlier is dearer
    assert limited.parts[AT_PCC] == pytest.approx(price)
    back = OutsideLimit("operator", NO_LIMIT, (8.0,) * STEPS)
    exporting = importing(load_kw=(-10.0,) * STEPS, outside_limits=(back,), prices=charges)
    assert prices_of(exporting).parts[AT_PCC] == pytest.approx([-each for each in price])


def test_a_group_s_limit_adds_to_the_price_of_its_members_only() -> None:
    group = Group(("bess",), 5.0, load_kw=(6.0,) * STEPS, element="cable")
    prices = prices_of(importing(groups=(group,)))
    assert prices.local("bess") == pytest.approx(50.3)
    assert prices.at("bess")["cable"] == pytest.approx([50.0] * STEPS)
    assert prices.local("other") == pytest.approx(0.3)


def test_with_binaries_it_is_the_price_with_these_binaries() -> None:
    """Sale above purchase: the site either buys or sells, and pays or gets the price of what it does."""
    battery = BessUnit("bess", 10.0, 4.0, 4.0, 1.0, 1.0, 0.0, 10.0, 0.5)
    solution = solved(
        importing(load_kw=(2.0,) * STEPS, sale_eur_per_kwh=(0.35,) * STEPS, bess=(battery,)),
    )
    assert solution.binaries > 0
    prices = marginal_prices(solution)
    assert prices is not None
    imported, exported = IMPORT.total_kw(solution) > 1e-6, EXPORT.total_kw(solution) > 1e-6
    assert exported.any()
    assert prices.bus[exported] == pytest.approx(0.35, abs=1e-3)
    assert prices.bus[imported] == pytest.approx(0.3, abs=1e-3)
