"""Chargers behind the central system as participants in their run loops, with an EMS' hand and ear."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto
from runtime.drive import drive
from runtime.wall import WallLoop
from schemas.messages import Ack, Alarm, Body, ChargerTelemetry, Fallback, Phases, Run, Setpoint, Stamp, TimeMode
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import decode, encode
from sites.loader import load_site
from sites.loader.template import write_template
from tests.drivers.ocpp.evse import Evse16
from twinswarm.deploy.drivers import all_driven

RUN = "20261101T120000.000000Z-0001"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def described(
    folder: Path,
    *,
    site: str | None = None,
    ocpp: dict[str, Any] | None = None,
    charger: dict[str, Any] | None = None,
    **driver: Any,
) -> Site:
    """The template's site, whose ev1 is a one-way AC charger of 11 kW behind OCPP. ``site``: another name for it."""
    write_template(folder)
    file = folder / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    parts["site"] = site or parts["site"]
    parts["ocpp"] = {"port": free_port(), **(ocpp or {})}
    parts["devices"]["ev1"] |= {
        "max_charge_kw": 11.0,
        "max_discharge_kw": 0.0,
        "fallback": "idle",
        "telemetry_period_s": 0.2,
        "driver": {"type": "ocpp", "charge_point": "CP1", "max_age_s": 3.0, **driver},
        **(charger or {}),
    }
    for name in ("daily", "sessions"):
        parts["devices"]["ev1"].pop(name, None)
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    return load_site(file)


@dataclass
class Swarm:
    site: Site
    broker: LocalMosquitto
    bus: MqttTransport
    evses: list[Evse16] = field(default_factory=list)
    seq: int = 0
    heard: list[tuple[datetime, str, Body]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.site.ocpp.port}/CP1"

    def evse(self, **changes: Any) -> Evse16:
        """A charge point that is not connected yet; closed at the end."""
        found = Evse16(self.url)
        for name, value in changes.items():
            setattr(found, name, value)
        self.evses.append(found)
        return found

    def send(self, topic: Topic, body: Body, *, retain: bool = False) -> None:
        self.seq += 1
        stamp = Stamp(ts=datetime.now(UTC), run=RUN, boot="ems1", seq=self.seq)
        self.bus.publish(str(topic), encode(stamp, body), retain=retain)

    def ask(
        self, name: str, power_kw: float, seconds: float, device: str = "ev1", phases: Phases | None = None
    ) -> None:
        now = datetime.now(UTC)
        until = now + timedelta(seconds=seconds)
        body = Setpoint(
            id=name,
            epoch=1,
            valid_from=now,
            valid_until=until,
            power_kw=power_kw,
            phases=phases,
            fallback=Fallback.IDLE,
        )
        self.send(Topic(self.site.site, Kind.CHARGER, device, Channel.SETPOINT), body)

    def listen(self, seconds: float = 0.1) -> None:
        delivery = self.bus.receive(seconds)
        if delivery is not None:
            self.bus.acknowledge(delivery)
            topic = Topic.parse(delivery.topic)
            if delivery.payload and topic.kind is Kind.CHARGER:
                self.heard.append((datetime.now(UTC), topic.device, decode(topic, delivery.payload)[1]))

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s; heard {self.heard[-4:]}"
            self.listen()

    def last(self, kind: type[Any], device: str = "ev1") -> Any:
        return next((body for _, name, body in reversed(self.heard) if isinstance(body, kind) and name == device), None)

    def telemetry(self, device: str = "ev1") -> Any:
        return self.last(ChargerTelemetry, device)

    def ack(self, name: str) -> Any:
        return next((body for _, _, body in self.heard if isinstance(body, Ack) and body.id == name), None)

    def alarm(self, code: str) -> Any:
        """The alarm of this code that was said last; None: it was never said."""
        return next((b for _, _, b in reversed(self.heard) if isinstance(b, Alarm) and b.code == code), None)

    def has(self, code: str, text: str) -> bool:
        alarm = self.alarm(code)
        return alarm is not None and alarm.active and text in alarm.text

    def says(self, text: str) -> bool:
        return self.has("hardware_trouble", text) or self.has("hardware_silent", text)

    @staticmethod
    def last_profile(evse: Evse16) -> dict[str, Any]:
        return evse.told[-1][1]

    def power_is(self, kw: float, device: str = "ev1") -> bool:
        telemetry = self.telemetry(device)
        return telemetry is not None and abs(telemetry.power_kw - kw) < 0.02


@contextmanager
def running(site: Site) -> Iterator[Swarm]:
    devices = [name for name, device in site.devices.items() if device.driver is not None]
    with LocalMosquitto() as broker:
        bus = MqttTransport(broker.address, "lab_ems")
        bus.connect([everything(site.site)])
        found = Swarm(site, broker, bus)
        begun = datetime.now(UTC)
        run = Run(mode=TimeMode.WALL, step_s=900, t0=begun, wall0=begun, speed=1.0, simulated=False)
        found.send(Topic(site.site, Kind.CLOCK, "clock", Channel.RUN), run, retain=True)
        stop, threads = threading.Event(), []
        for name, make in all_driven(site, devices).items():
            transport = MqttTransport(broker.address, f"{site.site}_{name}")
            loop = WallLoop(make(), transport, new_boot=lambda: "life1")
            threads.append(threading.Thread(target=drive, args=(loop, transport, stop), daemon=True))
            threads[-1].start()
        try:
            yield found
        finally:
            for evse in found.evses:
                evse.close()
            stop.set()
            for thread in threads:
                thread.join(30)
            bus.close()
        assert not any(thread.is_alive() for thread in threads)
