"""An EMS that explains nothing commands the same, to the last bit, also where a plan is made from an earlier one."""

from collections import Counter

import pytest

from schemas.messages import Plan, PlanStatus, Setpoint, Telemetry
from schemas.participant import Received
from schemas.site import Calm, Site
from services.ems.problem import Problem
from services.ems.solution import NoSolution, Solution
from services.ems.solve import Solver
from sites.loader import load_site
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.runs import course_of


def with_ems(site: Site, **options: object) -> Site:
    return site.model_copy(update={"ems": site.ems.model_copy(update=options)})


def lived(site: Site, *, brief: bool) -> tuple[list[tuple[object, ...]], Counter[PlanStatus]]:
    """What was commanded and measured, in order, and how the plans ended."""
    found: list[tuple[object, ...]] = []
    statuses: Counter[PlanStatus] = Counter()

    def receive(received: Received) -> None:
        body, at = received.body, (received.stamp.ts, received.topic.device)
        if isinstance(body, Setpoint):
            found.append((*at, body.power_kw, body.limit_kw, body.phases, body.valid_until))
        elif isinstance(body, Telemetry):
            found.append((*at, body))
        elif isinstance(body, Plan):
            statuses[body.status] += 1

    run_in_memory(site, course_of(site), None, on_message=receive, brief=brief)
    return found, statuses


@pytest.mark.parametrize("calm", [None, Calm()])
def test_powers_phases_and_measurements_are_the_same(calm: Calm | None) -> None:
    site = with_ems(load_site("fit_g2v"), calm=calm)
    assert lived(site, brief=True) == lived(site, brief=False)


def test_they_are_where_a_plan_is_made_from_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The solver finds nothing in two steps of five."""
    solve = Solver.solve

    def failing(solver: Solver, problem: Problem, seconds: float | None = None) -> Solution | NoSolution:
        solution = solve(solver, problem, seconds)
        return solution if problem.steps % 5 < 3 else NoSolution("by this test")

    monkeypatch.setattr(Solver, "solve", failing)
    site = load_site("fit_g2v")
    whole, statuses = lived(site, brief=False)
    assert lived(site, brief=True) == (whole, statuses)
    assert statuses[PlanStatus.PREVIOUS] == 38
