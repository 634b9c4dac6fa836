"""Whatever fails in a quarter-hour, every device that is there has a valid set-point: the plan, or the one before."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.messages import Phase, PlanStatus, Quantity, Series, TimeMode, ValueSeries
from schemas.participant import Outgoing, Received
from schemas.topics import Channel, Kind
from services.ems.highs import Budget
from services.ems.participant import Ems
from services.ems.problem import Problem
from services.ems.solution import NoSolution, Solution
from services.ems.solve import Solver
from tests.ems import small_site
from tests.ems.small_site import BESS_KW, CAR_KW, STEP_S, T0, IdealPlant, begin, plan_in, setpoints_in, site
from tests.ems.test_sale_above_purchase import night

Solve = Callable[[Solver, Problem, float | None], Solution | NoSolution]
Fault = Callable[[Solver, Problem, float | None, Solve], Solution | NoSolution]
QUARTERS = range(40, 56)
"""The afternoon, with cars; every other one fails."""


def infeasible(solver: Solver, problem: Problem, seconds: float | None, solve: Solve) -> Solution | NoSolution:
    """A battery that holds more than it may: a hard bound that nothing can keep to."""
    unit = replace(problem.bess[0], held_kw=BESS_KW, energy_kwh=problem.bess[0].energy_max_kwh)
    return solve(solver, replace(problem, bess=(unit, *problem.bess[1:])), seconds)


def out_of_time(solver: Solver, problem: Problem, seconds: float | None, solve: Solve) -> Solution | NoSolution:
    return solve(solver, problem, 0.0)


def raises(solver: Solver, problem: Problem, seconds: float | None, solve: Solve) -> Solution | NoSolution:
    raise FloatingPointError("a fault in the solver")


def not_a_number(solver: Solver, problem: Problem, seconds: float | None, solve: Solve) -> Solution | NoSolution:
    return solve(solver, replace(problem, purchase_eur_per_kwh=(math.nan,) * problem.steps), seconds)


def run(ems: Ems, plant: IdealPlant, step: int, without: frozenset[str] = frozenset()) -> list[Outgoing]:
    """A cycle in which some devices say nothing."""

    def there(messages: Sequence[Received]) -> list[Received]:
        return [message for message in messages if message.topic.device not in without]

    time = T0 + timedelta(seconds=STEP_S * step)
    n = step + 1
    ems.act(small_site.turn(time, Phase.SENSE, n), plant.series() if step == QUARTERS[0] else [])
    ems.act(small_site.turn(time, Phase.MEASURE, n), there(plant.telemetry(step)))
    messages = ems.act(small_site.turn(time, Phase.DECIDE, n), there(plant.pcc(step)))
    plant.follow(step, messages)
    return messages


def check(messages: list[Outgoing], step: int, devices: set[str]) -> None:
    """Each device has one set-point for this quarter-hour, within its rating."""
    time = T0 + timedelta(seconds=STEP_S * step)
    found = setpoints_in(messages)
    assert devices <= found.keys()
    for name in devices:
        setpoint = found[name]
        assert (setpoint.valid_from, setpoint.valid_until) == (time, time + timedelta(seconds=STEP_S))
        if name == "pv":
            assert setpoint.limit_kw is not None
            assert 0 <= setpoint.limit_kw < 1000
        else:
            assert setpoint.power_kw is not None
            assert abs(setpoint.power_kw) <= (BESS_KW if name == "bess" else CAR_KW) + 1e-6


@pytest.mark.parametrize("fault", [infeasible, out_of_time, raises, not_a_number])
def test_every_quarter_hour_has_valid_set_points(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    solve: Solve = Solver.solve
    ems, plant = Ems(site()), IdealPlant(chargers=2)
    begin(ems, plant)
    statuses = []
    for step in QUARTERS:

        def faulty(solver: Solver, problem: Problem, seconds: float | None = None) -> Solution | NoSolution:
            return fault(solver, problem, seconds, solve)

        monkeypatch.setattr(Solver, "solve", faulty if step % 2 else solve)
        messages = run(ems, plant, step)
        check(messages, step, {"bess", "ev1", "ev2", "pv"})
        statuses.append(plan_in(messages).status)
    assert set(statuses[::2]) == {PlanStatus.OPTIMAL}
    # A warm start may need no time at all.
    allowed = {PlanStatus.OPTIMAL, PlanStatus.PREVIOUS} if fault is out_of_time else {PlanStatus.PREVIOUS}
    assert PlanStatus.PREVIOUS in statuses
    assert set(statuses[1::2]) <= allowed


def test_missing_telemetry_leaves_the_others_their_set_points() -> None:
    ems, plant = Ems(site()), IdealPlant(chargers=2)
    begin(ems, plant)
    names = ["bess", "ev1", "ev2", "pv", "building", "network"]
    for step in QUARTERS:
        silent = frozenset({names[step % 6], names[(step // 2) % 6]}) if step % 2 else frozenset[str]()
        check(run(ems, plant, step, silent), step, {"bess", "ev1", "ev2", "pv"} - silent)


def test_a_price_that_is_no_number_is_no_price() -> None:
    """The plan before goes on; the contract refuses it on the wire."""
    ems, plant = Ems(site(price_extension_h=0)), IdealPlant(chargers=2)
    begin(ems, plant)
    run(ems, plant, QUARTERS[0])
    broken = ValueSeries.model_construct(
        quantity=Quantity.PURCHASE_PRICE, device=None, start=T0, step_s=STEP_S, values=(math.nan,) * 96
    )
    sale = small_site.values(Quantity.SALE_PRICE, plant.sale)
    series = Series.model_construct(series=(broken, sale), charging_sessions=())
    step = QUARTERS[1]
    time = T0 + timedelta(seconds=STEP_S * step)
    told = small_site.received(Kind.TARIFF, "tariff", Channel.SERIES, series)
    ems._state.learn(small_site.turn(time, Phase.SENSE, step + 1), [told])  # past the door, as nobody can
    messages = run(ems, plant, step)
    check(messages, step, {"bess", "ev1", "ev2", "pv"})
    assert plan_in(messages).status is PlanStatus.PREVIOUS


def test_a_budget_in_seconds_ends_with_the_best_that_was_found_and_its_gap() -> None:
    """Branch and bound of a day and a half whose sale price is above the purchase price: much more than 2 s."""
    steps = 144
    asked = night(
        steps=steps,
        load_kw=tuple(0.6 + 0.2 * (i % 5) for i in range(steps)),
        losses_kw=(0.1,) * steps,
        purchase_eur_per_kwh=(0.06,) * steps,
        sale_eur_per_kwh=tuple(0.14 + 0.01 * (i % 3) for i in range(steps)),
    )
    solver = Solver(Budget(mip_rel_gap=0.0))
    found = solver.solve(asked, 1.5)
    assert isinstance(found, Solution)
    assert not found.proven
    assert 0 < found.mip_gap < 0.5
    assert solver.solve_s < 20


def test_in_wall_time_a_decision_has_a_budget_and_in_lock_step_none(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float | None] = []
    solve: Solve = Solver.solve

    def noted(solver: Solver, problem: Problem, seconds: float | None = None) -> Solution | NoSolution:
        given.append(seconds)
        return solve(solver, problem, seconds)

    monkeypatch.setattr(Solver, "solve", noted)
    inbox = [*IdealPlant().births(), *IdealPlant().series(), *IdealPlant().telemetry(0), *IdealPlant().pcc(0)]
    for mode, pace in ((TimeMode.LOCKSTEP, 1.0), (TimeMode.WALL, 1.0), (TimeMode.WALL, 90.0)):
        turn = replace(small_site.turn(T0, mode=mode), pace=pace)
        Ems(site(wall_budget_s=20.0)).act(turn, inbox)
    assert given == [None, 20.0, 5.0]
