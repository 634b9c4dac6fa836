"""The run loop of one participant in lock-step: ticks in, messages and an answer out, whatever the bus loses.

One idea carries it: silence leads to a repeated tick, and a repeated tick makes everyone publish this cycle again, byte
for byte. The participant sees none of that. Rules (numbers in the code):

 10. Ticks of older runs and earlier phases are ignored; a newer run begins a new life.
 11. If the roster lacks my boot, I publish birth and state.
 12. In a newer phase I wait, silently, for everything announced on my subscriptions, and act on exactly that.
 13. Then I checkpoint, then publish, then answer.
 14. At a repeated tick I publish the cycle again, and the answer if I had given it.
 15. At a cycle's first phase the outbox is reset to what I retain.
 16. Messages arise only from acting on a tick; connecting again is no event.
 18. A member that finds that it missed a phase stops with an error.

(17, the lock on a checkpoint, is `runtime.checkpoint`'s; 1 to 9 are the clock's, `services.clock.lockstep`.)
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from broker.transport import Send
from runtime.admission import Belongs, Entry, belongs, entry_into, is_newer, is_older, modes_of
from runtime.checkpoint import CheckpointStore
from runtime.inbox import MemoryInbox
from runtime.life import Life, Sent
from runtime.log_context import RUN
from runtime.outbox import Outbox
from schemas.cycle import Course
from schemas.errors import LocalStateError, RemoteMessageError
from schemas.messages import Done, Phase, Presence, Run, Stamp, State, Tick, TimeMode
from schemas.participant import (
    Inbox,
    Json,
    Outgoing,
    Participant,
    Received,
    Turn,
    Wanted,
    continue_registers,
    greatest_registers,
    lasting_registers,
    own_inbox,
    own_topic,
)
from schemas.topics import Channel, Kind, Topic, matches, topic_filter
from schemas.wire import decode, encode

LOG = logging.getLogger(__name__)

_TOPICS_KNOWN = 65_536
"""More than a site of the largest size has; a stranger who invents topics fills no memory."""

_EARLY = 2_000
"""Messages of a run whose first tick has not come yet are kept, so many at most."""


@dataclass(frozen=True, slots=True)
class _Answered:
    """The newest phase that this member has acted on."""

    n: int
    phase: Phase
    t: datetime

    @property
    def key(self) -> tuple[int, int]:
        return (self.n, self.phase.order)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A phase that was opened, and what is to be here before I act in it."""

    tick: Tick
    wanted: tuple[Wanted, ...]


class Member:
    """A participant under the clock's barrier. Pure but for ``send`` and ``store``: handed messages, it reacts.

    ``make`` builds a fresh participant, for every new life one. One that does not follow lock-step answers no tick.
    ``registers`` [kWh] are those that it had in a life outside this loop; a new life begins with the newest that are
    known (`schemas.participant.lasting_registers`). ``unfinished_wall_run``: a run in wall time that this participant
    took part in and did not see the end of; it is to be entered even if it has ended meanwhile.

    Attributes: ``ended`` once the run that it took part in is over; ``wall_run`` is the site's run while that
    passes in wall time, in which this loop has no part; ``other_runs`` counts messages that were not of its run.
    """

    def __init__(
        self,
        make: Callable[[], Participant],
        store: CheckpointStore,
        send: Send,
        new_boot: Callable[[], str],
        registers: Mapping[str, float] | None = None,
        unfinished_wall_run: str | None = None,
    ) -> None:
        self._make, self._store, self._send, self._new_boot = make, store, send, new_boot
        self._earlier = dict(registers or {})
        self._unfinished_wall_run = unfinished_wall_run
        self.participant = make()
        self._modes = modes_of(self.participant)
        self._early: list[tuple[Received, bytes]] = []
        self._refused: str | None = None
        self._pending: _Pending | None = None
        self._wants = lru_cache(_TOPICS_KNOWN)(self._subscribes)
        """As `_subscribes`; the same topics are announced and delivered in every cycle."""
        self.other_runs = 0
        self.ended = False
        self.wall_run: tuple[str, Run] | None = None
        saved = store.load()
        if saved is None:
            self._begin_life(None)
        else:
            self._resume(saved)

    # -- lives

    def _begin_life(self, run: str | None) -> None:
        """Rule 10. The old participant's state is gone with its boot, but for the registers that outlive it."""
        registers = self.registers
        if run is not None and self._outbox_run() is not None:
            self.participant = self._make()
        continue_registers(self.participant, registers)
        self._outbox = Outbox(Life(self._new_boot(), run))
        RUN.set(run)
        self._take_inbox()
        self._answered: _Answered | None = None
        self._newest = (0, 0, 0)
        self._away = True
        self._pending = None
        self.ended = False
        early, self._early = self._early, []
        for received, payload in early:
            self._keep(received, payload)

    def _outbox_run(self) -> str | None:
        return self._outbox.life.run if hasattr(self, "_outbox") else None

    def _resume(self, saved: Json) -> None:
        """A restart from the checkpoint is nothing but silence."""
        self._outbox = Outbox.restored(saved["outbox"])
        RUN.set(self._outbox.life.run)
        answered = saved["answered"]
        self._answered = answered and _Answered(
            answered["n"], Phase(answered["phase"]), datetime.fromisoformat(answered["t"])
        )
        self._newest = tuple(saved["newest"])
        self._away = saved["away"]
        self.participant.restore(saved["participant"])
        self._take_inbox()
        if isinstance(self._inbox, MemoryInbox):
            self._inbox.restore(saved["inbox"])

    def _take_inbox(self) -> None:
        own = own_inbox(self.participant)
        self._inbox: Inbox = own or MemoryInbox()
        self._is_durable = own is not None

    @property
    def registers(self) -> dict[str, float]:
        """The participant's registers [kWh] that outlive its life."""
        return greatest_registers(self._earlier, lasting_registers(self.participant))

    def _checkpoint(self) -> None:
        answered = self._answered
        self._store.save(
            {
                "outbox": self._outbox.snapshot(),
                "answered": answered and {"n": answered.n, "phase": str(answered.phase), "t": answered.t.isoformat()},
                "newest": self._newest,
                "away": self._away,
                "participant": self.participant.snapshot(),
                "registers": self.registers,
                "inbox": self._inbox.snapshot() if isinstance(self._inbox, MemoryInbox) else None,
            }
        )

    @property
    def run(self) -> str | None:
        return self._outbox.life.run

    @property
    def boot(self) -> str:
        return self._outbox.life.boot

    @property
    def life(self) -> Life:
        return self._outbox.life

    @property
    def t(self) -> datetime | None:
        """The run's time in the newest phase that it acted in; None: in none yet."""
        return None if self._answered is None else self._answered.t

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """The participant's, and the clock's tick and run."""
        clock = (topic_filter(self.participant.site, Kind.CLOCK, channel=c) for c in (Channel.TICK, Channel.RUN))
        return tuple(dict.fromkeys((*self.participant.subscriptions, *clock)))

    # -- messages in

    def deliver(self, topic: str, payload: bytes) -> None:
        """Takes one message from the bus. Raises LocalStateError (rule 18); never for what a peer sent."""
        try:
            parsed = Topic.parse(topic)
            stamp, body = decode(parsed, payload)
        except RemoteMessageError as error:
            if payload:  # an empty one deletes what is retained
                self._inbox.reject(topic, payload, str(error))
            return
        if isinstance(body, Tick):
            if stamp.run is not None:
                self._tick(stamp.run, stamp.boot, body)
            return
        received = Received(parsed, stamp, body)
        if isinstance(body, Run) and stamp.run is not None:
            self._on_run(stamp.run, body)
        if self._wants(topic):
            self._keep(received, payload)
            self._try_pending()

    def flush(self) -> None:
        """After this what was delivered may be acknowledged to the broker."""
        self._inbox.flush()

    def _keep(self, received: Received, payload: bytes) -> None:
        place = belongs(received, TimeMode.LOCKSTEP, self.run)
        run = received.stamp.run
        if place is Belongs.HERE:
            self._inbox.add(received, payload)
        elif self._is_durable and not (run is not None and is_older(run, self.run)):
            self._inbox.add(received, payload)  # it knows by itself which run a message belongs to
        elif place is Belongs.LATER and len(self._early) < _EARLY:
            self._early.append((received, payload))
        else:
            self.other_runs += 1

    def _on_run(self, run: str, body: Run) -> None:
        entry = entry_into(
            run, body, TimeMode.LOCKSTEP, self.run, modes=self._modes, unfinished=self._unfinished_wall_run
        )
        if entry is Entry.SAME and body.ended is not None:
            self.ended = True
        self.wall_run = (run, body) if entry is Entry.OTHER_MODE else None

    # -- ticks

    def _tick(self, run: str, clock_boot: str, tick: Tick) -> None:
        if TimeMode.LOCKSTEP not in self._modes:
            self._refuse_once(run)
            return
        if is_newer(run, self.run):
            self._begin_life(run)
        elif is_older(run, self.run):
            self.other_runs += 1
            return
        if (*tick.key, tick.attempt) < self._newest:
            return  # rule 10, and within a phase: an older attempt may have an older roster
        self._newest = (*tick.key, tick.attempt)
        rostered = tick.roster.get(self.participant.device)
        if rostered != self.boot:
            self._introduce(tick, taken=rostered is not None)
            return
        if isinstance(self._inbox, MemoryInbox):
            self._inbox.forget_strays(list(tick.roster.values()))
        answered = self._answered
        repeated = tick.attempt > 1
        if answered is None or tick.key > answered.key:
            self._pending = _Pending(tick, self._wanted(tick, clock_boot))
            self._try_pending()
            if self._pending is not None and repeated and answered is not None and tick.n == answered.n:
                self._publish(self._outbox.cycle)  # rule 14: others may wait for what I sent in an earlier phase
        elif tick.key == answered.key and repeated:
            self._publish(self._outbox.cycle)
            self._answer(answered)

    def _refuse_once(self, run: str) -> None:
        if run != self._refused:
            self._refused = run
            LOG.warning(
                "%s follows %s time only, and takes no part in the lock-step run %s",
                self.participant.device,
                ", ".join(self._modes),
                run,
            )

    def _introduce(self, tick: Tick, *, taken: bool) -> None:
        """Rule 11. Where another boot has my name the clock decides; I stay silent until it is dropped."""
        self._pending = None
        if taken:
            LOG.warning("%s: the roster has this name under another boot than %s", self.participant.device, self.boot)
            return
        if not self._away or not self._outbox.cycle:
            self._away = True
            self._outbox.begin_cycle()
            self._birth(tick.t)
            self._checkpoint()
        self._publish([sent for sent in self._outbox.cycle if sent.retain])

    def _birth(self, ts: datetime) -> None:
        """Puts birth and state into the outbox, once a life."""
        if not self._outbox.cycle:
            self._outbox.add(Outgoing(own_topic(self.participant, Channel.BIRTH), self.participant.birth()), ts)
            state = State(state=Presence.ONLINE)
            self._outbox.add(Outgoing(own_topic(self.participant, Channel.STATE), state), ts)

    def _try_pending(self) -> None:
        """Rule 12: acts as soon as everything that was announced is here."""
        pending = self._pending
        if pending is not None and not self._inbox.missing(pending.wanted):
            self._pending = None
            self._act(pending.tick, pending.wanted)

    def _wanted(self, tick: Tick, clock_boot: str) -> tuple[Wanted, ...]:
        """Announcements on my subscriptions. A sender that is not in the roster is the clock itself."""
        return tuple(
            Wanted(topic, tick.roster.get(sender, clock_boot), first, last)
            for sender, announcements in sorted(tick.announced.items())
            if sender != self.participant.device
            for topic, first, last in announcements
            if self._wants(topic)
        )

    def _subscribes(self, topic: str) -> bool:
        """Whether a topic is on the participant's subscriptions."""
        return any(matches(pattern, topic) for pattern in self.participant.subscriptions)

    def _act(self, tick: Tick, wanted: tuple[Wanted, ...]) -> None:
        course = Course(tick.t0, tick.t_end, tick.step_s)
        before = self._answered
        followed = None if before is None else course.following(before.n, before.phase) == (tick.n, tick.phase)
        if followed is False and not self._away:
            assert before is not None
            raise LocalStateError(
                f"{self.participant.device}: the clock is at cycle {tick.n} {tick.phase}, this checkpoint at cycle "
                f"{before.n} {before.phase}: a phase was missed, an older checkpoint may have been put back"
            )
        if course.opens(tick.n, tick.phase):
            self._outbox.begin_cycle()
        self._birth(tick.t)
        turn = Turn(
            phase=tick.phase,
            t=tick.t,
            t0=tick.t0,
            t_end=tick.t_end,
            step_s=tick.step_s,
            mode=TimeMode.LOCKSTEP,
            n=tick.n,
            gap=followed is False,
        )
        kept = len(self._outbox.cycle) if before is not None and not self._away else 0
        run = self.run
        assert run is not None
        inbox = self._inbox.take(run, turn, wanted)
        for outgoing in self.participant.act(turn, inbox):
            self._outbox.add(outgoing, tick.t)
        self._answered = _Answered(tick.n, tick.phase, tick.t)
        self._away = False
        self._checkpoint()
        # A repeated tick is answered with the whole cycle; at the first one what is retained is there already.
        self._publish(self._outbox.cycle if tick.attempt > 1 else self._outbox.cycle[kept:])
        self._answer(self._answered)

    # -- messages out

    def _publish(self, messages: list[Sent]) -> None:
        for sent in messages:
            self._send(sent.topic, sent.payload, retain=sent.retain)

    def _answer(self, answered: _Answered) -> None:
        """Numbered by its place in the run, so that a repeated answer is the same message."""
        done = Done(n=answered.n, phase=answered.phase, announced=self._outbox.announced)
        seq = answered.n * len(Phase) + answered.phase.order + 1
        stamp = Stamp(ts=answered.t, run=self.run, boot=self.boot, seq=seq)
        self._send(str(own_topic(self.participant, Channel.DONE)), encode(stamp, done), retain=False)
