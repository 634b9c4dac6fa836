"""An EMS whose plans say what is commanded, and nothing else: for runs of which only the meters are read.

What a plan says besides (prices, causes, costs by term, powers and SOCs of later steps) takes longer than what it
commands, and alarms about limits are for somebody who reads them. Powers and plan statuses are those of `Ems`, to the
last bit. A plan is written out when something is made from it later.
"""

from schemas.messages import Alarm, DevicePlan, Plan
from schemas.participant import Json, Turn
from services.ems.dispatch import Decision, commands_of, decision_of, heading
from services.ems.participant import Ems
from services.ems.solution import Solution


class BriefEms(Ems):
    """The EMS of its site."""

    _solved: Solution | None = None
    """What `_previous` says in brief; None: it says everything."""

    def _gathered(self, solution: Solution) -> Decision:
        commands = commands_of(solution)
        devices = {name: DevicePlan(power_kw=(kw,)) for name, kw in sorted(commands.power_kw.items())}
        plan = Plan(**heading(solution, self._epoch, self._site.ems.mode), objective_eur=0.0, devices=devices)
        return Decision(plan, commands.power_kw, commands.limit_kw, solution)

    def _decide(self, turn: Turn) -> Decision:
        decision = super()._decide(turn)
        if decision.plan is self._previous:
            self._solved = decision.solution
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
        solved, previous, self._solved = self._solved, self._previous, None
        if solved is not None and previous is not None:
            self._previous = decision_of(solved, previous.epoch, previous.mode).plan
