"""The wall-time run loop: drives any participant along the machine's clock, times a factor, over any transport.

There is no barrier here. Everyone derives the time from the retained session and its own clock, so that planning,
expiry and fallback go on when the clock service dies. `WallLoop.handle` and `WallLoop.run_due` are told what time it
is; `drive` is the thin loop around them that waits.

A delay of the machine is a longer one in the session, by its factor: what is late by 1 s at 600 times the speed takes
its set-point ten minutes late, and energy moves to the next quarter. None is lost, for who was late integrates over
all of it. That is inherent in following a clock, and lock-step is there for whoever wants speed without it; how late
a participant is, its `metric` tells (`skipped`, `turn_s`, `lag_s`).
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

from broker.transport import Delivery, Transport, Will
from runtime.checkpoint import CheckpointStore, NoCheckpoint
from runtime.diagnostics import SelfReport
from runtime.life import Life
from runtime.schedule import Due, Schedule
from schemas.errors import BrokerUnreachableError, Code, RemoteMessageError
from schemas.messages import BootId, Phase, Presence, Run, Stamp, State, TimeMode
from schemas.participant import (
    Outgoing,
    Participant,
    Received,
    Turn,
    continue_registers,
    greatest_registers,
    lasting_registers,
    own_inbox,
    own_topic,
)
from schemas.topics import RETAINED, Channel, Kind, Topic, matches, topic_filter
from schemas.wire import decode

LOG = logging.getLogger(__name__)

SETTLE_S = 1.0
"""So long a joiner waits for the retained session before it shows itself without one."""
PUNCTUAL_S = 5.0
"""Who joins within so much machine time of a session's start takes part from t0 on; later ones from now on."""
SAVE_PERIOD_S = 1.0
"""Least machine time between checkpoints of turns that sent nothing. What sends is saved before it is sent."""
BATCH = 16
"""Messages made durable and acknowledged together: less than the 20 that Mosquitto has in flight by default."""
EARLY_MOST = 1000
"""Messages of a run whose session has not arrived yet, kept for when it does."""
BURST = 256
"""Messages handled before the phases that are due are looked at again."""
LINGER_S = 2.0
"""A participant that records or measures what others tell listens for so much quiet machine time after the end."""
PATIENCE_S = 0.5
"""Longest wait, so that a request to stop is noticed."""
REST_S = 0.05
"""Least machine time between turns of a participant with its own inbox: each is a transaction on disk."""
GOODBYE_S = 2.0


class Loop(Protocol):
    """What `drive` drives: `WallLoop` and the wall clock."""

    @property
    def finished(self) -> bool: ...

    def start(self, now: datetime) -> None: ...

    def handle(self, delivery: Delivery, now: datetime) -> None: ...

    def run_due(self, now: datetime) -> datetime | None: ...

    def finish(self, now: datetime) -> None: ...

    def fail(self, reason: str, now: datetime) -> None: ...


def machine_now() -> datetime:
    return datetime.now(UTC)


def drive(loop: Loop, transport: Transport, stop: threading.Event, now: Callable[[], datetime] = machine_now) -> None:
    """Runs until the loop has finished or ``stop`` is set, then says goodbye.

    An error ends it, too: the state it leaves says ``fault`` and why, and the error is raised.
    """
    try:
        loop.start(now())
        while not (stop.is_set() or loop.finished):
            due = loop.run_due(now())
            wait_s = PATIENCE_S if due is None else (due - now()).total_seconds()
            delivery = transport.receive(min(max(wait_s, 0.0), PATIENCE_S))
            for _ in range(BURST):
                if delivery is None:
                    break
                loop.handle(delivery, now())
                delivery = transport.receive(0.0)
            if delivery is not None:
                loop.handle(delivery, now())
        loop.finish(now())
    except Exception as error:
        loop.fail(f"{type(error).__name__}: {error}"[:500], now())
        raise
    finally:
        transport.close()


class WallLoop:
    """One participant in wall time. For one thread.

    ``once``: it has finished when its session has ended; otherwise it waits for the next one.
    ``registers`` [kWh] are those that the participant had in a life outside this loop; a new life begins with the
    newest that are known (`schemas.participant.lasting_registers`).
    ``zone``: of the local midnight that the cadence's periods are aligned to.
    ``stopwatch``: a monotonic clock [s], by which it tells how long a turn took; nothing else depends on it.
    """

    def __init__(
        self,
        participant: Participant,
        transport: Transport,
        checkpoint: CheckpointStore | None = None,
        *,
        new_boot: Callable[[], BootId],
        zone: tzinfo = UTC,
        once: bool = False,
        registers: Mapping[str, float] | None = None,
        stopwatch: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._participant = participant
        self._transport = transport
        self._checkpoint = checkpoint or NoCheckpoint()
        self._new_boot = new_boot
        self._once = once
        self._earlier = dict(registers or {})
        self._stopwatch = stopwatch
        self._report = SelfReport(participant)
        self._cadence = dict(participant.cadence)
        self._schedule = Schedule(self._cadence, zone)
        self._own_inbox = own_inbox(participant)
        measures = Phase.MEASURE in self._cadence and self._cadence[Phase.MEASURE].on_message
        self._lingers = self._own_inbox is not None or measures
        self._state_topic = own_topic(participant, Channel.STATE)
        self._blank = participant.snapshot()
        self._saved_state: object = None
        self._life = Life("")
        self._session: Run | None = None
        self._inbox: list[Received] = []
        self._newest: dict[tuple[str, str], int] = {}
        self._early: deque[Delivery] = deque()
        self._unsettled: list[Delivery] = []
        self._arrived = False
        self._announced = False
        self._rollcalled = False
        self._gap = False
        self._turns = 0
        self._t: datetime | None = None
        self._first: datetime | None = None
        self._started: datetime | None = None
        self._acted_at: datetime | None = None
        self._finished = False
        self._last_arrival: datetime | None = None
        self._saved_at: datetime | None = None
        self._dirty = False
        self.repeated = 0
        """Messages that were there already, or are older than one that was."""

    @property
    def session(self) -> Run | None:
        return self._session

    @property
    def life(self) -> Life:
        return self._life

    @property
    def registers(self) -> dict[str, float]:
        """The participant's registers [kWh] that outlive its life."""
        return greatest_registers(self._earlier, lasting_registers(self._participant))

    @property
    def rejected(self) -> int:
        """Messages that were not of the contract."""
        return self._report.rejected

    @property
    def other_runs(self) -> int:
        """Messages of other runs, ignored."""
        return self._report.other_runs

    @property
    def skipped(self) -> int:
        return self._schedule.skipped

    # ---- joining

    def start(self, now: datetime) -> None:
        """Loads the checkpoint and connects. Raises BrokerUnreachableError, LocalStateError."""
        self._started = self._last_arrival = now
        saved = self._checkpoint.load()
        if saved is None:
            self._life = Life(self._new_boot())
        else:
            self._life = Life.restored(saved["life"])
            self._earlier = greatest_registers(self._earlier, saved.get("registers", {}))
            self._saved_state = saved["state"]
            self._t = datetime.fromisoformat(saved["t"])
            self._turns = saved["turns"]
            self._rollcalled = saved["rollcalled"]
        site = self._participant.site
        subscriptions = (
            topic_filter(site, Kind.CLOCK, channel=Channel.RUN),  # first, for the broker hands over in this order
            str(self._state_topic),
            *self._participant.subscriptions,
        )
        offline = Outgoing(self._state_topic, State(state=Presence.OFFLINE, reason="connection lost"))
        will = Will(str(self._state_topic), self._life.encode_will(offline, now))
        self._transport.connect(tuple(dict.fromkeys(subscriptions)), will)

    def _on_session(self, stamp: Stamp, session: Run, now: datetime) -> None:
        if stamp.run is None:
            raise RemoteMessageError("a session without a run")
        if session.mode is not TimeMode.WALL:
            return
        known = self._life.run
        if stamp.run == known:
            resumed = self._session is None
            self._session = session
            if resumed:
                self._resume(now)
        elif (known is None or stamp.run > known) and session.ended is None:
            self._join(stamp.run, session, now)

    def _resume(self, now: datetime) -> None:
        """The same life in a new process: nothing flowed while it was away."""
        assert self._t is not None
        self._participant.restore(self._saved_state)
        self._saved_state = None
        self._gap = True
        self._schedule.resume(self._t)
        self._announce(now)
        self._replay_early(now)

    def _join(self, run: str, session: Run, now: datetime) -> None:
        registers = self.registers
        if self._life.run is not None:
            self._life = Life(self._new_boot())
            self._participant.restore(self._blank)
        continue_registers(self._participant, registers)
        self._life.run = run
        self._session = session
        self._inbox.clear()
        self._rollcalled = self._gap = False
        self._t, self._turns = None, 0
        t = session.time_at(now)
        late_s = (t - session.t0).total_seconds() / (session.speed or 1.0)
        self._first = session.t0 if late_s <= PUNCTUAL_S else t
        self._schedule.begin(self._first)
        self._announce(now)
        self._replay_early(now)

    def _announce(self, now: datetime) -> None:
        """Birth, then online."""
        self._announced = True
        self._send([Outgoing(own_topic(self._participant, Channel.BIRTH), self._participant.birth())], now)
        self._show(Presence.ONLINE, None, now)

    def _show(self, state: Presence, reason: str | None, now: datetime) -> None:
        self._send([Outgoing(self._state_topic, State(state=state, reason=reason))], now)

    def _send(self, outgoing: list[Outgoing], now: datetime) -> None:
        """Sends what is not about an instant of the schedule."""
        self._publish(outgoing, now if self._session is None else self._session.time_at(now))

    def _publish(self, outgoing: list[Outgoing], ts: datetime) -> None:
        encoded = [(o.topic, self._life.encode(o, ts)) for o in outgoing]
        self._save()
        for topic, payload in encoded:
            self._transport.publish(str(topic), payload, retain=topic.retained)

    # ---- messages

    def handle(self, delivery: Delivery, now: datetime) -> None:
        """Takes one message in. A message that is not of the contract is rejected, and stops nothing."""
        self._last_arrival = now
        try:
            topic = Topic.parse(delivery.topic)
            if topic.retained and not delivery.payload:
                self._transport.acknowledge(delivery)  # somebody deletes what is retained there
                return
            stamp, body = decode(topic, delivery.payload)
            if topic.channel is Channel.RUN and topic.kind is Kind.CLOCK:
                assert isinstance(body, Run)
                self._on_session(stamp, body, now)
        except RemoteMessageError as error:
            self._reject(delivery, error, now)
            return
        if topic == self._state_topic and self._announced and stamp.boot == self._life.boot:
            assert isinstance(body, State)
            if body.state is Presence.OFFLINE and not self.finished:
                self._show(Presence.ONLINE, None, now)  # my last will: the connection broke, I did not
        self._admit(delivery, Received(topic, stamp, body), now)

    def _admit(self, delivery: Delivery, received: Received, now: datetime) -> None:
        run = received.stamp.run
        if not any(matches(pattern, delivery.topic) for pattern in self._participant.subscriptions):
            self._transport.acknowledge(delivery)
        elif run is None or run == self._live_run or received.topic.channel in (Channel.BIRTH, Channel.STATE):
            self._accept(delivery, received, now)
        elif self._life.run is None or run > self._life.run or self._session is None:
            self._early.append(delivery)
            if len(self._early) > EARLY_MOST:
                self._ignore(self._early.popleft(), "too many messages of a run whose session has not come", now)
        else:
            self._ignore(delivery, f"of run {run}; this session's is {self._life.run}", now)

    @property
    def _live_run(self) -> str | None:
        return None if self._session is None else self._life.run

    def _accept(self, delivery: Delivery, received: Received, now: datetime) -> None:
        self._arrived = True
        session = self._session
        if session is not None and received.topic.channel is Channel.TELEMETRY:
            lag = session.time_at(now) - received.stamp.ts
            self._report.heard(lag.total_seconds() / (session.speed or 1.0))
        if self._own_inbox is not None:
            self._own_inbox.add(received, delivery.payload)
            self._settle_later(delivery)
            return
        if received.topic.channel not in RETAINED:
            key, seq = (delivery.topic, received.stamp.boot), received.stamp.seq
            if seq <= self._newest.get(key, -1):
                self.repeated += 1
                self._transport.acknowledge(delivery)
                return
            self._newest[key] = seq
        self._inbox.append(received)
        self._transport.acknowledge(delivery)

    def _reject(self, delivery: Delivery, error: RemoteMessageError, now: datetime) -> None:
        reason = str(error)
        self._report.rejected += 1
        LOG.warning("%s ignores a message: %s", self._participant.device, reason)
        if self._own_inbox is None:
            self._transport.acknowledge(delivery)
        else:
            self._own_inbox.reject(delivery.topic, delivery.payload, reason)
            self._settle_later(delivery)
        self._tell_reject(delivery, reason, error.code, now)

    def _ignore(self, delivery: Delivery, reason: str, now: datetime) -> None:
        self._report.other_runs += 1
        self._transport.acknowledge(delivery)
        if not delivery.retained:  # what the broker keeps of an earlier run is nobody's mistake
            self._tell_reject(delivery, reason, Code.OTHER_RUN, now)

    def _tell_reject(self, delivery: Delivery, reason: str, code: Code, now: datetime) -> None:
        if not self._in_session(now):
            return
        reject = self._report.reject(delivery.topic, reason, code)
        if reject is not None:
            self._send([reject], now)

    def _in_session(self, now: datetime) -> bool:
        """Whether a session runs; before and after it there is nobody's history to tell anything to."""
        session, limit = self._session, self._limit
        if session is None or not self._announced:
            return False
        t = session.time_at(now)
        return t >= session.t0 and (limit is None or t < limit)

    def _settle_later(self, delivery: Delivery) -> None:
        self._unsettled.append(delivery)
        if len(self._unsettled) >= BATCH:
            self._settle()

    def _settle(self) -> None:
        """Makes durable what arrived, then lets the broker forget it."""
        if self._own_inbox is None or not self._unsettled:
            return
        self._own_inbox.flush()
        settled, self._unsettled = self._unsettled, []
        for delivery in settled:
            self._transport.acknowledge(delivery)

    def _replay_early(self, now: datetime) -> None:
        early, self._early = self._early, deque()
        for delivery in early:
            self.handle(delivery, now)

    # ---- phases

    @property
    def _limit(self) -> datetime | None:
        """The session time after which nothing happens; None: no end is known."""
        session = self._session
        if session is None or session.ended is None:
            return None if session is None else session.t_end
        ended = session.time_at(session.ended)
        return ended if session.t_end is None else min(ended, session.t_end)

    def run_due(self, now: datetime) -> datetime | None:
        """Acts in every phase that is due at machine time ``now``. Returns when the next one is; None: unknown."""
        self._settle()
        session = self._session
        if session is None:
            assert self._started is not None
            show_at = self._started + timedelta(seconds=SETTLE_S)
            if not self._announced and now >= show_at:
                self._announce(now)
            return None if self._announced else show_at
        rested = self._rested_at()
        if rested is not None and now < rested:
            return rested
        t = session.time_at(now)
        limit = self._limit
        if t >= session.t0:
            self._acted_at = now
            if not self._rollcalled:
                assert self._first is not None
                self._rollcalled = True
                self._act(Phase.ROLLCALL, self._first)
            for due in self._due(t, limit):
                self._act(due.phase, due.at)
            if self._dirty and (self._saved_at is None or now - self._saved_at >= timedelta(seconds=SAVE_PERIOD_S)):
                self._saved_at = now
                self._save()
        if self._in_session(now) and (metric := self._report.metric(now, self.skipped)) is not None:
            self._send([metric], now)
        return self._next_due(session, t, limit, now)

    def _rested_at(self) -> datetime | None:
        if self._own_inbox is None or self._acted_at is None:
            return None
        return self._acted_at + timedelta(seconds=REST_S)

    def _due(self, t: datetime, limit: datetime | None) -> list[Due]:
        due = self._schedule.take(t, limit)
        if self._arrived:
            at = t if limit is None else min(t, limit)
            over = limit is not None and t >= limit
            due += [
                Due(t, phase, at)
                for phase, cadence in self._cadence.items()
                if cadence.on_message
                and not (over and phase in (Phase.DECIDE, Phase.APPLY))
                and all(d.phase is not phase for d in due)
            ]
        return sorted(due, key=lambda d: (d.since, d.phase.order))

    def _act(self, phase: Phase, at: datetime) -> None:
        session = self._session
        assert session is not None
        self._t = at if self._t is None else max(at, self._t)
        gap = self._gap and phase is Phase.SENSE
        turn = Turn(phase, self._t, session.t0, session.t_end, session.step_s, TimeMode.WALL, self._turns, gap)
        began = self._stopwatch()
        outgoing = self._participant.act(turn, self._hand_over(turn))
        self._report.turned(self._stopwatch() - began)
        self._turns += 1
        self._gap = self._gap and not gap
        if outgoing:
            self._publish(outgoing, self._t)
        else:
            self._dirty = True

    def _hand_over(self, turn: Turn) -> list[Received]:
        """What waits goes to the phases that come on a message, if there are any; else to whichever comes first."""
        cadence = self._cadence.get(turn.phase)
        if cadence is None or (not cadence.on_message and any(c.on_message for c in self._cadence.values())):
            return []
        self._arrived = False
        if self._own_inbox is not None:
            assert self._life.run is not None
            return self._own_inbox.take(self._life.run, turn, ())
        handed, self._inbox = self._inbox, []
        return sorted(handed, key=lambda r: (str(r.topic), r.stamp.boot, r.stamp.seq))

    def _next_due(self, session: Run, t: datetime, limit: datetime | None, now: datetime) -> datetime | None:
        upcoming = [session.t0] if t < session.t0 else []
        following = self._schedule.next(limit)
        if following is not None:
            upcoming.append(following)
        machine = [session.wall0 + (u - session.t0) / (session.speed or 1.0) for u in upcoming]
        if self._dirty and self._saved_at is not None:
            machine.append(self._saved_at + timedelta(seconds=SAVE_PERIOD_S))
        if session.ended is not None and self._once and not upcoming:
            assert self._last_arrival is not None
            quiet = self._last_arrival + timedelta(seconds=LINGER_S if self._lingers else 0.0)
            self._finished = now >= quiet
            machine.append(quiet)
        return min(machine, default=None)

    # ---- the end

    @property
    def finished(self) -> bool:
        return self._finished

    def finish(self, now: datetime) -> None:
        """The last commit, the checkpoint, state offline. The transport is closed by who opened it."""
        self._settle()
        if self._own_inbox is not None and self._session is not None and self._rollcalled:
            t = self._session.time_at(now)
            self._act(Phase.COMMIT, t if self._limit is None else min(t, self._limit))
        self._part(Presence.OFFLINE, None, now)

    def fail(self, reason: str, now: datetime) -> None:
        """Leaves state fault and why."""
        try:
            self._part(Presence.FAULT, reason, now)
        except BrokerUnreachableError as error:
            LOG.warning("%s cannot say that it fails: %s", self._participant.device, error)

    def _part(self, state: Presence, reason: str | None, now: datetime) -> None:
        if self._announced:
            self._announced = False
            self._show(state, reason, now)
            if not self._transport.flush(GOODBYE_S):
                LOG.warning("%s leaves with messages unsent", self._participant.device)

    def _save(self) -> None:
        if isinstance(self._checkpoint, NoCheckpoint) or self._session is None or self._t is None:
            return
        self._checkpoint.save(
            {
                "life": self._life.snapshot(),
                "state": self._participant.snapshot(),
                "t": self._t.isoformat(),
                "turns": self._turns,
                "rollcalled": self._rollcalled,
                "registers": self.registers,
            }
        )
        self._dirty = False
