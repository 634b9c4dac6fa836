"""Chargers that switch between one and three phases: optima by hand, PV surplus on one phase, hold and limits."""

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from schemas.cycle import Course
from schemas.messages import Ack, ChargerTelemetry, EmsMode, NetworkTelemetry, Plan, Setpoint
from schemas.participant import Received
from schemas.site import Site
from services.ems.dispatch import decision_of
from services.ems.highs import Budget
from services.ems.problem import ChargerUnit, PhaseGap, Problem, PvUnit, Stay
from services.ems.solution import Solution
from services.ems.solve import Solver
from tests.ems.plain_milp import least_cost_eur
from tests.ems.random_sites import START
from tests.twins.builders import at, charger, site, stay
from twinswarm.simulation.in_memory import run_in_memory

GAP = PhaseGap(3.68, 4.14)


def two_quarters(pv_kw: float, wanted_kwh: float, later_price: float = 0.3, **unit: Any) -> Problem:
    """PV in the first quarter; purchase for 0.30 €/kWh in it, sale for 0.05. A lossless charger of 16 A."""
    departure = START + timedelta(minutes=30)
    car = Stay("car", START, departure, 60.0, 20.0, 20.0 + wanted_kwh, 5.0, 60.0, 22.0, 0.0)
    box = ChargerUnit("box", 11.04, 0.0, 1.38, 1.0, 1.0, (car,), phase_gap=GAP)
    return Problem(
        start=START,
        step_s=900,
        steps=2,
        load_kw=(0.0, 0.0),
        losses_kw=(0.0, 0.0),
        purchase_eur_per_kwh=(0.3, later_price),
        sale_eur_per_kwh=(0.05, 0.05),
        import_limit_kw=100.0,
        export_limit_kw=100.0,
        flat_reference_kw=5.0,
        pv=(PvUnit("pv", 20.0, False, (pv_kw, 0.0)),),
        chargers=(replace(box, **unit),),
    )


def solved(problem: Problem) -> Solution:
    solution = Solver(Budget(mip_rel_gap=0.0)).solve(problem)
    assert isinstance(solution, Solution), solution
    assert solution.total_eur == pytest.approx(least_cost_eur(problem), abs=1e-6)
    return solution


def commanded_kw(problem: Problem) -> float:
    return decision_of(solved(problem), 0, EmsMode.CONTROL).power_kw["box"]


def test_a_power_between_the_ranges_is_rounded_to_the_cheaper_end() -> None:
    """3.9 kW of surplus, 0.975 kWh wanted. With 3.68 kW 0.055 kWh are sold and bought later: 0.01375 € at 0.30 €/kWh,
    0.03025 € at 0.60; with 4.14 kW 0.06 kWh are bought now: 0.018 €."""
    assert commanded_kw(two_quarters(3.9, 0.975)) == pytest.approx(3.68)
    assert commanded_kw(two_quarters(3.9, 0.975, later_price=0.6)) == pytest.approx(4.14)
    # Without the gap, with 32 A, the surplus is taken as it is.
    assert commanded_kw(two_quarters(3.9, 0.975, phase_gap=None)) == pytest.approx(3.9)


def test_powers_of_both_ranges_need_no_branching() -> None:
    for pv_kw in (0.5, 2.0, 3.6, 6.0):
        solution = solved(two_quarters(pv_kw, 4 * 0.25 * pv_kw))
        assert solution.proven
        assert solution.mip_gap == 0


def test_held_phases_are_the_only_ones() -> None:
    """On one phase 3.68 kW at most; on three nothing below 4.14 kW, and the surplus of 2 kW is sold: 0.5 kWh wanted."""
    assert commanded_kw(two_quarters(9.0, 5.0, later_price=0.6, now_max_kw=3.68)) == pytest.approx(3.68)
    assert commanded_kw(two_quarters(2.0, 0.5, later_price=0.3, min_power_kw=4.14)) == 0.0
    assert commanded_kw(two_quarters(2.0, 0.5, later_price=0.3)) == pytest.approx(2.0)


def test_a_vehicle_that_draws_less_than_three_phases_least_is_offered_it() -> None:
    """4 kW on board: 3.68 kW on one phase, 4 of the 4.14 kW that are offered on three."""
    problem = two_quarters(4.0, 2.0)
    (unit,) = problem.chargers
    car = replace(unit.stays[0], max_charge_kw=4.0)
    assert commanded_kw(replace(problem, chargers=(replace(unit, stays=(car,)),))) == pytest.approx(4.14)


def house(box: dict[str, Any], surplus_kw: list[float], **changes: Any) -> Site:
    """From 10:00 on this PV by hour; energy bought at 0.3 €/kWh, sold at 0.1. One car is there from 10:00 to 14:00."""
    profiles = {
        "price": {"type": "day", "values": [0.1]},
        "sun": {"type": "day", "values": [0.0] * 10 + surplus_kw + [0.0] * (14 - len(surplus_kw))},
    }
    source = {"type": "power", "profile": "sun"}
    devices = {
        "box": box,
        "pv": {"kind": "pv", "rated_kw": 20.0, "source": source, "forecast": source, "curtailable": False},
    }
    tariff = {"sale": "price", "spread_eur_per_kwh": 0.2}
    cable = {"from_node": "PCC", "to_node": "MB", "r_mohm": 1, "x_mohm": 1, "ampacity_a": 63}
    network = {"cables": [cable], "main_node": "MB", "pcc_node": "PCC", "nominal_kv": 0.4}
    given: dict[str, Any] = {"profiles": profiles, "tariff": tariff, "network": network, "ems": {"horizon": "day"}}
    return site(devices, **(given | changes))


def box(wanted_kwh: float, **changes: Any) -> dict[str, Any]:
    """16 A, lossless."""
    soc = {"arrival_soc_frac": 0.2, "target_soc_frac": 0.2 + wanted_kwh / 50.0}
    given = {
        "current": "ac",
        "max_charge_kw": 11.04,
        "max_discharge_kw": 0.0,
        "min_power_kw": 4.14,
        "charge_efficiency": 1.0,
        "phase_switch": {"pause_s": 10, "hold_s": 300},
        "sessions": [stay(arrival=at("10:00"), departure=at("14:00"), **soc)],
    }
    return charger(**(given | changes))


class Heard:
    """What a run published."""

    def __init__(self, described: Site, until: str = "14:30") -> None:
        self.setpoints: dict[str, Setpoint] = {}
        self.acks: list[Ack] = []
        self.plans: list[Plan] = []
        self.telemetry: dict[str, list[tuple[datetime, ChargerTelemetry]]] = defaultdict(list)
        self.network: list[NetworkTelemetry] = []
        run_in_memory(described, Course(at("09:45"), at(until), 900), None, on_message=self._hear)

    def _hear(self, received: Received) -> None:
        body = received.body
        if isinstance(body, Setpoint):
            self.setpoints[body.id] = body
        elif isinstance(body, Ack):
            self.acks.append(body)
        elif isinstance(body, Plan):
            self.plans.append(body)
        elif isinstance(body, ChargerTelemetry):
            self.telemetry[received.topic.device].append((received.stamp.ts, body))
        elif isinstance(body, NetworkTelemetry):
            self.network.append(body)

    @property
    def cost_eur(self) -> float:
        """Bought for 0.3 €/kWh, sold for 0.1."""
        last = self.network[-1]
        assert last.energy_import_kwh is not None
        assert last.energy_export_kwh is not None
        return 0.3 * last.energy_import_kwh - 0.1 * last.energy_export_kwh

    def switches(self, device: str = "box") -> list[datetime]:
        return [each.at for _, body in self.telemetry[device] for each in body.phases_switched or ()]

    def left(self, device: str = "box") -> float:
        (departed,) = [each for _, body in self.telemetry[device] for each in body.departed or ()]
        assert departed.charged_kwh is not None
        return departed.charged_kwh


def test_a_surplus_below_three_phases_least_is_charged_on_one_phase_and_saves_what_it_should() -> None:
    """2.5 kW from 10:00 to 14:00, 9.9 kWh wanted. On one phase all of it is PV: 0.1 kWh are sold, −0.01 €. On three at
    least 1.64 of 4.14 kW are bought: 3.92 kWh for 0.3 €, and 4.02 kWh of PV sold for 0.1: 0.775 €."""
    sun = [2.5] * 4
    switching, fixed = Heard(house(box(9.9), sun)), Heard(house(box(9.9, phase_switch=None), sun))
    assert switching.left() == pytest.approx(9.9, abs=0.01)
    assert 9.9 - 0.01 <= fixed.left() <= 9.9 + 4.14 / 4  # less than that it cannot charge in the last quarter
    assert switching.switches() == [at("10:00")]
    assert switching.cost_eur == pytest.approx(-0.01, abs=0.01)
    assert fixed.cost_eur >= 0.775 - 0.01
    assert fixed.cost_eur - switching.cost_eur >= 0.77
    charging = [plan.devices["box"] for plan in switching.plans if plan.devices["box"].power_kw[0] > 0]
    assert {plan.phases for plan in charging} == {1}
    asked = [setpoint for setpoint in switching.setpoints.values() if setpoint.power_kw and ".box" in setpoint.id]
    assert {setpoint.phases for setpoint in asked} == {1}
    assert all(setpoint.phases is None for setpoint in fixed.setpoints.values())


@pytest.mark.parametrize("hold_s", [300, 2400])
def test_nothing_is_asked_that_the_hold_forbids(hold_s: int) -> None:
    """PV that goes up and down by the quarter: every answer is what was asked, and switches keep their distance."""
    sun = [2.0, 9.0, 2.0, 3.9, 6.0, 1.0, 8.0, 2.5] * 2
    described = house(box(16.0, phase_switch={"pause_s": 10, "hold_s": hold_s}), [])
    quarters = described.profiles["sun"].model_copy(update={"values": (0.0,) * 40 + tuple(sun) + (0.0,) * 40})
    described = described.model_copy(update={"profiles": {**described.profiles, "sun": quarters}})
    heard = Heard(described)
    assert heard.left() == pytest.approx(16.0, abs=0.05)
    switches = heard.switches()
    assert len(switches) > 1
    assert all(after - before >= timedelta(seconds=hold_s) for before, after in pairwise(switches))
    for ack in heard.acks:
        asked = heard.setpoints[ack.id]
        assert ack.accepted
        assert ack.applied_kw is None or ack.applied_kw == pytest.approx(asked.power_kw, abs=1e-6)
        assert ack.phases is None or not asked.power_kw or ack.phases == asked.phases


def test_a_vehicle_with_one_phase_is_planned_with_it() -> None:
    """12 kWh in four hours without sun: 3.68 kW at most, and never three phases."""
    session = stay(arrival=at("10:00"), departure=at("14:00"), arrival_soc_frac=0.2, target_soc_frac=0.44, phases=1)
    heard = Heard(house(box(12.0, sessions=[session]), []))
    assert 12.0 - 0.01 <= heard.left() <= 12.0 + 1.38 / 4
    assert heard.switches() == []
    for plan in heard.plans:
        assert max(plan.devices["box"].power_kw) <= 3.68 + 1e-6
        assert plan.devices["box"].phases in (None, 1)


@pytest.mark.parametrize("ampacity_a", [20, 60])
def test_no_phase_of_a_cable_is_overloaded_by_chargers_that_switch(ampacity_a: int) -> None:
    """Three chargers, all of them on phase a when they are on one. 20 A are too little for two at 3.68 kW: all stay on
    three. 60 A are 13.8 kW a phase, enough for all at their most and one on one phase: two of them have left by then.
    """
    network = {
        "cables": [
            {"from_node": "PCC", "to_node": "MB", "r_mohm": 1, "x_mohm": 1, "ampacity_a": 100},
            {"from_node": "MB", "to_node": "EV", "r_mohm": 1, "x_mohm": 1, "ampacity_a": ampacity_a},
        ],
        "main_node": "MB",
        "pcc_node": "PCC",
        "nominal_kv": 0.4,
    }
    described = house(box(12.0, node="EV", phase="a"), [8.0, 8.0, 3.0, 3.0], network=network)
    session = described.devices["box"].sessions[0]  # type: ignore[union-attr]
    more = {
        f"box{i}": described.devices["box"].model_copy(
            update={"sessions": (session.model_copy(update={"vehicle": f"car{i}", "departure": at("12:15")}),)}
        )
        for i in (2, 3)
    }
    described = described.model_copy(update={"devices": {**described.devices, **more}})
    heard = Heard(described)
    assert heard.left() > 11.9
    assert all(heard.left(name) > 8.0 for name in more)  # two hours of a cable that is too small for all of it
    worst = max(max(each.loadings_frac.values()) for each in heard.network)
    assert (0.5 if ampacity_a == 20 else 0.1) < worst <= 1.01
    phases = {body.phases for told in heard.telemetry.values() for _, body in told if body.power_kw > 0}
    assert (1 in phases) == (ampacity_a == 60)
