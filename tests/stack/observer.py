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

SITE = "fit-g2v"


@dataclass(frozen=True)
class Message:
    """``retained``: it was told before the observer came."""

    topic: Topic
    stamp: Stamp
    body: Body
    retained: bool


class Observer:
    """Raises BrokerUnreachableError when it is not let in."""

    def __init__(self, address: BrokerAddress, credentials: Credentials) -> None:
        self._transport = MqttTransport(address, f"{SITE}.observer", credentials)
        self._transport.connect([everything(SITE)])

    def messages(self, during_s: float) -> list[Message]:
        """Everything that comes in so long."""
        deadline = time.monotonic() + during_s
        found = []
        while (left := deadline - time.monotonic()) > 0:
            if (message := self._next(left)) is not None:
                found.append(message)
        return found

    def until(self, is_it: Callable[[Message], bool], what: str, patience_s: float = PATIENCE_S) -> Message:
        """The first message of this kind from now on."""
        deadline = time.monotonic() + patience_s
        while (left := deadline - time.monotonic()) > 0:
            message = self._next(left)
            if message is not None and is_it(message):
                return message
        raise AssertionError(f"not within {patience_s:g} s: {what}")

    def close(self) -> None:
        self._transport.close()

    def _next(self, within_s: float) -> Message | None:
        delivery = self._transport.receive(within_s)
        if delivery is None or not delivery.payload:
            return None
        self._transport.acknowledge(delivery)
        topic = Topic.parse(delivery.topic)
        return Message(topic, *decode(topic, delivery.payload), delivery.retained)
