"""A twin with a SunSpec face in its run loop on a broker, and the hand and ear of an EMS."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto
from runtime.wall import WallLoop, drive
from schemas.messages import Body, Fallback, Run, Setpoint, Stamp, Telemetry, TimeMode
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import decode, encode
from services.outward.participant import Outward
from services.outward.sunspec_server import SunspecServer
from sites.loader import load_site
from sites.loader.template import write_template
from twinswarm.deploy.outward import sunspec_twin

RUN = "20261101T120000.000000Z-0001"
NOON = datetime(2026, 6, 21, 10, tzinfo=UTC)
"""High noon at the template's site: its PV produces."""


def a_site(folder: Path) -> Site:
    write_template(folder)
    return load_site(folder / "site.yaml")


@dataclass
class Swarm:
    site: Site
    device: str
    broker: LocalMosquitto
    bus: MqttTransport
    twin: Outward
    seq: int = 0
    heard: list[tuple[datetime, Body]] = field(default_factory=list)

    @property
    def port(self) -> int:
        (face,) = self.twin.sources
        assert isinstance(face, SunspecServer)
        return face.port

    @property
    def run_time(self) -> datetime:
        return NOON + (datetime.now(UTC) - self.begun)

    begun: datetime = field(default_factory=lambda: datetime.now(UTC))

    def send(self, topic: Topic, body: Body, *, retain: bool = False) -> None:
        self.seq += 1
        stamp = Stamp(ts=self.run_time, run=RUN, boot="ems1", seq=self.seq)
        self.bus.publish(str(topic), encode(stamp, body), retain=retain)

    def ask(self, name: str, *, seconds: float = 600.0, **value: float) -> None:
        now = self.run_time
        until = now + timedelta(seconds=seconds)
        setpoint = Setpoint(id=name, epoch=7, valid_from=now, valid_until=until, fallback=Fallback.IDLE, **value)
        self.send(Topic(self.site.site, self.twin.kind, self.device, Channel.SETPOINT), setpoint)

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
def serving(folder: Path, device: str, series: str = "100", *, speed: float = 1.0) -> Iterator[Swarm]:
    """The twin of the template's device, at a port of its own, in a run that began at noon."""
    site = a_site(folder)
    spec = site.devices[device].model_copy(update={"telemetry_period_s": 0.5})
    site = site.model_copy(update={"devices": {**site.devices, device: spec}})
    with LocalMosquitto() as broker:
        bus = MqttTransport(broker.address, "lab_ems")
        bus.connect([everything(site.site)])
        twin = sunspec_twin(site, device, "127.0.0.1:0", series)()
        assert isinstance(twin, Outward)
        swarm = Swarm(site, device, broker, bus, twin)
        run = Run(mode=TimeMode.WALL, step_s=900, t0=NOON, wall0=swarm.begun, speed=speed, simulated=True)
        swarm.send(Topic(site.site, Kind.CLOCK, "clock", Channel.RUN), run, retain=True)
        transport = MqttTransport(broker.address, f"{site.site}_{device}")
        loop = WallLoop(twin, transport, new_boot=lambda: "life1")
        stop = threading.Event()
        thread = threading.Thread(target=drive, args=(loop, transport, stop), daemon=True)
        thread.start()
        try:
            swarm.until(lambda: bool(swarm.all(Telemetry)), "the first telemetry")
            yield swarm
        finally:
            stop.set()
            thread.join(20)
            bus.close()
        assert not thread.is_alive()
