"""A bus in virtual time that loses, repeats and delays messages, drops connections and kills who uses it.

Everything random comes from one seeded generator, so that a seed is a whole story.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from broker.transport import Delivery, Will
from runtime.checkpoint import MemoryCheckpoint
from schemas.participant import Json
from schemas.topics import matches


class Killed(BaseException):
    """The process dies here. Not an Exception: no code of the product may catch it."""


@dataclass
class Faults:
    """How bad it is. Probabilities per message and receiver, or per effect."""

    loss: float = 0.0
    repeat: float = 0.0
    delay: float = 0.0
    longest_delay_s: float = 5.0
    disconnect: float = 0.0
    kill: float = 0.0
    kills_left: int = 0


@dataclass(order=True)
class _Event:
    at: float
    order: int
    client: "ChaosTransport" = field(compare=False)
    delivery: Delivery = field(compare=False)


class ChaosBus:
    def __init__(self, seed: int, faults: Faults) -> None:
        self.random = random.Random(seed)
        self.faults = faults
        self.now = 0.0
        self.retained: dict[str, bytes] = {}
        self.sent = 0
        self._events: list[_Event] = []
        self._order = itertools.count()
        self.clients: list[ChaosTransport] = []
        self._strays: list[tuple[float, int, str, bytes]] = []

    def publish_at(self, at: float, topic: str, payload: bytes) -> None:
        """A message from nowhere: the leftover of another time, or a ghost."""
        heapq.heappush(self._strays, (at, next(self._order), topic, payload))

    def stray_times(self) -> list[float]:
        return [self._strays[0][0]] if self._strays else []

    def release_strays(self) -> None:
        while self._strays and self._strays[0][0] <= self.now:
            _, _, topic, payload = heapq.heappop(self._strays)
            self.publish(topic, payload, retain=False)

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        self.sent += 1
        if retain:
            self.retained[topic] = payload
        for client in self.clients:
            if any(matches(pattern, topic) for pattern in client.subscriptions):
                self._toss(client, Delivery(topic, payload))

    def _toss(self, client: "ChaosTransport", delivery: Delivery) -> None:
        copies = 1
        if self.random.random() < self.faults.loss:
            copies = 0
        elif self.random.random() < self.faults.repeat:
            copies = 2
        for _ in range(copies):
            late = self.random.random() < self.faults.delay
            delay = self.random.uniform(0, self.faults.longest_delay_s) if late else self.random.uniform(0, 0.01)
            heapq.heappush(self._events, _Event(self.now + delay, next(self._order), client, delivery))

    def connect(self, client: "ChaosTransport") -> None:
        for topic, payload in sorted(self.retained.items()):
            if any(matches(pattern, topic) for pattern in client.subscriptions):
                self._toss(client, Delivery(topic, payload, retained=True))

    def disconnect(self, client: "ChaosTransport") -> None:
        """What was in flight to it is gone; amqtt really does that."""
        client.queue.clear()
        self._events = [event for event in self._events if event.client is not client]
        heapq.heapify(self._events)

    def next_at(self) -> float | None:
        return self._events[0].at if self._events else None

    def deliver_next(self) -> "ChaosTransport":
        event = heapq.heappop(self._events)
        self.now = max(self.now, event.at)
        event.client.queue.append(event.delivery)
        return event.client

    def effect(self, name: str) -> None:
        """A moment at which a process can die."""
        del name
        if self.faults.kills_left and self.random.random() < self.faults.kill:
            self.faults.kills_left -= 1
            raise Killed


class ChaosTransport:
    """One connection of one process; implements `broker.transport.Transport`."""

    def __init__(self, bus: ChaosBus, *, mortal: bool = True) -> None:
        self._bus = bus
        self._mortal = mortal
        self.queue: deque[Delivery] = deque()
        self.subscriptions: tuple[str, ...] = ()
        self.acknowledged = 0

    def connect(self, subscriptions: Sequence[str], will: Will | None = None) -> None:
        del will
        self.subscriptions = tuple(subscriptions)
        self._bus.clients.append(self)
        self._bus.connect(self)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if self._mortal:
            self._bus.effect("before publish")
        self._bus.publish(topic, payload, retain=retain)
        if self._mortal:
            self._bus.effect("after publish")
        if self._bus.random.random() < self._bus.faults.disconnect:
            self._bus.disconnect(self)
            self._bus.connect(self)

    def receive(self, timeout_s: float | None) -> Delivery | None:
        del timeout_s
        return self.queue.popleft() if self.queue else None

    def waker(self) -> Callable[[], None]:
        return lambda: None

    def acknowledge(self, delivery: Delivery) -> None:
        del delivery
        self.acknowledged += 1
        if self._mortal:
            self._bus.effect("after acknowledge")

    def flush(self, timeout_s: float) -> bool:
        del timeout_s
        return True

    def close(self) -> None:
        if self in self._bus.clients:
            self._bus.clients.remove(self)
            self._bus.disconnect(self)


class MortalCheckpoint(MemoryCheckpoint):
    """A checkpoint whose owner may die just before or just after it is written."""

    def __init__(self, bus: ChaosBus) -> None:
        super().__init__()
        self._bus = bus

    def save(self, value: Json) -> None:
        self._bus.effect("before checkpoint")
        super().save(value)
        self._bus.effect("after checkpoint")
