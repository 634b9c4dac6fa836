"""Caps of what a vehicle gives back, in the plan: of a session, of a day, and what has been given counts."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from schemas.cycle import Course
from schemas.messages import Ack, ChargerTelemetry, EmsMode, PluggedVehicle, VehicleValue
from schemas.participant import Received
from schemas.site import AssumedVehicle, Horizon
from services.ems.charging_sessions import PlannedTime, Policy, sessions_of
from services.ems.dispatch import decision_of
from services.ems.highs import Budget
from services.ems.problem import ChargerUnit, DischargeDay, Prices, Problem, Stay
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.system_state import Counted
from tests.ems.plain_milp import least_cost_eur
from tests.ems.random_sites import START
from tests.ems.small_site import charger_plate, session, vehicle
from tests.ems.small_site import site as small_site
from tests.twins.builders import T0, at, charger, site, stay
from twinswarm.simulation.in_memory import run_in_memory

HOUR = timedelta(hours=1)
CAR = Stay(
    vehicle="car",
    arrival=START,
    departure=START + 4 * HOUR,
    capacity_kwh=50.0,
    energy_kwh=40.0,
    target_kwh=10.0,
    energy_min_kwh=5.0,
    energy_max_kwh=50.0,
    max_charge_kw=20.0,
    max_discharge_kw=20.0,
)


def problem(*stays: Stay, **unit: Any) -> Problem:
    """Four hours of 10 kW of load and a lossless charger; nothing is paid for a sale."""
    car = ChargerUnit("ev", 20.0, 20.0, 0.0, 1.0, 1.0, stays)
    return Problem(
        start=START,
        step_s=3600,
        steps=4,
        load_kw=(10.0,) * 4,
        losses_kw=(0.0,) * 4,
        purchase_eur_per_kwh=(0.3, 0.2, 0.5, 0.4),
        sale_eur_per_kwh=(0.0,) * 4,
        import_limit_kw=100.0,
        export_limit_kw=100.0,
        flat_reference_kw=1.0,
        chargers=(replace(car, **unit),),
        prices=Prices(),
    )


def planned(asked: Problem) -> tuple[list[float], float]:
    """The charger's powers, and what it is commanded now; the cost is the judge's."""
    solution = Solver(Budget(nodes=1000)).solve(asked)
    assert isinstance(solution, Solution)
    if asked.chargers[0].held_kw is None:  # the judge does not let a held power give way
        assert solution.total_eur == pytest.approx(least_cost_eur(asked), abs=1e-6)
    decision = decision_of(solution, 0, EmsMode.CONTROL)
    return list(decision.plan.devices["ev"].power_kw), decision.power_kw["ev"]


def test_a_session_gives_its_cap_in_the_dearest_hours() -> None:
    """30 kWh could be given; of 12, ten go to the hour at 0.5 € and two to that at 0.4 €."""
    assert planned(problem(CAR))[0] == pytest.approx([-10.0, 0.0, -10.0, -10.0])
    assert planned(problem(replace(CAR, discharge_kwh=12.0)))[0] == pytest.approx([0.0, 0.0, -10.0, -2.0])
    assert planned(problem(replace(CAR, discharge_kwh=0.0)))[0] == pytest.approx([0.0] * 4)


def test_each_day_has_a_cap_of_its_own_and_the_session_has_one_besides() -> None:
    """Midnight after the second hour: 3 kWh before it, 4 after it; a session's 5 leave 1 of the first day's."""
    days = (DischargeDay(START + 2 * HOUR, 3.0), DischargeDay(START + 26 * HOUR, 4.0))
    assert planned(problem(replace(CAR, discharge_days=days)))[0] == pytest.approx([-3.0, 0.0, -4.0, 0.0])
    both = replace(CAR, discharge_days=days, discharge_kwh=5.0)
    assert planned(problem(both))[0] == pytest.approx([-1.0, 0.0, -4.0, 0.0])


def test_a_car_that_comes_again_on_the_same_day_goes_on_with_its_cap() -> None:
    """Two stays of an hour each with an hour between: 10 kWh a day, of which the dearer second hour takes 8."""
    day = (DischargeDay(START + 20 * HOUR, 10.0),)
    first = replace(CAR, departure=START + HOUR, discharge_days=day)
    again = replace(CAR, arrival=START + 2 * HOUR, departure=START + 3 * HOUR, discharge_days=day)
    assert planned(problem(first, again))[0] == pytest.approx([0.0, 0.0, -10.0, 0.0])
    wanted = replace(again, max_discharge_kw=8.0)
    assert planned(problem(first, wanted))[0] == pytest.approx([-2.0, 0.0, -8.0, 0.0])
    # Another car has a cap of its own.
    assert planned(problem(first, replace(wanted, vehicle="other")))[0] == pytest.approx([-10.0, 0.0, -8.0, 0.0])


def test_less_than_the_smallest_power_is_left_and_a_held_power_gives_way() -> None:
    """1 kWh in an hour is less than the 1.4 kW that can be given: nothing is asked for now, and the plan is there."""
    short = replace(CAR, discharge_kwh=1.0)
    for held in (None, -10.0):
        powers, commanded = planned(problem(short, min_power_kw=1.4, held_kw=held))
        assert commanded == 0.0
        assert sum(powers) == pytest.approx(-1.0)
    assert planned(problem(replace(CAR, discharge_kwh=6.0), held_kw=-10.0))[1] == pytest.approx(-6.0)


def left(said: Any, counted: Counted | None, assume: AssumedVehicle | None = None) -> Stay:
    now = T0 + timedelta(hours=12)
    window = PlannedTime(now, now + timedelta(minutes=15), T0 + timedelta(hours=30))
    plugged, expected = (said, ()) if isinstance(said, PluggedVehicle) else (None, (said,))
    policy = Policy(assume, small_site().zone)
    (found,) = sessions_of(charger_plate(), plugged, counted, expected, window, policy).stays
    return found


def test_what_has_been_given_counts_and_what_is_not_known_is_not_given() -> None:
    arrival, departure = T0 + timedelta(hours=9), T0 + timedelta(hours=33)
    caps = {"max_discharge_session_kwh": 8.0, "max_discharge_day_kwh": 5.0}
    midnights = [T0 + timedelta(hours=24), T0 + timedelta(hours=48)]
    said = vehicle(0.7, arrival, departure, discharged_day_kwh=2.0, **caps)
    stay = left(said, Counted(arrival, 0.0, 3.0))
    assert stay.discharge_kwh == 5.0
    assert stay.discharge_days == (DischargeDay(midnights[0], 3.0), DischargeDay(midnights[1], 5.0))
    # Without the day's count the session's; without any, nothing is left of today.
    unknown = vehicle(0.7, arrival, departure, **caps)
    assert [day.kwh for day in left(unknown, Counted(arrival, 0.0, 3.0)).discharge_days] == [2.0, 5.0]
    assert left(unknown, None).discharge_kwh == 0.0
    assert [day.kwh for day in left(unknown, None).discharge_days] == [0.0, 5.0]
    expected = left(session("ev", T0 + timedelta(hours=20), departure, **caps), None)
    assert (expected.discharge_kwh, [day.kwh for day in expected.discharge_days]) == (8.0, [5.0, 5.0])
    # Nothing said: what is assumed, and the plan says so; without either there is no cap.
    assume = AssumedVehicle(max_discharge_session_kwh=4.0)
    silent = vehicle(0.7, arrival, departure)
    assert left(silent, Counted(arrival, 0.0, 1.0), assume).discharge_kwh == 3.0
    window = PlannedTime(arrival, arrival + timedelta(minutes=15), departure)
    policy = Policy(assume, small_site().zone)
    sessions = sessions_of(charger_plate(), silent, Counted(arrival, 0.0, 1.0), (), window, policy)
    assert [each.number for each in sessions.assumptions if each.value is VehicleValue.DISCHARGE_SESSION] == [4.0]
    assert left(silent, Counted(arrival, 0.0, 1.0)).discharge_kwh == math.inf


def test_a_night_is_lived_within_the_caps_and_they_are_used() -> None:
    """Dear hours before midnight. The plan is what flows: no ack says that the charger had to cut it."""
    night = stay(
        arrival=at("21:00"),
        departure=at("26:00"),
        arrival_soc_frac=0.9,
        target_soc_frac=0.3,
        max_discharge_session_kwh=9.0,
        max_discharge_day_kwh=6.0,
    )
    own = site({"ev": charger(sessions=[night]), "house": {"kind": "meter", "profile": "base"}})
    price = own.profiles["price"].model_copy(update={"values": (0.1,) * 84 + (0.6,) * 12})
    own = own.model_copy(update={"profiles": {**own.profiles, "price": price}})
    options = own.ems.model_copy(update={"horizon": Horizon.ROLLING, "rolling_h": 6.0})
    own = own.model_copy(update={"ems": options})
    told: list[tuple[datetime, PluggedVehicle]] = []
    cut: list[str] = []

    def hear(received: Received) -> None:
        body = received.body
        if isinstance(body, ChargerTelemetry):
            told.extend((received.stamp.ts, each) for each in (*(body.departed or ()), body.vehicle) if each)
        if isinstance(body, Ack) and "kWh that it may" in (body.reason or ""):
            cut.append(body.reason or "")

    run_in_memory(own, Course(at("21:00"), at("26:15"), 900), None, on_message=hear)
    given_kwh = max(each.discharged_kwh or 0.0 for _, each in told)
    today_kwh = max(each.discharged_kwh or 0.0 for ts, each in told if ts <= at("24:00"))
    assert (given_kwh, today_kwh) == pytest.approx((9.0, 6.0), abs=1e-6)
    assert given_kwh <= 9.0 + 1e-9 and today_kwh <= 6.0 + 1e-9
    assert not cut
