"""The run loop of a whole site in memory: the phases of lock-step, with nothing lost and nothing to recover.

Every participant is handed exactly what `runtime.lockstep` would hand it, so the numbers are the same to the last bit.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from runtime.admission import check_follows_lockstep
from runtime.life import Life
from schemas.cycle import Course
from schemas.messages import Phase, Presence, Run, Stamp, State, TimeMode
from schemas.participant import Inbox, Json, Outgoing, Participant, Received, Turn, Wanted, own_inbox, own_topic
from schemas.topics import Channel, Topic, matches
from schemas.wire import encode


class _Seat:
    """A participant with what waits for it and its numbering of messages."""

    def __init__(self, participant: Participant, boot: str, run: str) -> None:
        self.participant = participant
        self.inbox = own_inbox(participant)
        """Its own, if it keeps one. The others are handed what waits: nothing is lost or repeated here."""
        self.life = Life(boot, run)
        self.waiting: list[_Sent] = []
        self.wanted: list[Wanted] = []
        """Announcements of this cycle, for a seat with an inbox of its own."""

    def wants(self, topic: str) -> bool:
        return any(matches(pattern, topic) for pattern in self.participant.subscriptions)

    def hand_over(self, run: str, turn: Turn) -> list[Received]:
        """Messages of earlier phases of this cycle on the subscriptions, each once."""
        if not self.waiting and self.inbox is None:
            return []  # as in most phases
        waiting, self.waiting = self.waiting, []
        if self.inbox is not None:
            return self._through_inbox(self.inbox, waiting, run, turn)
        waiting.sort()
        return [sent.received for sent in waiting]

    def _through_inbox(self, inbox: Inbox, waiting: Sequence["_Sent"], run: str, turn: Turn) -> list[Received]:
        for sent in waiting:
            inbox.add(sent.received, encode(sent.received.stamp, sent.received.body))
            self.wanted.append(Wanted(sent.text, sent.boot, sent.seq, sent.seq))
        inbox.flush()
        return inbox.take(run, turn, self.wanted)


class _Sent(NamedTuple):
    """A message behind what it is sorted by: its topic as text, which is built once, and its numbering. No two of a
    cycle share these."""

    text: str
    boot: str
    seq: int
    received: Received


class _Exchange:
    """Who gets what: each message waits at every other seat that subscribes to its topic."""

    def __init__(self, seats: Sequence[_Seat]) -> None:
        self._seats = seats
        self._texts: dict[Topic, str] = {}
        self._takers: dict[str, list[_Seat]] = {}

    def text(self, topic: Topic) -> str:
        return self._texts.get(topic) or self._texts.setdefault(topic, str(topic))

    def deliver(self, sent: _Sent) -> None:
        takers = self._takers.get(sent.text)
        if takers is None:
            takers = self._takers[sent.text] = [seat for seat in self._seats if seat.wants(sent.text)]
        for seat in takers:
            if sent.boot != seat.life.boot:
                seat.waiting.append(sent)


class InMemoryRun:
    """A run that is carried on cycle by cycle, and may be left and taken up again between two cycles.

    ``announcement``: the clock's message about the run, and its topic, recorded as over a broker. ``on_phase`` is
    called after each phase, ``on_message`` with every message that was sent. Raises LocalStateError for a participant
    that does not follow lock-step.
    """

    def __init__(
        self,
        participants: Sequence[Participant],
        course: Course,
        run: str,
        announcement: tuple[Topic, Run],
        on_phase: Callable[[int, Phase, datetime], None] | None = None,
        on_message: Callable[[Received], None] | None = None,
    ) -> None:
        self._lives = run.replace(".", "").replace("Z", "")  # no other run has these boots
        for participant in participants:
            check_follows_lockstep(participant)
        ordered = sorted(participants, key=lambda p: p.device)
        self._seats = [
            _Seat(participant, f"{self._lives}-{place}", run) for place, participant in enumerate(ordered, 1)
        ]
        self._exchange = _Exchange(self._seats)
        self._course, self._run, self._announcement = course, run, announcement
        self._on_phase, self._on_message = on_phase, on_message
        self._next = 0
        """The cycle that comes next."""

    def advance(self, last: int) -> None:
        """Carries on through cycle ``last``. Raises what a participant raises."""
        for n in range(self._next, last + 1):
            for phase in self._course.phases(n):
                self._phase(n, phase)
            self._next = n + 1

    def snapshot(self) -> Json:
        """The state between two cycles, when no message waits: `restore` goes on to the last bit."""
        return {
            "next": self._next,
            "members": {
                seat.participant.device: {"seqs": seat.life.seqs, "state": seat.participant.snapshot()}
                for seat in self._seats
            },
        }

    def restore(self, state: Json) -> None:
        """Goes on where another run of the same participants, course and identifier was left."""
        self._next = state["next"]
        for seat in self._seats:
            member = state["members"][seat.participant.device]
            seat.life.seqs = dict(member["seqs"])
            seat.participant.restore(member["state"])

    def _phase(self, n: int, phase: Phase) -> None:
        course, run, seats, exchange = self._course, self._run, self._seats, self._exchange
        turn = Turn(phase, course.time(n), course.t0, course.t_end, course.step_s, TimeMode.LOCKSTEP, n)
        if course.opens(n, phase):
            for seat in seats:
                # What came after the last phase is of a cycle that is over.
                seat.waiting, seat.wanted = [], []
        if phase is Phase.ROLLCALL:
            topic, body = self._announcement
            stamp = Stamp(ts=turn.t, run=run, boot=f"{self._lives}-0", seq=1)
            exchange.deliver(_Sent(exchange.text(topic), stamp.boot, stamp.seq, Received(topic, stamp, body)))
        sent: list[_Sent] = []
        for seat in seats:
            outgoing = _introduction(seat.participant) if phase is Phase.ROLLCALL else []
            outgoing += seat.participant.act(turn, seat.hand_over(run, turn))
            for message in outgoing:
                text = exchange.text(message.topic)
                stamp = seat.life.stamp(text, turn.t)
                sent.append(_Sent(text, stamp.boot, stamp.seq, Received(message.topic, stamp, message.body)))
        for item in sent:
            exchange.deliver(item)
            if self._on_message is not None:
                self._on_message(item.received)
        if self._on_phase is not None:
            self._on_phase(n, phase, turn.t)


def run_direct(
    participants: Sequence[Participant],
    course: Course,
    run: str,
    announcement: tuple[Topic, Run],
    on_phase: Callable[[int, Phase, datetime], None] | None = None,
    on_message: Callable[[Received], None] | None = None,
) -> None:
    """Runs a course from its roll call to its closing commit, as an `InMemoryRun` in one go."""
    InMemoryRun(participants, course, run, announcement, on_phase, on_message).advance(course.last_cycle)


def _introduction(participant: Participant) -> list[Outgoing]:
    return [
        Outgoing(own_topic(participant, Channel.BIRTH), participant.birth()),
        Outgoing(own_topic(participant, Channel.STATE), State(state=Presence.ONLINE)),
    ]
