"""A charger with an MQTT interface of its own, and the site that describes it."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from schemas.site import Site
from sites.loader import load_site
from sites.loader.template import write_template

BROKER = "mqtt://127.0.0.1:1883"
T0 = datetime(2026, 11, 28, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def described(folder: Path, address: BrokerAddress, **changes: Any) -> Site:
    """The template's site, whose charger ev1 is the one below."""
    write_template(folder)
    file = folder / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    parts["devices"]["ev1"] |= {
        "telemetry_period_s": 0.2,
        "driver": {
            "type": "mqtt",
            "broker": f"mqtt://{address.host}:{address.port}",
            "power_kw": {"topic": "wallbox/state", "path": "power", "factor": 0.001},
            "energy_import_kwh": {"topic": "wallbox/state", "path": "total_wh", "factor": 0.001},
            "plugged": {"topic": "wallbox/state", "path": "iec", "is": ["B", "C"]},
            "online": {"topic": "wallbox/lwt", "is": ["online"]},
            "command": {"topic": "wallbox/set", "payload": '{"watts": {value}}', "factor": 1000, "decimals": 0},
            "max_age_s": 2.0,
            **changes,
        },
    }
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    return load_site(file)


class Wallbox:
    """Does what it is told, and says what it does five times a second."""

    def __init__(self, address: BrokerAddress) -> None:
        self.told: list[tuple[datetime, float]] = []
        self.watts, self.total_wh, self.iec = 0.0, 1000.0, "A"
        self.quiet = False
        self._to_say: list[tuple[str, bytes]] = []
        self._transport = MqttTransport(address, "wallbox")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._transport.connect(["wallbox/set"])
        self._transport.publish("wallbox/lwt", b"online", retain=True)
        while not self._stop.is_set():
            delivery = self._transport.receive(0.2)
            if delivery is not None:
                self._transport.acknowledge(delivery)
                self.watts = json.loads(delivery.payload)["watts"]
                self.told.append((datetime.now(UTC), self.watts))
            while self._to_say:
                topic, payload = self._to_say.pop(0)
                self._transport.publish(topic, payload, retain=topic.endswith("lwt"))
            self.total_wh += max(self.watts, 0.0) * 0.2 / 3600
            if not self.quiet:
                state = {"power": self.watts, "total_wh": self.total_wh, "iec": self.iec}
                self._transport.publish("wallbox/state", json.dumps(state).encode())

    def say(self, topic: str, payload: bytes) -> None:
        """In the device's own thread: a connection is for one."""
        self._to_say.append((topic, payload))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self._transport.close()
