"""Every set-point says why: each cause on a problem where it is the only one, and a change of it changes the power."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from schemas.messages import DevicePlan, EmsMode, PlanStatus, SetpointCause
from schemas.site import Calm
from services.ems.dispatch import Decision, decision_of
from services.ems.highs import Budget
from services.ems.participant import Ems
from services.ems.problem import (
    BessUnit,
    ChargerUnit,
    Group,
    HeatUnit,
    OutsideLimit,
    Prices,
    Problem,
    PvUnit,
    Stay,
    Wish,
)
from services.ems.solution import NoSolution, Solution
from services.ems.solve import Solver
from tests.ems.random_sites import START, problems
from tests.ems.small_site import IdealPlant, begin, cycle, plan_in, setpoints_in, site

STEPS = 8
BATTERY = BessUnit("bess", 10.0, 4.0, 4.0, 0.95, 0.95, 1.0, 9.0, 5.0, left_eur_per_kwh=0.2)
CAR = Stay("car", START, START + timedelta(hours=2), 50.0, 20.0, 30.0, 5.0, 50.0, 20.0, 0.0)
CHARGER = ChargerUnit("ev", 20.0, 0.0, 0.0, 1.0, 1.0, (CAR,))


def flat(value: float) -> tuple[float, ...]:
    return (value,) * STEPS


def decided(**changes: object) -> Decision:
    problem = Problem(
        start=START,
        step_s=900,
        steps=STEPS,
        load_kw=flat(10.0),
        losses_kw=flat(0.0),
        purchase_eur_per_kwh=flat(0.2),
        sale_eur_per_kwh=flat(0.1),
        import_limit_kw=100.0,
        export_limit_kw=100.0,
        flat_reference_kw=100.0,
        bess=(BATTERY,),
    )
    solution = Solver(Budget()).solve(replace(problem, **changes))  # type: ignore[arg-type]
    assert isinstance(solution, Solution)
    return decision_of(solution, 0, EmsMode.CONTROL)


def plan_of(device: str, **changes: object) -> DevicePlan:
    return decided(**changes).plan.devices[device]


def test_price() -> None:
    dear_later, dear_now = (0.1, *flat(0.4)[1:]), (0.6, *flat(0.1)[1:])
    charges, gives = plan_of("bess", purchase_eur_per_kwh=dear_later), plan_of("bess", purchase_eur_per_kwh=dear_now)
    assert (charges.power_kw[0], charges.cause) == (pytest.approx(4), SetpointCause.PRICE)
    assert (gives.power_kw[0], gives.cause) == (pytest.approx(-4), SetpointCause.PRICE)
    rests = plan_of("bess")
    assert (rests.power_kw[0], rests.cause) == (0, SetpointCause.PRICE)
    assert charges.stored_eur_per_kwh is not None
    assert 0.1 / 0.95 <= charges.stored_eur_per_kwh <= 0.4 * 0.95 + 1e-3


def test_pv_surplus() -> None:
    """20 kW of production for 10 kW of load: at the price of a sale it is worth storing for the load of later."""
    pv = PvUnit("pv", 20.0, False, (20.0, *flat(0.0)[1:]))
    found = plan_of("bess", pv=(pv,))
    assert (found.power_kw[0], found.cause) == (pytest.approx(4), SetpointCause.PV_SURPLUS)


def test_target() -> None:
    """40 kWh to 50 in two hours at no more than 20 kW, at one price: it is charged because the car wants it."""
    urgent = replace(CAR, target_kwh=50.0, max_charge_kw=15.5)
    found = plan_of("ev", chargers=(replace(CHARGER, stays=(urgent,)),))
    assert (found.power_kw[0], found.cause) == (pytest.approx(15.5, abs=1), SetpointCause.TARGET)
    at_midnight = plan_of("bess", bess=(replace(BATTERY, wishes=(Wish(0, 5.5),)),))
    assert (at_midnight.power_kw[0] > 0, at_midnight.cause) == (True, SetpointCause.TARGET)


def test_limit() -> None:
    """What holds a store back is named: the connection, a limit from outside, a cable."""
    cheap_now = {"purchase_eur_per_kwh": (0.1, *flat(0.4)[1:])}
    connection = plan_of("bess", **cheap_now, import_limit_kw=12.0)
    assert (connection.power_kw[0], connection.cause) == (pytest.approx(2), SetpointCause.LIMIT)
    assert connection.element == "connection"
    charges = Prices(outside_limit_eur_per_kwh=80.0, limit_eur_per_kwh=160.0)
    outside = OutsideLimit("operator", (9.0, *flat(float("inf"))[1:]), flat(float("inf")))
    forced = plan_of("bess", **cheap_now, outside_limits=(outside,), prices=charges)
    assert (forced.power_kw[0], forced.cause, forced.element) == (pytest.approx(-1), SetpointCause.LIMIT, "pcc")
    cable = plan_of("bess", **cheap_now, groups=(Group(("bess",), 3.0, element="MB-BB"),))
    assert (cable.power_kw[0], cable.cause, cable.element) == (pytest.approx(3), SetpointCause.LIMIT, "MB-BB")


def test_a_limit_that_changes_nothing_is_no_cause() -> None:
    """The load alone exceeds the connection later; now nothing binds."""
    found = plan_of("bess", load_kw=(10.0, *flat(10.0)[1:-1], 101.0), purchase_eur_per_kwh=(0.6, *flat(0.1)[1:]))
    assert found.cause is not SetpointCause.LIMIT


def test_a_curtailed_inverter() -> None:
    pv = PvUnit("pv", 40.0, True, flat(40.0))
    stores = {"bess": ()}
    limited = decided(pv=(pv,), export_limit_kw=12.0, **stores)
    assert limited.limit_kw["pv"] == pytest.approx(22)
    found = limited.plan.devices["pv"]
    assert (found.cause, found.element) == (SetpointCause.LIMIT, "connection")
    negative = decided(pv=(pv,), sale_eur_per_kwh=flat(-0.1), **stores)
    assert (negative.limit_kw["pv"], negative.plan.devices["pv"].cause) == (pytest.approx(10), SetpointCause.PRICE)
    assert plan_of("pv", pv=(pv,)).cause is SetpointCause.PRICE


def test_peak() -> None:
    """The load of the first quarter-hour would raise the month's highest import by 3 kW."""
    found = plan_of(
        "bess", load_kw=(13.0, *flat(5.0)[1:]), month_peak_kw=10.0, prices=Prices(demand_eur_per_kw=10.0), steps=STEPS
    )
    assert (found.power_kw[0], found.cause) == (pytest.approx(-3), SetpointCause.PEAK)


def test_reserve_and_full() -> None:
    empty = plan_of("bess", bess=(replace(BATTERY, energy_kwh=1.0),), purchase_eur_per_kwh=(0.6, *flat(0.5)[1:]))
    assert (empty.power_kw[0], empty.cause) == (0, SetpointCause.RESERVE)
    full = plan_of("bess", bess=(replace(BATTERY, energy_kwh=9.0),), purchase_eur_per_kwh=(0.1, *flat(0.4)[1:]))
    assert (full.power_kw[0], full.cause) == (0, SetpointCause.FULL)


def test_no_vehicle() -> None:
    later = replace(CAR, arrival=START + timedelta(hours=1), departure=START + timedelta(hours=2), target_kwh=22.0)
    found = plan_of("ev", chargers=(replace(CHARGER, stays=(later,)),))
    assert (found.power_kw[0], found.cause) == (0, SetpointCause.NO_VEHICLE)


def test_a_heat_pump() -> None:
    """Heat is wanted at once, or waits for a price; production that nobody needs is taken."""
    unit = HeatUnit("hp", 6.0, 0.0, 0.0, 20.0, 2.0, 18.0, 10.0, flat(3.0), flat(6.0))
    waits = plan_of("hp", heat=(unit,), purchase_eur_per_kwh=(0.6, *flat(0.1)[1:]))
    assert (waits.power_kw[0], waits.cause) == (0, SetpointCause.PRICE)
    cold = plan_of("hp", heat=(replace(unit, energy_kwh=2.0),), purchase_eur_per_kwh=(0.6, *flat(0.1)[1:]))
    assert (cold.power_kw[0], cold.cause) == (pytest.approx(2.0), SetpointCause.TARGET)
    pv = PvUnit("pv", 30.0, False, (30.0, *flat(0.0)[1:]))
    sunny = plan_of("hp", heat=(unit,), pv=(pv,))
    assert (sunny.power_kw[0] > 0, sunny.cause) == (True, SetpointCause.PV_SURPLUS)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(problems())
def test_every_command_of_any_problem_has_a_cause(problem: Problem) -> None:
    solution = Solver(Budget()).solve(problem)
    assert isinstance(solution, Solution)
    decision = decision_of(solution, 0, EmsMode.CONTROL)
    commanded = {*decision.power_kw, *decision.limit_kw}
    assert {name for name, plan in decision.plan.devices.items() if plan.cause is not None} == commanded
    assert decision.plan.energy_eur_per_kwh is not None
    for plan in decision.plan.devices.values():
        assert (plan.element is not None) == (plan.cause is SetpointCause.LIMIT)


def test_what_comes_from_no_new_optimisation_says_that(monkeypatch: pytest.MonkeyPatch) -> None:
    ems, plant = Ems(site()), IdealPlant()
    begin(ems, plant)
    first = cycle(ems, plant, 0)
    assert setpoints_in(first)["ev1"].cause is SetpointCause.NO_VEHICLE
    prices = plan_in(first).energy_eur_per_kwh
    assert prices is not None
    assert setpoints_in(first)["bess"].energy_eur_per_kwh == prices[0]
    monkeypatch.setattr(Solver, "solve", lambda *_: NoSolution("a fault"))
    second = cycle(ems, plant, 1)
    assert plan_in(second).status is PlanStatus.PREVIOUS
    assert setpoints_in(second)["bess"].cause is SetpointCause.PREVIOUS_PLAN
    assert setpoints_in(second)["bess"].energy_eur_per_kwh == prices[1]


def test_a_power_that_is_kept_for_calm_says_that() -> None:
    ems, plant = Ems(site(calm=Calm(min_gain_eur=0.02))), IdealPlant()
    begin(ems, plant)
    causes = [plan_in(cycle(ems, plant, step)).devices["bess"].cause for step in range(24)]
    assert SetpointCause.CALM in causes
