"""A broker in memory: retained messages, last wills, persistent sessions, redelivery. For one process, any threads."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from broker.transport import Delivery, Will
from schemas.errors import BrokerUnreachableError
from schemas.topics import matches


@dataclass(slots=True)
class _Mailbox:
    """The broker's session of one client identifier."""

    persistent: bool
    owner: "MemoryTransport | None"
    subscriptions: tuple[str, ...] = ()
    waiting: deque[Delivery] = field(default_factory=deque)
    unacknowledged: dict[int, Delivery] = field(default_factory=dict)


class MemoryBroker:
    """Holds what a broker holds. Messages reach their subscribers in the order of publication."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._mailboxes: dict[str, _Mailbox] = {}
        self._wills: dict[str, Will] = {}
        self._retained: dict[str, bytes] = {}
        self._token = 0

    def retained(self, topic: str) -> bytes | None:
        """The retained message that a new subscriber of this topic would get."""
        with self._changed:
            return self._retained.get(topic)

    def _join(self, client: "MemoryTransport", subscriptions: Sequence[str], will: Will | None) -> None:
        with self._changed:
            name = client.client_id
            before = self._mailboxes.get(name)
            if before is not None and before.owner is not None:
                self._part(name, before.owner, goodbye=False)  # a second client of one name ends the first
            before = self._mailboxes.get(name)
            box = before if before is not None and client.persistent else _Mailbox(client.persistent, None)
            again = list(box.unacknowledged.values())
            box.unacknowledged.clear()
            box.waiting.extendleft(reversed(again))
            box.owner, box.subscriptions = client, tuple(subscriptions)
            self._mailboxes[name] = box
            if will is not None:
                self._wills[name] = will
            for topic, payload in self._retained.items():
                if any(matches(pattern, topic) for pattern in box.subscriptions):
                    self._put(box, Delivery(topic, payload, retained=True))
            self._changed.notify_all()

    def _part(self, name: str, client: "MemoryTransport", *, goodbye: bool) -> None:
        with self._changed:
            box = self._mailboxes.get(name)
            if box is None or box.owner is not client:
                return
            box.owner = None
            if not box.persistent:
                del self._mailboxes[name]
            will = self._wills.pop(name, None)
            if will is not None and not goodbye:
                self._publish(will.topic, will.payload, retain=True)
            self._changed.notify_all()

    def _publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        with self._changed:
            if retain and payload:
                self._retained[topic] = payload
            elif retain:
                self._retained.pop(topic, None)
            for box in self._mailboxes.values():
                if any(matches(pattern, topic) for pattern in box.subscriptions):
                    self._put(box, Delivery(topic, payload))
            self._changed.notify_all()

    def _put(self, box: _Mailbox, delivery: Delivery) -> None:
        self._token += 1
        box.waiting.append(replace(delivery, token=self._token))

    def _take(self, client: "MemoryTransport", timeout_s: float | None) -> Delivery | None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while True:
                box = self._box_of(client)
                if box.waiting:
                    delivery = box.waiting.popleft()
                    assert isinstance(delivery.token, int)
                    box.unacknowledged[delivery.token] = delivery
                    return delivery
                left = None if deadline is None else deadline - time.monotonic()
                if client.woken or (left is not None and left <= 0):
                    client.woken = False
                    return None
                self._changed.wait(left)

    def _wake(self, client: "MemoryTransport") -> None:
        with self._changed:
            client.woken = True
            self._changed.notify_all()

    def _acknowledge(self, client: "MemoryTransport", delivery: Delivery) -> None:
        with self._changed:
            assert isinstance(delivery.token, int)
            self._box_of(client).unacknowledged.pop(delivery.token, None)

    def _owns(self, client: "MemoryTransport") -> bool:
        box = self._mailboxes.get(client.client_id)
        return box is not None and box.owner is client

    def _box_of(self, client: "MemoryTransport") -> _Mailbox:
        box = self._mailboxes.get(client.client_id)
        if box is None or box.owner is not client:
            raise BrokerUnreachableError(f"{client.client_id} is not connected to the broker in memory")
        return box


class MemoryTransport:
    """`broker.transport.Transport` to a `MemoryBroker`. A client that was displaced by another of its name is done."""

    def __init__(self, broker: MemoryBroker, client_id: str, *, persistent: bool = False) -> None:
        self._broker = broker
        self.client_id = client_id
        self.persistent = persistent
        self.woken = False

    @property
    def connected(self) -> bool:
        return self._broker._owns(self)

    def connect(self, subscriptions: Sequence[str], will: Will | None = None) -> None:
        self._broker._join(self, subscriptions, will)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Raises BrokerUnreachableError when not connected."""
        with self._broker._changed:
            self._broker._box_of(self)
            self._broker._publish(topic, payload, retain=retain)

    def receive(self, timeout_s: float | None) -> Delivery | None:
        """Raises BrokerUnreachableError when not connected."""
        return self._broker._take(self, timeout_s)

    def waker(self) -> Callable[[], None]:
        return lambda: self._broker._wake(self)

    def acknowledge(self, delivery: Delivery) -> None:
        self._broker._acknowledge(self, delivery)

    def flush(self, timeout_s: float) -> bool:
        """Publications have reached the broker when `publish` returns."""
        return True

    def close(self) -> None:
        self._broker._part(self.client_id, self, goodbye=True)

    def drop(self) -> None:
        """The connection breaks: the last will is published, and `connect` has to be called anew."""
        self._broker._part(self.client_id, self, goodbye=False)
