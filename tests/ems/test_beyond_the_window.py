"""What lies after the window of a plan: targets under shared limits, and the price of replacing what was given."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from schemas.messages import EmsMode, Plan, ShortfallKind
from services.ems.dispatch import decision_of
from services.ems.problem import ChargerUnit, Group, Later, Problem, Stay
from services.ems.solution import Solution
from services.ems.solve import Budget, Solver

START = datetime(2025, 3, 3, 20, tzinfo=UTC)
"""The window ends at 24:00; the vehicles leave at 05:00 or later."""


def charger(name: str, energy: float, target: float, leaves_h: float = 9.0, back_kw: float = 0.0) -> ChargerUnit:
    departure = START + timedelta(hours=leaves_h)
    stay = Stay("van", START, departure, 50.0, energy, target, 5.0, 50.0, 10.0, back_kw)
    return ChargerUnit(name, 10.0, back_kw, 0.0, 0.9, 0.9, (stay,))


def problem(chargers: Sequence[ChargerUnit], purchase: float = 0.3, later: float = 0.3, **changes: object) -> Problem:
    steps, hours = 16, 6
    found = Problem(
        start=START,
        step_s=900,
        steps=steps,
        load_kw=(4.0,) * steps,
        losses_kw=(0.0,) * steps,
        purchase_eur_per_kwh=(purchase,) * steps,
        sale_eur_per_kwh=(0.05,) * steps,
        import_limit_kw=100.0,
        export_limit_kw=100.0,
        flat_reference_kw=5.0,
        chargers=tuple(chargers),
        later=Later((4.0,) * hours, (later,) * hours, (0.05,) * hours),
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def plan(problem: Problem) -> Plan:
    solution = Solver(Budget()).solve(problem)
    assert isinstance(solution, Solution), solution
    return decision_of(solution, 0, EmsMode.CONTROL).plan


def charged_kwh(found: Plan) -> float:
    return 0.25 * sum(sum(device.power_kw) for device in found.devices.values())


def behind_one_cable(limit_kw: float, vans: int = 3, wanted_kwh: float = 27.0) -> Problem:
    """Each van wants 30 kWh of AC energy by 05:00; after midnight 5 h of the cable are left."""
    units = [charger(f"van{i}", 10.0, 10.0 + wanted_kwh) for i in range(vans)]
    names = tuple(unit.device for unit in units)
    group = Group(names, limit_kw, kind=ShortfallKind.GROUP_LIMIT, element="ems.cable_limits.0")
    found = problem(units, purchase=0.4, later=0.2, groups=(group,))
    assert found.later is not None
    return replace(found, later=replace(found.later, groups=(group,)))


def test_what_a_shared_cable_cannot_carry_after_the_window_is_charged_within_it() -> None:
    """90 kWh are wanted, 5 h · 12 kW = 60 can flow after midnight at half the price: 30 are bought before it."""
    found = plan(behind_one_cable(12.0))
    assert charged_kwh(found) == pytest.approx(30.0, abs=1e-4)
    assert not found.shortfalls
    assert found.later_eur == pytest.approx(60 * 0.2, abs=0.02)


def test_without_the_cable_all_of_it_waits_for_the_cheap_night() -> None:
    assert charged_kwh(plan(behind_one_cable(1000.0))) == pytest.approx(0.0, abs=1e-4)


def test_a_shortfall_after_the_window_is_in_the_plan_with_the_time_of_the_departure() -> None:
    """9 h · 8 kW = 72 of 90 kWh: 18 kWh of AC energy, 16.2 in the batteries, are missing."""
    found = plan(behind_one_cable(8.0))
    assert sum(shortfall.kwh for shortfall in found.shortfalls) == pytest.approx(16.2, abs=1e-4)
    assert {shortfall.kind for shortfall in found.shortfalls} == {ShortfallKind.DEPARTURE}
    assert {shortfall.at for shortfall in found.shortfalls} == {START + timedelta(hours=9)}
    assert found.penalty_eur == pytest.approx(16.2 * 5.0, abs=1e-3)


def test_v2g_gives_nothing_at_a_price_at_which_it_must_be_bought_back() -> None:
    found = plan(problem([charger("v2g", 40.0, 42.0, back_kw=10.0)]))
    assert min(found.devices["v2g"].power_kw) == pytest.approx(0.0, abs=1e-6)


def test_v2g_gives_at_an_evening_price_that_the_night_makes_good() -> None:
    """0.5 · 0.9 · 0.9 > 0.2: it covers the load of 4 kW in all four hours."""
    found = plan(problem([charger("v2g", 40.0, 42.0, back_kw=10.0)], purchase=0.5, later=0.2))
    assert charged_kwh(found) == pytest.approx(-16.0, abs=1e-4)


def test_a_stay_that_outlasts_all_later_steps_counts_on_full_power_from_then_on() -> None:
    """Of 36 kWh in store 27 can come in 3 h after the six steps, 9 in the six themselves, at their price."""
    found = plan(problem([charger("car", 5.0, 41.0, leaves_h=13.0)], purchase=0.4, later=0.2))
    assert charged_kwh(found) == pytest.approx(0.0, abs=1e-4)
    assert found.later_eur == pytest.approx(10 * 0.2, abs=0.01)


def test_the_month_s_peak_bounds_what_is_left_for_later() -> None:
    """At equal prices and 5 €/kW, 9 h of 20 kWh are 2.2 kW more than the load of 4 kW, before midnight as after."""
    base = problem([charger("car", 10.0, 28.0)])
    charged = replace(base, month_peak_kw=4.0, prices=replace(base.prices, demand_eur_per_kw=5.0))
    found = plan(charged)
    assert found.demand_eur == pytest.approx(5.0 * 20 / 9, abs=1e-3)


def test_surplus_of_the_morning_costs_what_its_sale_would_have_earned() -> None:
    base = problem([charger("car", 10.0, 28.0)], purchase=0.4)
    assert base.later is not None
    sunny = replace(base.later, net_load_kw=(4.0, 4.0, 4.0, 4.0, -30.0, -30.0))
    found = plan(replace(base, later=sunny))
    assert charged_kwh(found) == pytest.approx(0.0, abs=1e-4)
    assert found.later_eur == pytest.approx(10 * 0.05 + 10 * 0.3, abs=0.01)
