"""The EMS on the bus: learns from messages, plans when it is to decide, commands."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property

from schemas.errors import TwinswarmError
from schemas.kinds import COMMANDED_KINDS
from schemas.messages import (
    Alarm,
    BessTelemetry,
    Birth,
    EmsMode,
    Fallback,
    Metric,
    Phase,
    Plan,
    PlanStatus,
    ServiceNameplate,
    SetpointCause,
    TimeMode,
)
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic, software
from schemas.site import Site
from schemas.topics import Channel, Kind, topic_filter
from services.ems.answer_watch import AnswerWatch
from services.ems.by_request import ByRequest, answered, with_requests
from services.ems.calm import Calm
from services.ems.decision_record import digest_of, record_of
from services.ems.departure_history import DepartureHistory
from services.ems.device_watch import LOOK_S, DeviceWatch, in_words, knowledge, unmetered
from services.ems.dispatch import (
    Decision,
    decision_of,
    fallback_plan,
    penalty_eur,
    powers_of,
    quarter_end,
    setpoints,
    shifted,
    with_cause,
)
from services.ems.door import Door
from services.ems.events import EventWatch
from services.ems.fallback_watch import FallbackWatch
from services.ems.highs import Budget
from services.ems.leadership import Leadership
from services.ems.limit_watch import LimitWatch
from services.ems.month_peak import MonthPeak
from services.ems.network_limits import NetworkLimits
from services.ems.outside import Bounds
from services.ems.phases import with_phases
from services.ems.power_watch import PowerWatch
from services.ems.problem import Problem
from services.ems.problem_builder import Unplannable, problem_of, window_start
from services.ems.problem_builder.limits import named_groups
from services.ems.requests import Wanted
from services.ems.resting import UNMETERED, held, resting, resting_fallback
from services.ems.solution import NoSolution, Solution
from services.ems.solve import Solver
from services.ems.system_state import SystemState

LOG = logging.getLogger(__name__)

_USED_UP_FRAC = 0.99
"""Part of its seconds from which on a decision may have been ended by time: two clocks measure it."""
WALL_DELAY_S = 2.0
"""Wall time: what the devices measure at the quarter has arrived by then."""


class Ems:
    """Device ``ems``. Of the site it reads limits, policy and time zone only; devices it knows from their births."""

    kind = Kind.EMS
    device = "ems"

    def __init__(self, site: Site) -> None:
        self._site = site
        self._limits = NetworkLimits(site)
        learned = site.ems.learned_departures
        self._state = SystemState(None if learned is None else DepartureHistory(learned, site.zone))
        self._door = Door(site)
        options = site.ems
        self._solver = Solver(Budget(iterations=options.iteration_budget, nodes=options.node_budget))
        self._calm = Calm(options.calm)
        self._peak = MonthPeak(site.zone, site.tariff.month_peak, site.tariff.past_peaks_kw)
        self._leadership = Leadership(options.mode)
        self._groups = named_groups(site)
        self._watch = LimitWatch(self._groups, (site.connection.import_limit_kw, site.connection.export_limit_kw))
        self._fallbacks = FallbackWatch(site, self._groups)
        self._devices = DeviceWatch()
        self._power = PowerWatch(options.power_watch)
        self._answers = AnswerWatch()
        self._events = EventWatch(options.replan_least_s)
        self._epoch = 0
        """Of this decision."""
        self._flat: tuple[str, float] | None = None
        """Local day and its reference of the flat-PCC tie-break [kW]."""
        self._began: tuple[str, dict[str, float]] = "", {}
        """Local day and the SOC with which each BESS was found on it first."""
        self._previous: Plan | None = None
        self._previous_text: tuple[Plan, Json] | None = None
        """As JSON: a checkpoint is written in every phase, a plan comes once a quarter."""
        self._solve_s: float | None = None
        """Duration of this decision's solve [s]; None: nothing was solved. Only wall time publishes it."""
        self._budget_s: float | None = None
        """What this decision's solves may take together [s]; None: in lock-step, and when it is repeated."""
        self._repeats = False
        """Whether decisions of the past are taken again."""

    @property
    def site(self) -> str:
        return self._site.site

    @cached_property
    def _site_sha256(self) -> str:
        return digest_of(self._site)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        channels = (Channel.BIRTH, Channel.STATE, Channel.TELEMETRY, Channel.SERIES)
        commanded = [(kind, channel) for kind in COMMANDED_KINDS for channel in (Channel.SETPOINT, Channel.ACK)]
        return (
            *(topic_filter(self.site, channel=channel) for channel in channels),
            topic_filter(self.site, Kind.LIMITER, channel=Channel.LIMIT),
            *([] if self._site.ems.requests is None else [topic_filter(self.site, channel=Channel.REQUEST)]),
            str(own_topic(self, Channel.PLAN)),
            *(topic_filter(self.site, kind, channel=channel) for kind, channel in commanded),
        )

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return {
            Phase.SENSE: Cadence(period_s=LOOK_S),
            Phase.DECIDE: Cadence(period_s=self._site.time.step_s, delay_s=WALL_DELAY_S),
        }

    def birth(self) -> Birth:
        return Birth(
            nameplate=ServiceNameplate(),
            time_modes=(TimeMode.LOCKSTEP, TimeMode.WALL),
            fallback=Fallback.IDLE,
            software=software(),
        )

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        self._leadership.observe(turn, inbox)
        admitted = self._door.admit(inbox)
        self._state.learn(turn, admitted)
        self._power.receive(admitted, self._state.devices, turn)
        self._answers.receive(admitted)
        start = window_start(turn.t, turn.step_s, self._site.zone)
        if turn.phase is not Phase.DECIDE and not self._is_to_plan(turn, start):
            return self._look(turn)
        self._epoch = self._leadership.epoch_at(turn)
        if self._leadership.has_stepped_back:
            alarm = self._leadership.alarm()
            return [] if alarm is None else [Outgoing(own_topic(self, Channel.ALARM), alarm)]
        records = self._record(turn)
        messages = self._conclude(turn)
        self._events.planned(self._state, turn, start)
        if self._ended_by_time:
            records = [replace(each, body=each.body.model_copy(update={"ended_by_time": True})) for each in records]
        return [*records, *messages]

    def _is_to_plan(self, turn: Turn, start: datetime) -> bool:
        """Whether something happened within the settlement period that the next plan must not wait for."""
        overdue = self._answers.overdue(self._state.present(turn), turn) if self._state.limits else []
        return not self._leadership.has_stepped_back and self._events.look(self._state, turn, start, overdue)

    def wake_at(self, now: datetime) -> datetime | None:
        """When to look next whether something happened. Wall time only."""
        return self._events.wake_at(now)

    def repeat(self, turn: Turn, epoch: int) -> list[Outgoing]:
        """Decides at ``turn`` under ``epoch`` with what is known: what `act` sent after it had taken in its inbox.

        It has all the time that it needs: seconds of this machine are not those of the one that decided.
        """
        self._epoch, self._repeats = epoch, True
        return self._conclude(turn)

    @property
    def _ended_by_time(self) -> bool:
        """Whether this decision used up its seconds."""
        return self._budget_s is not None and (self._solve_s or 0.0) >= _USED_UP_FRAC * self._budget_s

    def _record(self, turn: Turn) -> list[Outgoing]:
        """The state that the decision is made in; in wall time only. It goes out first: a plan has its record."""
        if turn.mode is TimeMode.LOCKSTEP:
            return []
        record = record_of(turn, self._epoch, self.snapshot(), self._site_sha256)
        if record is None:
            LOG.warning("the state of this decision is too large for a message: it cannot be repeated later")
            return []
        return [Outgoing(own_topic(self, Channel.DECISION), record)]

    def _conclude(self, turn: Turn) -> list[Outgoing]:
        """Decides, and commands what was decided."""
        doubts = self._door.alarms(self._state.leave_out_old_series(turn.t))
        trigger = self._events.trigger
        if trigger is None:  # a device is judged by what it did in the whole period
            doubts = [*doubts, *self._power.observe(self._state.present(turn), turn)]
        present = self._state.present(turn)
        doubts = [*doubts, *self._answers.observe(present, turn)]
        decision = self._with_bounds(self._decide(turn))
        asked_kw = self._power.asked_for(decision.power_kw, present) | self._by_person(decision)
        decision = with_phases(replace(decision, power_kw=asked_kw), present, turn.t)
        if turn.mode is TimeMode.WALL:
            decision = self._with_knowledge(decision, turn)
        messages = [Outgoing(own_topic(self, Channel.ALARM), alarm) for alarm in (*doubts, *self._alarms(turn))]
        messages += self._look(turn)
        if self._site.ems.mode is not EmsMode.OBSERVE:  # on hold it commands only what limits from outside demand
            start = decision.plan.start
            until = quarter_end(start, turn.step_s + (self._site.ems.grace_s if turn.mode is TimeMode.WALL else 0.0))
            valid_from = start if trigger is None else turn.t
            commands = setpoints(decision, present, self.site, valid_from, until)
            self._answers.sent(commands, present, turn.t)
            messages += commands
        plan = decision.plan.model_copy(update={"trigger": trigger})
        if self._door.doubts:
            plan = plan.model_copy(update={"doubts": self._door.doubts})
        messages.append(Outgoing(own_topic(self, Channel.PLAN), plan))
        if turn.mode is TimeMode.WALL and (values := self._about(decision.plan)):
            messages.append(Outgoing(own_topic(self, Channel.METRIC), Metric(values=values)))
        return messages

    @staticmethod
    def _by_person(decision: Decision) -> dict[str, float]:
        """The powers that persons ask for [kW]: no device is asked for more than that."""
        return {name: decision.power_kw[name] for name in decision.plan.requests or {} if name in decision.power_kw}

    def _look(self, turn: Turn) -> list[Outgoing]:
        """Alarms about devices that are silent or have a wrong clock; in wall time only."""
        if turn.mode is TimeMode.LOCKSTEP or self._leadership.has_stepped_back:
            return []
        alarms = self._devices.observe(self._state, turn)
        for alarm in alarms:
            LOG.warning("%s%s: %s", "" if alarm.active else "over: ", alarm.code, alarm.text)
        return [Outgoing(own_topic(self, Channel.ALARM), alarm) for alarm in alarms]

    def _with_knowledge(self, decision: Decision, turn: Turn) -> Decision:
        """The plan says what it was made from."""
        known = knowledge(self._state, turn, decision.plan)
        LOG.info("plan of %s, %s: %s", decision.plan.start.isoformat(), decision.plan.status, in_words(known))
        return replace(decision, plan=decision.plan.model_copy(update={"knowledge": known}))

    def _with_bounds(self, decision: Decision) -> Decision:
        """The plan says which devices are planned with less than their rating."""
        plans = decision.plan.devices
        words = {name: text for name in plans if (text := self._answers.in_words(name) or self._power.in_words(name))}
        if not words:
            return decision
        devices = {n: p.model_copy(update={"bounded": words[n]}) if n in words else p for n, p in plans.items()}
        return replace(decision, plan=decision.plan.model_copy(update={"devices": devices}))

    def _alarms(self, turn: Turn) -> list[Alarm]:
        """About limits that are exceeded, or would be without an EMS."""
        limits, present = self._state.limits, self._state.present(turn)
        return [*self._watch.observe(limits, present, turn), *self._fallbacks.observe(limits, present, turn.t)]

    def _about(self, plan: Plan) -> dict[str, float]:
        """``solve_s``, if there was a solve, and ``plan_age_s``: how long ago the plan that holds was solved."""
        values = {} if self._solve_s is None else {"solve_s": self._solve_s}
        if self._previous is not None and plan.status is not PlanStatus.SAFE_RULE:
            values["plan_age_s"] = (plan.start - self._previous.start).total_seconds()
        return values

    def plan_at(self, turn: Turn, inbox: Sequence[Received]) -> Plan:
        """One plan at ``turn.t`` from these messages and those before: what `act` publishes at *decide*."""
        self._state.learn(turn, self._door.admit(inbox))
        self._state.leave_out_old_series(turn.t)
        return with_phases(self._decide(turn), self._state.present(turn), turn.t).plan

    def problem_at(self, turn: Turn) -> Problem | Unplannable:
        """The problem that would be solved at ``turn.t`` with what is known now. Changes nothing."""
        flat = self._flat[1] if self._flat is not None and self._flat[0] == self._day(turn) else None
        problem = problem_of(self._state, self._site, self._limits, turn, self._peak, flat, self._began_at(turn))
        return problem if isinstance(problem, Unplannable) else self._answers.within(self._power.within(problem))

    def _began_at(self, turn: Turn) -> dict[str, float]:
        """SOC of each BESS at the first decision of this local day at which it was there."""
        day, known = self._began
        found = {
            name: device.telemetry.soc_frac
            for name, device in self._state.present(turn).items()
            if isinstance(device.telemetry, BessTelemetry)
        }
        return found | (known if day == self._day(turn) else {})

    def _day(self, turn: Turn) -> str:
        """The local day."""
        return turn.t.astimezone(self._site.zone).date().isoformat()

    def _decide(self, turn: Turn) -> Decision:
        if self._events.trigger is None:  # a month's peak is a mean of whole periods
            self._peak.observe(self._state.present(turn))
        self._solve_s = None
        self._budget_s = None
        if turn.mode is TimeMode.WALL and not self._repeats:
            self._budget_s = min(self._site.ems.wall_budget_s, turn.step_s / turn.pace / 2)
        if self._site.ems.mode is EmsMode.HOLD:
            return self._fallback(turn, "mode hold: devices follow their fallback")
        if (source := self._state.requests.standby(turn.t)) is not None:
            return self._fallback(turn, f"standby, asked for by {source}: devices follow their fallback")
        problem = self._problem(turn)
        if isinstance(problem, Unplannable):
            return self._without(turn, problem.reason)
        if (silence := unmetered(self._state, turn)) is not None:
            return self._unmetered(turn, problem, silence)
        self._flat = (self._day(turn), problem.flat_reference_kw)
        self._began = (self._day(turn), self._began_at(turn))
        wanted = self._wanted(turn)
        by_request: ByRequest | None = with_requests(problem, wanted)
        decision = self._planned(by_request.problem if by_request else problem)
        if isinstance(decision, NoSolution) and wanted:
            by_request, decision = None, self._planned(problem)
        if isinstance(decision, NoSolution):
            return self._without(turn, decision.reason)
        decision = answered(decision, wanted, by_request, "there is no plan with it")
        self._previous = decision.plan
        return decision

    def _wanted(self, turn: Turn) -> dict[str, Wanted]:
        """What persons ask for now, planned no further ahead than the site lets it last."""
        options = self._site.ems.requests
        if options is None:
            return {}
        latest = turn.t + timedelta(hours=options.most_h)
        wanted = self._state.requests.wanted(turn.t)
        return {
            name: replace(each, power=each.power.model_copy(update={"until": min(each.power.until, latest)}))
            for name, each in wanted.items()
        }

    def _unmetered(self, turn: Turn, problem: Problem, silence: str) -> Decision:
        """While nobody measures the PCC: batteries rest, and vehicles only charge."""
        reason = f"{UNMETERED}: {silence}"
        restful = resting(problem)
        decision = self._planned(restful)
        if isinstance(decision, NoSolution):
            return self._fallback(turn, f"{reason}; {decision.reason}")
        decision = answered(held(decision, restful), self._wanted(turn), None, reason)
        words = reason if decision.plan.reason is None else f"{reason}; {decision.plan.reason}"
        return replace(decision, plan=decision.plan.model_copy(update={"reason": words[:2000]}))

    def _problem(self, turn: Turn) -> Problem | Unplannable:
        """As `problem_at`, without its exceptions."""
        try:
            return self.problem_at(turn)
        except Exception as error:
            LOG.exception("no problem at %s", turn.t.isoformat())
            return Unplannable(f"the problem could not be stated: {type(error).__name__}: {error}"[:1000])

    def _planned(self, problem: Problem) -> Decision | NoSolution:
        """As `_plan`. A fault of ours leaves the site with the plan before, not without an EMS."""
        try:
            return self._plan(problem)
        except TwinswarmError:
            raise
        except Exception as error:
            LOG.exception("no plan for %s", problem.start.isoformat())
            self._solver = Solver(self._solver.budget)
            return NoSolution(f"the optimisation failed: {type(error).__name__}: {error}"[:1000])

    def _plan(self, problem: Problem) -> Decision | NoSolution:
        """What to do in the problem's steps. `services.ems.algorithm` puts another algorithm in this place."""
        calmed = self._calm.solve(problem, self._solve, powers_of, penalty_eur)
        if isinstance(calmed, NoSolution):
            return calmed
        decision = self._gathered(calmed.solution)
        power = {**decision.power_kw, **calmed.kept_kw}
        self._calm.commanded(problem, power)
        if not calmed.kept_kw:
            return replace(decision, power_kw=power)
        plan = with_cause(decision.plan, calmed.kept_kw, SetpointCause.CALM)
        calm_eur = plan.calm_eur + calmed.cost_eur
        return replace(decision, plan=plan.model_copy(update={"calm_eur": calm_eur}), power_kw=power)

    def _gathered(self, solution: Solution) -> Decision:
        return decision_of(solution, self._epoch, self._site.ems.mode)

    def _solve(self, problem: Problem) -> Solution | NoSolution:
        budget_s = self._budget_s
        left_s = None if budget_s is None else max(budget_s - (self._solve_s or 0.0), 0.0)
        solution = self._solver.solve(problem, left_s)
        self._solve_s = (self._solve_s or 0.0) + self._solver.solve_s
        return solution

    def _without(self, turn: Turn, reason: str) -> Decision:
        """No usable solution: the previous plan, shifted; without one, every device follows its fallback.

        A previous plan that does not keep to the limits from outside, because it was made before them, is no plan.
        """
        start = window_start(turn.t, turn.step_s, self._site.zone)
        if (silence := unmetered(self._state, turn)) is not None:
            return self._fallback(turn, f"{reason}; {UNMETERED}: {silence}")
        if self._previous is not None and self._previous.step_s == turn.step_s:
            decision = shifted(self._previous, start, self._state.present(turn), reason, self._epoch)
            if decision is not None and decision.plan.devices and self._bounds(turn).kept_by(decision.plan):
                return answered(decision, self._wanted(turn), None, reason)
        return self._fallback(turn, reason)

    def _fallback(self, turn: Turn, reason: str) -> Decision:
        """Every device follows its fallback, save where limits from outside forbid it."""
        start = window_start(turn.t, turn.step_s, self._site.zone)
        decision = fallback_plan(start, turn.step_s, self._epoch, self._site.ems.mode, reason[:2000])
        decision = answered(decision, self._wanted(turn), None, reason)
        if unmetered(self._state, turn) is not None:
            decision = resting_fallback(decision, self._state.present(turn))
        return self._bounds(turn).of_fallback(decision, self._state.present(turn))

    def _bounds(self, turn: Turn) -> Bounds:
        start = window_start(turn.t, turn.step_s, self._site.zone)
        return Bounds(self._state.limits, self._groups, start, quarter_end(start, turn.step_s), turn.t)

    def snapshot(self) -> Json:
        return {
            "state": self._state.snapshot(),
            "door": self._door.snapshot(),
            "solver": self._solver.snapshot(),
            "calm": self._calm.snapshot(),
            "peak": self._peak.snapshot(),
            "leadership": self._leadership.snapshot(),
            "watch": self._watch.snapshot(),
            "fallbacks": self._fallbacks.snapshot(),
            "devices": self._devices.snapshot(),
            "power": self._power.snapshot(),
            "answers": self._answers.snapshot(),
            "events": self._events.snapshot(),
            "flat": None if self._flat is None else list(self._flat),
            "began": [self._began[0], dict(self._began[1])],
            "previous": self._previous_json(),
        }

    def _previous_json(self) -> Json:
        if self._previous is None:
            return None
        if self._previous_text is None or self._previous_text[0] is not self._previous:
            self._previous_text = (self._previous, json.loads(self._previous.model_dump_json()))
        return self._previous_text[1]

    def restore(self, state: Json) -> None:
        self._state.restore(state["state"])
        if "door" in state:  # a checkpoint of an earlier version has none
            self._door.restore(state["door"])
        self._solver.restore(state["solver"])
        self._calm.restore(state.get("calm", {}))  # a checkpoint of an earlier version has none
        self._peak.restore(state["peak"])
        self._leadership.restore(state["leadership"])
        self._watch.restore(state["watch"])
        self._fallbacks.restore(state.get("fallbacks", {}))  # a checkpoint of an earlier version has none
        self._devices.restore(state.get("devices", {}))  # a checkpoint of an earlier version has none
        self._power.restore(state.get("power", {}))
        self._answers.restore(state.get("answers", {}))  # a checkpoint of an earlier version has none
        self._events.restore(state.get("events", {}))  # a checkpoint of an earlier version has none
        self._flat = None if state["flat"] is None else (state["flat"][0], state["flat"][1])
        self._began = state["began"][0], dict(state["began"][1])
        previous = state["previous"]
        self._previous = None if previous is None else Plan.model_validate_json(json.dumps(previous))
