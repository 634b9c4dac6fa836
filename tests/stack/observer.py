"""A client outside the stack that sees everything on the bus."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from broker.address import BrokerAddress, Credentials
from broker.mqtt import MqttTransport
from schemas.messages import Body, Stamp
from schemas.topics import Topic, everything
from schemas.wire import decode
from tests.stack.stack import PATIENCE_S


@dataclass(frozen=True)
class Message:
    """``retained``: it was told before the observer came."""

    topic: Topic
    stamp: Stamp
    body: Body
    retained: bool


class Observer:
    """Raises BrokerUnreachableError when it is not let in."""

    def __init__(self, address: BrokerAddress, credentials: Credentials, site: str) -> None:
        self._transport = MqttTransport(address, f"{site}.observer", credentials)
        self._transport.connect([everything(site)])

    def until(self, is_it: Callable[[Message], bool], what: str, patience_s: float = PATIENCE_S) -> Message:
        """The first message of this kind that was not looked at before."""
        return self.upto(is_it, what, patience_s)[-1]

    def upto(self, is_it: Callable[[Message], bool], what: str, patience_s: float = PATIENCE_S) -> list[Message]:
        """All messages up to it."""
        found: list[Message] = []
        deadline = time.monotonic() + patience_s
        while (left := deadline - time.monotonic()) > 0:
            message = self._next(left)
            if message is None:
                continue
            found.append(message)
            if is_it(message):
                return found
        raise AssertionError(f"not within {patience_s:g} s: {what}")

    def waiting(self) -> list[Message]:
        """What has come and was not looked at."""
        found = []
        while (message := self._next(0.0)) is not None:
            found.append(message)
        return found

    def close(self) -> None:
        self._transport.close()

    def _next(self, within_s: float) -> Message | None:
        delivery = self._transport.receive(within_s)
        if delivery is None or not delivery.payload:
            return None
        self._transport.acknowledge(delivery)
        topic = Topic.parse(delivery.topic)
        return Message(topic, *decode(topic, delivery.payload), delivery.retained)
