"""A charger behind an MQTT mapping as a participant: set-points, expiry, silence, brokers that die, vehicles."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from runtime.drive import drive
from runtime.wall import WallLoop
from schemas.messages import Ack, Alarm, Body, ChargerTelemetry, Fallback, Run, Setpoint, Stamp, TimeMode
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import decode, encode
from tests.cli.calling import call
from tests.drivers.native import Wallbox, described
from tests.parts import skip_without
from twinswarm.deploy.drivers import driven

RUN = "20261101T120000.000000Z-0001"
SAFE_KW = 4.14
"""6 A on three phases of 230 V: what a V2G charger draws that nobody commands."""


@dataclass
class Swarm:
    """The driver in its run loop on the swarm's broker, the wallbox on its own one, and an EMS' hand and ear."""

    home: LocalMosquitto
    swarm: LocalMosquitto
    wallbox: Wallbox
    site: str
    bus: MqttTransport
    seq: int = 0
    heard: list[tuple[datetime, Body]] = field(default_factory=list)

    def send(self, topic: Topic, body: Body, *, retain: bool = False) -> None:
        self.seq += 1
        stamp = Stamp(ts=datetime.now(UTC), run=RUN, boot="ems1", seq=self.seq)
        self.bus.publish(str(topic), encode(stamp, body), retain=retain)

    def ask(self, name: str, power_kw: float, seconds: float, fallback: Fallback = Fallback.IDLE) -> None:
        now = datetime.now(UTC)
        until = now + timedelta(seconds=seconds)
        body = Setpoint(id=name, epoch=1, valid_from=now, valid_until=until, power_kw=power_kw, fallback=fallback)
        self.send(Topic(self.site, Kind.CHARGER, "ev1", Channel.SETPOINT), body)

    def listen(self, seconds: float = 0.1) -> None:
        delivery = self.bus.receive(seconds)
        if delivery is not None:
            self.bus.acknowledge(delivery)
            topic = Topic.parse(delivery.topic)
            if delivery.payload and topic.kind is Kind.CHARGER:
                self.heard.append((datetime.now(UTC), decode(topic, delivery.payload)[1]))

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s; heard {self.heard[-3:]}"
            self.listen()

    def last(self, kind: type[Any]) -> Any:
        return next((body for _, body in reversed(self.heard) if isinstance(body, kind)), None)

    def was_told(self, watts: float) -> bool:
        return bool(self.wallbox.told) and self.wallbox.told[-1][1] == watts

    def silent(self, *, active: bool) -> bool:
        alarm = self.last(Alarm)
        return alarm is not None and alarm.code == "hardware_silent" and alarm.active is active


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Swarm]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto() as home, LocalMosquitto() as swarm:
        site = described(tmp_path, home.address)
        bus = MqttTransport(swarm.address, "lab_ems")
        bus.connect([everything(site.site)])
        found = Swarm(home, swarm, Wallbox(home.address), site.site, bus)
        begun = datetime.now(UTC)
        run = Run(mode=TimeMode.WALL, step_s=900, t0=begun, wall0=begun, speed=1.0, simulated=False)
        found.send(Topic(site.site, Kind.CLOCK, "clock", Channel.RUN), run, retain=True)
        transport = MqttTransport(swarm.address, f"{site.site}_ev1")
        loop = WallLoop(driven(site, "ev1")(), transport, new_boot=lambda: "life1")
        stop = threading.Event()
        thread = threading.Thread(target=drive, args=(loop, transport, stop), daemon=True)
        thread.start()
        found.until(lambda: found.last(ChargerTelemetry) is not None, "the first telemetry")
        yield found
        stop.set()
        thread.join(20)
        found.wallbox.close()
        bus.close()
        assert not thread.is_alive()


def test_before_the_first_set_point_the_device_is_on_its_safe_fallback(running: Swarm) -> None:
    running.until(lambda: running.was_told(1000 * SAFE_KW), "the fallback")


def test_a_set_point_reaches_the_device_is_measured_and_falls_back_at_its_end(running: Swarm) -> None:
    running.wallbox.iec = "B"
    asked = datetime.now(UTC)
    running.ask("one", 7.4, seconds=3.0)
    running.until(lambda: running.last(Ack) is not None, "the ack")
    ack = running.last(Ack)
    assert (ack.id, ack.accepted, ack.applied_kw) == ("one", True, 7.4)
    running.until(lambda: running.was_told(7400), "the command")
    running.until(lambda: running.last(ChargerTelemetry).power_kw == 7.4, "the measured power")
    running.until(lambda: running.was_told(0), "the fallback")
    late = running.wallbox.told[-1][0] - (asked + timedelta(seconds=3.0))
    assert timedelta(0) <= late < timedelta(seconds=1.0)
    vehicle = running.last(ChargerTelemetry).vehicle
    assert vehicle.arrival is not None, "it was seen to be plugged"
    assert vehicle.charged_kwh == pytest.approx(7.4 * 3 / 3600, rel=0.5)


def test_a_device_that_is_no_longer_heard_sends_nothing_and_is_named_until_it_is_back(running: Swarm) -> None:
    running.wallbox.quiet = True
    running.until(lambda: running.silent(active=True), "the alarm")
    assert "and 2 are allowed" in running.last(Alarm).text
    count = sum(isinstance(body, ChargerTelemetry) for _, body in running.heard)
    for _ in range(10):
        running.listen()
    assert sum(isinstance(body, ChargerTelemetry) for _, body in running.heard) == count
    running.ask("blind", 4.0, seconds=30.0)
    running.until(lambda: running.was_told(4000), "the command all the same")
    running.wallbox.quiet = False
    running.until(lambda: running.silent(active=False), "the end of the alarm")
    running.until(lambda: running.last(ChargerTelemetry).power_kw == 4.0, "telemetry")


def test_a_device_that_says_it_is_offline_is_believed(running: Swarm) -> None:
    running.wallbox.say("wallbox/lwt", b"offline")
    running.until(lambda: running.silent(active=True), "the alarm")
    assert running.last(Alarm).text == "ev1 says that it is offline"


def test_its_own_broker_dies_and_comes_back_and_the_command_is_given_again(running: Swarm) -> None:
    running.ask("one", 6.0, seconds=120.0)
    running.until(lambda: running.was_told(6000), "the command")
    running.home.stop()
    running.until(lambda: running.silent(active=True), "the alarm")
    running.home.start()
    running.until(lambda: running.silent(active=False), "the end of the alarm", 60.0)
    running.ask("two", 3.0, seconds=120.0)
    running.until(lambda: running.was_told(3000), "the next command")


def test_nonsense_is_ignored_and_logged(running: Swarm, caplog: pytest.LogCaptureFixture) -> None:
    running.wallbox.say("wallbox/state", b'{"power": "lots"}')
    running.wallbox.say("wallbox/state", b"\xff\xfe{")
    running.wallbox.say("wallbox/state", json.dumps({"power": 1e300}).encode())
    running.until(lambda: "is no number" in caplog.text and "is no JSON" in caplog.text, "the log")
    heard = len(running.heard)
    running.until(lambda: len(running.heard) > heard + 3, "telemetry goes on")
    assert running.last(ChargerTelemetry).power_kw in (0.0, SAFE_KW), "nothing, or the fallback before a set-point"
    assert "power_kw: 1e+297: Input should be less than or equal to 1000000" in caplog.text


def test_map_shows_what_is_read_and_drive_refuses_who_has_no_driver(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto() as home:
        described(tmp_path, home.address)
        wallbox = Wallbox(home.address)
        found = call("map", "ev1", "--site", str(tmp_path), "--wait", "3", "--json", "-", cwd=tmp_path)
        wallbox.close()
        none = call("map", "ev1", "--site", str(tmp_path), "--wait", "0.5", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    answer = json.loads(found.stdout)
    assert answer["measured"] == {"power_kw": 0.0, "energy_import_kwh": 1.0, "plugged": False, "online": True}
    assert (none.returncode, "no power_kw was read" in none.stdout) == (1, True)
    refused = call("drive", "bess", "--site", str(tmp_path), cwd=tmp_path)
    assert (refused.returncode, "devices.bess.driver: is missing" in refused.stderr) == (2, True)
