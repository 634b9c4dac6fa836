"""What arrives in wall time, until it is handed to the participant or stored."""

from collections import deque
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from broker.transport import Delivery, Transport
from runtime.admission import Belongs, belongs
from runtime.sender_lives import Seen, SenderLives
from schemas.messages import BootId, RunId, TimeMode
from schemas.participant import Inbox, Received, Turn
from schemas.topics import RETAINED, is_forwarded, matches

BATCH, BATCH_BYTES = 512, 4 * 2**20
"""At most so many messages, and bytes of them, are made durable and acknowledged together."""
MANY = 8
"""So many are when nothing more arrives: a broker may have no more in flight to us (Moquette 10, Mosquitto 20)."""
EARLY_MOST = 1000
"""Messages of a run whose clock was not heard yet, kept for when it is."""


class Ignored(NamedTuple):
    """A message that the participant is not handed, and why."""

    delivery: Delivery
    reason: str


class WallInbox:
    """Sorts what arrives: for this run, for one that may come, for nobody here. Acknowledges what is safe.

    With a durable inbox of the participant's own everything that may matter goes there at once, and is acknowledged
    after it was flushed. Everyone else's messages are kept in memory, and acknowledged at once: a broker that has 20
    unacknowledged messages in flight to us sends no more, not even the retained run that we wait for.

    ``repeated`` counts messages that were there already, or are older than one that was.
    """

    def __init__(self, transport: Transport, subscriptions: tuple[str, ...], durable: Inbox | None) -> None:
        self._transport = transport
        self._subscriptions = subscriptions
        self._durable = durable
        self._waiting: list[Received] = []
        self.lives = SenderLives()
        self.begun_anew: list[Received] = []
        """First messages of senders that have begun to count anew, since this was last emptied."""
        self._early: deque[tuple[Delivery, Received]] = deque()
        self._unsettled: list[Delivery] = []
        self._unsettled_bytes = 0
        self.arrived = False
        """Whether something came that was not handed over yet."""
        self.repeated = 0

    def clear(self) -> None:
        """A new life: what waits is of the one before."""
        self._waiting.clear()
        self.arrived = False

    def take_in(self, delivery: Delivery, received: Received, run: RunId | None, *, entered: bool) -> Ignored | None:
        """Takes one message in. Returns what is ignored.

        ``run``: the participant's; ``entered``: its clock was heard.
        """
        if not any(matches(pattern, delivery.topic) for pattern in self._subscriptions):
            self._transport.acknowledge(delivery)
            return None
        place = belongs(received, TimeMode.WALL, run, entered=entered)
        if place is Belongs.ELSEWHERE:
            self._transport.acknowledge(delivery)
            return Ignored(delivery, f"of run {received.stamp.run}; this participant's is {run}")
        if self._durable is not None:
            judged = self.lives.judge(received, delivery.payload, late=is_forwarded(delivery.topic))
            self._note(judged.seen, judged.received)
            self._durable.add(judged.received, delivery.payload)
            self.arrived = True
            self.settle_later(delivery)
            return None
        self._transport.acknowledge(delivery)
        if place is Belongs.LATER:
            self._early.append((delivery, received))
            if len(self._early) > EARLY_MOST:
                return Ignored(self._early.popleft()[0], "too many messages of a run whose clock was not heard")
            return None
        self._add(received, delivery.payload)
        return None

    def _add(self, received: Received, payload: bytes) -> None:
        judged = self.lives.judge(received, payload)
        self._note(judged.seen, judged.received)
        if judged.seen is Seen.REPEATED and received.topic.channel not in RETAINED:
            self.repeated += 1
            return
        self.arrived = True
        self._waiting += [judged.received] if judged.birth is None else [judged.birth, judged.received]

    def _note(self, seen: Seen, received: Received) -> None:
        if seen is Seen.NEW_LIFE:
            self.begun_anew.append(received)

    def replay_early(self, run: RunId | None, now: datetime) -> list[Ignored]:
        """The clock was heard: takes in what had come before it. Returns what is of another run all the same.

        ``now``: the run's time; it counts as that of the arrival.
        """
        early, self._early = self._early, deque()
        ignored = []
        for delivery, received in early:
            place = belongs(received, TimeMode.WALL, run)
            if place is Belongs.HERE:
                self._add(replace(received, arrived=now), delivery.payload)
            elif place is Belongs.LATER:
                self._early.append((delivery, received))
            else:
                ignored.append(Ignored(delivery, f"of run {received.stamp.run}; this participant's is {run}"))
        return ignored

    def reject(self, delivery: Delivery, reason: str) -> None:
        """Takes a message that is not of the contract."""
        if self._durable is None:
            self._transport.acknowledge(delivery)
        else:
            self._durable.reject(delivery.topic, delivery.payload, reason)
            self.settle_later(delivery)

    def settle_later(self, delivery: Delivery) -> None:
        self._unsettled.append(delivery)
        self._unsettled_bytes += len(delivery.payload)
        if len(self._unsettled) >= BATCH or self._unsettled_bytes >= BATCH_BYTES:
            self.settle()

    def settle_if_many(self) -> None:
        """When nothing more has arrived; fewer than `MANY` wait for the participant's next turn."""
        if len(self._unsettled) >= MANY:
            self.settle()

    def settle(self) -> None:
        """Makes durable what arrived, then lets the broker forget it."""
        if self._durable is None or not self._unsettled:
            return
        self._durable.flush()
        settled, self._unsettled = self._unsettled, []
        self._unsettled_bytes = 0
        for delivery in settled:
            self._transport.acknowledge(delivery)

    def hand_over(self, run: RunId, turn: Turn) -> list[Received]:
        """All that waits for the participant, sorted by topic, life and number.

        Of several lives of a sender the one that was heard first comes first: the last birth is that of who lives now.
        """
        self.arrived = False
        if self._durable is not None:
            return self._durable.take(run, turn, ())
        handed, self._waiting = self._waiting, []
        lives: dict[tuple[str, BootId], int] = {}
        for place, received in enumerate(handed):
            lives.setdefault((str(received.topic), received.stamp.boot), place)
        return sorted(handed, key=lambda r: (str(r.topic), lives[str(r.topic), r.stamp.boot], r.stamp.seq))
