"""The examples by the contract: the charger in Python, the battery in JavaScript, the skeleton of a driver."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from broker.address import BrokerAddress
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from services.conformance.proxy import CuttableWay
from services.conformance.verdicts import Verdicts
from tests.conformance.bench import examined, failures, living, not_judged
from tests.examples.conftest import EXAMPLES, StartProgram
from tests.examples.node import lay_out
from tests.examples.test_driver import Reading, driver_module
from tests.parts import skip_without
from twinswarm.deploy.examining import Moment

MORNING = datetime(2024, 5, 17, 10, tzinfo=UTC)
"""The example's car is there."""
FAST = Moment(MORNING, 20.0)
"""They send telemetry every 10 s of the run."""
SITE = "fit-g2v"


@dataclass
class Bench:
    """Hardware of the skeleton: a charger that is what it is set to, and says so five times a second."""

    name: str = "charger"
    value_type: type = Reading
    power_kw: float = 0.0
    energy_kwh: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def open(self, put: Callable[[object], bool]) -> None:
        def say() -> None:
            since = time.monotonic()
            while not self.stop.wait(0.2):
                now = time.monotonic()
                self.energy_kwh += self.power_kw * (now - since) / 3600
                since = now
                put(Reading(self.power_kw, self.energy_kwh))

        threading.Thread(target=say, daemon=True).start()

    def close(self) -> None:
        self.stop.set()

    def set_power(self, power_kw: float) -> None:
        self.power_kw = power_kw


def test_the_examples_pass(start_program: StartProgram, tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    results: dict[str, Verdicts] = {}
    battery = str(lay_out(tmp_path / "elsewhere"))
    programs = {"ev1": (sys.executable, str(EXAMPLES / "charger.py")), "bess": ("node", battery)}

    def program(device: str, broker: BrokerAddress) -> None:
        with CuttableWay(0, broker.host, broker.port) as way:
            start_program(*programs[device], "--broker", f"mqtt://127.0.0.1:{way.port}")
            results[device] = examined(broker, SITE, device, way, FAST)

    def skeleton(device: str, broker: BrokerAddress) -> None:
        with living(lambda: driver_module().Driver("bench", device, Bench()), broker) as way:
            results[device] = examined(broker, "bench", device, way)

    # A broker each: the two programs are of one site, and a run is a site's.
    with LocalMosquitto() as one, LocalMosquitto() as two, LocalMosquitto() as three:
        threads = [
            threading.Thread(target=program, args=("ev1", one.address)),
            threading.Thread(target=program, args=("bess", two.address)),
            threading.Thread(target=skeleton, args=("ev2", three.address)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
    assert {name: failures(results[name]) for name in ("ev1", "bess", "ev2")} == {"ev1": {}, "bess": {}, "ev2": {}}
    assert not_judged(results["ev1"]) == not_judged(results["bess"]) == set()
    # It does not know its vehicle's SOC, so less than what is asked may flow.
    assert not_judged(results["ev2"]) <= {"S4"}
