"""The decisions of an EMS as a history has them, each to be taken again.

In lock-step a decision follows from the recorded messages: the EMS lives through them anew, cycle by cycle. In wall
time it also hangs on when each message arrived, so there the EMS keeps a record with each plan
(`services.ems.decision_record`), from which the decision follows alone.

Nothing else enters into it: budgets of the solver are in iterations and nodes, not in seconds, and the time that a
solve took is no part of a plan. Another version of the program or of its libraries may decide otherwise, and so may
another processor in the last digits; then the comparison says so.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from schemas.errors import Code, InputError, TwinswarmError
from schemas.messages import Birth, DecisionRecord, Phase, Plan, Setpoint, TimeMode
from schemas.participant import Json, Received, Turn, software
from schemas.site import Site
from schemas.topics import Channel, Kind
from schemas.wire import encode
from services.ems.decision_record import digest_of, state_of, turn_of
from services.ems.leadership import LOCKSTEP_EPOCH
from services.ems.participant import Ems
from services.history.reader import History, RunInfo
from twinswarm.simulation.compose import maker

if TYPE_CHECKING:
    from services.ems.algorithm import Algorithm
    from services.ems.certificate.participant import Keep

EMS = "ems"
_BEFORE = (Channel.BIRTH, Channel.STATE, Channel.TELEMETRY, Channel.SERIES, Channel.LIMIT, Channel.REQUEST)
"""Channels that a decision in lock-step follows from, of which a cycle's messages are sent before its decision."""
_AFTER = (Channel.SETPOINT, Channel.ACK)
"""The others: what comes of a decision is known in the next."""
ENDED_BY_TIME = "not repeatable: ended by time (ems.wall_budget_s)"
_BY_ALGORITHM = "by the algorithm "


@dataclass(frozen=True)
class Moment:
    """An EMS that has taken in what had arrived, and is about to decide; and what it then sent."""

    site: Site
    """As the recorder has it."""
    software: str
    """Name and version of the program that decided."""
    site_sha256: str | None
    """Of the site that the EMS was started with; None: of the recorder's, as in lock-step."""
    ended_by_time: bool
    """The decision used up its seconds: it may not be repeatable."""
    turn: Turn
    epoch: int
    state: Json
    plan: Received
    setpoints: Mapping[str, Received]
    """By device."""

    @property
    def recorded(self) -> Plan:
        assert isinstance(self.plan.body, Plan)
        return self.plan.body


@dataclass(frozen=True)
class Unrepeatable:
    """A plan in the history that cannot be made again, and why."""

    plan: Received
    error: InputError


@dataclass(frozen=True)
class Outcome:
    """What an EMS sent when it decided."""

    plan: Plan
    setpoints: Mapping[str, Setpoint]


class Decisions:
    """The decisions of one run. Raises InputError when the run has no plan of an EMS."""

    def __init__(self, history: History, run: str) -> None:
        self._history = history
        self.info: RunInfo = history.info(run)
        self.plans = [plan for plan, _ in history.plans(run) if plan.topic.device == EMS]
        if not self.plans:
            raise InputError.one(str(history.path), "no EMS published a plan in this run", run, code=Code.EMPTY)
        first = self.plans[0].body
        assert isinstance(first, Plan)
        site = history.site(run)
        self.site = site.model_copy(update={"ems": site.ems.model_copy(update={"mode": first.mode})})
        """As recorded, with the mode of the EMS' plans."""
        self._sent: dict[tuple[str, datetime], dict[str, Received]] = {}
        for received, _ in history.setpoints(run):
            key = received.stamp.boot, received.stamp.ts
            self._sent.setdefault(key, {})[received.topic.device] = received

    def plan_of(self, at: datetime) -> Received:
        """The plan in force at ``at``. Raises InputError outside the plans of the run."""
        first, last = self.plans[0], self.plans[-1]
        end = max(self.info.up_to or last.stamp.ts, last.stamp.ts)
        if not first.stamp.ts <= at <= end:
            span = f"the plans of {self.info.run} are of {self._local(first.stamp.ts)} to {self._local(end)}"
            raise InputError.one("--at", f"{span}, local times", self._local(at), code=Code.RANGE)
        return [plan for plan in self.plans if plan.stamp.ts <= at][-1]

    def moment(self, plan: Received) -> Moment:
        """The EMS before it made this plan. Raises InputError when the history does not have what it follows from."""
        for found in self.moments([plan]):
            if isinstance(found, Unrepeatable):
                raise found.error
            return found
        raise AssertionError("every plan has a moment or a reason")

    def moments(self, plans: Sequence[Received] | None = None) -> Iterator[Moment | Unrepeatable]:
        """The moment of each of ``plans``, in order of time; None: of all."""
        wanted = self.plans if plans is None else plans
        return self._lived(wanted) if self.info.mode is TimeMode.LOCKSTEP else self._recorded(wanted)

    def _recorded(self, plans: Sequence[Received]) -> Iterator[Moment | Unrepeatable]:
        first, last = plans[0].stamp.ts, plans[-1].stamp.ts
        records = {
            (received.stamp.boot, received.stamp.ts): received
            for received in self._history.messages(self.info.run, Channel.DECISION, Kind.EMS, EMS)
            if first <= received.stamp.ts <= last
        }
        for plan in plans:
            try:
                yield self._of_record(plan, records.get((plan.stamp.boot, plan.stamp.ts)))
            except InputError as error:
                yield Unrepeatable(plan, error)
            except TwinswarmError as error:
                yield Unrepeatable(plan, InputError.one(self._name(plan), str(error), code=error.code))

    def _of_record(self, plan: Received, record: Received | None) -> Moment:
        if record is None or not isinstance(record.body, DecisionRecord):
            what = (
                f"the EMS' decision record is not in the history (topic ems/ems/decision, boot {plan.stamp.boot}): an "
                "earlier version or a foreign EMS wrote none, or it was lost"
            )
            raise InputError.one(self._name(plan), what, code=Code.MISSING)
        turn, state = turn_of(record.body, record.stamp), state_of(record.body)
        made_by = record.body.software, record.body.site_sha256, bool(record.body.ended_by_time)
        return self._at(plan, made_by, turn, record.body.epoch, state)

    def _lived(self, plans: Sequence[Received]) -> Iterator[Moment | Unrepeatable]:
        """Lives through the run up to the last of ``plans``."""
        wanted = {plan.stamp.ts: plan for plan in plans}
        birth = self._history.births(self.info.run).get(EMS)
        decided_by = birth.body.software if birth is not None and isinstance(birth.body, Birth) else "unknown"
        ems = self.ems()
        for turn, inbox in self._cycles(max(wanted)):
            ems.act(replace(turn, phase=Phase.MEASURE), inbox)
            plan = wanted.get(turn.t)
            if plan is not None:
                yield self._at(plan, (decided_by, None, False), turn, LOCKSTEP_EPOCH, ems.snapshot())
            ems.act(turn, [])

    def _cycles(self, last: datetime) -> Iterator[tuple[Turn, list[Received]]]:
        """The turns in which the EMS decided, each with what it was handed before. Raises InputError for a gap."""
        info = self.info
        inboxes: dict[datetime, list[Received]] = defaultdict(list)
        for channels, delay in ((_BEFORE, timedelta()), (_AFTER, info.step)):
            found = [m for channel in channels for m in self._history.messages(info.run, channel)]
            mine = sorted((m for m in found if m.topic.kind is not Kind.EMS and m.stamp.ts + delay <= last), key=_order)
            self._check_whole(mine)
            for received in mine:
                inboxes[received.stamp.ts + delay].append(received)
        for n in range(1, (last - info.t0) // info.step + 2):
            t = info.t0 + (n - 1) * info.step
            turn = Turn(Phase.DECIDE, t, info.t0, info.t_end, info.step_s, TimeMode.LOCKSTEP, n)
            yield turn, inboxes.get(t, [])

    def _check_whole(self, messages: Sequence[Received]) -> None:
        """Every sender's messages are there without a gap, from its first in this run on."""
        newest: dict[tuple[str, str], int] = {}
        for received in messages:
            key = str(received.topic), received.stamp.boot
            seq, before = received.stamp.seq, newest.get(key)
            if before is not None and seq > before + 1:
                what = f"{key[0]} (boot {key[1]}): numbers {before + 1} to {seq - 1} are missing before this time"
                raise InputError.one(self._local(received.stamp.ts), what, code=Code.MISSING)
            newest[key] = max(seq, before or 0)

    def _at(self, plan: Received, made_by: tuple[str, str | None, bool], turn: Turn, epoch: int, state: Json) -> Moment:
        sent = self._sent.get((plan.stamp.boot, plan.stamp.ts), {})
        return Moment(self.site, *made_by, turn, epoch, state, plan, sent)

    def ems(
        self, site: Site | None = None, algorithm: "Algorithm | None" = None, certificates: "Keep | None" = None
    ) -> Ems:
        """An EMS of this run's site, or of ``site``; with ``algorithm`` in the place of the optimiser.

        ``certificates`` is called with each plan of the optimiser.
        """
        made = maker(site or self.site, EMS, algorithm=algorithm, certificates=certificates)()
        assert isinstance(made, Ems)
        return made

    def _name(self, plan: Received) -> str:
        return f"plan of {self._local(plan.stamp.ts)}"

    def _local(self, time: datetime) -> str:
        return f"{time.astimezone(self.site.zone):%Y-%m-%d %H:%M:%S}"


def decide(ems: Ems, moment: Moment, learnt: Sequence[Received] = ()) -> Outcome:
    """Takes the decision again, with what is ``learnt`` besides.

    Raises InputError for a state that another version wrote and this one cannot read.
    """
    try:
        ems.restore(moment.state)
    except (KeyError, TypeError, ValueError) as error:
        what = f"the state of this EMS cannot be read by {software()}: {type(error).__name__} {error}"
        raise InputError.one("replay", what, moment.software, code=Code.FOREIGN) from None
    if learnt:
        ems.act(replace(moment.turn, phase=Phase.MEASURE), learnt)
    sent = ems.repeat(moment.turn, moment.epoch)
    plans = [outgoing.body for outgoing in sent if isinstance(outgoing.body, Plan)]
    setpoints = {out.topic.device: out.body for out in sent if isinstance(out.body, Setpoint)}
    return Outcome(plans[0], setpoints)


def differences(moment: Moment, outcome: Outcome) -> list[str]:
    """In what the bytes of plan and set-points differ from those in the history; empty: in nothing."""
    found = []
    if encode(moment.plan.stamp, outcome.plan) != encode(moment.plan.stamp, moment.plan.body):
        then, now = moment.recorded.model_dump(), outcome.plan.model_dump()
        found.append(f"plan: {', '.join(name for name, value in now.items() if value != then[name])}")
    for device in sorted(moment.setpoints.keys() | outcome.setpoints.keys()):
        recorded, made = moment.setpoints.get(device), outcome.setpoints.get(device)
        if recorded is None:
            found.append(f"set-point of {device}: none is in the history")
        elif made is None:
            found.append(f"set-point of {device}: none is made now")
        elif encode(recorded.stamp, made) != encode(recorded.stamp, recorded.body):
            found.append(f"set-point of {device}")
    if found and moment.ended_by_time:
        found.insert(0, ENDED_BY_TIME)
    return found


def check_origin(moment: Moment, *, any_version: bool = False, any_site: bool = False) -> None:
    """Raises InputError when another version of this program decided, or for another site; each may be allowed."""
    if not any_version and moment.software != software():
        what = f"this was decided by another version; this program is {software()}"
        raise InputError.one("replay", what, moment.software, code=Code.FOREIGN)
    if not any_site and moment.site_sha256 not in (None, digest_of(moment.site)):
        what = "the EMS was started with another site description than the recorder; give it by --site"
        raise InputError.one("replay", what, code=Code.CONFLICT)


def is_by_algorithm(plan: Plan) -> bool:
    """Whether somebody else's algorithm made this plan, in the place of the optimiser."""
    return (plan.reason or "").startswith(_BY_ALGORITHM)


def _order(received: Received) -> tuple[datetime, str, str, int]:
    stamp = received.stamp
    return stamp.ts, str(received.topic), stamp.boot, stamp.seq
