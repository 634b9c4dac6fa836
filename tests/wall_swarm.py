"""One participant in its run loop on a broker of its own, in wall time, and the hand and ear of an EMS."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto
from runtime.drive import drive
from runtime.wall import WallLoop
from schemas.messages import Body, Fallback, Run, Setpoint, Stamp, Telemetry, TimeMode
from schemas.participant import Participant
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import decode, encode

RUN = "20261101T120000.000000Z-0001"


@dataclass
class WallSwarm:
    site: Site
    device: str
    broker: LocalMosquitto
    bus: MqttTransport
    participant: Participant
    t0: datetime
    begun: datetime
    seq: int = 0
    heard: list[tuple[datetime, Body]] = field(default_factory=list)

    @property
    def run_time(self) -> datetime:
        return self.t0 + (datetime.now(UTC) - self.begun)

    def send(self, topic: Topic, body: Body, *, retain: bool = False) -> None:
        self.seq += 1
        stamp = Stamp(ts=self.run_time, run=RUN, boot="ems1", seq=self.seq)
        self.bus.publish(str(topic), encode(stamp, body), retain=retain)

    def ask(self, name: str, *, seconds: float = 600.0, **value: float) -> None:
        now = self.run_time
        until = now + timedelta(seconds=seconds)
        setpoint = Setpoint(id=name, epoch=7, valid_from=now, valid_until=until, fallback=Fallback.IDLE, **value)
        self.send(Topic(self.site.site, self.participant.kind, self.device, Channel.SETPOINT), setpoint)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s; heard {self.heard[-3:]}"
            delivery = self.bus.receive(0.05)
            if delivery is not None:
                self.bus.acknowledge(delivery)
                topic = Topic.parse(delivery.topic)
                if delivery.payload and topic.device == self.device:
                    self.heard.append((datetime.now(UTC), decode(topic, delivery.payload)[1]))

    def all(self, kind: type[Any]) -> list[Any]:
        return [body for _, body in self.heard if isinstance(body, kind)]

    def power_kw(self) -> float | None:
        told = self.all(Telemetry)
        return told[-1].power_kw if told else None


@contextmanager
def living(
    site: Site, device: str, participant: Participant, t0: datetime | None = None, first: type[Body] = Telemetry
) -> Iterator[WallSwarm]:
    """``t0``: the run's time as it begins; None: the machine's. ``first``: what is waited for."""
    with LocalMosquitto() as broker:
        bus = MqttTransport(broker.address, "lab_ems")
        bus.connect([everything(site.site)])
        begun = datetime.now(UTC)
        swarm = WallSwarm(site, device, broker, bus, participant, t0 or begun, begun)
        run = Run(mode=TimeMode.WALL, step_s=900, t0=t0 or begun, wall0=begun, speed=1.0, simulated=t0 is not None)
        swarm.send(Topic(site.site, Kind.CLOCK, "clock", Channel.RUN), run, retain=True)
        transport = MqttTransport(broker.address, f"{site.site}_{device}")
        loop = WallLoop(participant, transport, new_boot=lambda: "life1")
        stop = threading.Event()
        thread = threading.Thread(target=drive, args=(loop, transport, stop), daemon=True)
        thread.start()
        try:
            swarm.until(lambda: bool(swarm.all(first)), f"the first {first.__name__}")
            yield swarm
        finally:
            stop.set()
            thread.join(20)
            bus.close()
        assert not thread.is_alive()
