"""MQTT by paho: the only file that knows that library.

The connection is driven by the thread that uses it, inside `MqttTransport.receive` and `MqttTransport.flush`: with no
thread of paho's own there is no hand-over between threads for each message, which is what a barrier over many small
processes spends its time on (`benchmarks/barrier.py` measures both). Publications leave at once. What arrives during
a long computation waits in the socket; the keepalive of 60 s bounds how long that may last.
"""

import logging
import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from broker.address import BrokerAddress, Credentials
from broker.heartbeat import NOBODY_LOOKS, PERIOD_S, Heartbeat
from broker.incoming import Incoming, Publication
from broker.rivalry import STEADY_S, Rivalry
from broker.transport import Delivery, Will
from broker.wakeup import Wakeup
from schemas.errors import (
    BrokerAwayError,
    BrokerUnreachableError,
    Code,
    IdentityTakenError,
    InputError,
    MessageRefusedError,
)
from schemas.topics import BROKER_PREFIX

LOG = logging.getLogger(__name__)

KEEPALIVE_S = 60
ANSWER_TIMEOUT_S = 10.0
"""For the TCP connection, and again for CONNACK and SUBACK."""
REJOIN_TIMEOUT_S = 30.0
"""For CONNACK and SUBACK of a connection that is made anew. Longer than at first: a whole site comes back to a broker
that was away. Something on the way may take connections and pass nothing on; it would be waited for a keepalive long.
"""
DIALS_MOST = 5
"""Attempts to connect to a broker that closes the connection at once."""
RETRY_FIRST_S, RETRY_MOST_S = 0.1, 10.0
"""A connection that lasted `STEADY_S` resets the back-off: two clients of one name must not fight in a tight loop."""
WINDOW = 1000
"""QoS 1 publications under way at once. MQTT has 65,535 identifiers for them; paho would drop what exceeds these."""
KEPT_MOST = 100_000
"""Publications kept while there is no connection; beyond, the oldest is given up, with a log line."""
FAILED_SUBSCRIPTION = 0x80
REFUSED_AFTER = 2
"""Connections in a row that ended upon the same publication, before it is taken for one that the broker refuses. Not
more: after the second, Moquette 0.17 answers no CONNECT of this client any more.
"""
SUSPECT_BYTES = 1024
"""A smaller publication is not suspected: no broker in use has so low a limit."""
PROMPT_S = 5.0
"""A broker that refuses a publication ends the connection within this time; a network that fails takes any time."""


READ_BYTES = 256 * 1024
"""Taken from the socket at once."""
_PUBACK = struct.Struct("!BBH")
_PUBACK_COMMAND = 0x40

_Token = tuple[int, int]
"""The data that an acknowledgement needs: connection and identifier, which means nothing on the next connection."""


class _Fed(paho.Client):
    """paho, which is handed what the socket had, but for the publications, and several acknowledgements as one packet.

    These are the only two places where paho's inner methods are used: `_sock_recv` and `_packet_queue`.
    """

    fed: bytes | None = b""
    """What it is to read next; None: the connection has ended."""

    def _sock_recv(self, bufsize: int) -> bytes:
        if self.fed is None:
            return b""
        if not self.fed:
            raise BlockingIOError
        taken, self.fed = self.fed[:bufsize], self.fed[bufsize:]
        return taken

    def feed(self, packet: bytes | None) -> None:
        """Lets it act on one packet, or on the end of the connection."""
        self.fed = packet
        self.loop_read()
        self.fed = b""

    def acknowledge_all(self, pubacks: bytes) -> None:
        self._packet_queue(_PUBACK_COMMAND, pubacks, 0, 1)


@dataclass(slots=True)
class _UnderWay:
    """A publication that the broker has not acknowledged. ``at``: monotonic time [s] of its sending."""

    topic: str
    size: int
    at: float
    ended: int = 0
    """Connections in a row that ended promptly while it was the largest one under way."""


class MqttTransport:
    """`broker.transport.Transport` over MQTT 3.1.1, QoS 1, acknowledged by hand, TCP_NODELAY. For one thread.

    After a reconnect the last payload of every retained topic that it published is sent again, byte for byte: a
    broker that restarted may have forgotten it, and the last will has replaced the state.

    MQTT 3.1.1 has no answer for a message that is too large: a broker ends the connection, which would then be made
    anew and ended again for good. This is recognised, see `MessageRefusedError`.
    """

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        credentials: Credentials | None = None,
        *,
        persistent: bool = False,
        nodelay: bool = True,
        heartbeat: Heartbeat = NOBODY_LOOKS,
    ) -> None:
        """``persistent``: the broker keeps subscriptions and messages while this client is away (the recorder).

        ``nodelay`` False leaves Nagle's algorithm on; only the benchmark wants that.
        ``heartbeat`` beats while the loop comes here to receive and the connection stands.
        Raises InputError for credentials that do not fit the address or cannot be loaded.
        """
        self._address = address
        self._client_id = client_id
        self._nodelay = nodelay
        self._heartbeat = heartbeat
        self._subscriptions: tuple[str, ...] = ()
        self._open = False
        self._ready = False
        """CONNACK and SUBACK were there: publications may pass."""
        self._refused: str | None = None
        """Why the broker did not let this connection stand; a refused subscription is not tried again."""
        self._subscription_refused = False
        self._refused_message: str | None = None
        """Said of a publication upon which the broker ended one connection after the other."""
        self._admitted = False
        """CONNACK was there: what is under way was sent again."""
        self._connection = 0
        self._dialled_at = 0.0
        """Monotonic time [s]."""
        self._since = 0.0
        self._retry_at = 0.0
        self._retry_delay = RETRY_FIRST_S
        self._subscribing: int | None = None
        self._arrived: deque[Delivery] = deque()
        self._incoming = Incoming()
        self._acknowledged = bytearray()
        """Acknowledgements that leave together, before this end waits for anything."""
        self._kept: deque[tuple[str, bytes, bool]] = deque()
        self._under_way: dict[int, _UnderWay] = {}
        self._rivalry = Rivalry(None)
        self._retained: dict[str, bytes] = {}
        self._to_repeat = False
        """Retained messages are sent again once the connection stands."""
        self._wakeup: Wakeup | None = None
        """Only where somebody asked for it."""
        self._client = self._build(credentials or Credentials(), persistent)

    def _build(self, credentials: Credentials, persistent: bool) -> _Fed:
        credentials.check_for(self._address)
        client = _Fed(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=not persistent,
            protocol=paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = ANSWER_TIMEOUT_S
        client.max_inflight_messages_set(0)  # `WINDOW` bounds it here; paho's own window costs a scan per answer
        client.max_queued_messages_set(0)
        if credentials.username is not None:
            client.username_pw_set(credentials.username, credentials.password())
        if self._address.tls:
            try:
                client.tls_set(
                    ca_certs=None if credentials.cafile is None else str(credentials.cafile),
                    certfile=None if credentials.cert is None else str(credentials.cert),
                    keyfile=None if credentials.key is None else str(credentials.key),
                )
            except (ssl.SSLError, OSError, ValueError) as error:
                raise InputError.one(
                    "--cafile, --cert, --key", f"cannot be loaded: {error}", code=Code.FORMAT
                ) from None
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        client.on_socket_open = self._on_socket_open
        return client

    # ---- what a run loop calls

    def connect(self, subscriptions: Sequence[str], will: Will | None = None) -> None:
        """Returns once the subscriptions stand; where no broker answers, it tries once.

        Raises BrokerUnreachableError with host, port, reason.
        """
        self._subscriptions = tuple(subscriptions)
        self._rivalry = Rivalry(None) if will is None else Rivalry(will.topic, will.payload)
        if will is None:
            self._client.will_clear()
        else:
            self._client.will_set(will.topic, will.payload, qos=1, retain=True)
        self._open = True
        self._retry_delay = RETRY_FIRST_S
        self._subscription_refused = False
        self._refused_message = None
        self._retained.clear()
        self._kept.clear()
        self._to_repeat = False
        try:
            for _ in range(DIALS_MOST):
                if self._join():
                    return
                time.sleep(RETRY_FIRST_S)
            hint = "" if self._address.tls else "; does it want TLS (mqtts://)?"
            raise self._error(f"closed the connection at once, {DIALS_MOST} times{hint}")
        except BrokerUnreachableError:
            self._abandon()
            raise

    def _join(self) -> bool:
        """Whether the subscriptions stand. False: the broker closed the connection and did not say why, as Moquette
        0.17 sometimes does when SUBSCRIBE comes soon after its CONNACK. Raises BrokerUnreachableError.
        """
        self._dial()
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while not self._ready:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._error("takes the connection but does not answer; is it an MQTT broker?")
            self._serve(left)
            if self._client.socket() is None:
                if self._refused is None:
                    return False
                raise self._error(self._refused)
        return True

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Raises BrokerUnreachableError when this client was closed or never connected."""
        if not self._open:
            raise self._error("this client was closed or never connected")
        self._rivalry.sends(topic, payload)
        if retain and payload:
            self._retained[topic] = payload
        elif retain:
            self._retained.pop(topic, None)
        self._keep(topic, payload, retain)
        if self._ready:
            self._send_kept()

    def receive(self, timeout_s: float | None) -> Delivery | None:
        """The next message. Raises BrokerUnreachableError when a reconnect finds a subscription refused,
        MessageRefusedError when the broker ends every connection upon a publication of ours, and IdentityTakenError
        when another process of this name is to keep the connection (`broker.rivalry`)."""
        if self._arrived:
            return self._arrived.popleft()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._beat()
        while not self._arrived:
            left = PERIOD_S if deadline is None else min(deadline - time.monotonic(), PERIOD_S)
            self._serve(max(left, 0.0))
            self._beat()
            woken = self._wakeup is not None and self._wakeup.clear()
            if not self._arrived and (woken or (deadline is not None and time.monotonic() >= deadline)):
                return None
        return self._arrived.popleft()

    def waker(self) -> Callable[[], None]:
        if self._wakeup is None:
            self._wakeup = Wakeup()
        return self._wakeup.set

    def acknowledge(self, delivery: Delivery) -> None:
        """Without effect for a message of an earlier connection: the broker delivers it again.

        Acknowledgements are gathered, and leave before this client waits for the network the next time.
        """
        token = delivery.token
        if isinstance(token, tuple) and token[0] == self._connection:
            self._acknowledged += _PUBACK.pack(_PUBACK_COMMAND, 2, token[1])

    def flush(self, timeout_s: float) -> bool:
        """Raises as `receive` does."""
        deadline = time.monotonic() + timeout_s
        while self._kept or self._under_way or self._to_repeat:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._serve(left)
        return True

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._client.socket() is not None:
            self._send_acknowledged()
            self._client.disconnect()
            deadline = time.monotonic() + 1.0
            while self._client.socket() is not None and time.monotonic() < deadline:
                self._poll(0.05)
        self._abandon()

    def drop(self) -> None:
        """Breaks the connection without a goodbye, as a fault of the network does; it is then made anew."""
        sock = self._client.socket()
        if sock is not None:
            _raw(sock).shutdown(socket.SHUT_RDWR)

    def _beat(self) -> None:
        if self._ready:
            self._heartbeat.beat()

    @property
    def connected(self) -> bool:
        return self._ready

    @property
    def certificate_ends(self) -> datetime | None:
        """When the broker's certificate expires, by the connection that stands; None: it is not encrypted."""
        sock = self._client.socket()
        shown = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
        if not shown:
            return None
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)

    @property
    def client_id(self) -> str:
        return self._client_id

    # ---- the connection

    def _error(self, reason: str) -> BrokerUnreachableError:
        return BrokerUnreachableError(f"the broker at {self._address}, asked by {self._client_id}: {reason}")

    def _dial(self) -> None:
        self._connection += 1
        self._dialled_at = time.monotonic()
        self._incoming = Incoming()
        self._acknowledged.clear()
        self._ready = self._admitted = False
        self._refused = None
        self._subscribing = None
        try:
            if self._connection == 1:
                self._client.connect(self._address.host, self._address.port, KEEPALIVE_S)
            else:
                self._client.reconnect()
        except ssl.SSLCertVerificationError as error:
            raise self._error(f"its certificate is not trusted ({error.verify_message}); see --cafile") from None
        except ssl.SSLError as error:
            raise self._error(f"no TLS connection ({error.reason or error}); does it want mqtt://?") from None
        except OSError as error:
            text = str(self._error(f"no broker answers there ({error.strerror or error})"))
            raise BrokerAwayError(text) from None

    def _abandon(self) -> None:
        """Closes the socket of a connection that failed or was left, whatever state it is in."""
        self._open = False
        self._ready = False
        sock = self._client.socket()
        if sock is not None:
            try:
                _raw(sock).shutdown(socket.SHUT_RDWR)
            except OSError as error:
                LOG.debug("the connection was gone already: %s", error)
            self._client.feed(None)  # paho then releases what it holds

    def _serve(self, timeout_s: float) -> None:
        """Handles what the network has, waiting for it at most so long; makes a lost connection anew."""
        if not self._open:
            raise self._error("this client was closed or never connected")
        if self._refused_message is not None:
            raise MessageRefusedError(self._refused_message)
        if self._rivalry.gives_way:
            raise IdentityTakenError(str(self._error("another process has this name and keeps the connection")))
        if self._client.socket() is None:
            wait = self._retry_at - time.monotonic()
            if wait > 0:
                self._sleep(min(wait, timeout_s))
                return
            self._redial()
            return
        self._poll(timeout_s)
        self._end_if_unanswered()
        if self._subscription_refused and self._client.socket() is None:
            raise self._error(self._refused or "")
        if self._refused_message is not None:
            raise MessageRefusedError(self._refused_message)

    def _end_if_unanswered(self) -> None:
        """A connection upon which nobody answers may never end by itself."""
        waits = not self._ready and self._client.socket() is not None
        if waits and time.monotonic() - self._dialled_at > REJOIN_TIMEOUT_S:
            self._client.feed(None)

    def _sleep(self, seconds: float) -> None:
        if self._wakeup is None:
            time.sleep(seconds)
        else:
            self._wakeup.wait(seconds)

    def _redial(self) -> None:
        try:
            self._dial()
        except BrokerUnreachableError as error:
            self._rivalry.broker_is_away()
            self._back_off()
            LOG.warning("%s", error)

    def _back_off(self) -> None:
        self._retry_at = time.monotonic() + self._retry_delay
        self._retry_delay = min(2 * self._retry_delay, RETRY_MOST_S)

    def _send_acknowledged(self) -> None:
        if self._acknowledged:
            pubacks = bytes(self._acknowledged)
            self._acknowledged.clear()
            self._client.acknowledge_all(pubacks)

    def _read(self, sock: Any) -> None:
        """Takes what the network has."""
        try:
            data = sock.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except ssl.SSLWantWriteError:
            return  # a renegotiation: it is tried again when the socket is next looked at
        except OSError as error:
            LOG.debug("the connection ended: %s", error)
            data = b""
        if not data:
            self._client.feed(None)
            return
        connection = self._connection
        for packet in self._incoming.take(data):
            if isinstance(packet, Publication):
                topic, payload, retained, mid = packet
                self._rivalry.hears(topic, payload)
                token = None if mid is None else (connection, mid)
                self._arrived.append(Delivery(topic, payload, retained, token))
                continue
            self._client.feed(packet)
            if self._client.socket() is not sock:
                return

    def _poll(self, timeout_s: float) -> None:
        self._send_acknowledged()
        sock = self._client.socket()
        if sock is None:
            return
        pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        descriptor = sock.fileno()
        poll = select.poll()  # not select(): a process may hold more than 1,024 connections
        poll.register(descriptor, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        if self._wakeup is not None:
            poll.register(self._wakeup.fileno(), select.POLLIN)
        # Half a keepalive at most, so that a silent connection is noticed in time.
        events = poll.poll(0 if pending else 1000 * min(timeout_s, KEEPALIVE_S / 2))
        mask = next((mask for fd, mask in events if fd == descriptor), 0)
        if pending or mask & (select.POLLIN | select.POLLERR | select.POLLHUP):
            self._read(sock)
        if mask & select.POLLOUT:
            self._client.loop_write()
        self._client.loop_misc()
        if self._ready and self._kept:
            self._send_kept()

    # ---- publications

    def _keep(self, topic: str, payload: bytes, retain: bool) -> None:
        self._kept.append((topic, payload, retain))
        if len(self._kept) > KEPT_MOST:
            lost = self._kept.popleft()
            LOG.error("more than %d publications wait for a connection; gave up one of %s", KEPT_MOST, lost[0])

    def _send_kept(self) -> None:
        while self._kept and len(self._under_way) < WINDOW:
            topic, payload, retain = self._kept[0]
            info = self._client.publish(topic, payload, qos=1, retain=retain)
            if info.rc == paho.MQTT_ERR_QUEUE_SIZE:
                return  # its identifier is still under way; the next answer makes room
            self._kept.popleft()
            self._under_way[info.mid] = _UnderWay(topic, len(payload), time.monotonic())
            if not self._ready:
                return  # the connection broke just now; paho keeps this one

    # ---- paho's callbacks, all called by the thread that drives the connection

    def _on_socket_open(self, _client: paho.Client, _data: Any, sock: Any) -> None:
        raw = _raw(sock)
        if self._nodelay and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: paho.ConnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            self._refused = f"refuses this client: {reason}"
            return
        self._since = time.monotonic()
        self._admitted = True
        if not self._subscriptions:
            self._become_ready()
            return
        _, self._subscribing = client.subscribe([(pattern, 1) for pattern in self._subscriptions])

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        if mid != self._subscribing:
            return
        answers = zip(self._subscriptions, reasons, strict=False)
        refused = [p for p, r in answers if r.value >= FAILED_SUBSCRIPTION and not p.startswith(BROKER_PREFIX)]
        if refused:
            self._refused = f"refuses the subscription to {', '.join(refused)}"
            self._subscription_refused = True
            self._client.disconnect()
            return
        self._become_ready()

    def _become_ready(self) -> None:
        self._ready = True
        self._rivalry.stands()
        if self._to_repeat:
            self._to_repeat = False
            for topic, payload in self._retained.items():
                self._keep(topic, payload, True)

    def _on_publish(self, _client: paho.Client, _data: Any, mid: int, _reason: ReasonCode, _properties: Any) -> None:
        self._under_way.pop(mid, None)

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: paho.DisconnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        was_ready, self._ready = self._ready, False
        if not self._open:
            return
        self._suspect()
        self._rivalry.ended()
        self._to_repeat = self._to_repeat or (was_ready and bool(self._retained))
        if was_ready and time.monotonic() - self._since >= STEADY_S:
            self._retry_delay = RETRY_FIRST_S
        self._back_off()
        LOG.warning("%s", self._error(f"connection lost ({self._refused or reason})"))

    def _suspect(self) -> None:
        """The connection ended: by the largest publication that was not acknowledged, if that goes on."""
        if not self._admitted or not self._under_way:
            return
        largest = max(self._under_way.values(), key=lambda one: one.size)
        for one in self._under_way.values():
            prompt = time.monotonic() - max(self._since, one.at) < PROMPT_S
            one.ended = one.ended + 1 if one is largest and prompt else 0
        if largest.ended >= REFUSED_AFTER and largest.size >= SUSPECT_BYTES:
            self._refused_message = str(
                self._error(
                    f"ended the connection {largest.ended} times in a row upon {largest.topic} of {largest.size} bytes "
                    "and never acknowledged it; does the broker limit messages?"
                )
            )


def _raw(sock: Any) -> socket.socket:
    assert isinstance(sock, socket.socket)
    return sock
