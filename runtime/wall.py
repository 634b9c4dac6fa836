"""The wall-time run loop: drives any participant along the machine's clock, times a factor, over any transport.

There is no barrier here. Everyone derives the time from the retained run and its own clock, so that planning, expiry
and fallback go on when the clock service dies. `WallLoop.handle` and `WallLoop.run_due` are handed the time;
`runtime.drive` is the thin loop around them that waits.

A delay of the machine is a longer one in the run, by its factor: what is late by 1 s at 600 times the speed takes its
set-point ten minutes late, and energy moves to the next quarter. None is lost, for who was late integrates over all of
it. That is inherent in following a clock, and lock-step is there for whoever wants speed without it; how late a
participant is, its `metric` says (`skipped`, `turn_s`, `lag_s`).

The states of a participant and what leads from one to the next are in `runtime.wall_states`, what arrives is sorted by
`runtime.wall_inbox`, when its phases come is in `runtime.schedule`, and who may enter a run in `runtime.admission`.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo

from broker.transport import Delivery, Transport, Will
from runtime.admission import Entry, entry_into, is_newer, modes_of
from runtime.checkpoint import CheckpointStore, NoCheckpoint
from runtime.diagnostics import Diagnostics
from runtime.keep import Kept, NothingKept, keep_of
from runtime.life import Life
from runtime.log_context import RUN
from runtime.schedule import Due, Schedule
from runtime.service_watch import ServiceWatch
from runtime.sources import Inlets
from runtime.steady_clock import STEP_S, SteadyClock, machine_now, stepped
from runtime.wall_inbox import Ignored, WallInbox
from runtime.wall_states import WallEvent, WallProgress, WallState
from schemas.errors import BrokerUnreachableError, Code, DiskFullError, RemoteMessageError
from schemas.messages import BootId, Phase, Presence, Receipt, Run, RunId, Stamp, State, TimeMode
from schemas.participant import (
    Input,
    Outgoing,
    Participant,
    Received,
    Turn,
    Wakes,
    continue_registers,
    greatest_registers,
    lasting_registers,
    own_inbox,
    own_sources,
    own_topic,
)
from schemas.presence import HEARTBEAT_S, WATCHED
from schemas.topics import Channel, Kind, Topic, forward_of, is_forwarded, topic_filter
from schemas.wire import decode

LOG = logging.getLogger(__name__)

SETTLE_S = 1.0
"""So long a joiner waits for the retained run before it shows itself without one."""
PUNCTUAL_S = 5.0
"""Who joins within so much machine time of a run's start takes part from t0 on; later ones from now on."""
SAVE_PERIOD_S = 1.0
"""Least machine time between checkpoints of turns that sent nothing. What sends is saved before it is sent."""
CLOSE_S = 1.0
"""A participant that measures what others send closes its account after so much quiet machine time after the end,
while recorders still listen."""
LINGER_S = 2.0
"""A participant that records or measures what others send listens for so much quiet machine time after the end."""
REST_S = 0.05
"""Least machine time between turns of a participant with its own inbox: each is a transaction on disk."""
WAKE_LEAST_S = 0.01
"""Least machine time between turns that a participant asked for, so that a wrong answer cannot occupy the machine."""
GOODBYE_S = 2.0


class WallLoop:
    """One participant in wall time. For one thread.

    ``found``: a run that whoever made this loop has seen already; its last will then is of that run from the first
    connection on. ``once``: it has finished when its run has ended; otherwise it waits for the next one.
    ``registers`` [kWh] are those that the participant had in a life outside this loop; a new life begins with the
    newest that are known (`schemas.participant.lasting_registers`).
    ``zone``: of the local midnight that the cadence's periods are aligned to. ``stopwatch``: a monotonic clock [s], by
    which it measures how long a turn took; nothing else depends on it. ``machine``: the machine's time, by which the
    values of sources are dated. ``clock``: the clock that it is driven by, to notice when the machine's clock is set
    (`runtime.steady_clock`); None: nobody looks. With it, ``machine`` is left out. ``kept``: where what it sends stays
    until the recorder has it (`runtime.kept`); None: it does without.
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
        machine: Callable[[], datetime] = machine_now,
        clock: SteadyClock | None = None,
        found: tuple[RunId, Run] | None = None,
        kept: Kept | None = None,
    ) -> None:
        """Raises LocalStateError for a participant whose sources and time modes are at odds."""
        self._participant = participant
        self._transport = transport
        self._checkpoint = checkpoint or NoCheckpoint()
        self._new_boot = new_boot
        self._once = once
        self._earlier = dict(registers or {})
        self._stopwatch = stopwatch
        self._clock = clock
        self._machine = machine if clock is None else clock.now
        self._found = found
        self._kept = kept or NothingKept()
        self._modes = modes_of(participant)
        self._progress = WallProgress()
        self._report = Diagnostics(participant)
        self._announced_at: datetime | None = None
        """When this life has shown itself; None: not yet."""
        self._services = ServiceWatch(participant)
        self._cadence = dict(participant.cadence)
        self._on_message = frozenset(phase for phase, c in self._cadence.items() if c.on_message)
        self._prompt = self._on_message or frozenset(sorted(self._cadence, key=lambda phase: phase.order)[:1])
        """Phases that come when a source delivered, or when the participant asked to be called."""
        self._schedule = Schedule(self._cadence, zone)
        self._durable = own_inbox(participant) is not None
        self._inbox = WallInbox(transport, participant.subscriptions, own_inbox(participant))
        self._inlets = Inlets(own_sources(participant))
        self._measures = Phase.MEASURE in self._on_message
        self._lingers = self._durable or self._measures
        self._state_topic = own_topic(participant, Channel.STATE)
        self._receipt_topic = own_topic(participant, Channel.RECEIPT)
        self._blank = participant.snapshot()
        self._saved_state: object = None
        self._will_of: tuple[BootId, RunId | None] | None = None
        self._life = Life("")
        self._run: Run | None = None
        self._shift = timedelta()
        """How far the machine's clock that the run is announced by is ahead of the one that drives this loop."""
        self._rollcalled = False
        self._closing = False
        self._gap = False
        self._turns = 0
        self._t: datetime | None = None
        self._first: datetime | None = None
        self._wake_at: datetime | None = None
        self._started: datetime | None = None
        self._acted_at: datetime | None = None
        self._last_arrival: datetime | None = None
        self._saved_at: datetime | None = None
        self._unsaved = False

    @property
    def state(self) -> WallState:
        return self._progress.state

    @property
    def life(self) -> Life:
        return self._life

    @property
    def registers(self) -> dict[str, float]:
        """The participant's registers [kWh] that outlive its life."""
        return greatest_registers(self._earlier, lasting_registers(self._participant))

    @property
    def repeated(self) -> int:
        """Messages that were there already, or are older than one that was."""
        return self._inbox.repeated

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
        """Connects, with what the checkpoint says. Raises BrokerUnreachableError, LocalStateError."""
        self._started = self._last_arrival = now
        saved = self._checkpoint.load()
        self._earlier = greatest_registers(self._earlier, (saved or {}).get("registers", {}))
        if saved is None or "life" not in saved:
            self._life = Life(self._new_boot())
        else:
            self._life = Life.restored(saved["life"])
            self._saved_state = saved["state"]
            self._t = datetime.fromisoformat(saved["t"])
            self._turns = saved["turns"]
            self._rollcalled = saved["rollcalled"]
            self._inbox.lives.restore(saved.get("lives", []))  # a checkpoint of an earlier version has none
            self._services.restore(saved.get("silent", []))  # nor this
            # What was kept and not in the checkpoint yet was sent all the same.
            self._life.use(self._kept.last_numbers(self._life.boot))
        found = self._found
        if found is not None and found[0] != self._life.run:
            self._begin_life(found[0])
        self._connect(self._will_time(now, None if found is None else found[1]))
        self._progress.on(WallEvent.CONNECTED)
        self._inlets.open(self._transport.waker, self._machine)

    def _will_time(self, now: datetime, run: Run | None) -> datetime:
        """The run's time, as far as it is known; a last will cannot say when it will be needed."""
        if run is not None:
            return run.time_from_t0(now)
        return now if self._t is None else self._t

    def _connect(self, will_ts: datetime) -> None:
        site = self._participant.site
        subscriptions = (
            topic_filter(site, Kind.CLOCK, channel=Channel.RUN),  # first, for the broker hands over in this order
            str(self._state_topic),
            *((str(self._receipt_topic),) if self._kept.keeps else ()),
            *self._participant.subscriptions,
            *self._services.subscriptions,
        )
        will = Will(str(self._state_topic), self._unnumbered(Presence.OFFLINE, "connection lost", will_ts))
        self._will_of = (self._life.boot, self._life.run)
        self._transport.connect(tuple(dict.fromkeys(subscriptions)), will)

    def _on_run(self, run: RunId | None, body: Run, announced: datetime, now: datetime) -> None:
        """``announced``: the run's time at which its clock sent this."""
        if run is None:
            raise RemoteMessageError("a clock's message about its run without a run")
        entry = entry_into(run, body, TimeMode.WALL, self._life.run, modes=self._modes)
        if self._run is None and run == self._life.run:
            self._take_up(run, body, announced, now)
        elif entry is Entry.SAME:
            self._run = body if self._run is None else self._in_my_terms(self._run, body)
        elif entry is Entry.JOIN:
            self._join(run, body, self._no_earlier(announced, now, body))
        elif is_newer(run, self._life.run) and (entry is Entry.OTHER_MODE or self._run is None):
            self._end_superseded(now)

    def _look_at_services(self, now: datetime) -> None:
        """Says which services have become silent, and which are heard again."""
        for alarm in self._services.look(now, connected=self._transport.connected):
            LOG.warning("%s: %s", self._participant.device, alarm.text)
            self._send([Outgoing(own_topic(self._participant, Channel.ALARM), alarm)], now)

    def _take_up(self, run: RunId, body: Run, announced: datetime, now: datetime) -> None:
        """Enters the run that the checkpoint is of, or that was found."""
        self._run = body
        if self._saved_state is not None:
            assert self._t is not None
            self._resume(self._no_earlier(self._t, now))
        else:
            self._join(run, body, self._no_earlier(announced, now, body))

    def _end_superseded(self, now: datetime) -> None:
        """A later run began that is not for this loop: its own is over, even if nobody said so.

        The broker retains the later one only, so that the end of an earlier run can be missed; and a run that was
        found for this loop may have been followed by another before the loop heard of it.
        """
        if self._run is None and self._found is not None:
            run, body = self._found
            self._take_up(run, body, body.t0, now)
        if self._run is not None and self._run.ended is None:
            self._run = self._run.model_copy(update={"ended": now})

    def _in_my_terms(self, known: Run, announced: Run) -> Run:
        """The run as announced again, in terms of the clock that this loop is driven by.

        With the same speed another ``wall0`` says that the machine's clock of the run's clock was set, and by how much.
        """
        if announced.speed == known.speed:
            self._shift = announced.wall0 - known.wall0
        return announced.moved(-self._shift)

    def _no_earlier(self, reached: datetime, now: datetime, run: Run | None = None) -> datetime:
        """Machine time to begin with, in a run that has reached run time ``reached``: the machine's clock may have
        been set back meanwhile."""
        run = run or self._run
        assert run is not None
        if reached <= run.t0:
            return now  # announced before its start
        earliest = run.machine_time_at(reached)
        if self._clock is None or (earliest - now).total_seconds() <= STEP_S:
            return now
        jump = self._clock.advance_to(earliest)
        LOG.warning("%s: the machine's clock is %.1f s behind the run", self._participant.device, jump.total_seconds())
        return self._clock.now()

    def _look_at_the_clock(self, run: Run, now: datetime) -> None:
        """Says that the machine's clock was set; follows it where that is the rule."""
        if self._clock is None:
            return
        if (apart := self._clock.step()) is not None:
            self._send([Outgoing(own_topic(self._participant, Channel.ALARM), stepped(apart))], now)
        if not run.simulated and self._clock.is_to_follow:
            self._clock.take_the_machines()
            self._gap = True  # nothing flowed in the time that was left out
            self._send([Outgoing(own_topic(self._participant, Channel.ALARM), stepped(timedelta()))], now)

    def _resume(self, now: datetime) -> None:
        """The same life in a new process: nothing flowed while it was away."""
        assert self._t is not None
        self._participant.restore(self._saved_state)
        self._saved_state = None
        self._gap = True
        self._schedule.resume(self._t)
        self._ask_for_wake()
        self._enter(now)

    def _begin_life(self, run: RunId) -> None:
        registers = self.registers
        if self._life.run is not None:
            self._life = Life(self._new_boot())
            self._participant.restore(self._blank)
        continue_registers(self._participant, registers)
        self._life.run = run
        RUN.set(run)
        self._saved_state = None
        self._inbox.clear()
        self._services.clear()
        self._rollcalled = self._gap = self._closing = False
        self._t, self._turns, self._wake_at = None, 0, None

    def _join(self, run: RunId, body: Run, now: datetime) -> None:
        if run != self._life.run:
            self._begin_life(run)
        self._run, self._shift = body, timedelta()
        t = body.time_at(now)
        self._first = body.t0 if body.machine_s(t - body.t0) <= PUNCTUAL_S else t
        self._schedule.begin(self._first)
        self._enter(now)

    def _enter(self, now: datetime) -> None:
        if self._will_of != (self._life.boot, self._life.run):
            # The last will at the broker is of another life: it would be no sign that this one ended.
            self._inbox.settle()
            self._transport.close()
            self._connect(self._will_time(now, self._run))
        self._progress.on(WallEvent.RUN_ENTERED)
        if self._life.run is not None:
            self._kept.begin(self._life.boot, self._life.run)
        self._announce(now)
        assert self._run is not None
        for ignored in self._inbox.replay_early(self._life.run, self._run.time_at(now)):
            self._ignore(ignored, now)

    def _announce(self, now: datetime) -> None:
        """Birth, then online."""
        birth = self._participant.birth()
        if self._participant.kind in WATCHED:
            birth = birth.model_copy(update={"heartbeat_s": HEARTBEAT_S})
        if self._kept.keeps:
            birth = birth.model_copy(update={"store_and_forward": True})
        self._send([Outgoing(own_topic(self._participant, Channel.BIRTH), birth)], now)
        self._show(Presence.ONLINE, None, now)
        self._announced_at = self._run_time(now)

    def _show(self, state: Presence, reason: str | None, now: datetime) -> None:
        self._send([Outgoing(self._state_topic, State(state=state, reason=reason))], now)

    def _send(self, outgoing: list[Outgoing], now: datetime) -> None:
        """Sends what is not about an instant of the schedule."""
        self._publish(outgoing, self._run_time(now))

    def _run_time(self, now: datetime) -> datetime:
        return now if self._run is None else self._run.time_at(now)

    def _unnumbered(self, state: Presence, reason: str, ts: datetime) -> bytes:
        """The own state outside the run's counts."""
        return self._life.encode_unnumbered(Outgoing(self._state_topic, State(state=state, reason=reason)), ts)

    def _publish(self, outgoing: list[Outgoing], ts: datetime) -> None:
        messages = [(self._life.sent(one, ts), keep_of(one)) for one in outgoing]
        self._kept.add(self._life.boot, [(sent, keep) for sent, keep in messages if keep is not None])
        self._save()
        for sent, _ in messages:
            self._transport.publish(sent.topic, sent.payload, retain=sent.retain)

    def _forward(self, receipt: Receipt) -> None:
        """Sends again, to the recorder alone, what was lost on its way there."""
        for sent in self._kept.on_receipt(receipt):
            self._transport.publish(forward_of(sent.topic), sent.payload)

    # ---- messages

    def handle(self, delivery: Delivery, now: datetime) -> None:
        """Takes one message in. A message that is not of the contract is rejected, and stops nothing."""
        try:
            topic = Topic.parse(delivery.topic)
            if topic.retained and not delivery.payload:
                self._transport.acknowledge(delivery)  # somebody deletes what is retained there
                return
            stamp, body = decode(topic, delivery.payload)
            if isinstance(body, Run) and topic.kind is Kind.CLOCK:
                self._on_run(stamp.run, body, stamp.ts, now)
        except RemoteMessageError as error:
            self._reject(delivery, error, now)
            return
        if self._kept.keeps and topic == self._receipt_topic:
            assert isinstance(body, Receipt)
            self._transport.acknowledge(delivery)
            self._forward(body)
            return
        late = is_forwarded(delivery.topic)  # it is stored, and says nothing about who is there now
        if isinstance(body, State) and topic == self._state_topic and not late and self._progress.shown:
            self._hear_of_myself(stamp, body, now)
        if stamp.run in (None, self._life.run):
            # What another run sends keeps nobody: the next one may be waiting for whoever lingers in this one.
            self._last_arrival = now
        t = None if self._run is None else self._run.time_at(now)
        received = Received(topic, stamp, body, t)
        if not late:
            self._services.hear(received, self._life.run, now, retained=delivery.retained)
        ignored = self._inbox.take_in(delivery, received, self._life.run, entered=self._run is not None)
        if self._inbox.begun_anew:
            self._report_begun_anew(now)
        if ignored is not None:
            self._ignore(ignored, now)
        elif topic.channel is Channel.TELEMETRY and self._run is not None and t is not None and not late:
            self._report.heard(self._run.machine_s(t - stamp.ts))

    def _reject(self, delivery: Delivery, error: RemoteMessageError, now: datetime) -> None:
        reason = str(error)
        self._report.rejected += 1
        LOG.warning("%s ignores a message: %s", self._participant.device, reason)
        self._inbox.reject(delivery, reason)
        self._report_reject(delivery, reason, error.code, now)

    def _ignore(self, ignored: Ignored, now: datetime) -> None:
        self._report.other_runs += 1
        if not ignored.delivery.retained:  # what the broker keeps of an earlier run is nobody's mistake
            self._report_reject(ignored.delivery, ignored.reason, Code.OTHER_RUN, now)

    def _report_reject(self, delivery: Delivery, reason: str, code: Code, now: datetime) -> None:
        if not self._run_is_on(now):
            return
        reject = self._report.reject(delivery.topic, reason, code)
        if reject is not None:
            self._send([reject], now)

    def _report_begun_anew(self, now: datetime) -> None:
        """Says which senders use their numbers twice. What they send counts as of another life."""
        begun, self._inbox.begun_anew = self._inbox.begun_anew, []
        for received in begun:
            alarm = self._report.begun_anew(received)
            if alarm is not None:
                LOG.warning("%s: %s", self._participant.device, alarm.text)
                if self._run_is_on(now):
                    self._send([Outgoing(own_topic(self._participant, Channel.ALARM), alarm)], now)

    def _hear_of_myself(self, stamp: Stamp, state: State, now: datetime) -> None:
        """A state on the own topic: the last will of this life, or of another process that lives at the same time."""
        if stamp.boot == self._life.boot:
            if state.state is Presence.OFFLINE and not self.finished:
                self._show(Presence.ONLINE, None, now)  # my last will: the connection broke, I did not
            return
        began = self._announced_at
        if stamp.run != self._life.run or began is None or stamp.ts <= began:
            return  # what the broker kept of an earlier life
        alarm = self._report.contested(stamp.boot, self._life.boot)
        if alarm is not None:
            LOG.warning("%s", alarm.text)
            if self._run_is_on(now):
                self._send([Outgoing(own_topic(self._participant, Channel.ALARM), alarm)], now)

    def _run_is_on(self, now: datetime) -> bool:
        """Whether the run is between its start and its end; before and after there is no history to report to."""
        run, limit = self._run, self._limit
        if run is None or not self._progress.in_a_run:
            return False
        t = run.time_at(now)
        return t >= run.t0 and (limit is None or t < limit)

    # ---- phases

    @property
    def _limit(self) -> datetime | None:
        """The run's time after which nothing happens; None: no end is known."""
        run = self._run
        if run is None or run.ended is None:
            return None if run is None else run.t_end
        ended = run.time_at(run.ended)
        return ended if run.t_end is None else min(ended, run.t_end)

    def run_due(self, now: datetime) -> datetime | None:
        """Acts in every phase that is due at machine time ``now``. Returns when the next one is; None: unknown."""
        run = self._run
        if run is None:
            self._inbox.settle()
            return self._wait_for_run(now)
        rested = self._rested_at()
        if rested is not None and now < rested:
            self._inbox.settle_if_many()
            return rested
        t, limit = run.time_at(now), self._limit
        if t >= run.t0:
            self._acted_at = now
            if self.state is WallState.BEFORE_START:
                self._progress.on(WallEvent.START_REACHED)
            if not self._rollcalled:
                assert self._first is not None
                self._rollcalled = True
                self._act(Phase.ROLLCALL, self._first)
            for due in self._due(t, limit):
                self._act(due.phase, due.at)
            if self._unsaved and (self._saved_at is None or now - self._saved_at >= timedelta(seconds=SAVE_PERIOD_S)):
                self._saved_at = now
                self._save()
        self._inbox.settle()
        if self._run_is_on(now):
            self._look_at_the_clock(run, now)
            self._look_at_services(now)
            metric = self._report.metric(now, self.skipped, {**self._inlets.metrics, **self._kept.metrics})
            if metric is not None:
                self._send([metric], now)
            if news := self._kept.news():
                self._send([Outgoing(own_topic(self._participant, Channel.ALARM), alarm) for alarm in news], now)
        return self._next_due(run, t, limit, now)

    def _wait_for_run(self, now: datetime) -> datetime | None:
        assert self._started is not None
        show_at = self._started + timedelta(seconds=SETTLE_S)
        if self.state is WallState.LISTENING and now >= show_at:
            self._progress.on(WallEvent.NO_RUN_HEARD)
            self._announce(now)
        return None if self._progress.shown else show_at

    def _rested_at(self) -> datetime | None:
        if not self._durable or self._acted_at is None:
            return None
        return self._acted_at + timedelta(seconds=REST_S)

    def _due(self, t: datetime, limit: datetime | None) -> list[Due]:
        due = self._schedule.take(t, limit)
        prompt: set[Phase] = set()
        if self._inbox.arrived:
            prompt |= self._on_message
        if self._inlets.waiting or self._is_woken(t, limit):
            prompt |= self._prompt
        if prompt:
            at = t if limit is None else min(t, limit)
            over = limit is not None and t >= limit
            due += [
                Due(t, phase, at)
                for phase in prompt
                if not (over and phase in (Phase.DECIDE, Phase.APPLY)) and all(d.phase is not phase for d in due)
            ]
        return sorted(due, key=lambda d: (d.since, d.phase.order))

    def _is_woken(self, t: datetime, limit: datetime | None) -> bool:
        wake_at = self._wake_at
        return wake_at is not None and wake_at <= t and (limit is None or wake_at < limit)

    def _act(self, phase: Phase, at: datetime) -> None:
        run = self._run
        assert run is not None
        assert self._life.run is not None
        self._t = at if self._t is None else max(at, self._t)
        gap = self._gap and phase is Phase.SENSE
        takes = phase in (self._on_message or self._cadence)
        inputs = self._take_inputs(run) if takes else ()
        turn = Turn(
            phase,
            self._t,
            run.t0,
            run.t_end,
            run.step_s,
            TimeMode.WALL,
            self._turns,
            gap,
            self._life.boot,
            inputs,
            pace=run.pace,
            closing=self._closing and phase is Phase.MEASURE,
        )
        began = self._stopwatch()
        outgoing = self._participant.act(turn, self._inbox.hand_over(self._life.run, turn) if takes else [])
        self._report.turned(self._stopwatch() - began)
        self._turns += 1
        self._gap = self._gap and not gap
        self._ask_for_wake()
        if outgoing:
            self._publish(outgoing, self._t)
        else:
            self._unsaved = True

    def _take_inputs(self, run: Run) -> tuple[Input, ...]:
        taken = self._inlets.take() if self._inlets.waiting else ()
        return tuple(Input(source, run.time_at(at), value) for source, at, value in taken)

    def _ask_for_wake(self) -> None:
        """Notes when the participant wants to act next, whatever its cadence."""
        if not isinstance(self._participant, Wakes):
            return
        assert self._t is not None
        assert self._run is not None
        least = timedelta(seconds=WAKE_LEAST_S * self._run.pace)
        wake_at = self._participant.wake_at(self._t)
        self._wake_at = None if wake_at is None else max(wake_at, self._t + least)

    def _next_due(self, run: Run, t: datetime, limit: datetime | None, now: datetime) -> datetime | None:
        upcoming = [run.t0] if t < run.t0 and (limit is None or run.t0 <= limit) else []
        upcoming += [at for at in (self._schedule.next(limit),) if at is not None]
        if self._wake_at is not None and (limit is None or self._wake_at < limit):
            upcoming.append(self._wake_at)
        machine = [run.machine_time_at(u) for u in upcoming]
        if self._unsaved and self._saved_at is not None:
            machine.append(self._saved_at + timedelta(seconds=SAVE_PERIOD_S))
        if run.ended is not None and not upcoming:
            machine += self._linger(now)
        return min(machine, default=None)

    # ---- the end

    def _linger(self, now: datetime) -> list[datetime]:
        """The run has ended: listens on for what is on its way. Returns the machine time at which that is over."""
        if self.state in (WallState.BEFORE_START, WallState.RUNNING):
            self._progress.on(WallEvent.RUN_ENDED)
        assert self._last_arrival is not None
        closes = self._close(now, self._last_arrival + timedelta(seconds=CLOSE_S))
        if not self._once:
            return closes
        quiet = self._last_arrival + timedelta(seconds=LINGER_S if self._lingers else 0.0)
        if self.state is WallState.LINGERING and now >= quiet:
            self._progress.on(WallEvent.QUIET)
        return [*closes, quiet]

    def _close(self, now: datetime, closes: datetime) -> list[datetime]:
        """Lets who measures close its account, once; what arrives later is measured by a closed one."""
        if self._closing or not self._measures or not self._rollcalled or self._limit is None:
            return []
        if now < closes:
            return [closes]
        self._closing = True
        self._act(Phase.MEASURE, self._limit)
        return []

    @property
    def finished(self) -> bool:
        return self.state is WallState.ENDED

    def finish(self, now: datetime) -> None:
        """The last commit, the checkpoint, state offline. The transport is closed by who opened it."""
        ended = self.finished
        self._inlets.close()
        self._inbox.settle()
        if self._durable and self._run is not None and self._rollcalled:
            t = self._run.time_at(now)
            self._act(Phase.COMMIT, t if self._limit is None else min(t, self._limit))
        self._part(Presence.OFFLINE, None, now)
        if ended:
            # Nothing of this run is left to be done; only the registers outlive it.
            if registers := self.registers:
                self._checkpoint.save({"registers": registers})
            else:
                self._checkpoint.clear()

    def fail(self, reason: str, now: datetime) -> None:
        """Leaves state fault and why."""
        self._inlets.close()
        try:
            self._leave_at_fault(reason, now)
        except BrokerUnreachableError as error:
            LOG.warning("%s cannot say that it fails: %s", self._participant.device, error)

    def _leave_at_fault(self, reason: str, now: datetime) -> None:
        try:
            self._part(Presence.FAULT, reason, now)
        except DiskFullError:  # what has a number is in the checkpoint before it is sent
            fault = self._unnumbered(Presence.FAULT, reason, self._run_time(now))
            self._transport.publish(str(self._state_topic), fault, retain=True)
            self._transport.flush(GOODBYE_S)
            self._progress.on(WallEvent.GOODBYE)

    def step_aside(self) -> None:
        """Another process of this name acts, and its state stands on the broker."""
        self._inlets.close()

    def _part(self, state: Presence, reason: str | None, now: datetime) -> None:
        if self.state is WallState.LEFT:
            return
        if self._progress.shown:
            self._show(state, reason, now)
            if not self._transport.flush(GOODBYE_S):
                LOG.warning("%s leaves with messages unsent", self._participant.device)
        self._progress.on(WallEvent.GOODBYE)

    def _save(self) -> None:
        if self._run is None or self._t is None:
            return
        self._unsaved = False
        if isinstance(self._checkpoint, NoCheckpoint):
            return
        self._checkpoint.save(
            {
                "life": self._life.snapshot(),
                "state": self._participant.snapshot(),
                "t": self._t.isoformat(),
                "turns": self._turns,
                "rollcalled": self._rollcalled,
                "registers": self.registers,
                "lives": self._inbox.lives.snapshot(),
                "silent": self._services.snapshot(),
            }
        )
