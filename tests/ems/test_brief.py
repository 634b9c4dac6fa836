"""An EMS that explains nothing commands the same, to the last bit, also where a plan is made from an earlier one."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from schemas.messages import Plan, PlanStatus, Setpoint, Telemetry
from schemas.participant import Received
from schemas.site import Calm, Site
from services.ems.problem import Problem
from services.ems.solution import NoSolution, Solution
from services.ems.solve import Solver
from sites.loader import load_site
from twinswarm.simulation.in_memory import composed, run_in_memory
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference, as_reference

RUN = "20261101T120000.000000Z-0001"


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


@pytest.mark.parametrize("export_limit_kw", [120.0, 20.0])
def test_they_are_where_there_is_only_pv_to_command(export_limit_kw: float) -> None:
    """Where the connection carries all of it, which needs no solver, and where it is curtailed at noon."""
    site = as_reference(load_site("fit_g2v"), Reference.UNCONTROLLED)
    connection = site.connection.model_copy(update={"export_limit_kw": export_limit_kw})
    site = site.model_copy(update={"connection": connection})
    whole, statuses = lived(site, brief=False)
    assert lived(site, brief=True) == (whole, statuses)
    limits = {message[3] for message in whole if message[1] == "pv" and len(message) == 6}
    assert (len(limits) > 1) == (export_limit_kw < 100), limits


def test_a_state_between_two_steps_goes_on_as_of_a_whole_plan() -> None:
    """The snapshot writes the plan out: any EMS goes on from it."""
    for site in (load_site("fit_g2v"), as_reference(load_site("fit_g2v"), Reference.UNCONTROLLED)):
        runs = [composed(site, course_of(site), RUN, datetime.now(UTC), brief=brief) for brief in (False, True)]
        for run in runs:
            run.advance(40)
        whole, brief = (run.snapshot()["members"]["ems"]["state"]["previous"] for run in runs)
        # One that had nothing to solve begins without the basis of the step before.
        assert {**brief, "iterations": None} == {**whole, "iterations": None}


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
