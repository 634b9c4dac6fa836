"""Announces the devices of a site to Home Assistant, and takes away what is gone."""

import json
import logging
from collections.abc import Callable

from broker.transport import Transport
from schemas.errors import RemoteMessageError
from schemas.messages import Birth
from schemas.topics import Channel, Topic, topic_filter
from schemas.wire import decode
from services.homeassistant.discovery import PREFIX, config_topic, object_id, payload

LOG = logging.getLogger(__name__)
LISTEN_S = 2.0
"""What is retained has come by then."""


class Announcer:
    """Keeps one retained discovery payload for each device that has a birth, and none for any other of this site.

    A birth that is withdrawn (an empty retained message) takes the device away, as does a device that has none when
    this begins and was announced before.
    """

    def __init__(self, site: str, transport: Transport, prefix: str = PREFIX) -> None:
        self._site, self._transport, self._prefix = site, transport, prefix
        self._announced: dict[str, bytes] = {}
        """By discovery topic, what stands there."""
        self._wanted: dict[str, bytes] = {}

    @property
    def devices(self) -> int:
        """How many are announced."""
        return len(self._wanted)

    def connect(self) -> None:
        """Raises BrokerUnreachableError."""
        births = topic_filter(self._site, channel=Channel.BIRTH)
        self._transport.connect([births, f"{self._prefix}/device/+/config"])

    def serve(self, stopped: Callable[[], bool], monotonic: Callable[[], float]) -> None:
        """Until ``stopped``. What was announced stays: a device that is gone is unavailable by its state."""
        begun = monotonic()
        cleaned = False
        while not stopped():
            self._receive(0.2)
            if not cleaned and monotonic() - begun >= LISTEN_S:
                cleaned = True
                self._remove([topic for topic in self._announced if topic not in self._wanted])

    def remove_all(self, monotonic: Callable[[], float]) -> int:
        """Takes every device of this site away; returns how many there were."""
        begun = monotonic()
        while monotonic() - begun < LISTEN_S:
            self._receive(0.2)
        topics = sorted(self._announced)
        self._remove(topics)
        self._transport.flush(10.0)
        return len(topics)

    def _receive(self, seconds: float) -> None:
        delivery = self._transport.receive(seconds)
        if delivery is None:
            return
        self._transport.acknowledge(delivery)
        if delivery.topic.startswith(f"{self._prefix}/device/"):
            own = delivery.topic.startswith(f"{self._prefix}/device/{object_id(self._site, '')}")
            if delivery.payload and own:
                self._announced[delivery.topic] = delivery.payload
            else:
                self._announced.pop(delivery.topic, None)
            return
        try:
            self._hear(Topic.parse(delivery.topic), delivery.payload)
        except RemoteMessageError as error:
            LOG.warning("a birth is not of the contract: %s", error)

    def _hear(self, topic: Topic, content: bytes) -> None:
        where = config_topic(self._prefix, self._site, topic.device)
        body = decode(topic, content)[1] if content else None
        found = payload(topic, body) if isinstance(body, Birth) else None
        if found is None:
            if self._wanted.pop(where, None) is not None:
                self._remove([where])
            return
        text = json.dumps(found, ensure_ascii=False).encode()
        if self._wanted.get(where) != text:
            self._wanted[where] = text
            self._transport.publish(where, text, retain=True)

    def _remove(self, topics: list[str]) -> None:
        for topic in topics:
            self._announced.pop(topic, None)
            self._transport.publish(topic, b"", retain=True)
