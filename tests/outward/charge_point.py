"""A charger's twin that answers as a charge point, on a broker of its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto
from runtime.drive import drive
from runtime.wall import WallLoop
from schemas.messages import Run, Stamp, TimeMode
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import decode, encode
from sites.loader import load_site
from sites.loader.template import write_template
from twinswarm.deploy.outward import ocpp_twin

RUN = "20261101T120000.000000Z-0001"


def plugged_site(folder: Path, *, seconds: float, discharge_kw: float, fallback: str = "idle", **charger: Any) -> Site:
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
        **charger,
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
