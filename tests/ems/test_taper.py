"""Vehicles that draw less near full: the birth says it, the plan counts with it, and they are full when they leave."""

from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.cycle import Course
from schemas.messages import ChargerNameplate, EmsMode
from schemas.site import Charger, Taper
from services.ems.dispatch import decision_of
from services.ems.highs import Budget
from services.ems.problem import ChargerUnit, Prices, Problem, Stay, TaperCurve
from services.ems.solution import Solution
from services.ems.solve import Solver
from tests.ems.random_sites import START
from tests.twins.builders import T0, at, charger, site, stay
from twinswarm.study.day import live_through

CAR = Stay(
    vehicle="car",
    arrival=START,
    departure=START + timedelta(hours=4),
    capacity_kwh=50.0,
    energy_kwh=45.0,
    target_kwh=50.0,
    energy_min_kwh=5.0,
    energy_max_kwh=50.0,
    max_charge_kw=20.0,
    max_discharge_kw=0.0,
)


def problem(taper: TaperCurve | None, steps: int = 4, min_power_kw: float = 0.0, energy_kwh: float = 45.0) -> Problem:
    """Hours, the first one the cheapest; a lossless charger of 20 kW with a car of 50 kWh that wants to be full."""
    car = replace(CAR, energy_kwh=energy_kwh, departure=START + timedelta(hours=steps))
    return Problem(
        start=START,
        step_s=3600,
        steps=steps,
        load_kw=(0.0,) * steps,
        losses_kw=(0.0,) * steps,
        purchase_eur_per_kwh=tuple(0.1 + 0.1 * i for i in range(steps)),
        sale_eur_per_kwh=(0.0,) * steps,
        import_limit_kw=100.0,
        export_limit_kw=100.0,
        flat_reference_kw=1.0,
        chargers=(ChargerUnit("ev", 20.0, 0.0, min_power_kw, 1.0, 1.0, (car,), taper=taper),),
        prices=Prices(),
    )


def planned(asked: Problem) -> tuple[list[float], dict[str, float]]:
    """Powers of the charger and the commands of the first step."""
    solution = Solver(Budget(nodes=1000)).solve(asked)
    assert isinstance(solution, Solution)
    decision = decision_of(solution, 0, EmsMode.CONTROL)
    return list(decision.plan.devices["ev"].power_kw), dict(decision.power_kw)


def test_the_plan_draws_what_the_taper_lets_through() -> None:
    """By hand: 20 kW·(1 − 5·(s − 0.8)) at the mean of 0.9 and s₁ = 0.9 + P/50 is P = 10 − P, so 5 kW: full at once."""
    curve = TaperCurve(0.8, 0.0)
    assert planned(problem(None))[0] == pytest.approx([5.0, 0.0, 0.0, 0.0])
    assert planned(problem(curve))[0] == pytest.approx([5.0, 0.0, 0.0, 0.0])
    # s = 0.7 and s₁ = 0.7 + P/50 give P = 20·(1 − 5·(0.7 + P/100 − 0.8)) = 30 − P: 15 kW, at which it is full.
    assert planned(problem(curve, energy_kwh=35.0))[0] == pytest.approx([15.0, 0.0, 0.0, 0.0])
    # A slower car: 20·(1 − 2·(s − 0.5)) from 0.5: P = 20·(1 − 2·(0.5 + P/100 − 0.5)) = 20 − 0.4·P, 14.286 kW.
    slow, _ = planned(problem(TaperCurve(0.5, 0.0), energy_kwh=25.0))
    assert slow[0] == pytest.approx(20 / 1.4)
    # Then from 0.7857: P = 20·(1 − 2·(0.7857 + P/100 − 0.5)), 6.122 kW.
    assert slow[1] == pytest.approx(20 * (1 - 2 * (20 / 1.4 / 50)) / 1.4)


def test_the_set_point_is_the_power_that_it_can_draw_at_first() -> None:
    """Where all that it can draw is wanted: the mean of the step as a set-point would hold it back at first."""
    powers, commands = planned(problem(TaperCurve(0.5, 0.0), energy_kwh=25.0))
    assert powers[0] == pytest.approx(20 / 1.4)
    assert commands["ev"] == pytest.approx(20.0)


def test_a_car_that_draws_less_than_the_smallest_power_is_charged_nevertheless() -> None:
    """6 A at three phases are offered; nearly full, the car draws less: 20·(1 − 5·(0.98 + P/100 − 0.8)), 1 kW."""
    powers, commands = planned(problem(TaperCurve(0.8, 0.0), min_power_kw=4.14, energy_kwh=49.0))
    assert powers[0] == pytest.approx(1.0)
    assert commands["ev"] == pytest.approx(4.14)


def test_the_birth_says_it() -> None:
    plate = Charger(max_charge_kw=20.0, taper=Taper(start_soc_frac=0.7, end_power_frac=0.1)).nameplate
    assert (plate.taper_start_soc_frac, plate.taper_end_power_frac) == (0.7, 0.1)
    assert ChargerNameplate(max_charge_kw=1, charge_efficiency=1, discharge_efficiency=1).taper_start_soc_frac is None


def test_a_car_that_must_be_full_is_full_when_it_leaves() -> None:
    """From 30 to 100 % at 11 kW, with a taper from 75 % to a tenth at full. By hand: 22.5 kWh at 9.9 kW take 2.3 h, and
    then ln(10) / (9.9 · 3.6 / 50 per h) = 3.2 h. Power is cheap in the last four hours, too few for it."""
    wanted = stay(arrival=at("09:00"), departure=at("17:00"), arrival_soc_frac=0.3, target_soc_frac=1.0)
    described = charger(
        max_charge_kw=11.0,
        max_discharge_kw=0.0,
        min_power_kw=4.14,
        taper={"start_soc_frac": 0.75, "end_power_frac": 0.1},
        sessions=[wanted | {"soc_max_frac": 1.0}],
    )
    own = site({"ev": described})
    prices = own.profiles["price"].model_copy(update={"values": (0.3,) * 52 + (0.1,) * 44})
    own = own.model_copy(update={"profiles": {**own.profiles, "price": prices}})
    day = live_through(own, Course(T0, at("18:00"), 900))
    assert day.departure_shortfall_kwh < 0.05
