"""The bench of an examination: the run's clock, the hand that sends set-points, the ear that hears the device."""

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from broker.transport import Transport
from schemas.errors import RemoteMessageError
from schemas.messages import Ack, Birth, Presence, Run, Setpoint, Stamp, State, Telemetry
from schemas.topics import Channel, Kind, Topic, topic_filter
from schemas.wire import decode, encode
from services.conformance.heard import Heard, Sample, samples_of

LOOK_S = 0.05
"""How often a condition is looked at while nothing arrives."""

_OWN = (Channel.BIRTH, Channel.STATE, Channel.TELEMETRY, Channel.ACK, Channel.ALARM, Channel.METRIC, Channel.REJECT)
"""What a device publishes itself in wall time."""


@dataclass
class Bench:
    """One device on one broker. Its own messages are of the boot `boot`, the EMS's and the clock's in its place.

    ``hand`` writes set-points, ``ear`` hears the device; on a broker without an access list they are one.
    """

    site: str
    kind: Kind
    device: str
    run: str
    time_base: Run
    hand: Transport
    ear: Transport
    monotonic: Callable[[], float]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    boot: str = field(default_factory=lambda: f"conform-{secrets.token_hex(4)}")
    heard: list[Heard] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    seq: int = 0

    @property
    def pace(self) -> float:
        return self.time_base.pace

    @property
    def run_time(self) -> datetime:
        return self.time_base.time_from_t0(self.now())

    @property
    def setpoint_topic(self) -> Topic:
        return Topic(self.site, self.kind, self.device, Channel.SETPOINT)

    # ---- out

    def stamped(self, setpoint: Setpoint, *, run: str | None = None) -> bytes:
        """A set-point as bytes, with the next number."""
        self.seq += 1
        return encode(Stamp(ts=self.run_time, run=run or self.run, boot=self.boot, seq=self.seq), setpoint)

    def altered(self, setpoint: Setpoint, **fields: Any) -> bytes:
        """The same as bytes, with fields that the contract does not allow; None: the field is left out."""
        message = json.loads(self.stamped(setpoint)) | fields
        return json.dumps({name: value for name, value in message.items() if value is not None}).encode()

    def publish(self, payload: bytes) -> None:
        self.hand.publish(str(self.setpoint_topic), payload)

    # ---- in

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Listens until it holds; False after so much machine time."""
        deadline = self.monotonic() + seconds
        while not condition():
            if self.monotonic() >= deadline:
                return False
            self.listen(LOOK_S)
        return True

    def listen_anew(self) -> None:
        """Subscribes again, as who comes later does: what is retained comes once more. What is live may be missed."""
        self.ear.close()
        self.ear.connect(filters(self.site, self.kind, self.device))

    def listen(self, seconds: float) -> None:
        if self.hand is not self.ear:
            while (delivery := self.hand.receive(0.0)) is not None:  # a transport works while it is asked
                self.hand.acknowledge(delivery)
        delivery = self.ear.receive(seconds)
        if delivery is None:
            return
        self.ear.acknowledge(delivery)
        try:
            topic = Topic.parse(delivery.topic)
        except RemoteMessageError:
            return
        if delivery.payload and topic.channel in _OWN:
            self.take(topic, delivery.payload, retained=delivery.retained)

    def take(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        try:
            stamp, body = decode(topic, payload)
        except RemoteMessageError as error:
            self.heard.append(Heard(topic, payload, retained, self.run_time, fault=str(error)))
            return
        heard = Heard(topic, payload, retained, self.run_time, stamp, body)
        self.heard.append(heard)
        if isinstance(body, Telemetry):
            # A message that comes twice is one sample.
            newest = self.samples[-1] if self.samples else None
            for sample in samples_of([heard]):
                if newest is None or (sample.boot, sample.ts) != (newest.boot, newest.ts):
                    self.samples.append(sample)

    @property
    def birth(self) -> tuple[Stamp, Birth] | None:
        """The newest one."""
        for each in reversed(self.heard):
            if isinstance(each.body, Birth) and each.stamp is not None:
                return each.stamp, each.body
        return None

    def last_state(self) -> tuple[Stamp, State] | None:
        for each in reversed(self.heard):
            if isinstance(each.body, State) and each.stamp is not None:
                return each.stamp, each.body
        return None

    def here(self) -> bool:
        """Its newest state is online, and of its newest birth's life."""
        birth, state = self.birth, self.last_state()
        if birth is None or state is None:
            return False
        return state[1].state is Presence.ONLINE and state[0].boot == birth[0].boot

    def acks(self, setpoint_id: str) -> list[tuple[Stamp, Ack]]:
        """Its answers to one set-point, each once, in order."""
        found: dict[tuple[str, int], tuple[Stamp, Ack]] = {}
        for each in self.heard:
            if isinstance(each.body, Ack) and each.stamp is not None and each.body.id == setpoint_id:
                found.setdefault((each.stamp.boot, each.stamp.seq), (each.stamp, each.body))
        return list(found.values())

    def samples_from(self, ts: datetime) -> Sequence[Sample]:
        """Telemetry about ``ts`` and later."""
        begin = len(self.samples)
        while begin and self.samples[begin - 1].ts >= ts:
            begin -= 1
        return self.samples[begin:]

    def machine_s(self, run_s: float) -> float:
        return self.time_base.machine_s(timedelta(seconds=run_s))


def filters(site: str, kind: Kind, device: str) -> tuple[str, ...]:
    """The subscription to all of one device."""
    return tuple(topic_filter(site, kind, device, channel) for channel in _OWN)
