"""The message bus as a run loop needs it: one connection with one last will, QoS 1, acknowledgement by hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it came in. ``token`` is the transport's own, for `Transport.acknowledge`."""

    topic: str
    payload: bytes
    retained: bool = False
    """Kept by the broker from before the subscription."""
    token: object = None


@dataclass(frozen=True, slots=True)
class Will:
    """The message that the broker publishes, retained, when this connection breaks without a goodbye."""

    topic: str
    payload: bytes


class Transport(Protocol):
    """Used by one thread. Reconnects by itself, with back-off; publications made meanwhile are kept and sent later."""

    @property
    def connected(self) -> bool:
        """Whether the connection stands, subscriptions included: else nothing can arrive."""
        ...

    def connect(self, subscriptions: Sequence[str], will: Will | None = None) -> None:
        """Returns once the subscriptions stand. Raises BrokerUnreachableError."""
        ...

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """QoS 1. Returns at once; `flush` waits. An empty retained payload deletes what is retained."""
        ...

    def receive(self, timeout_s: float | None) -> Delivery | None:
        """The next message, waiting for it at most so long; None when there was none. Raises MessageRefusedError when
        the broker will not have what was published."""
        ...

    def waker(self) -> Callable[[], None]:
        """Makes a function that any thread may call: a `receive` that waits, or the next one, returns None at once."""
        ...

    def acknowledge(self, delivery: Delivery) -> None:
        """Tells the broker that it need not deliver this message again."""
        ...

    def flush(self, timeout_s: float) -> bool:
        """Waits until the broker has acknowledged every publication; False when time ran out."""
        ...

    def close(self) -> None:
        """Says goodbye (no last will) and releases everything. Safe to call twice."""
        ...


class Send(Protocol):
    """`Transport.publish` alone, for what only speaks."""

    def __call__(self, topic: str, payload: bytes, *, retain: bool) -> None: ...
