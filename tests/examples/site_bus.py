"""What a test does on the site's bus in the place of clock and EMS, and everything that the example says there."""

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jsonschema

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from schemas.export import message_schemas
from schemas.messages import Birth, Body, Done, Stamp
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import decode, encode

SITE = "fit-g2v"
RUN = "20240516T220000.000000Z-0001"
PATIENCE_S = 20.0
ALLOWED = {Channel.BIRTH, Channel.STATE, Channel.TELEMETRY, Channel.ACK, Channel.DONE, Channel.REJECT}


def own(channel: Channel) -> Topic:
    return Topic(SITE, Kind.CHARGER, "ev1", channel)


@dataclass(frozen=True)
class Said:
    """A message of the example. ``retained``: it was there before the test listened."""

    channel: Channel
    payload: bytes
    stamp: Stamp
    body: Body
    retained: bool

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.payload)
        return found


@dataclass
class SiteBus:
    """Listens to everything; whatever the device says is validated by the JSON Schemas and by ``decode``."""

    address: BrokerAddress
    kind: Kind = Kind.CHARGER
    device: str = "ev1"
    said: list[Said] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._validators = {name: jsonschema.Draft202012Validator(schema) for name, schema in message_schemas().items()}
        self.transport = MqttTransport(self.address, f"observer-{secrets.token_hex(3)}")
        self.transport.connect([everything(SITE)])

    def close(self) -> None:
        self.transport.close()

    def send(
        self, topic: Topic, body: Body, *, ts: datetime, run: str | None = RUN, boot: str = "test", seq: int
    ) -> None:
        payload = encode(Stamp(ts=ts, run=run, boot=boot, seq=seq), body)
        self.transport.publish(str(topic), payload, retain=topic.retained)

    def listen(self, wait_s: float = 0.0) -> bool:
        """Takes one message, waiting for it at most so long."""
        delivery = self.transport.receive(wait_s)
        if delivery is None:
            return False
        self.transport.acknowledge(delivery)
        topic = Topic.parse(delivery.topic)
        if topic.device == self.device and topic.channel is not Channel.SETPOINT:
            assert topic.kind is self.kind
            assert topic.channel in ALLOWED
            name = f"{topic.channel}.{topic.kind}" if topic.channel is Channel.TELEMETRY else str(topic.channel)
            self._validators[name].validate(json.loads(delivery.payload))
            stamp, body = decode(topic, delivery.payload)
            self.said.append(Said(topic.channel, delivery.payload, stamp, body, delivery.retained))
        return True

    def until(self, there: Callable[[list[Said]], bool]) -> list[Said]:
        """Listens until ``there`` says that what was said since this call is enough; returns that."""
        first, deadline = len(self.said), time.monotonic() + PATIENCE_S
        while not there(self.said[first:]):
            assert time.monotonic() < deadline, f"{self.device} said no more than {self.said[first:]}"
            self.listen(0.2)
        return self.said[first:]

    def of(self, channel: Channel) -> list[Said]:
        return [message for message in self.said if message.channel is channel]

    def boot_after(self, boots: Sequence[str] = ()) -> str:
        """The boot of the newest birth that is none of these, once it is there."""

        def news() -> list[str]:
            return [m.stamp.boot for m in self.said if isinstance(m.body, Birth) and m.stamp.boot not in boots]

        deadline = time.monotonic() + PATIENCE_S
        while not news():
            assert time.monotonic() < deadline, f"no birth of {self.device}"
            self.listen(0.2)
        return news()[-1]

    def answer(self) -> list[Said]:
        """All that is said up to the next done."""
        return self.until(lambda news: any(isinstance(message.body, Done) for message in news))


def utc_now() -> datetime:
    return datetime.now(UTC)
