"""The run loop of a whole site in memory: the phases of lock-step, with nothing lost and nothing to recover.

Every participant is handed exactly what `broker.lockstep` would hand it, so the numbers are the same to the last bit.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime

from broker.inbox import MemoryInbox
from schemas.cycle import Course
from schemas.messages import Phase, Presence, Session, Stamp, State, TimeMode
from schemas.participant import Inbox, Outgoing, Participant, Received, Turn, Wanted, own_topic
from schemas.topics import Channel, Topic, matches
from schemas.wire import encode


class _Seat:
    """A participant with its inbox and its numbering of messages."""

    def __init__(self, participant: Participant, boot: str) -> None:
        self.participant = participant
        own: Inbox | None = getattr(participant, "inbox", None)
        self.inbox: Inbox = own or MemoryInbox()
        self.keeps_bytes = own is not None
        self.boot = boot
        self.seen = 0
        self.seqs: dict[str, int] = defaultdict(int)
        self._matching: dict[str, bool] = {}

    def wants(self, topic: str) -> bool:
        if topic not in self._matching:
            self._matching[topic] = any(matches(pattern, topic) for pattern in self.participant.subscriptions)
        return self._matching[topic]


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
    cycle: list[Received] = []
    for n, phase in course:
        turn = Turn(phase, course.time(n), course.t0, course.t_end, course.step_s, TimeMode.LOCKSTEP, n)
        if course.opens(n, phase):
            cycle = []
            for seat in seats:
                seat.seen = 0
        if phase is Phase.ROLLCALL:
            topic, body = session
            cycle.append(Received(topic, Stamp(ts=turn.t, run=run, boot=f"{lives}-0", seq=1), body))
        sent: list[Received] = []
        for seat in seats:
            outgoing = _introduction(seat.participant) if phase is Phase.ROLLCALL else []
            outgoing += seat.participant.act(turn, _hand_over(seat, cycle, run, turn))
            for message in outgoing:
                seat.seqs[str(message.topic)] += 1
                stamp = Stamp(ts=turn.t, run=run, boot=seat.boot, seq=seat.seqs[str(message.topic)])
                sent.append(Received(message.topic, stamp, message.body))
        for received in sent:
            if on_message is not None:
                on_message(received)
        cycle += sent
        if on_phase is not None:
            on_phase(n, phase, turn.t)


def _introduction(participant: Participant) -> list[Outgoing]:
    return [
        Outgoing(own_topic(participant, Channel.BIRTH), participant.birth()),
        Outgoing(own_topic(participant, Channel.STATE), State(state=Presence.ONLINE)),
    ]


def _hand_over(seat: _Seat, cycle: Sequence[Received], run: str, turn: Turn) -> list[Received]:
    """What was sent in earlier phases of this cycle on the seat's subscriptions, each message once."""
    wanted = []
    for place, received in enumerate(cycle):
        topic = str(received.topic)
        if received.stamp.boot == seat.boot or not seat.wants(topic):
            continue
        if place >= seat.seen:
            seat.inbox.add(received, encode(received.stamp, received.body) if seat.keeps_bytes else b"")
        wanted.append(Wanted(topic, received.stamp.boot, received.stamp.seq, received.stamp.seq))
    seat.seen = len(cycle)
    seat.inbox.flush()
    return seat.inbox.take(run, turn, wanted)
