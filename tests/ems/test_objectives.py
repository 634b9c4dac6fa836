"""Weights of money, CO2, self-consumption and peak: each alone is optimal by its own measure, and the site asks."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from schemas.messages import Quantity, Series
from schemas.site import Connection, DayProfile, EmsOptions, Objective, Site
from schemas.topics import Channel, Kind
from services.ems.highs import Budget
from services.ems.participant import Ems
from services.ems.problem import BessUnit, ChargerUnit, Prices, Problem, PvUnit, Stay, Weights
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.terms.exchange import EXPORT, IMPORT
from tests.ems.plain_milp import least_cost_eur
from tests.ems.random_sites import START
from tests.ems.small_site import IdealPlant, begin, cycle, plan_in, received, site, values

STEPS = 24
HOURS = np.arange(STEPS)

ALONE = {
    "cost": Weights(),
    "co2": Weights(cost=0.0, co2_eur_per_kg=1.0),
    "unused": Weights(cost=0.0, unused_eur_per_kwh=0.5),
    "peak": Weights(cost=0.0, peak_eur_per_kw=1.0),
}
MIXED = Weights(cost=0.5, co2_eur_per_kg=0.1, unused_eur_per_kwh=0.05, peak_eur_per_kw=0.2)


def day(weights: Weights) -> Problem:
    """24 hours: cheap at night, clean at noon, sun from 7 to 17, a car from 8 to 20. No two objectives agree."""
    sun = np.maximum(np.sin((HOURS - 6) / 12 * np.pi), 0.0)
    sale = 0.05 + 0.15 * np.isin(HOURS, (7, 8, 18, 19, 20))
    return Problem(
        start=START,
        step_s=3600,
        steps=STEPS,
        load_kw=tuple(8.0 + 6.0 * np.isin(HOURS, (7, 12, 19))),
        losses_kw=(0.0,) * STEPS,
        purchase_eur_per_kwh=tuple(sale + 0.08),
        sale_eur_per_kwh=tuple(sale),
        import_limit_kw=200.0,
        export_limit_kw=200.0,
        flat_reference_kw=8.0,
        bess=(BessUnit("bess", 40.0, 15.0, 15.0, 0.95, 0.95, 4.0, 40.0, 20.0),),
        chargers=(
            ChargerUnit(
                "ev",
                22.0,
                22.0,
                0.0,
                0.93,
                0.93,
                (
                    Stay(
                        "car",
                        START + timedelta(hours=8),
                        START + timedelta(hours=20),
                        capacity_kwh=60.0,
                        energy_kwh=20.0,
                        target_kwh=45.0,
                        energy_min_kwh=10.0,
                        energy_max_kwh=57.0,
                        max_charge_kw=22.0,
                        max_discharge_kw=22.0,
                    ),
                ),
            ),
        ),
        pv=(PvUnit("pv", 45.0, True, tuple(45.0 * sun)),),
        prices=Prices(tie_throughput_eur_per_kwh=1e-6, tie_flat_eur_per_kwh=0.0),
        weights=weights,
        co2_g_per_kwh=tuple(450.0 - 250.0 * sun + 150.0 * (HOURS < 5)),
    )


def solved(weights: Weights) -> Solution:
    solution = Solver(Budget(nodes=1_000_000, mip_rel_gap=0.0)).solve(day(weights))
    assert isinstance(solution, Solution) and solution.proven
    return solution


def measures(solution: Solution) -> dict[str, float]:
    """Each objective by its own measure: €, kg, kWh, kW. Less is better."""
    problem = solution.problem
    bought, sold = IMPORT.total_kw(solution), EXPORT.total_kw(solution)
    produced = float(solution.of("pv").sum())
    return {
        "cost": float(np.array(problem.purchase_eur_per_kwh) @ bought - np.array(problem.sale_eur_per_kwh) @ sold),
        "co2": float(np.array(problem.co2_g_per_kwh) @ bought) / 1000,
        "unused": float(sold.sum()) + sum(problem.pv[0].available_kw) - produced,
        "peak": float(bought.max()),
    }


def test_each_objective_alone_is_the_best_by_its_own_measure_and_no_other_reaches_it() -> None:
    found = {name: measures(solved(weights)) for name, weights in {**ALONE, "mixed": MIXED}.items()}
    for name in ALONE:
        best = found[name][name]
        others = {other: values[name] for other, values in found.items() if other != name}
        assert min(others.values()) >= best - 1e-3, f"{name} alone reaches {best}, others {others}"
    for name in ("cost", "co2", "peak"):
        assert max(values[name] for values in found.values()) > found[name][name] + 0.5, "the objectives do not differ"


@pytest.mark.parametrize("weights", [*ALONE.values(), MIXED], ids=[*ALONE, "mixed"])
def test_the_objective_is_that_of_a_plain_milp(weights: Weights) -> None:
    assert solved(weights).total_eur == pytest.approx(least_cost_eur(day(weights)), abs=1e-5)


def test_money_weighed_alone_is_the_plan_without_weights() -> None:
    """To the last bit, also where the intensity is known."""
    plain = Solver().solve(replace(day(Weights()), co2_g_per_kwh=()))
    assert isinstance(plain, Solution)
    again = Solver().solve(day(Weights()))
    assert isinstance(again, Solution)
    assert (plain.values.vector == again.values.vector).all() and plain.total_eur == again.total_eur


def weighing(**weights: float) -> Site:
    plain = site()
    return Site.model_validate(
        {
            **plain.model_dump(),
            "connection": Connection(import_limit_kw=500, export_limit_kw=500, co2_profile="grid"),
            "profiles": {"sale": DayProfile(values=(0.1,)), "grid": DayProfile(values=(300.0, 500.0))},
            "ems": EmsOptions(**{**plain.ems.model_dump(), "objective": Objective(**weights)}),
        }
    )


def test_the_plan_states_emissions_and_what_of_its_objective_is_no_money() -> None:
    plant = IdealPlant(chargers=2)
    ems = Ems(weighing(co2_eur_per_t=100.0))
    begin(ems, plant)
    intensity = Series(series=(values(Quantity.CO2_INTENSITY, [400.0] * 96),))
    plan = plan_in(cycle(ems, plant, 0, [received(Kind.TARIFF, "grid", Channel.SERIES, intensity)]))
    assert plan.pcc_kw is not None
    imported = sum(max(kw, 0.0) for kw in plan.pcc_kw) / 4
    assert plan.co2_import_kg == pytest.approx(0.4 * imported)
    assert plan.weighting_eur == pytest.approx(0.1 * 0.4 * imported)


def test_a_price_of_co2_needs_its_intensity() -> None:
    with pytest.raises(ValueError, match="needs the intensity of imported energy"):
        Site.model_validate({**weighing(co2_eur_per_t=1.0).model_dump(), "connection": site().connection})
    with pytest.raises(ValueError, match="every weight is 0"):
        Objective(cost=0)
