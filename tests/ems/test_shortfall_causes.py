"""Every target that is missed says why: too little time, a small charger, a limit, a low SOC, or its price."""

from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.messages import EmsMode, Shortfall, ShortfallCause, ShortfallKind
from services.ems.dispatch import decision_of
from services.ems.highs import Budget
from services.ems.problem import BessUnit, ChargerUnit, Group, OutsideLimit, Prices, Problem, Stay, TaperCurve, Wish
from services.ems.solution import Solution
from services.ems.solve import Solver
from tests.ems.random_sites import START

CAR = Stay("car", START, START + timedelta(hours=1), 50.0, 20.0, 30.0, 5.0, 50.0, 20.0, 0.0)
"""Wants 10 kWh in an hour."""
CHARGER = ChargerUnit("ev", 20.0, 0.0, 0.0, 1.0, 1.0, (CAR,))


def missed(charger: ChargerUnit = CHARGER, **changes: object) -> Shortfall:
    steps = 8
    problem = Problem(
        start=START,
        step_s=900,
        steps=steps,
        load_kw=(2.0,) * steps,
        losses_kw=(0.0,) * steps,
        purchase_eur_per_kwh=(0.2,) * steps,
        sale_eur_per_kwh=(0.1,) * steps,
        import_limit_kw=100.0,
        export_limit_kw=100.0,
        flat_reference_kw=5.0,
        chargers=(charger,),
    )
    solution = Solver(Budget()).solve(replace(problem, **changes))  # type: ignore[arg-type]
    assert isinstance(solution, Solution)
    (found,) = decision_of(solution, 0, EmsMode.CONTROL).plan.shortfalls
    return found


def test_it_comes_too_late() -> None:
    late = replace(CAR, arrival=START + timedelta(minutes=45))
    found = missed(replace(CHARGER, stays=(late,)))
    assert (found.device, found.cause) == ("ev", ShortfallCause.TOO_LITTLE_TIME)
    assert found.kwh == pytest.approx(10 - 20 / 4)


def test_its_taper_leaves_too_little_time() -> None:
    """Of 20 kW from 90 % on a half is left at 95 %: the last kilowatt-hours take longer than an hour."""
    nearly_full = replace(CAR, energy_kwh=44.0, target_kwh=50.0, max_charge_kw=6.0)
    found = missed(replace(CHARGER, stays=(nearly_full,), taper=TaperCurve(0.9, 0.0)))
    assert found.cause is ShortfallCause.TOO_LITTLE_TIME


def test_its_charger_is_too_small() -> None:
    found = missed(replace(CHARGER, max_charge_kw=7.0))
    assert found.kwh == pytest.approx(3.0)
    assert found.cause is ShortfallCause.CHARGER_TOO_SMALL
    slow = missed(replace(CHARGER, max_charge_kw=7.0, stays=(replace(CAR, max_charge_kw=8.0),)))
    assert slow.cause is ShortfallCause.TOO_LITTLE_TIME


def test_a_limit_binds() -> None:
    """Of 10 kWh the connection leaves 6, a cable 4 and a limit from outside at the PCC 3 beside 2 kW of load."""
    found = missed(import_limit_kw=8.0)
    assert found.kwh == pytest.approx(4)
    assert (found.cause, found.element) == (ShortfallCause.LIMIT_BINDING, "connection")
    found = missed(groups=(Group(("ev",), 4.0, element="MB-EV"),))
    assert found.kwh == pytest.approx(6)
    assert (found.cause, found.element) == (ShortfallCause.LIMIT_BINDING, "MB-EV")
    none = (float("inf"),) * 8
    outside = OutsideLimit("operator", (5.0,) * 8, none)
    prices = Prices(outside_limit_eur_per_kwh=80.0, limit_eur_per_kwh=160.0)
    found = missed(outside_limits=(outside,), prices=prices)
    assert found.kwh == pytest.approx(7)
    assert (found.cause, found.element) == (ShortfallCause.LIMIT_BINDING, "pcc")


def test_it_is_not_worth_it() -> None:
    found = missed(prices=Prices(shortfall_eur_per_kwh=0.1))
    assert found.kwh == pytest.approx(10)
    assert found.cause is ShortfallCause.NOT_WORTH_IT


def test_a_store_below_its_minimum_and_a_battery_that_is_slow() -> None:
    low = BessUnit("bess", 10.0, 2.0, 2.0, 1.0, 1.0, 4.0, 10.0, 1.0)
    full = replace(CHARGER, stays=())
    found = missed(full, bess=(low,))
    assert (found.kind, found.cause) == (ShortfallKind.SOC_MIN, ShortfallCause.SOC_BELOW_MINIMUM)
    wishes = replace(low, energy_kwh=4.0, wishes=(Wish(3, 9.0),))
    found = missed(full, bess=(wishes,))
    assert (found.kind, found.cause) == (ShortfallKind.TERMINAL, ShortfallCause.TOO_LITTLE_TIME)
    assert found.kwh == pytest.approx(9.0 - 6.0)
