"""Cars with priority are charged first where not all can be; and a day at one- and two-way chargers side by side."""

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from schemas.cycle import Course
from schemas.messages import ChargerTelemetry, NetworkTelemetry, PluggedVehicle
from schemas.participant import Received
from services.ems.highs import Budget
from services.ems.problem import ChargerUnit, Group, OutsideLimit, Prices, Problem, Stay
from services.ems.solution import Solution
from services.ems.solve import Solver
from services.ems.terms import TERMS
from tests.ems.plain_milp import least_cost_eur
from tests.ems.random_sites import START
from tests.twins.builders import T0, at, charger, site, stay
from twinswarm.simulation.in_memory import run_in_memory

HOUR = timedelta(hours=1)


def two_cars(*priority: bool, limit_kw: float = 10.0, discharge_kw: float = 0.0) -> Problem:
    """Two hours, two lossless chargers of 11 kW; each car wants 12 kWh. ``limit_kw``: of the connection."""
    chargers = tuple(
        ChargerUnit(
            f"ev{i}",
            11.0,
            discharge_kw,
            0.0,
            1.0,
            1.0,
            (Stay(f"car{i}", START, START + 2 * HOUR, 50.0, 20.0, 32.0, 5.0, 50.0, 11.0, discharge_kw, priority=p),),
        )
        for i, p in enumerate(priority)
    )
    return Problem(
        start=START,
        step_s=3600,
        steps=2,
        load_kw=(0.0, 0.0),
        losses_kw=(0.0, 0.0),
        purchase_eur_per_kwh=(0.2, 0.3),
        sale_eur_per_kwh=(0.0, 0.0),
        import_limit_kw=limit_kw,
        export_limit_kw=10.0,
        flat_reference_kw=5.0,
        chargers=chargers,
        prices=Prices(),
    )


def charged(asked: Problem) -> tuple[dict[str, float], dict[str, float]]:
    """What each charger gives its car [kWh], and what each shortfall costs [€]."""
    solution = Solver(Budget(nodes=1000)).solve(asked)
    assert isinstance(solution, Solution)
    assert solution.total_eur == pytest.approx(least_cost_eur(asked), abs=1e-6)
    kwh = {store.device: float(solution.of("charge")[i].sum()) for i, store in enumerate(solution.stores)}
    return kwh, {s.device or "": s.eur for term in TERMS for s in term.shortfalls(solution)}


def test_a_car_with_priority_has_its_target_and_the_other_what_is_left() -> None:
    """20 kWh for two who want 12 each: 12 and 8. The other lacks 4 kWh at 5 €."""
    assert charged(two_cars(True, False)) == (
        pytest.approx({"ev0": 12.0, "ev1": 8.0}, abs=1e-6),
        {"ev1": pytest.approx(20.0, abs=1e-5)},
    )
    kwh, _ = charged(two_cars(False, True))
    assert kwh == pytest.approx({"ev0": 8.0, "ev1": 12.0}, abs=1e-6)


def test_the_limit_comes_first_and_what_a_car_with_priority_lacks_costs_twice() -> None:
    """8 kWh for both: the first has them all and lacks 4, 40 €; the second lacks 12, 60 €."""
    kwh, eur = charged(two_cars(True, False, limit_kw=4.0))
    assert kwh == pytest.approx({"ev0": 8.0, "ev1": 0.0}, abs=1e-6)
    assert eur == pytest.approx({"ev0": 40.0, "ev1": 60.0}, abs=1e-5)
    # Behind a cable likewise, and under a limit from outside in the first hour.
    cable = replace(two_cars(True, False, limit_kw=99.0), groups=(Group(("ev0", "ev1"), 10.0),))
    assert charged(cable)[0] == pytest.approx({"ev0": 12.0, "ev1": 8.0}, abs=1e-6)
    prices = Prices(limit_eur_per_kwh=100.0, outside_limit_eur_per_kwh=40.0)
    outside = replace(
        two_cars(True, False, limit_kw=11.0),
        outside_limits=(OutsideLimit("grid", (4.0, float("inf")), (float("inf"),) * 2),),
        prices=prices,
    )
    assert charged(outside)[0] == pytest.approx({"ev0": 12.0, "ev1": 3.0}, abs=1e-6)


def test_among_equals_nothing_changes() -> None:
    both, none = charged(two_cars(True, True, limit_kw=12.0)), charged(two_cars(False, False, limit_kw=12.0))
    assert both[0] == pytest.approx(none[0], abs=1e-6)


def test_a_day_of_one_and_two_way_chargers_behind_one_cable() -> None:
    """Three one-way chargers behind a cable of 10 kW, and three two-way ones: of their cars one allows no V2G, one has
    caps, one is free. From 8:00 to 13:00 the cable has 50 kWh for three who want 27 each: the one with priority, at a
    smallest power of 4.14 kW, is full, and the cable's limit, the caps and the reserve hold all day."""
    car = {"arrival": at("08:00"), "departure": at("13:00"), "capacity_kwh": 50.0}
    wants = car | {"arrival_soc_frac": 0.3, "target_soc_frac": 0.786}
    gives = car | {"arrival": at("16:00"), "departure": at("23:00"), "arrival_soc_frac": 0.9, "target_soc_frac": 0.5}
    one_way = {"max_charge_kw": 11.0, "max_discharge_kw": 0.0, "min_power_kw": 4.14, "charge_efficiency": 0.9}
    chargers = {
        f"ac{i}": charger(**one_way, sessions=[stay(**wants, vehicle=f"ac{i}", priority=i == 2)]) for i in (1, 2, 3)
    }
    consents = {
        "dc1": {"max_discharge_kw": 0.0},
        "dc2": {"max_discharge_session_kwh": 6.0, "max_discharge_day_kwh": 4.0},
        "dc3": {"soc_min_frac": 0.7, "target_soc_frac": 0.7},
    }
    for name, consent in consents.items():
        chargers[name] = charger(sessions=[stay(**(gives | {"vehicle": name} | consent))])
    house = {"kind": "meter", "profile": "base"}
    cable = [{"name": "parking", "devices": ["ac1", "ac2", "ac3"], "limit_kw": 10.0}]
    own = site({**chargers, "house": house}, ems={"cable_limits": cable, "horizon": "day"})
    price = own.profiles["price"].model_copy(update={"values": (0.1,) * 68 + (0.6,) * 16 + (0.1,) * 12})
    own = own.model_copy(update={"profiles": {**own.profiles, "price": price}})
    left: dict[str, PluggedVehicle] = {}
    least_soc: dict[str, float] = defaultdict(lambda: 1.0)
    mean_kw: dict[datetime, dict[str, float]] = defaultdict(dict)
    powers: dict[str, set[float]] = defaultdict(set)
    residuals: list[float] = []

    def hear(received: Received) -> None:
        body, name = received.body, received.topic.device
        if isinstance(body, NetworkTelemetry):
            residuals.append(abs(body.residual_kwh))
        if not isinstance(body, ChargerTelemetry):
            return
        mean_kw[received.stamp.ts][name] = body.power_kw
        powers[name] |= {segment.power_kw for segment in body.segments or ()}
        for each in body.departed or ():
            left[name] = each
        if body.vehicle is not None and body.vehicle.soc_frac is not None:
            least_soc[name] = min(least_soc[name], body.vehicle.soc_frac)

    run_in_memory(own, Course(at("07:45"), at("23:30"), 900), None, on_message=hear)
    assert set(left) == set(chargers)
    # The priority car is full, the others share the rest; the cable holds in every quarter.
    assert left["ac2"].soc_frac == pytest.approx(0.786, abs=1e-3)
    lacking = {name: 0.786 - (left[name].soc_frac or 0.0) for name in ("ac1", "ac2", "ac3")}
    assert min(lacking["ac1"] + lacking["ac3"], 1.0) > 0.5
    assert all(sum(kw for name, kw in each.items() if name.startswith("ac")) <= 10 + 1e-6 for each in mean_kw.values())
    assert sum(left[name].charged_kwh or 0.0 for name in ("ac1", "ac2", "ac3")) > 0.9 * 50
    assert all(kw == 0 or kw >= 4.14 - 1e-9 for name in ("ac1", "ac2", "ac3") for kw in powers[name])
    # No consent, caps, reserve: each as its driver wants it, and each used as far as it goes.
    given_kwh = {name: left[name].discharged_kwh or 0.0 for name in chargers}
    assert all(given_kwh[name] == 0 for name in ("ac1", "ac2", "ac3", "dc1"))
    assert given_kwh["dc2"] <= 4.0 + 1e-9
    assert given_kwh["dc2"] == pytest.approx(4.0, abs=1e-6)
    # Full by 17:00, then down to its reserve: 0.3 · 50 kWh · 0.8
    assert least_soc["dc3"] >= 0.7 - 1e-9
    assert given_kwh["dc3"] == pytest.approx(12.0, abs=0.01)
    assert max(residuals) < 1e-9
    assert min(mean_kw) > T0
