"""A charger's twin as a charge point: the site's own central system commands it; offline it keeps its messages."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from runtime.wall import WallLoop, drive
from schemas.messages import Run, Stamp, TimeMode
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import decode, encode
from sites.loader import load_site
from sites.loader.template import write_template
from tests.drivers.ocpp.running import RUN, described, running
from tests.parts import skip_without
from twinswarm.deploy.outward import ocpp_twin

VERSIONS = ("1.6", "2.0.1", "2.1")


def plugged_site(folder: Path, *, seconds: float, discharge_kw: float, fallback: str = "idle") -> Site:
    """The template's site; a vehicle is at ev1 for so long."""
    folder.mkdir()
    write_template(folder)
    file = folder / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    now = datetime.now(UTC)
    session = {
        "vehicle": "car1",
        "arrival": (now - timedelta(minutes=5)).isoformat(),
        "departure": (now + timedelta(seconds=seconds)).isoformat(),
        "capacity_kwh": 60.0,
        "arrival_soc_frac": 0.5,
        "target_soc_frac": 0.8,
    }
    ev1 = parts["devices"]["ev1"] | {
        "max_charge_kw": 11.0,
        "max_discharge_kw": discharge_kw,
        "telemetry_period_s": 0.5,
        "dead_time_s": 0.0,
        "sessions": [session],
        "fallback": fallback,
    }
    ev1.pop("daily", None)
    ev1.pop("ramp_kw_per_s", None)
    parts["devices"]["ev1"] = ev1
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    return load_site(file)


@contextmanager
def twin_at(site: Site, url: str, version: Any) -> Iterator[list[Any]]:
    """The twin with its face on a broker of its own; yields its telemetry as it comes."""
    with LocalMosquitto() as broker:
        bus = MqttTransport(broker.address, "lab")
        bus.connect([everything(site.site)])
        begun = datetime.now(UTC)
        run = Run(mode=TimeMode.WALL, step_s=900, t0=begun, wall0=begun, speed=1.0, simulated=False)
        stamp = Stamp(ts=begun, run=RUN, boot="clock1", seq=1)
        bus.publish(str(Topic(site.site, Kind.CLOCK, "clock", Channel.RUN)), encode(stamp, run), retain=True)
        heard: list[Any] = []
        stop = threading.Event()

        def listen() -> None:
            while not stop.is_set():
                delivery = bus.receive(0.2)
                if delivery is not None:
                    bus.acknowledge(delivery)
                    topic = Topic.parse(delivery.topic)
                    if topic.kind is Kind.CHARGER and topic.channel is Channel.TELEMETRY and delivery.payload:
                        heard.append(decode(topic, delivery.payload)[1])

        transport = MqttTransport(broker.address, f"{site.site}_ev1")
        loop = WallLoop(ocpp_twin(site, "ev1", url, version)(), transport, new_boot=lambda: "life1")
        threads = [
            threading.Thread(target=listen, daemon=True),
            threading.Thread(target=drive, args=(loop, transport, stop), daemon=True),
        ]
        for thread in threads:
            thread.start()
        yield heard
        stop.set()
        for thread in threads:
            thread.join(20)
        bus.close()
        assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_set_point_goes_through_the_central_system_to_the_twin_and_back_as_telemetry(
    tmp_path: Path, version: str
) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    discharge_kw = 11.0 if version == "2.1" else 0.0
    charger = {"max_discharge_kw": discharge_kw}
    (tmp_path / "csms").mkdir()
    with running(described(tmp_path / "csms", charger=charger, sample_s=1, max_age_s=8.0)) as swarm:
        site = plugged_site(tmp_path / "twin", seconds=3600, discharge_kw=discharge_kw)
        with twin_at(site, swarm.url, version) as shown:
            swarm.until(lambda: swarm.telemetry() is not None and swarm.telemetry().vehicle is not None, "the vehicle")
            assert swarm.telemetry().vehicle.soc_frac is None or swarm.telemetry().vehicle.soc_frac > 0.4
            swarm.ask("one", 5.0, seconds=60.0)
            swarm.until(lambda: swarm.power_is(5.0), "5 kW, as the twin measures them", 60.0)
            swarm.until(lambda: shown[-1].power_kw == pytest.approx(5.0, abs=0.01), "at the twin, too")
            swarm.until(lambda: swarm.telemetry().vehicle.soc_frac is not None, "its SOC")
            if version == "2.1":
                swarm.ask("two", -3.0, seconds=60.0)
                swarm.until(lambda: swarm.power_is(-3.0), "3 kW from the vehicle", 60.0)
                swarm.until(lambda: swarm.telemetry().energy_export_kwh > 0, "what it gave")
            swarm.ask("last", 4.0, seconds=2.0)
            swarm.until(lambda: swarm.power_is(4.0), "4 kW", 60.0)
            swarm.until(lambda: swarm.power_is(0.0), "the fallback", 60.0)
            swarm.until(lambda: shown[-1].power_kw == 0.0, "at the twin, too")
            assert not swarm.says("is not accepted"), swarm.alarm("hardware_trouble")
            assert not swarm.says("was asked"), swarm.alarm("hardware_trouble")


def test_only_2_1_can_discharge_and_a_charger_of_1_6_is_refused_there(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with running(described(tmp_path, charger={"max_discharge_kw": 11.0})) as swarm:
        swarm.until(lambda: swarm.says("CP1 has not connected"), "the state")
        with connect(swarm.url, subprotocols=["ocpp1.6"]) as older, pytest.raises(ConnectionClosed):
            older.recv(timeout=10)
        swarm.until(lambda: swarm.says("charge point CP1 offers none of ocpp2.1"), "why")


def test_a_session_without_the_central_system_is_handed_in_later(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    (tmp_path / "csms").mkdir()
    described_site = described(tmp_path / "csms", sample_s=1)
    site = plugged_site(tmp_path / "twin", seconds=6.0, discharge_kw=0.0, fallback="uncontrolled")
    url = f"ws://127.0.0.1:{described_site.ocpp.port}/CP1"
    with twin_at(site, url, "2.0.1") as shown:
        deadline = datetime.now(UTC) + timedelta(seconds=60)
        while not any(each.departed for each in shown):
            assert datetime.now(UTC) < deadline, "the vehicle leaves"
            time.sleep(0.1)
        drawn_kwh = shown[-1].energy_import_kwh
        with running(described_site) as swarm:
            assert drawn_kwh > 0
            swarm.until(lambda: swarm.telemetry() is not None, "telemetry", 90.0)
            swarm.until(
                lambda: swarm.telemetry().energy_import_kwh == pytest.approx(drawn_kwh, abs=0.001), "the energy", 60.0
            )
            swarm.until(lambda: swarm.telemetry().vehicle is None, "nobody is there")
