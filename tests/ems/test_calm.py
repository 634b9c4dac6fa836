"""Calm: a set-point stays where a change gains too little, and never where a target or a limit needs the change."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.site import Calm as CalmOptions
from services.ems.calm import Calm, with_power
from services.ems.dispatch import penalty_eur, powers_of
from services.ems.highs import Budget
from services.ems.participant import Ems
from services.ems.problem import BessUnit, Problem
from services.ems.solution import NoSolution, Solution
from services.ems.solve import Solver
from tests.ems.plain_milp import least_cost_eur
from tests.ems.random_sites import START, problems
from tests.ems.small_site import IdealPlant, begin, cycle, plan_in, setpoints_in, site

STEP = timedelta(minutes=15)


def problem(start: datetime = START, purchase: tuple[float, ...] = (0.2,) * 8, **changes: object) -> Problem:
    """A load of 10 kW and a lossless battery of 10 kWh, half full, ±4 kW, without tie-breaks that matter."""
    unit = BessUnit("bess", 10.0, 4.0, 4.0, 1.0, 1.0, 0.0, 10.0, 5.0)
    steps = len(purchase)
    return Problem(
        start=start,
        step_s=900,
        steps=steps,
        load_kw=(10.0,) * steps,
        losses_kw=(0.0,) * steps,
        purchase_eur_per_kwh=purchase,
        sale_eur_per_kwh=(0.0,) * steps,
        import_limit_kw=50.0,
        export_limit_kw=50.0,
        flat_reference_kw=100.0,
        bess=(replace(unit, **changes),),  # type: ignore[arg-type]
    )


class Day:
    """Decisions one after another; the battery does what it is asked."""

    def __init__(self, **options: float) -> None:
        self.calm, self.solver, self.start, self.energy = Calm(CalmOptions(**options)), Solver(Budget()), START, 5.0
        self.cost = 0.0

    def decide(self, purchase: tuple[float, ...], **changes: object) -> float:
        asked = problem(self.start, purchase, energy_kwh=self.energy, **changes)
        calmed = self.calm.solve(asked, self.solver.solve, powers_of, penalty_eur)
        assert not isinstance(calmed, NoSolution)
        power = {**powers_of(calmed.solution), **calmed.kept_kw}
        self.calm.commanded(asked, power)
        self.start += STEP
        self.energy += power["bess"] / 4
        self.cost = calmed.cost_eur
        return power["bess"]


DEAR_NOW = (0.30, *(0.20,) * 7)
"""Discharging 4 kW now instead of later gains 1 kWh · 0.1 €/kWh."""


def test_a_change_that_gains_less_than_it_must_is_left_out() -> None:
    day = Day(min_gain_eur=0.12)
    first = day.decide((0.2,) * 8, left_eur_per_kwh=0.2)
    assert day.decide(DEAR_NOW, left_eur_per_kwh=0.2) == first
    assert day.cost == pytest.approx(0.1, abs=0.001)


def test_a_change_that_gains_enough_is_made() -> None:
    day = Day(min_gain_eur=0.08)
    first = day.decide((0.2,) * 8, left_eur_per_kwh=0.2)
    assert first == pytest.approx(0.0, abs=1e-3)
    assert day.decide(DEAR_NOW, left_eur_per_kwh=0.2) == pytest.approx(-4.0)
    assert day.cost == 0.0


def test_within_a_hold_a_change_must_gain_ten_times_as_much() -> None:
    for hold_s, kept in ((0.0, False), (3600.0, True)):
        day = Day(min_gain_eur=0.02, hold_s=hold_s)
        day.decide((0.2,) * 8, left_eur_per_kwh=0.2)
        assert (day.decide(DEAR_NOW, left_eur_per_kwh=0.2) == pytest.approx(0.0, abs=1e-3)) is kept


def test_a_small_change_is_made_only_for_targets_and_limits() -> None:
    """The battery may change by 0.5 kW only: a deadband above that holds it at any price."""
    day = Day(min_gain_eur=0.0, deadband_kw=0.6)
    narrow = {"max_charge_kw": 0.5, "max_discharge_kw": 0.5, "left_eur_per_kwh": 0.2}
    assert day.decide((0.2,) * 8, **narrow) == pytest.approx(0.0, abs=1e-3)
    assert day.decide((3.0, *(0.2,) * 7), **narrow) == pytest.approx(0.0, abs=1e-3)


def test_a_power_that_cannot_go_on_is_not_kept() -> None:
    """Full, the battery cannot charge on, whatever a change costs."""
    day = Day(min_gain_eur=50.0)
    powers = [day.decide((0.01, *(0.2,) * 7), left_eur_per_kwh=0.1) for _ in range(7)]
    assert powers[0] == pytest.approx(4.0)
    assert day.energy <= 10.0 + 1e-9
    assert powers[-1] == pytest.approx(0.0, abs=1e-3)


def test_a_limit_is_kept_to_whatever_a_change_costs() -> None:
    """Charging at 4 kW beside 10 kW of load: a limit of 12 kW from outside leaves 2."""
    day = Day(min_gain_eur=50.0, hold_s=7200.0)
    day.decide((0.01, *(0.2,) * 7), left_eur_per_kwh=0.1)
    asked = replace(problem(day.start, (0.01, *(0.2,) * 7), energy_kwh=day.energy), import_limit_kw=12.0)
    calmed = day.calm.solve(asked, day.solver.solve, powers_of, penalty_eur)
    assert not isinstance(calmed, NoSolution)
    assert powers_of(calmed.solution)["bess"] <= 2.0 + 1e-6


def test_within_a_hold_charging_stops_before_it_discharges() -> None:
    day = Day(min_gain_eur=0.001, hold_s=7200.0)
    assert day.decide((0.01, *(0.2,) * 7), left_eur_per_kwh=0.1) == pytest.approx(4.0)
    assert day.decide((2.0, *(0.2,) * 7), left_eur_per_kwh=0.1) == pytest.approx(0.0, abs=1e-6)
    assert day.decide((2.0, *(0.2,) * 7), left_eur_per_kwh=0.1) == pytest.approx(-4.0)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(problems(), st.sampled_from([-1.0, 0.0, 1.5]))
def test_a_held_power_costs_what_it_costs_the_plain_milp(asked: Problem, kw: float) -> None:
    within = {unit.device: min(max(kw, -unit.max_discharge_kw), unit.max_charge_kw) for unit in asked.bess}
    held = with_power(asked, within)
    found = Solver(Budget(nodes=1_000_000, mip_rel_gap=0.0)).solve(held)
    if isinstance(found, Solution):
        assert found.total_eur == pytest.approx(least_cost_eur(held), abs=1e-6)
    else:
        with pytest.raises(AssertionError):
            least_cost_eur(held)


def lived(steps: range, **options: object) -> Iterator[tuple[Ems, dict[str, float], float]]:
    ems, plant = Ems(site(**options)), IdealPlant()
    begin(ems, plant)
    for step in steps:
        messages = cycle(ems, plant, step)
        powers = {name: s.power_kw for name, s in setpoints_in(messages).items() if s.power_kw is not None}
        yield ems, powers, plan_in(messages).calm_eur


def test_a_day_has_fewer_changes_and_a_restart_goes_on_alike() -> None:
    def changes(**options: object) -> int:
        days = [powers for _, powers, _ in lived(range(48), **options)]
        return sum(abs(b[name] - a[name]) > 1e-3 for a, b in itertools.pairwise(days) for name in a)

    calm = CalmOptions(min_gain_eur=0.002)
    assert changes(calm=calm) < 0.8 * changes()
    ems, _, _ = list(lived(range(44), calm=calm))[-1]
    again = Ems(site(calm=calm))
    again.restore(ems.snapshot())
    assert again.snapshot() == ems.snapshot()
    assert ems.snapshot()["calm"]
