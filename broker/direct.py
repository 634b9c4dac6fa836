"""The run loop of a whole site in memory: the phases of lock-step, with nothing lost and nothing to recover.

Every participant is handed exactly what `broker.lockstep` would hand it, so the numbers are the same to the last bit.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime

from schemas.cycle import Course
from schemas.messages import Phase, Presence, Session, Stamp, State, TimeMode
from schemas.participant import Inbox, Outgoing, Participant, Received, Turn, Wanted, own_topic
from schemas.topics import Channel, Topic, matches
from schemas.wire import encode


class _Seat:
    """A participant with its inbox and its numbering of messages."""

    def __init__(self, participant: Participant, boot: str) -> None:
        self.participant = participant
        self.inbox: Inbox | None = getattr(participant, "inbox", None)
        """Its own, if it keeps one. The others are handed what is new to them: nothing is lost or repeated here."""
        self.boot = boot
        self.seen = 0
        """So many messages of the cycle were handed over."""
        self.seqs: dict[str, int] = defaultdict(int)
        self._matching: dict[str, bool] = {}

    def wants(self, topic: str) -> bool:
        wanted = self._matching.get(topic)
        if wanted is None:
            wanted = any(matches(pattern, topic) for pattern in self.participant.subscriptions)
            self._matching[topic] = wanted
        return wanted


_Sent = tuple[str, Received]
"""A message and its topic as text, which is built once."""


def run_direct(
    participants: Sequence[Participant],
    course: Course,
    run: str,
    session: tuple[Topic, Session],
    on_phase: Callable[[int, Phase, datetime], None] | None = None,
    on_message: Callable[[Received], None] | None = None,
) -> None:
    """Runs a course from its roll call to its closing commit.

    ``session``: the clock's message and its topic, recorded as over a broker. ``on_phase`` is told what was done,
    ``on_message`` of every message that was sent. Raises what a participant raises.
    """
    lives = run.replace(".", "").replace("Z", "")  # no other run has these boots
    ordered = sorted(participants, key=lambda p: p.device)
    seats = [_Seat(participant, f"{lives}-{place}") for place, participant in enumerate(ordered, 1)]
    texts: dict[Topic, str] = {}
    cycle: list[_Sent] = []
    for n, phase in course:
        turn = Turn(phase, course.time(n), course.t0, course.t_end, course.step_s, TimeMode.LOCKSTEP, n)
        if course.opens(n, phase):
            cycle = []
            for seat in seats:
                seat.seen = 0
        if phase is Phase.ROLLCALL:
            topic, body = session
            stamp = Stamp(ts=turn.t, run=run, boot=f"{lives}-0", seq=1)
            cycle.append((str(topic), Received(topic, stamp, body)))
        sent: list[_Sent] = []
        for seat in seats:
            outgoing = _introduction(seat.participant) if phase is Phase.ROLLCALL else []
            outgoing += seat.participant.act(turn, _hand_over(seat, cycle, run, turn))
            for message in outgoing:
                text = texts.get(message.topic) or texts.setdefault(message.topic, str(message.topic))
                seat.seqs[text] += 1
                stamp = Stamp(ts=turn.t, run=run, boot=seat.boot, seq=seat.seqs[text])
                sent.append((text, Received(message.topic, stamp, message.body)))
        if on_message is not None:
            for _, received in sent:
                on_message(received)
        cycle += sent
        if on_phase is not None:
            on_phase(n, phase, turn.t)


def _introduction(participant: Participant) -> list[Outgoing]:
    return [
        Outgoing(own_topic(participant, Channel.BIRTH), participant.birth()),
        Outgoing(own_topic(participant, Channel.STATE), State(state=Presence.ONLINE)),
    ]


def _hand_over(seat: _Seat, cycle: Sequence[_Sent], run: str, turn: Turn) -> list[Received]:
    """What was sent in earlier phases of this cycle on the seat's subscriptions, each message once."""
    if seat.inbox is not None:
        return _through_inbox(seat, seat.inbox, cycle, run, turn)
    new = [
        (text, received)
        for text, received in cycle[seat.seen :]
        if seat.wants(text) and received.stamp.boot != seat.boot
    ]
    seat.seen = len(cycle)
    new.sort(key=lambda sent: (sent[0], sent[1].stamp.boot, sent[1].stamp.seq))
    return [received for _, received in new]


def _through_inbox(seat: _Seat, inbox: Inbox, cycle: Sequence[_Sent], run: str, turn: Turn) -> list[Received]:
    wanted = []
    for place, (text, received) in enumerate(cycle):
        if received.stamp.boot == seat.boot or not seat.wants(text):
            continue
        if place >= seat.seen:
            inbox.add(received, encode(received.stamp, received.body))
        wanted.append(Wanted(text, received.stamp.boot, received.stamp.seq, received.stamp.seq))
    seat.seen = len(cycle)
    inbox.flush()
    return inbox.take(run, turn, wanted)
