"""The driver skeleton over a real broker in wall time: set-point, expiry and fallback, with telemetry every 600 s."""

import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from runtime.drive import drive
from runtime.wall import WallLoop
from schemas.messages import Ack, Body, ChargerTelemetry, Fallback, Run, Setpoint, Stamp, TimeMode
from schemas.participant import Participant
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import decode, encode

FILE = Path(__file__).parents[2] / "examples" / "driver.py"
SITE = "lab"
RUN = "20261101T120000.000000Z-0001"
CLOCK = Topic(SITE, Kind.CLOCK, "clock", Channel.RUN)
SETPOINT = Topic(SITE, Kind.CHARGER, "ev1", Channel.SETPOINT)


def driver_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("driver", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Reading:
    power_kw: float
    energy_kwh: float
    plugged: bool = True


class Hardware:
    """A charger on the bench: notes which power it is set to and when, and reports what the test says."""

    name = "charger"
    value_type: Any = Reading

    def __init__(self) -> None:
        self.set: list[tuple[datetime, float]] = []
        self.put: Callable[[object], bool] = lambda value: False

    def open(self, put: Callable[[object], bool]) -> None:
        self.put = put

    def close(self) -> None:
        pass

    def set_power(self, power_kw: float) -> None:
        if not self.set or self.set[-1][1] != power_kw:
            self.set.append((datetime.now(UTC), power_kw))


class Site:
    """The driver in its run loop, and a hand and an ear on the broker."""

    def __init__(self, address: BrokerAddress, fallback: Fallback) -> None:
        self.hardware = Hardware()
        driver: Participant = driver_module().Driver(SITE, "ev1", self.hardware, fallback)
        self._bus = MqttTransport(address, "lab_ems")
        self._bus.connect([everything(SITE)])
        self._seq = 0
        self.begun = datetime.now(UTC)
        run = Run(mode=TimeMode.WALL, step_s=900, t0=self.begun, wall0=self.begun, speed=1.0)
        self.send(CLOCK, run, retain=True)
        transport = MqttTransport(address, "lab_ev1")
        loop = WallLoop(driver, transport, new_boot=lambda: f"life{time.monotonic_ns()}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=drive, args=(loop, transport, self._stop))
        self._thread.start()
        self.hear(lambda body: isinstance(body, ChargerTelemetry))

    def send(self, topic: Topic, body: Body, *, retain: bool = False) -> None:
        self._seq += 1
        stamp = Stamp(ts=datetime.now(UTC), run=RUN, boot=f"ems{self.begun.timestamp():.0f}", seq=self._seq)
        self._bus.publish(str(topic), encode(stamp, body), retain=retain)

    def ask(self, name: str, power_kw: float, seconds: float, **changes: Any) -> Ack:
        now = datetime.now(UTC)
        given = {"epoch": 1, "fallback": Fallback.IDLE, "valid_from": now} | changes
        until = given["valid_from"] + timedelta(seconds=seconds)
        self.send(SETPOINT, Setpoint(id=name, power_kw=power_kw, valid_until=until, **given))
        ack = self.hear(lambda body: isinstance(body, Ack) and body.id == name)
        assert isinstance(ack, Ack)
        return ack

    def hear(self, wanted: Callable[[Body], bool]) -> Body:
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:
            delivery = self._bus.receive(0.1)
            if delivery is None:
                continue
            self._bus.acknowledge(delivery)
            if delivery.payload:
                _, body = decode(Topic.parse(delivery.topic), delivery.payload)
                if wanted(body):
                    return body
        raise AssertionError("not heard in 10 s")

    def until_set(self, power_kw: float, within_s: float) -> datetime:
        deadline = time.monotonic() + within_s
        while not self.hardware.set or self.hardware.set[-1][1] != power_kw:
            assert time.monotonic() < deadline, f"{power_kw} kW was not set within {within_s} s"
            time.sleep(0.005)
        return self.hardware.set[-1][0]

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5.0)
        assert not self._thread.is_alive()
        for topic in (CLOCK, *(Topic(SITE, Kind.CHARGER, "ev1", c) for c in (Channel.BIRTH, Channel.STATE))):
            self._bus.publish(str(topic), b"", retain=True)
        self._bus.flush(5.0)
        self._bus.close()


@pytest.fixture(params=[Fallback.IDLE, Fallback.UNCONTROLLED])
def site(address: BrokerAddress, request: pytest.FixtureRequest) -> Iterator[Site]:
    site = Site(address, request.param)
    yield site
    site.close()


def test_the_skeleton_has_less_than_60_lines() -> None:
    assert len(FILE.read_text(encoding="utf-8").splitlines()) < 60


def test_a_set_point_is_obeyed_and_its_fallback_holds_within_a_second_of_its_end(site: Site) -> None:
    asked = datetime.now(UTC)
    ack = site.ask("one", 7.0, seconds=1.5)
    assert (ack.accepted, ack.applied_kw) == (True, 7.0)
    assert site.until_set(7.0, within_s=1.0) - asked < timedelta(seconds=0.5)
    ended = site.until_set(0.0, within_s=2.5)
    expiry = asked + timedelta(seconds=1.5)
    assert timedelta(0) <= ended - expiry < timedelta(seconds=0.5), "telemetry would have come after 600 s"


def test_each_fallback_of_a_set_point(site: Site) -> None:
    site.ask("hold", 5.0, seconds=0.5, fallback=Fallback.HOLD)
    site.until_set(5.0, within_s=1.0)
    time.sleep(1.0)
    assert site.hardware.set[-1][1] == 5.0
    site.ask("free", 6.0, seconds=0.5, fallback=Fallback.UNCONTROLLED)
    site.until_set(6.0, within_s=1.0)
    site.until_set(22.0, within_s=1.5)


def test_a_set_point_for_later_begins_at_its_instant(site: Site) -> None:
    begins = datetime.now(UTC) + timedelta(seconds=1.0)
    assert site.ask("later", 9.0, seconds=5.0, valid_from=begins).accepted
    assert site.hardware.set[-1][1] != 9.0
    assert timedelta(0) <= site.until_set(9.0, within_s=2.0) - begins < timedelta(seconds=0.5)


def test_what_is_too_much_is_clipped_and_what_is_old_is_refused(site: Site) -> None:
    assert (site.ask("much", 99.0, seconds=5.0, epoch=5).applied_kw) == 22.0
    old = site.ask("old", 1.0, seconds=5.0, epoch=4)
    assert not old.accepted
    assert old.reason == "epoch 4 is below 5, which was seen before"
    site.until_set(22.0, within_s=1.0)


def test_what_the_hardware_reports_is_telemetry_at_once(site: Site) -> None:
    began = time.monotonic()
    assert site.hardware.put({"power_kw": 6.9, "energy_kwh": 12.5})
    body = site.hear(lambda body: isinstance(body, ChargerTelemetry) and body.power_kw == 6.9)
    assert isinstance(body, ChargerTelemetry)
    assert body.energy_import_kwh == 12.5
    assert time.monotonic() - began < 0.5
