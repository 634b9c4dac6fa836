"""Heat pumps in the plan: against the plain MILP, by hand, and where the comfort band cannot be held."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from schemas.messages import EmsMode, ShortfallKind
from services.ems.dispatch import Decision, decision_of
from services.ems.highs import Budget
from services.ems.problem import BessUnit, FixedUnit, Group, HeatUnit, Prices, Problem
from services.ems.solution import Solution
from services.ems.solve import Solver
from tests.ems.plain_milp import least_cost_eur
from tests.ems.random_sites import START, STEP_S, heat_pump, numbers

EXACT = Budget(mip_rel_gap=0.0)
H = STEP_S / 3600


def unit(steps: int, **changes: object) -> HeatUnit:
    given = {
        "device": "heatpump",
        "max_power_kw": 10.0,
        "min_power_kw": 0.0,
        "loss_frac_per_h": 0.0,
        "capacity_kwh": 50.0,
        "energy_min_kwh": 10.0,
        "energy_max_kwh": 45.0,
        "energy_kwh": 20.0,
        "cop": (3.0,) * steps,
        "demand_kw": (6.0,) * steps,
    }
    return HeatUnit(**(given | changes))  # type: ignore[arg-type]


def problem(purchase: tuple[float, ...], *units: HeatUnit, **changes: object) -> Problem:
    steps = len(purchase)
    given = {
        "start": START,
        "step_s": STEP_S,
        "steps": steps,
        "load_kw": (0.0,) * steps,
        "losses_kw": (0.0,) * steps,
        "purchase_eur_per_kwh": purchase,
        "sale_eur_per_kwh": tuple(price - 0.05 for price in purchase),
        "import_limit_kw": 500.0,
        "export_limit_kw": 500.0,
        "flat_reference_kw": 5.0,
        "heat": units,
    }
    return Problem(**(given | changes))  # type: ignore[arg-type]


def solved(task: Problem, solver: Solver | None = None) -> tuple[Solution, Decision]:
    solution = (solver or Solver(EXACT)).solve(task)
    assert isinstance(solution, Solution)
    return solution, decision_of(solution, 0, EmsMode.CONTROL)


@st.composite
def tasks(draw: st.DrawFn) -> Problem:
    steps = draw(st.integers(1, 8))

    def series(low: float, high: float) -> tuple[float, ...]:
        return tuple(draw(st.lists(numbers(low, high), min_size=steps, max_size=steps)))

    units = [draw(heat_pump(f"heatpump{i}", steps)) for i in range(draw(st.integers(1, 2)))]
    bess = (BessUnit("bess", 10, 8, 8, 0.9, 0.9, 1, 9, 5),) if draw(st.booleans()) else ()
    groups = (Group(("heatpump0", "bess"), draw(numbers(1, 10)), shares=(1.0, 0.5)),) if draw(st.booleans()) else ()
    purchase = series(0.05, 0.5)
    return replace(
        problem(purchase, *units),
        sale_eur_per_kwh=tuple(price * 0.9 for price in purchase),
        load_kw=series(0, 20),
        import_limit_kw=draw(st.sampled_from([5.0, 500.0])),
        bess=bess,
        fixed=(FixedUnit("other", series(0, 5)),) if draw(st.booleans()) else (),
        groups=groups,
        prices=Prices(tie_throughput_eur_per_kwh=1e-4, tie_flat_eur_per_kwh=1e-5),
    )


@settings(deadline=None, max_examples=20)
@given(tasks())
def test_the_plan_costs_what_the_plain_milp_says(task: Problem) -> None:
    solution, decision = solved(task)
    assert solution.total_eur == approx(least_cost_eur(task), rel=1e-7, abs=1e-6)
    plan = decision.plan
    spent = (
        plan.objective_eur
        + plan.wear_eur
        + plan.demand_eur
        + plan.penalty_eur
        + plan.later_eur
        + plan.ramping_eur
        + plan.tie_break_eur
    )
    assert spent == approx(solution.total_eur, rel=1e-7, abs=1e-5)


@settings(deadline=None, max_examples=10)
@given(tasks())
def test_electricity_times_cop_is_served_lost_or_stored_in_every_step(task: Problem) -> None:
    solution, decision = solved(task)
    for i, u in enumerate(task.heat):
        power, missing = solution.of("heat_power")[i], solution.of("heat_unserved")[i]
        energy = solution.of("heat_level")[i] - solution.of("heat_cold")[i]
        before = u.energy_kwh
        for t in range(task.steps):
            # The exact solution of dE/dt = q - λE with a constant q, by 4,000 small steps of a midpoint rule.
            heat = before
            q = u.cop[t] * power[t] - u.demand_kw[t]
            for _ in range(400):
                middle = heat + (q - u.loss_frac_per_h * heat) * H / 800
                heat += (q - u.loss_frac_per_h * middle) * H / 400
            assert energy[t] == approx(heat + missing[t], abs=1e-5)
            before = energy[t]
        now = decision.power_kw[u.device]
        assert now == 0 or u.min_power_kw <= now <= u.max_power_kw
        assert decision.plan.devices[u.device].power_kw[0] == approx(now, abs=1e-5)


def test_heat_is_made_where_it_is_cheap_and_the_cop_is_good() -> None:
    """4 · 1.5 kWh are wanted and 4 may be taken from the buffer: 2 kWh at 0.30/4 beat 0.20/2 and 0.28/3 €/kWh."""
    task = problem((0.28, 0.2, 0.3, 0.3), unit(4, energy_kwh=14.0, cop=(3.0, 2.0, 4.0, 4.0)))
    _, decision = solved(replace(task, prices=Prices(tie_throughput_eur_per_kwh=0.0, tie_flat_eur_per_kwh=0.0)))
    powers = decision.plan.devices["heatpump"].power_kw
    assert powers[:2] == approx((0.0, 0.0), abs=1e-6)
    assert sum(powers) * H * 4 == approx(2.0)
    assert decision.plan.objective_eur == approx(0.3 * 2.0 / 4)
    assert decision.plan.shortfalls == ()


def test_a_cold_snap_is_named_with_device_heat_and_time() -> None:
    """40 kW wanted, 10 kW · COP 2 there: 5 kWh less a step, so that 12 kWh are used up in the third."""
    cold = unit(4, energy_kwh=12.0, cop=(2.0,) * 4, demand_kw=(40.0,) * 4)
    solution, decision = solved(problem((0.3,) * 4, cold))
    assert solution.of("heat_power")[0] == approx([10.0] * 4)
    assert solution.of("heat_level")[0] - solution.of("heat_cold")[0] == approx([7.0, 2.0, 0.0, 0.0], abs=1e-7)
    comfort, unserved = decision.plan.shortfalls
    assert (comfort.kind, comfort.device, comfort.at) == (ShortfallKind.COMFORT, "heatpump", START.replace(minute=15))
    assert comfort.kwh == approx(10.0)
    assert comfort.eur == approx(5.0 * H * (3 + 8 + 10 + 10))
    assert (unserved.kind, unserved.at) == (ShortfallKind.UNSERVED_HEAT, START.replace(minute=45))
    assert unserved.kwh == approx(3.0 + 5.0)
    assert decision.plan.penalty_eur == approx(comfort.eur + unserved.eur)


def test_nobody_goes_without_heat_to_keep_the_band() -> None:
    """Serving the first step empties the buffer for seven hours; still it is served."""
    steps = 28
    demand = (32.0, *(0.0,) * (steps - 1))
    task = problem((0.3,) * steps, unit(steps, energy_kwh=8.0, max_power_kw=1e-3, cop=(1.0,) * steps, demand_kw=demand))
    solution, _ = solved(task)
    assert solution.of("heat_unserved").sum() == approx(0.0, abs=1e-4)


def test_heat_above_the_band_is_used_up_and_nothing_is_added() -> None:
    task = problem((0.3, -0.2, 0.3), unit(3, energy_kwh=50.0, demand_kw=(2.0,) * 3))
    _, decision = solved(task)
    assert decision.plan.devices["heatpump"].power_kw == approx((0.0, 0.0, 0.0), abs=1e-7)
    assert decision.plan.devices["heatpump"].soc_frac == approx((0.99, 0.98, 0.97))
    assert decision.plan.shortfalls == ()


@pytest.mark.parametrize("price", [-0.4, -0.05, 0.0])
def test_at_a_negative_price_the_buffer_is_filled_to_the_band_and_no_further(price: float) -> None:
    task = problem((price,) * 4, unit(4, max_power_kw=40.0))
    solution, decision = solved(task)
    energy = solution.of("heat_level")[0]
    assert energy.max() <= 45.0 + 1e-7
    if price < 0:
        assert energy[-1] == approx(45.0)
    assert decision.power_kw["heatpump"] <= 40.0


def test_going_on_with_a_basis_and_from_scratch_cost_the_same() -> None:
    """The window shrinks step by step; COPs that agree keep the structure, a changed one makes it anew."""
    steps = 10
    cops = tuple(2.5 + 0.1 * (i % 7) for i in range(steps))
    prices = tuple(0.2 + 0.1 * math.sin(i / 3) for i in range(steps))
    going, energy = Solver(EXACT), 20.0
    for t in range(steps - 1):
        cop = cops[t:] if t != 5 else (3.33, *cops[t + 1 :])
        u = unit(steps - t, cop=cop, energy_kwh=energy, loss_frac_per_h=0.02, min_power_kw=2.0)
        task = replace(problem(prices[t:], u), start=START.replace(hour=0) + t * (START - START.replace(minute=45)))
        task = replace(task, start=problem((0.1,) * steps).step_start(t))
        solution, decision = solved(task, going)
        fresh, _ = solved(task)
        assert solution.total_eur == approx(fresh.total_eur, abs=1e-9)
        restored = Solver(EXACT)
        restored.restore(going.snapshot())
        power = decision.power_kw["heatpump"]
        a = math.exp(-0.02 * H)
        energy = a * energy + (1 - a) / 0.02 * (cop[0] * power - 6.0)
    assert np.isfinite(energy)
