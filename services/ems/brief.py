"""An EMS whose plans say what is commanded, and nothing else: for runs of which only the meters are read.

What a plan says besides (prices, causes, costs by term, powers and SOCs of later steps) takes longer than what it
commands, alarms about limits are for somebody who reads them, and where there is nothing to command but PV that is
worth feeding in, nothing has to be solved. Powers and plan statuses are those of `Ems`, to the last bit. A plan is
written out when something is made from it later.
"""

from typing import Any

from schemas.messages import Alarm, DevicePlan, Plan, PlanStatus
from schemas.participant import Json, Turn
from schemas.sums import sum_in_order
from services.ems.dispatch import Decision, commands_of, decision_of, heading
from services.ems.participant import Ems
from services.ems.problem import Problem
from services.ems.solution import NoSolution, Solution


class BriefEms(Ems):
    """The EMS of its site."""

    _unsolved: Problem | None = None
    """The newest problem that did not have to be solved."""
    _behind: Solution | Problem | None = None
    """What the plan `_previous` is to be written out from; None: it says everything."""

    def _plan(self, problem: Problem) -> Decision | NoSolution:
        if not feeds_in_all_pv(problem):
            return super()._plan(problem)
        self._unsolved = problem
        fields: dict[str, Any] = {"epoch": self._epoch, "mode": self._site.ems.mode, "status": PlanStatus.OPTIMAL}
        plan = Plan(**fields, start=problem.start, step_s=problem.step_s, objective_eur=0.0)
        return Decision(plan, {}, {unit.device: unit.rated_kw for unit in problem.pv if unit.curtailable})

    def _gathered(self, solution: Solution) -> Decision:
        commands = commands_of(solution)
        devices = {name: DevicePlan(power_kw=(kw,)) for name, kw in sorted(commands.power_kw.items())}
        plan = Plan(**heading(solution, self._epoch, self._site.ems.mode), objective_eur=0.0, devices=devices)
        return Decision(plan, commands.power_kw, commands.limit_kw, solution)

    def _decide(self, turn: Turn) -> Decision:
        decision = super()._decide(turn)
        if decision.plan is self._previous:
            self._behind = decision.solution or self._unsolved
        return decision

    def _without(self, turn: Turn, reason: str) -> Decision:
        self._write_out()
        return super()._without(turn, reason)

    def _alarms(self, turn: Turn) -> list[Alarm]:
        return []

    def snapshot(self) -> Json:
        self._write_out()
        return super().snapshot()

    def _write_out(self) -> None:
        behind, previous, self._behind = self._behind, self._previous, None
        solution = self._solver.solve(behind) if isinstance(behind, Problem) else behind
        if isinstance(solution, Solution) and previous is not None:
            self._previous = decision_of(solution, previous.epoch, previous.mode).plan


def feeds_in_all_pv(problem: Problem) -> bool:
    """Whether there is nothing to decide on in the first step but PV, all of which is worth more fed in than not.

    Steps have nothing else in common, and no limit is reached.
    """
    if problem.bess or problem.chargers or problem.heat or problem.groups or problem.outside_limits:
        return False
    if any(unit.asked_limit_kw is not None for unit in problem.pv):
        return False
    drawn = problem.load_kw[0] + problem.losses_kw[0] + sum_in_order(unit.power_kw[0] for unit in problem.fixed)
    exported = sum_in_order(unit.available_kw[0] for unit in problem.pv) - drawn
    least = min(problem.import_eur_per_kwh[0], problem.export_eur_per_kwh[0])
    return least > problem.prices.tie_flat_eur_per_kwh and exported < problem.export_limit_kw
