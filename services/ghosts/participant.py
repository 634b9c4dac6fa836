"""The ghosts: a participant that lives through devices that do not exist, beside the real meter, and accounts for them.

It reads the real PCC meter, the prices, limits from outside and the EMS' plan, and writes its own topics alone. The
devices, their EMS and their set-points are inside (`services.ghosts.world`): there is no topic on which anybody could
command them, or they anybody.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from schemas.limits import Held, Limits
from schemas.messages import (
    Alarm,
    Birth,
    Earnings,
    Limit,
    Phase,
    Plan,
    PlanStatus,
    Series,
    ServiceNameplate,
    Severity,
    Telemetry,
    TimeMode,
    ValueSeries,
)
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, own_topic, software
from schemas.presence import silent_after_s
from schemas.site import GHOSTS as IDENTIFIER
from schemas.site import Site, step_start
from schemas.topics import Channel, Kind, topic_filter
from services.ghosts.account import GHOSTS, REAL, UNMANAGED, Account, Flow
from services.ghosts.expected import expected_load
from services.ghosts.real_meter import Piece, RealMeter
from services.ghosts.states import GhostStates
from services.ghosts.world import Said, StepResult, WorldMaker, Worlds
from services.history.prices import prices_of

DEGRADED = "ghosts_degraded"
"""Code of the alarm."""
LOOK_S = 60.0
"""Wall time: how often it looks whether the meter has become silent."""
PLAN_WAIT_S = 60.0
"""So long after a step's beginning the plan for it is waited for, by the meter's time, and a quarter step at most."""
STEPS_A_TURN = 4
"""Wall time: after a silence so many steps are caught up with in one turn."""
_PRICES_KEPT = timedelta(days=2)
_HOUR = timedelta(hours=1)


class Ghosts:
    """Device ``ghosts``. It goes from settlement step to settlement step as the meter's readings allow it."""

    kind = Kind.GHOSTS
    device = IDENTIFIER

    def __init__(self, site: Site, make: WorldMaker) -> None:
        self._site, self._make = site, make
        self.site = site.site
        self._meter = RealMeter(site)
        self._states = GhostStates(site)
        self._worlds: Worlds | None = None
        """None: the first step has not begun."""
        self._account: Account | None = None
        self._begin: datetime | None = None
        self._next: datetime | None = None
        """The settlement step that is decided next begins then."""
        self._step_s = 0
        self._series: dict[str, Series] = {}
        """What each sender of prices said last ..."""
        self._unsaid: list[str] = []
        """... and whose words the ghosts have not heard yet."""
        self._priced: tuple[ValueSeries, ...] = ()
        self._limits = Limits()
        self._expected: ValueSeries | None = None
        self._planned: datetime | None = None
        """Beginning of the newest plan."""
        self._said: Earnings | None = None
        self._lacks: tuple[str, ...] = ()
        """Why the last step is less sure than usual."""
        self._degraded: tuple[str, ...] = ()
        """The same with what holds now, as it was published."""
        self._is_behind = False

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return (
            topic_filter(self.site, Kind.METER, channel=Channel.TELEMETRY),
            topic_filter(self.site, Kind.NETWORK, channel=Channel.TELEMETRY),
            topic_filter(self.site, Kind.TARIFF, channel=Channel.SERIES),
            topic_filter(self.site, Kind.EMS, channel=Channel.PLAN),
            topic_filter(self.site, Kind.LIMITER, channel=Channel.LIMIT),
        )

    @property
    def cadence(self) -> Mapping[Phase, Cadence]:
        return {Phase.APPLY: Cadence(period_s=LOOK_S, on_message=True)}

    def birth(self) -> Birth:
        return Birth(nameplate=ServiceNameplate(), time_modes=(TimeMode.LOCKSTEP, TimeMode.WALL), software=software())

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        for received in inbox:
            self._receive(received, turn)
        if turn.phase is not Phase.APPLY:
            return []
        if self._next is None:
            self._choose_begin(turn)
        sent: list[Outgoing] = []
        most = STEPS_A_TURN if turn.mode is TimeMode.WALL else None
        while self._is_ready(turn) and (most is None or len(sent) < most):
            sent += self._step(turn)
        self._is_behind = self._is_ready(turn)
        return [*sent, *self._look(turn)]

    def wake_at(self, now: datetime) -> datetime | None:
        """At once while it catches up. Wall time only."""
        return now if self._is_behind else None

    # ---- what the real site says

    def _receive(self, received: Received, turn: Turn) -> None:
        body, sender = received.body, received.topic.device
        if isinstance(body, Telemetry):
            self._meter.receive(received, body, received.arrived or turn.t)
        elif isinstance(body, Series):
            self._take_prices(sender, body, turn.t)
        elif isinstance(body, Limit):
            self._limits.receive(received)
        elif isinstance(body, Plan):
            self._planned = body.start
            self._expected = expected_load(body, self._site) or self._expected

    def _take_prices(self, sender: str, said: Series, now: datetime) -> None:
        if self._series.get(sender) == said:
            return
        self._series[sender] = said
        self._unsaid = [*(each for each in self._unsaid if each != sender), sender]
        kept = [series for series in self._priced if series.end > now - _PRICES_KEPT and series not in said.series]
        self._priced = (*kept, *said.series)

    # ---- steps

    def _choose_begin(self, turn: Turn) -> None:
        """The first settlement step that begins with or after the first reading."""
        if self._meter.newest is None:
            return
        self._step_s, step = turn.step_s, timedelta(seconds=turn.step_s)
        begin = step_start(self._meter.newest, step, self._site.zone)
        self._next = self._begin = begin if begin == self._meter.newest else begin + step

    def _is_ready(self, turn: Turn) -> bool:
        """Whether it is measured what flowed up to the next step, and planned what the EMS does in it."""
        newest = self._meter.newest
        if self._next is None or newest is None or newest < self._next:
            return False
        if turn.mode is TimeMode.LOCKSTEP or (self._planned is not None and self._planned >= self._next):
            return True
        return newest >= self._next + timedelta(seconds=min(PLAN_WAIT_S, self._step_s / 4))

    def _step(self, turn: Turn) -> list[Outgoing]:
        assert self._next is not None and self._begin is not None
        at, step = self._next, timedelta(seconds=self._step_s)
        pieces = self._meter.take(at)
        if self._worlds is None:
            self._worlds, self._account = self._make(at, self._step_s), Account(self._site, self._step_s)
            pieces = ()
        assert self._account is not None
        said = self._to_say(at)
        expected_kw = self._meter.power_kw
        if self._planned == at and self._expected is not None and (planned_kw := self._expected.at(at)) is not None:
            expected_kw = planned_kw
        ghosts = self._worlds.ghosts.step(pieces, expected_kw, said)
        unmanaged = None
        if self._worlds.unmanaged is not None:
            unmanaged = self._worlds.unmanaged.step(pieces, expected_kw, [])
        self._next = at + step
        self._lacks = self._lacking(ghosts, at, is_end=at == turn.t_end)
        if at == self._begin:
            self._states.add(ghosts.devices, 0.0)
            return []
        flows = {REAL: _measured(pieces), GHOSTS: _flow(ghosts)}
        if unmanaged is not None:
            flows[UNMANAGED] = _flow(unmanaged)
        wear_eur = self._states.add(ghosts.devices, step / _HOUR)
        estimated = sum(piece.hours for piece in pieces if piece.estimated)
        if not self._account.add(at - step, flows, estimated, prices_of(self._priced), wear_eur):
            self._lacks = (*self._lacks, f"no prices for the step that ended at {at.isoformat()}")
        self._said = self._earnings(at, flows)
        return [Outgoing(own_topic(self, Channel.EARNINGS), self._said)]

    def _to_say(self, at: datetime) -> list[Said]:
        """What the ghosts' EMS is told before it decides about the step that begins ``at``."""
        said: list[Said] = [(Kind.TARIFF, sender, self._series[sender]) for sender in self._unsaid]
        self._unsaid = []
        if self._expected is not None:
            said.append((Kind.FORECAST, "plan", Series(series=(self._expected,))))
        for sender, held in self._limits.held.items():
            if held.limit.group is None:
                said.append((Kind.LIMITER, sender, _as_it_stands(held, at)))
        return said

    def _lacking(self, ghosts: StepResult, at: datetime, *, is_end: bool) -> tuple[str, ...]:
        """``is_end``: the run ends ``at``, and no plan begins."""
        lacks = []
        if self._expected is None:
            lacks.append("no plan of the EMS: the real site is expected to go on as it is")
        elif self._planned is not None and self._planned < at and not is_end:
            lacks.append(f"the EMS' newest plan is that of {self._planned.isoformat(timespec='seconds')}")
        if ghosts.status in (PlanStatus.PREVIOUS, PlanStatus.SAFE_RULE):
            lacks.append(f"the ghosts' EMS had no plan of its own: {ghosts.reason}"[:500])
        return tuple(lacks)

    def _earnings(self, at: datetime, flows: Mapping[str, Flow]) -> Earnings:
        assert self._account is not None and self._begin is not None
        hours = self._step_s / 3600
        means = {site: (flow.import_kwh - flow.export_kwh) / hours for site, flow in flows.items()}
        return Earnings(
            since=self._begin,
            until=at,
            interval_s=float(self._step_s),
            real_kw=means[REAL],
            ghosts_kw=means[GHOSTS],
            unmanaged_kw=means.get(UNMANAGED),
            devices=self._states.published(),
            date=self._account.date,
            day=self._account.bill("day"),
            month=self._account.bill("month"),
            total=self._account.bill("total"),
            stored_kwh=self._states.stored_kwh,
            degraded=self._lacks,
        )

    # ---- what is less sure than usual

    def _look(self, turn: Turn) -> list[Outgoing]:
        """The alarm that begins or ends, and the last account again where it is to say so."""
        degraded = (*self._doubts(turn), *self._lacks)
        if degraded == self._degraded:
            return []
        began, self._degraded = bool(degraded), degraded
        sent = []
        if self._said is not None:
            self._said = self._said.model_copy(update={"degraded": degraded})
            sent.append(Outgoing(own_topic(self, Channel.EARNINGS), self._said))
        text = "; ".join(degraded) if began else "over: all is known again"
        alarm = Alarm(code=DEGRADED, severity=Severity.WARNING, active=began, text=text[:500])
        return [*sent, Outgoing(own_topic(self, Channel.ALARM), alarm)]

    def _doubts(self, turn: Turn) -> tuple[str, ...]:
        newest, doubts = self._meter.newest, []
        if self._meter.doubt is not None:
            doubts.append(f"the real meter is not believed: {self._meter.doubt}"[:500])
        if turn.mode is TimeMode.WALL:
            patience = timedelta(seconds=silent_after_s(self._meter.period_s, turn.pace))
            if newest is None and turn.t - turn.t0 > patience:
                doubts.append("the real meter was not heard yet")
            elif newest is not None and turn.t - newest > patience:
                doubts.append(f"the real meter is silent since {newest.isoformat(timespec='seconds')}")
        return tuple(doubts)

    # ---- state

    def snapshot(self) -> Json:
        worlds = self._worlds
        return {
            "meter": self._meter.snapshot(),
            "states": self._states.snapshot(),
            "begin": _text(self._begin),
            "next": _text(self._next),
            "step_s": self._step_s,
            "ghosts": None if worlds is None else worlds.ghosts.snapshot(),
            "unmanaged": None if worlds is None or worlds.unmanaged is None else worlds.unmanaged.snapshot(),
            "account": None if self._account is None else self._account.snapshot(),
            "series": {sender: json.loads(each.model_dump_json()) for sender, each in self._series.items()},
            "unsaid": list(self._unsaid),
            "priced": [json.loads(each.model_dump_json()) for each in self._priced],
            "limits": self._limits.snapshot(),
            "expected": None if self._expected is None else json.loads(self._expected.model_dump_json()),
            "planned": _text(self._planned),
            "said": None if self._said is None else json.loads(self._said.model_dump_json()),
            "lacks": list(self._lacks),
            "degraded": list(self._degraded),
            "is_behind": self._is_behind,
        }

    def restore(self, state: Json) -> None:
        self._meter.restore(state["meter"])
        self._states.restore(state["states"])
        self._begin, self._next, self._step_s = _time(state["begin"]), _time(state["next"]), state["step_s"]
        self._worlds, self._account = None, None
        if state["account"] is not None:
            assert self._begin is not None
            self._account = Account(self._site, self._step_s)
            self._account.restore(state["account"])
            self._worlds = self._make(self._begin, self._step_s)
            self._worlds.ghosts.restore(state["ghosts"])
            if self._worlds.unmanaged is not None:
                self._worlds.unmanaged.restore(state["unmanaged"])
        self._series = {
            sender: Series.model_validate_json(json.dumps(each)) for sender, each in state["series"].items()
        }
        self._unsaid = list(state["unsaid"])
        self._priced = tuple(ValueSeries.model_validate_json(json.dumps(each)) for each in state["priced"])
        self._limits.restore(state["limits"])
        expected, said = state["expected"], state["said"]
        self._expected = None if expected is None else ValueSeries.model_validate_json(json.dumps(expected))
        self._planned = _time(state["planned"])
        self._said = None if said is None else Earnings.model_validate_json(json.dumps(said))
        self._lacks, self._degraded = tuple(state["lacks"]), tuple(state["degraded"])
        self._is_behind = state["is_behind"]


def _measured(pieces: Sequence[Piece]) -> Flow:
    energies = [piece.power_kw * piece.hours for piece in pieces]
    return Flow(sum(max(each, 0.0) for each in energies), sum(max(-each, 0.0) for each in energies))


def _flow(result: StepResult) -> Flow:
    return Flow(result.import_kwh, result.export_kwh, result.over_limit_kwh)


def _as_it_stands(held: Held, at: datetime) -> Limit:
    """The limit as it holds ``at``, without its heartbeat: among the ghosts there is no time between two steps."""
    allowed = held.allowed(at)
    return held.limit.model_copy(
        update={
            "import_kw": None if allowed.import_ is None else allowed.import_.kw,
            "export_kw": None if allowed.export is None else allowed.export.kw,
            "heartbeat_s": None,
            "failsafe_import_kw": None,
            "failsafe_export_kw": None,
        }
    )


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
