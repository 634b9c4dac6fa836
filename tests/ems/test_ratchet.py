"""The ratchet of a demand charge: a peak of this month is dearer where it raises the bills of months to come."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from schemas.site import Connection, DemandBilling, MonthPeak, Site, Tariff
from services.ems.participant import Ems
from services.ems.problem import BessUnit, Prices, Problem
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.terms.exchange import IMPORT
from services.ems.terms.ratchet import RATCHET
from tests.ems.small_site import IdealPlant, begin, cycle, plan_in, site

START = datetime(2024, 5, 17, 10, tzinfo=UTC)


def problem(*, free_kw: tuple[float, ...] = (), ratchet_eur_per_kw: float = 0.0) -> Problem:
    """Two hours of 10 kW, then two of 30, at 0.2 €/kWh; a battery of 10 kWh that loses a fifth of what goes through."""
    return Problem(
        start=START,
        step_s=3600,
        steps=4,
        load_kw=(10.0, 10.0, 30.0, 30.0),
        losses_kw=(0.0,) * 4,
        purchase_eur_per_kwh=(0.2,) * 4,
        sale_eur_per_kwh=(0.0,) * 4,
        import_limit_kw=100.0,
        export_limit_kw=100.0,
        flat_reference_kw=100.0,
        bess=(BessUnit("bess", 10.0, 8.0, 8.0, 0.8, 1.0, 0.0, 10.0, 0.0),),
        prices=Prices(demand_eur_per_kw=0.02, ratchet_eur_per_kw=ratchet_eur_per_kw, tie_flat_eur_per_kwh=0.0),
        ratchet_free_kw=free_kw,
    )


def solved(asked: Problem) -> tuple[Solution, float]:
    solution = Solver().solve(asked)
    assert isinstance(solution, Solution) and solution.proven
    return solution, float(IMPORT.total_kw(solution).max())


def test_a_peak_is_lowered_where_later_bills_make_it_worth_the_losses() -> None:
    """To take 1 kW off both hours of 30 kW takes 2 kWh of the battery, 2.5 of the grid: 0.5 kWh lost, 0.10 €.

    The charge of 0.02 €/kW does not pay that; with two later months at 0.05 €/kW each it does, down to the 28 kW that
    raise only one."""
    _, plain = solved(problem())
    assert plain == pytest.approx(30.0)
    shaved, highest = solved(problem(free_kw=(20.0, 28.0), ratchet_eur_per_kw=0.05))
    assert highest == pytest.approx(28.0, abs=1e-5)
    assert RATCHET.eur(shaved) == pytest.approx(0.05 * 8.0, abs=1e-6)
    for free_kw in ((20.0, 35.0), (35.0, 35.0)):
        _, highest = solved(problem(free_kw=free_kw, ratchet_eur_per_kw=0.05))
        assert highest == pytest.approx(30.0), "one later month does not pay the losses, none even less"
    seen = replace(problem(free_kw=(20.0, 28.0), ratchet_eur_per_kw=0.05), month_peak_kw=40.0)
    solution, _ = solved(seen)
    assert RATCHET.eur(solution) == pytest.approx(0.0), "the month has raised these bills already"


def billed(past: tuple[float, ...]) -> Site:
    """0.8 of the highest of 11 months before counts; peaks of the months before May."""
    months = [f"2024-{month:02}" for month in range(5 - len(past), 5)]
    peaks = tuple(MonthPeak(month=month, import_kw=kw) for month, kw in zip(months, past, strict=True))
    tariff = Tariff(
        sale="sale",
        spread_eur_per_kwh=0.2,
        demand_charge_eur_per_kw=1.0,
        demand_billing=DemandBilling(ratchet_frac=0.8),
        past_peaks=peaks,
    )
    connection = Connection(import_limit_kw=500, export_limit_kw=500)
    return site().model_copy(update={"tariff": tariff, "connection": connection})


def test_the_plan_states_what_it_expects_of_later_bills_by_the_months_that_are_known() -> None:
    """The known months had 4 and 6 kW: 5 kW are expected of those to come, and the load of the day is far more. So
    nearly all of the plan's peak counts in 11 bills at 0.8 €/kW."""
    found = {}
    for past in ((), (4.0, 6.0), (400.0, 400.0)):
        ems, plant = Ems(billed(past)), IdealPlant(chargers=1)
        begin(ems, plant)
        found[past] = plan_in(cycle(ems, plant, 0))
    assert found[()].ratchet_eur is None, "nothing is known of any month"
    assert found[(400.0, 400.0)].ratchet_eur == pytest.approx(0.0)
    plan = found[(4.0, 6.0)]
    assert plan.ratchet_eur is not None and plan.pcc_kw is not None
    # March and April of next year are expected to have their own 4 and 6 kW; the others 5, at most 0.8 · 6 from before.
    free = [5 / 0.8] * 9 + [max(4.0, 0.8 * 6.0) / 0.8, 6.0 / 0.8]
    assert plan.ratchet_eur == pytest.approx(0.8 * sum(max(max(plan.pcc_kw) - kw, 0.0) for kw in free))
