"""Moves messages from a transport into a lock-step member or the clock, and acknowledges them when they are safe."""

from collections.abc import Callable
from typing import Protocol

from broker.transport import Delivery, Transport
from runtime.lockstep import Member
from schemas.errors import RemoteMessageError
from schemas.messages import Body, Stamp
from schemas.topics import Channel, Topic, topic_filter
from schemas.wire import decode

BATCH = 16
"""Acknowledged together; less than the 20 messages that Mosquitto keeps in flight by default."""


class Pump:
    """A message counts as handled once the member's inbox has flushed it: for the recorder, once it is on disk."""

    def __init__(self, transport: Transport, member: Member) -> None:
        self._transport, self._member = transport, member
        self._unacknowledged: list[Delivery] = []

    def poll(self, timeout_s: float) -> bool:
        """Handles one message, waiting for it at most so long. False: there was none."""
        delivery = self._transport.receive(0.0)
        if delivery is None:
            self._settle()
            delivery = self._transport.receive(timeout_s) if timeout_s > 0 else None
            if delivery is None:
                return False
        self._member.deliver(delivery.topic, delivery.payload)
        self._unacknowledged.append(delivery)
        if len(self._unacknowledged) >= BATCH:
            self._settle()
        return True

    def _settle(self) -> None:
        if self._unacknowledged:
            self._member.flush()
            settled, self._unacknowledged = self._unacknowledged, []
            for delivery in settled:
                self._transport.acknowledge(delivery)


class Ticking(Protocol):
    """The clock as its pump sees it: `services.clock.lockstep.LockstepClock`."""

    due: float

    def on_message(self, topic: Topic, stamp: Stamp, body: Body, now: float) -> None: ...

    def on_time(self, now: float) -> None: ...


class ClockPump:
    """Moves births and answers into the clock and calls it when it is due. ``now`` is a monotonic time [s]."""

    def __init__(self, transport: Transport, clock: Ticking, now: Callable[[], float]) -> None:
        self._transport, self._clock, self._now = transport, clock, now

    @staticmethod
    def subscriptions(site: str) -> tuple[str, ...]:
        return tuple(topic_filter(site, channel=channel) for channel in (Channel.BIRTH, Channel.DONE))

    def poll(self) -> bool:
        """Handles one message, waiting for it until the clock is due. False: there was none, and the clock was told."""
        delivery = self._transport.receive(max(0.0, self._clock.due - self._now()))
        if delivery is None:
            self._clock.on_time(self._now())
            return False
        try:
            topic = Topic.parse(delivery.topic)
            stamp, body = decode(topic, delivery.payload)
        except RemoteMessageError:
            pass  # the recorder keeps it as a dead letter
        else:
            self._clock.on_message(topic, stamp, body, self._now())
        self._transport.acknowledge(delivery)
        if self._now() >= self._clock.due:
            self._clock.on_time(self._now())
        return True
