"""amqtt's broker, made fit for a barrier of many small processes on one machine.

Four things differ from amqtt 0.12, each found by measuring or by watching it fail:

- A message goes to its subscribers at once. amqtt makes two tasks, a queue and a 5 s timer for each delivery, only to
  log that an answer is late; and it makes a client that subscribes wait until it acknowledged all that is retained.
- A client with several matching subscriptions gets a message once (MQTT 3.1.1, 3.3.5 allows both).
- A client gets what is retained on its own subscriptions. amqtt greets everyone with that of all subscriptions.
- A second client of one identifier ends the connection of the first (MQTT-3.1.4-2). amqtt leaves it open and deaf.
"""

import asyncio
import contextlib
import logging
from functools import lru_cache
from typing import Any, Self

from amqtt.broker import Broker
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.mqtt.publish import PublishPacket
from amqtt.session import Session

from schemas.topics import matches

LOG = logging.getLogger(__name__)
BUFFER_MOST_BYTES = 256 * 1024 * 1024
"""Waiting to be read by one client; beyond it the client is taken for dead."""

GOODBYE_S = 0.1
"""So long a goodbye of the earlier connection may still be on its way when the same client connects again."""


@lru_cache(maxsize=100_000)
def _matches(topic: str, pattern: str) -> bool:
    if topic.startswith("$") and pattern.startswith(("+", "#")):
        return False
    return matches(pattern, topic)


class LoopbackBroker(Broker):  # type: ignore[misc]
    """See the module. `start` it, then ask for its `port`."""

    @classmethod
    def on(cls, host: str, port: int) -> Self:
        # What amqtt says of every acknowledgement that it no longer waits for.
        logging.getLogger("amqtt.mqtt.protocol.handler").setLevel(logging.ERROR)
        return cls(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}", "max_connections": 0}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )

    @property
    def port(self) -> int:
        number: int = self._servers["default"].instance.sockets[0].getsockname()[1]
        return number

    async def _broadcast_message(
        self, session: Session | None, topic: str | None, data: bytes | None, force_qos: int | None = None
    ) -> None:
        if topic is None:
            return
        targets: dict[str, tuple[Session, int]] = {}
        for pattern, subscriptions in self._subscriptions.items():
            if _matches(topic, pattern):
                for target, qos in subscriptions:
                    known = targets.get(target.client_id)
                    if known is None or known[1] < qos:
                        targets[target.client_id] = (target, qos)
        for target, qos in targets.values():
            if target.transitions.state == "connected":
                self._send(target, topic, bytes(data or b""), qos if force_qos is None else min(qos, force_qos), False)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        pattern, qos = subscription
        if all(subscriber.client_id != session.client_id for subscriber, _ in self._subscriptions.get(pattern, [])):
            return
        for topic, kept in self._retained_messages.items():
            if _matches(topic, pattern):
                self._send(session, topic, bytes(kept.data), min(qos, kept.qos or qos), True)

    def _send(self, session: Session, topic: str, payload: bytes, qos: int, retained: bool) -> None:
        handler = self._get_handler(session)
        if handler is None or handler.writer is None:
            return
        transport = handler.writer._writer.transport
        if transport.get_write_buffer_size() > BUFFER_MOST_BYTES:
            LOG.error("%s does not read; its connection is closed", session.client_id)
            transport.abort()
            return
        mid = session.next_packet_id if qos else None
        packet = PublishPacket.build(topic, payload, mid, False, min(qos, 1), retained)
        handler.writer.write(packet.to_bytes())

    async def _delete_session(self, client_id: str) -> None:
        session, handler = self._sessions.get(client_id, (None, None))
        left = GOODBYE_S
        while session is not None and session.transitions.state == "connected" and left > 0:
            await asyncio.sleep(GOODBYE_S / 20)
            left -= GOODBYE_S / 20
        if session is not None and handler is not None and session.transitions.state == "connected":
            LOG.warning("a second client calls itself %s; the first one's connection is closed", client_id)
            await _take_over(handler)
        await super()._delete_session(client_id)

    async def shutdown(self) -> None:
        """Closes the connections first, so that every reader ends and none is left to be awaited."""
        for _, handler in list(self._sessions.values()):
            if handler.writer is not None:
                handler.writer._writer.transport.abort()
        await asyncio.sleep(0)
        await super().shutdown()


async def _take_over(handler: BrokerProtocolHandler) -> None:
    """Ends a connection as if it had broken: its last will is published before the newcomer is let in."""
    writer: Any = handler.writer
    if writer is not None:
        writer._writer.transport.abort()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(handler._reader_stopped.wait(), 1.0)
    await asyncio.sleep(0)
