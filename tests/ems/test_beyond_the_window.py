"""What lies after the window of a plan: targets under shared limits, and the price of replacing what was given."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from schemas.messages import BessTelemetry, EmsMode, Plan, Quantity, Series, ShortfallKind
from schemas.site import Tariff
from schemas.topics import Channel, Kind
from services.ems.dispatch import decision_of
from services.ems.highs import Budget
from services.ems.participant import Ems
from services.ems.problem import BessUnit, ChargerUnit, Group, Later, Problem, Stay, Weights, Wish
from services.ems.solution import Solution
from services.ems.solve import Solver
from tests.ems.small_site import (
    BESS_EFFICIENCY,
    BESS_KWH,
    BESS_PLATE,
    T0,
    birth,
    received,
    site,
    turn,
    values,
)

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


def test_a_load_after_the_window_is_no_peak_of_its_own() -> None:
    """The vehicle wants nothing, and 20 kW without it are what a battery may cover when their time has come."""
    base = problem([charger("car", 28.0, 28.0)])
    assert base.later is not None
    busy = replace(base.later, net_load_kw=(20.0,) * 6)
    charged = replace(base, later=busy, month_peak_kw=4.0, prices=replace(base.prices, demand_eur_per_kw=5.0))
    assert plan(charged).demand_eur == 0
    weighed = replace(base, later=busy, month_peak_kw=4.0, weights=Weights(peak_eur_per_kw=5.0))
    assert plan(weighed).peak_weight_eur == pytest.approx(5.0 * 4.0)


def test_charging_after_the_end_of_the_month_is_no_peak_of_this_one() -> None:
    """As above, 20 kWh in four hours before midnight and five after it, when another month has begun."""
    base = problem([charger("car", 10.0, 28.0)])
    charged = replace(base, month_peak_kw=4.0, prices=replace(base.prices, demand_eur_per_kw=5.0))
    assert plan(replace(charged, month_end=base.end)).demand_eur == 0


def test_surplus_of_the_morning_costs_what_its_sale_would_have_earned() -> None:
    base = problem([charger("car", 10.0, 28.0)], purchase=0.4)
    assert base.later is not None
    sunny = replace(base.later, net_load_kw=(4.0, 4.0, 4.0, 4.0, -30.0, -30.0))
    found = plan(replace(base, later=sunny))
    assert charged_kwh(found) == pytest.approx(0.0, abs=1e-4)
    assert found.later_eur == pytest.approx(10 * 0.05 + 10 * 0.3, abs=0.01)


# What is left in a BESS


def battery_left_to_defaults(soc_frac: float, hours: float, ems: Ems | None = None, **options: object) -> Problem:
    """At so many hours of the day; purchases cost 0.3 €/kWh, on the next day 0.2 for two hours, then 0.4."""
    ems = Ems(site(**({"bess_terminal_soc_frac": "start"} | options))) if ems is None else ems
    time = T0 + timedelta(hours=hours)
    told = received(Kind.BESS, "bess", Channel.TELEMETRY, BessTelemetry(power_kw=0, soc_frac=soc_frac), time)
    prices = Series(
        series=(
            values(Quantity.SALE_PRICE, [0.1] * 192),
            values(Quantity.PURCHASE_PRICE, [0.3] * 96 + [0.2] * 8 + [0.4] * 88),
        )
    )
    inbox = [received(Kind.TARIFF, "tariff", Channel.SERIES, prices), birth(Kind.BESS, "bess", BESS_PLATE), told]
    ems.plan_at(turn(time), inbox)
    found = ems.problem_at(turn(time))
    assert isinstance(found, Problem), found
    return found


def test_a_battery_shall_end_the_day_as_it_began_by_default() -> None:
    ems = Ems(site(bess_terminal_soc_frac="start"))
    for hours, soc_frac in ((0.0, 0.4), (18.0, 0.7)):
        found = battery_left_to_defaults(soc_frac, hours, ems)
        assert [wish.energy_kwh for wish in found.bess[0].wishes] == pytest.approx([0.4 * BESS_KWH])
    again = Ems(site(bess_terminal_soc_frac="start"))
    again.restore(ems.snapshot())
    found = battery_left_to_defaults(0.6, 20.0, again)
    assert [wish.energy_kwh for wish in found.bess[0].wishes] == pytest.approx([0.4 * BESS_KWH])


def test_the_next_day_begins_anew() -> None:
    ems = Ems(site(bess_terminal_soc_frac="start"))
    battery_left_to_defaults(0.4, 0.0, ems)
    found = battery_left_to_defaults(0.7, 24.0, ems)
    assert [wish.energy_kwh for wish in found.bess[0].wishes] == pytest.approx([0.7 * BESS_KWH])


def test_what_is_left_is_worth_the_lowest_price_of_the_day_after() -> None:
    """0.2 €/kWh less twice the tie-break, by what discharging leaves of it; nothing where the site states a SOC."""
    worth = (0.2 - 2e-4) * BESS_EFFICIENCY
    assert battery_left_to_defaults(0.5, 18.0).bess[0].left_eur_per_kwh == pytest.approx(worth)
    for stated in (0.5, None):
        found = battery_left_to_defaults(0.5, 18.0, bess_terminal_soc_frac=stated)
        assert found.bess[0].left_eur_per_kwh == 0


def test_a_battery_above_its_beginning_serves_a_flat_price_now_and_buys_nothing_for_later() -> None:
    """The 10 kWh above the beginning cover load; a value above the price would make it buy."""
    unit = BessUnit("bess", 20.0, 5.0, 5.0, 0.95, 0.95, 1.0, 20.0, 15.0, (Wish(15, 5.0),), (0.3 - 2e-4) * 0.95)
    found = plan(replace(problem(()), bess=(unit,)))
    assert 0.25 * sum(found.devices["bess"].power_kw) == pytest.approx(-(15.0 - 5.0) * 0.95, abs=1e-4)
    dear = replace(problem((), purchase=0.2), bess=(replace(unit, left_eur_per_kwh=0.38),))
    assert sum(plan(dear).devices["bess"].power_kw) > 0


def test_an_ems_that_begins_within_a_month_knows_its_peak_from_the_site() -> None:
    tariff = site().tariff.model_dump() | {
        "demand_charge_eur_per_kw": 3.0,
        "month_peak": {"month": "2024-05", "import_kw": 42.5},
    }
    ems = Ems(site().model_copy(update={"tariff": Tariff(**tariff)}))
    assert battery_left_to_defaults(0.5, 18.0, ems).month_peak_kw == 42.5
    other = tariff | {"month_peak": {"month": "2024-04", "import_kw": 42.5}}
    ems = Ems(site().model_copy(update={"tariff": Tariff(**other)}))
    assert battery_left_to_defaults(0.5, 18.0, ems).month_peak_kw == 0
