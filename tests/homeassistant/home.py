"""A site with a charger, its EMS and `twinswarm homeassistant --commands` as processes on a real broker."""

import subprocess
import sys
import time
from pathlib import Path

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from schemas.messages import Setpoint, SetpointCause
from schemas.site import Site
from tests.faults.live import PATIENCE_S, Live

SPEED = 600.0
"""A settlement period takes 1.5 s, and a request holds for 6 s."""
ASKED_KW = -4.25
"""Nobody would command that for money: buying and selling cost the same, and the car wants to be charged."""


class Home(Live):
    """The site with a charger, its EMS and the command, and Home Assistant's side of the broker."""

    def __init__(self, folder: Path, address: BrokerAddress) -> None:
        super().__init__(folder, address, requests={"most_h": 48})
        charger = self.site.devices["ev1"].model_copy(update={"telemetry_period_s": 120.0})
        self.site = Site.model_validate({**self.site.model_dump(), "devices": {"ev1": charger}})
        (folder / "site.json").write_text(self.site.model_dump_json(), encoding="utf-8")
        self.connect()
        for name in ("ems", "network", "ev1"):
            self.start(name)
        self.start_clock(SPEED)
        self.send_prices()
        self.serve()

    def serve(self) -> None:
        self.processes["homeassistant"] = subprocess.Popen(self._command("--commands"))

    def remove(self) -> str:
        """Takes the site away; returns what the command said."""
        return subprocess.run(self._command("--remove"), stdout=subprocess.PIPE, text=True, check=True).stdout

    def _command(self, option: str) -> list[str]:
        words = ["homeassistant", str(self.folder / "site.json"), option, "--broker", str(self.address)]
        return [sys.executable, "-m", "twinswarm.cli", *words]

    def retained(self) -> set[str]:
        """Topics of discovery and of what persons set at which something stands."""
        ear = MqttTransport(self.address, "retained-ear")
        ear.connect(["homeassistant/#", "twinswarm/#", "marker"])
        try:
            # The broker sends what it keeps before it handles what comes later.
            ear.publish("marker", b"all")
            found = set()
            while True:
                delivery = ear.receive(PATIENCE_S)
                assert delivery is not None, "the marker has not come"
                ear.acknowledge(delivery)
                if delivery.topic == "marker":
                    return found
                if delivery.payload:
                    found.add(delivery.topic)
        finally:
            ear.close()

    def say(self, what: str, text: str) -> None:
        self.mouth.publish(f"twinswarm/{self.site.site}/{what}/set", text.encode())

    def until_status(self, wanted: str) -> None:
        """Until a state for Home Assistant begins so."""
        ear = MqttTransport(self.address, "panel-ear")
        ear.connect([f"twinswarm/{self.site.site}/+/+"])
        try:
            deadline = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline:
                delivery = ear.receive(0.2)
                if delivery is None:
                    continue
                ear.acknowledge(delivery)
                if delivery.payload.decode().startswith(wanted):
                    return
        finally:
            ear.close()
        raise AssertionError(f"no state says {wanted!r}")


def by_hand(each: Setpoint) -> bool:
    return each.cause is SetpointCause.REQUEST and each.power_kw == ASKED_KW


def by_ems(each: Setpoint) -> bool:
    return each.cause is not SetpointCause.REQUEST
