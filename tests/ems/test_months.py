"""A window that reaches into the next month: what is imported in one month is no peak of the other."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.ems.problem import BessUnit, Prices, Problem, Weights
from services.ems.problem_builder.window import next_month
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.terms import TERMS
from services.ems.terms.exchange import IMPORT

START = datetime(2025, 3, 31, 20, tzinfo=UTC)
MIDNIGHT = START + timedelta(hours=2)
DEMAND, WEIGHT = {"prices": Prices(demand_eur_per_kw=5.0)}, {"weights": Weights(peak_eur_per_kw=5.0)}


def problem(load_kw: tuple[float, ...], purchase: tuple[float, ...], **changes: Any) -> Problem:
    """Four hours, two of each month; an empty battery of 20 kWh and 20 kW without losses."""
    return Problem(
        start=START,
        step_s=3600,
        steps=4,
        load_kw=load_kw,
        losses_kw=(0.0,) * 4,
        purchase_eur_per_kwh=purchase,
        sale_eur_per_kwh=(0.0,) * 4,
        import_limit_kw=100.0,
        export_limit_kw=100.0,
        flat_reference_kw=100.0,
        bess=(BessUnit("bess", 20.0, 20.0, 20.0, 1.0, 1.0, 0.0, 20.0, 0.0),),
        month_end=MIDNIGHT,
        **changes,
    )


def solved(asked: Problem) -> tuple[list[float], dict[str, Any]]:
    """The imports by step [kW], and what the terms say in the plan."""
    solution = Solver().solve(asked)
    assert isinstance(solution, Solution) and solution.proven
    fields: dict[str, Any] = {}
    for term in TERMS:
        fields |= term.plan_fields(solution)
    return IMPORT.total_kw(solution).round(4).tolist(), fields


def test_the_load_of_the_next_month_is_no_room_for_charging_in_this_one() -> None:
    """Purchases are 0.20 €/kWh cheaper in this month, in which 10 kW were seen and are drawn. To charge 20 kWh at
    10 kW above that would cost 50 € to earn 4. 40 kW of the next month are paid already, so nothing is earned there."""
    seen = {"month_peak_kw": 10.0, "next_free_peak_kw": 40.0}
    asked = problem((10.0, 10.0, 40.0, 40.0), (0.1, 0.1, 0.3, 0.3), **seen, **DEMAND)
    imported, fields = solved(asked)
    assert imported == [10.0, 10.0, 40.0, 40.0]
    assert fields["demand_eur"] == pytest.approx(0.0)
    one_month, _ = solved(replace(asked, month_end=None))
    assert sum(one_month[:2]) == pytest.approx(40.0), "within one month the 40 kW are room for all of it"


def test_what_this_month_has_paid_is_no_room_in_the_next_one() -> None:
    """20 kWh are 0.20 €/kWh cheaper in the first hour of the next month than in the second; its 10 kW are paid."""
    seen = {"month_peak_kw": 60.0, "next_free_peak_kw": 10.0}
    asked = problem((10.0, 10.0, 10.0, 10.0), (0.3, 0.3, 0.1, 0.3), **seen, **DEMAND)
    imported, fields = solved(asked)
    assert imported == [10.0, 10.0, 10.0, 10.0]
    assert fields["demand_eur"] == pytest.approx(0.0)
    one_month, _ = solved(replace(asked, month_end=None))
    assert one_month[2] == pytest.approx(20.0), "what the last hour draws is bought in the third"


@pytest.mark.parametrize(("cost", "field"), [(DEMAND, "demand_eur"), (WEIGHT, "peak_weight_eur")])
def test_both_months_pay_for_what_they_draw(cost: dict[str, Any], field: str) -> None:
    """Nothing was seen yet and nothing can be stored: 10 kW in this month and 40 in the next."""
    asked = replace(problem((10.0, 10.0, 40.0, 40.0), (0.2,) * 4, **cost), bess=())
    assert solved(asked)[1][field] == pytest.approx(5.0 * 10 + 5.0 * 40)
    assert solved(replace(asked, month_end=None))[1][field] == pytest.approx(5.0 * 40)


def test_the_ratchet_sees_the_peak_of_its_own_month() -> None:
    prices = Prices(demand_eur_per_kw=0.0, ratchet_eur_per_kw=0.5)
    asked = problem((10.0, 10.0, 40.0, 40.0), (0.2,) * 4, prices=prices, ratchet_free_kw=(20.0,))
    _, fields = solved(replace(asked, bess=()))
    assert fields["ratchet_eur"] == pytest.approx(0.0)
    _, fields = solved(replace(asked, bess=(), month_end=None))
    assert fields["ratchet_eur"] == pytest.approx(0.5 * 20.0)


@pytest.mark.parametrize(
    ("time", "begin"),
    [
        (datetime(2024, 2, 29, 22, 59, tzinfo=UTC), datetime(2024, 2, 29, 23, tzinfo=UTC)),
        (datetime(2024, 2, 29, 23, tzinfo=UTC), datetime(2024, 3, 31, 22, tzinfo=UTC)),
        (datetime(2023, 12, 5, tzinfo=UTC), datetime(2023, 12, 31, 23, tzinfo=UTC)),
    ],
)
def test_months_begin_at_local_midnight(time: datetime, begin: datetime) -> None:
    """Rome: UTC+1, from the last Sunday of March on UTC+2."""
    assert next_month(time, ZoneInfo("Europe/Rome")) == begin
