"""amqtt's broker, made fit for a barrier of many small processes on one machine.

What differs from amqtt 0.12, each found by measuring, by watching it fail or by attacking it:

- A message goes to its subscribers at once. amqtt passes it through three tasks and two queues, and then waits for
  each delivery with a task and a 5 s timer, only to log that an answer is late; and it makes a client that subscribes
  wait until it acknowledged all that is retained.
- A client with several matching subscriptions gets a message once (MQTT 3.1.1, 3.3.5 allows both).
- A client gets what is retained on its own subscriptions. amqtt greets everyone with that of all subscriptions.
- A second client of one identifier ends the connection of the first (MQTT-3.1.4-2). amqtt leaves it open and deaf.
- It listens on the loopback interface only, since it asks nobody who he is.
- A connection that says nothing is closed: before CONNECT after `CONNECT_S`, then after one and a half times its
  keepalive (MQTT-3.1.2-24), and the last will is published. amqtt keeps both for ever.
- Topics are checked wherever they come from (MQTT 3.1.1, 4.7): amqtt publishes last wills on none, with NUL, and with
  QoS 3.
- What is retained is bounded by `RETAINED_MOST_BYTES`; amqtt's grows without end.
"""

import asyncio
import contextlib
import ipaddress
import logging
import struct
from functools import lru_cache
from typing import Any, Self

from amqtt.adapters import BufferReader
from amqtt.broker import Broker, RetainedApplicationMessage
from amqtt.errors import AMQTTError, MQTTError, NoDataError
from amqtt.mqtt import packet_class
from amqtt.mqtt.packet import DISCONNECT, PINGREQ, PUBACK, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, MQTTFixedHeader
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.mqtt.publish import PublishPacket
from amqtt.session import Session

from schemas.errors import Code, InputError
from schemas.topics import matches
from schemas.wire import MAX_PAYLOAD_BYTES

LOG = logging.getLogger(__name__)
PACKET_MOST_BYTES = MAX_PAYLOAD_BYTES + 4096
"""A client that sends more at once is disconnected, as Mosquitto does."""
READ_BYTES = 64 * 1024
BUFFER_MOST_BYTES = 256 * 1024 * 1024
"""Waiting to be read by one client; beyond it the client is taken for dead."""

RETAINED_MOST_BYTES = 64 * 1024 * 1024
"""Of all retained messages together; whoever retains more is disconnected."""
CONNECT_S = 10.0
"""So long a connection may last before its CONNECT is there."""
MOST_WILL_QOS = 2
KEEPALIVES = 1.5
"""A client that says nothing for so many of its keepalives is gone."""

GOODBYE_S = 0.1
"""So long a goodbye of the earlier connection may still be on its way when the same client connects again."""


@lru_cache(maxsize=100_000)
def _matches(topic: str, pattern: str) -> bool:
    if topic.startswith("$") and pattern.startswith(("+", "#")):
        return False
    return matches(pattern, topic)


class LoopbackBroker(Broker):  # type: ignore[misc]
    """See the module. `start` it, then ask for its `port`."""

    _retained_bytes = 0

    @classmethod
    def on(cls, host: str, port: int) -> Self:
        """Raises InputError for a host that is not of the loopback interface."""
        if not _is_loopback(host):
            what = (
                "the embedded broker admits everybody, so it listens on the loopback interface only, such as 127.0.0.1"
            )
            raise InputError.one("host", f"{what}; a site on a network needs Mosquitto", host, code=Code.UNENCRYPTED)
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

    async def _initialize_client_session(self, *connection: Any) -> tuple[BrokerProtocolHandler, Session]:
        writer = connection[1]
        try:
            async with asyncio.timeout(CONNECT_S):
                _, session = await super()._initialize_client_session(*connection)
            _check_will(session)
        except (TimeoutError, AMQTTError, MQTTError, NoDataError, ValueError, struct.error) as error:
            writer._writer.transport.abort()
            raise MQTTError(f"no CONNECT of MQTT 3.1.1 in time: {error!r}") from None
        return _Handler(self), session

    def accept(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """A publication of a client. Raises MQTTError when there is no room to retain it."""
        if retain:
            self._retain(topic, payload, qos)
        self._deliver(topic, payload, qos)

    async def retain_message(
        self, session: Session | None, topic: str | None, data: bytes | None, qos: int | None = None
    ) -> None:
        """A last will."""
        if topic is not None:
            self._retain(topic, bytes(data or b""), qos or 0)

    def _retain(self, topic: str, payload: bytes, qos: int) -> None:
        known = self._retained_messages.pop(topic, None)
        if known is not None:
            self._retained_bytes -= len(topic) + len(known.data)
        size = len(topic) + len(payload)
        if payload and self._retained_bytes + size > RETAINED_MOST_BYTES:
            raise MQTTError(f"{topic} is not retained: more than {RETAINED_MOST_BYTES} bytes of all topics")
        if payload:
            self._retained_messages[topic] = RetainedApplicationMessage(None, topic, payload, qos)
            self._retained_bytes += size

    async def _broadcast_message(
        self, session: Session | None, topic: str | None, data: bytes | None, force_qos: int | None = None
    ) -> None:
        if topic is not None:
            self._deliver(topic, bytes(data or b""), force_qos)

    def _deliver(self, topic: str, payload: bytes, most_qos: int | None) -> None:
        targets: dict[str, tuple[Session, int]] = {}
        for pattern, subscriptions in self._subscriptions.items():
            if _matches(topic, pattern):
                for target, qos in subscriptions:
                    known = targets.get(target.client_id)
                    if known is None or known[1] < qos:
                        targets[target.client_id] = (target, qos)
        for target, qos in targets.values():
            if target.transitions.state == "connected":
                self._send(target, topic, payload, qos if most_qos is None else min(qos, most_qos), False)

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


class _Handler(BrokerProtocolHandler):  # type: ignore[misc]
    """One client's connection. What is published and acknowledged is read here; the rest is amqtt's."""

    def __init__(self, broker: LoopbackBroker) -> None:
        super().__init__(broker.plugins_manager)
        self._broker = broker
        loop = asyncio.get_running_loop()
        self._end: asyncio.Future[Any] = loop.create_future()
        self._heard = loop.time()
        self._silence: asyncio.TimerHandle | None = None

    async def wait_disconnect(self) -> Any:
        """The goodbye, or None when there was none. amqtt forgets one that comes before it is waited for."""
        return await self._end

    async def handle_disconnect(self, disconnect: Any) -> None:
        if not self._end.done():
            self._end.set_result(disconnect)

    async def _reader_loop(self) -> None:
        """Reads until the client goes. Replaces amqtt's, which makes a task for every packet."""
        self._reader_ready.set()
        self._watch_silence()
        try:
            await self._read()
        except (ConnectionError, asyncio.CancelledError):
            LOG.debug("%s: its connection ended", self.session.client_id)
        except (AMQTTError, MQTTError, NoDataError, ValueError, struct.error) as error:
            LOG.warning("%s speaks no MQTT 3.1.1, its connection is closed: %r", self.session.client_id, error)
        if self._silence is not None:
            self._silence.cancel()
        await self.handle_connection_closed()
        self._reader_stopped.set()
        await self.stop()

    def _watch_silence(self) -> None:
        """Aborts a connection that has said nothing for too long; else looks again when it may be so."""
        keepalive_s = self.session.keep_alive
        if not keepalive_s or self.writer is None:
            return
        loop = asyncio.get_running_loop()
        left_s = self._heard + KEEPALIVES * keepalive_s - loop.time()
        if left_s > 0:
            self._silence = loop.call_later(left_s, self._watch_silence)
            return
        LOG.warning(
            "%s has said nothing for %g keepalives; its connection is closed", self.session.client_id, KEEPALIVES
        )
        self.writer._writer.transport.abort()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        stream: asyncio.StreamReader = self.reader._reader
        buffer = bytearray()
        while data := await stream.read(READ_BYTES):
            self._heard = loop.time()
            buffer += data
            start = 0
            while (frame := _frame(buffer, start)) is not None:
                body, end = frame
                if await self._packet(buffer[start], bytes(memoryview(buffer)[body:end])):
                    return
                start = end
            del buffer[:start]

    async def _packet(self, first: int, body: bytes) -> bool:
        """Whether the client said goodbye."""
        kind, flags = first >> 4, first & 0x0F
        if kind == PUBLISH:
            self._publication(flags, body)
        elif kind == DISCONNECT:
            await self.handle_disconnect(await self._decoded(kind, flags, body))
            return True
        elif kind == SUBSCRIBE:
            await self.handle_subscribe(await self._decoded(kind, flags, body))
        elif kind == UNSUBSCRIBE:
            await self.handle_unsubscribe(await self._decoded(kind, flags, body))
        elif kind == PINGREQ:
            await self.handle_pingreq(await self._decoded(kind, flags, body))
        elif kind != PUBACK:  # what was sent is not kept, so its acknowledgement says nothing
            raise MQTTError(f"a packet of type {kind}")
        return False

    @staticmethod
    async def _decoded(kind: int, flags: int, body: bytes) -> Any:
        header = MQTTFixedHeader(kind, flags, len(body))
        return await packet_class(header).from_stream(BufferReader(body), fixed_header=header)

    def _publication(self, flags: int, body: bytes) -> None:
        """MQTT 3.1.1, 3.3: flags DUP, QoS, QoS, RETAIN; topic, identifier for QoS 1, payload."""
        qos, start = (flags >> 1) & 3, 2 + int.from_bytes(body[:2], "big")
        topic = body[2:start].decode()
        if not _is_topic(topic) or qos > 1 or len(body) < start + 2 * qos or (qos and not any(body[start : start + 2])):
            raise MQTTError(f"a publication on {topic!r} with QoS {qos}")
        self._broker.accept(topic, body[start + 2 * qos :], qos, bool(flags & 1))
        if qos:
            self.writer.write(bytes([PUBACK << 4, 2]) + body[start : start + 2])


def _is_topic(topic: str | None) -> bool:
    """Whether one may publish on it; MQTT 3.1.1, 4.7."""
    if not topic or topic.startswith("$"):
        return False
    return not any(character in topic for character in "+#\0")


def _check_will(session: Session) -> None:
    """Raises MQTTError for a last will that could not be published."""
    if session.will_flag and not (_is_topic(session.will_topic) and session.will_qos <= MOST_WILL_QOS):
        raise MQTTError(f"a last will on {session.will_topic!r} with QoS {session.will_qos}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _frame(buffer: bytearray, start: int) -> tuple[int, int] | None:
    """Where the packet at ``start`` has its body, and its end; None: not all of it is there. MQTT 3.1.1, 2.2.3."""
    length = 0
    for i in range(4):
        at = start + 1 + i
        if at >= len(buffer):
            return None
        length |= (buffer[at] & 0x7F) << 7 * i
        if buffer[at] < 0x80:
            if length > PACKET_MOST_BYTES:
                raise MQTTError(f"a packet of {length} bytes; at most {PACKET_MOST_BYTES} are allowed")
            return (at + 1, at + 1 + length) if at + 1 + length <= len(buffer) else None
    raise MQTTError("a packet's length of more than four bytes")


async def _take_over(handler: BrokerProtocolHandler) -> None:
    """Ends a connection as if it had broken: its last will is published before the newcomer is let in."""
    writer: Any = handler.writer
    if writer is not None:
        writer._writer.transport.abort()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(handler._reader_stopped.wait(), 1.0)
    await asyncio.sleep(0)
