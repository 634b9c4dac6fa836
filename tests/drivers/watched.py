"""A device of each protocol on loopback that notes when it is asked for which power, and the site that describes it.

`PROTOCOLS` has them by name. Tests ask whether a set-point ends in time, `benchmarks/setpoints.py` how fast it comes.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto
from schemas.messages import BessTelemetry, Birth, Telemetry
from schemas.participant import Participant
from services.outward.face import Asked
from services.outward.participant import Outward
from services.outward.sunspec_map import SunspecMap
from services.outward.sunspec_server import SunspecServer
from sites.loader import load_site
from sites.loader.template import write_template
from tests.drivers.modbus_device import WRITE, Device
from tests.drivers.ocpp import running as ocpp
from tests.drivers.ocpp.evse import Evse16
from tests.wall_swarm import WallSwarm, living
from twin_devices.base import Twin
from twin_devices.build import build_twin
from twinswarm.deploy.drivers import driven

PATIENCE_S = 60.0
TELEMETRY_S = 0.2
COMMAND = 20
"""Register of the mapped battery in which a power is commanded."""


class Notes:
    """The powers [kW] that a device was asked for, and when by the machine's clock [s]."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._last: tuple[float, float] | None = None

    def note(self, power_kw: float) -> None:
        with self._changed:
            if self._last is None or abs(self._last[1] - power_kw) > 1e-3:
                self._last = (time.time(), power_kw)
                self._changed.notify_all()

    def when(self, power_kw: float) -> float:
        """When it was asked for this power, which is waited for."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._is(power_kw), PATIENCE_S)
            assert found, f"{power_kw} kW were not asked in {PATIENCE_S:g} s, the last are {self._last}"
            assert self._last is not None
            return self._last[0]

    def _is(self, power_kw: float) -> bool:
        return self._last is not None and abs(self._last[1] - power_kw) < 0.01


@dataclass(frozen=True)
class Watched:
    """A device in its swarm. ``valid_s``: the shortest set-point that its protocol can hold."""

    swarm: WallSwarm
    notes: Notes
    valid_s: float

    def ask(self, name: str, power_kw: float, seconds: float) -> float:
        """Sends a set-point. Returns when [s]."""
        sent = time.time()
        self.swarm.ask(name, seconds=seconds, power_kw=power_kw)
        return sent

    def late_s(self, power_kw: float, *, broker_dies: bool) -> float:
        """How late a set-point ends at the device, with nobody left who commands [s]."""
        sent = self.ask(f"end-{time.monotonic_ns()}", power_kw, self.valid_s)
        self.notes.when(power_kw)
        if broker_dies:
            self.swarm.broker.stop()
        late_s = self.notes.when(0.0) - sent - self.valid_s
        if broker_dies:
            self.swarm.broker.start()
        return late_s


@contextmanager
def _in_swarm(folder: Path, device: str, driver: dict[str, Any], notes: Notes) -> Iterator[Watched]:
    write_template(folder)
    file = folder / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    parts["devices"][device] |= {"telemetry_period_s": TELEMETRY_S, "driver": driver}
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    site = load_site(file)
    with living(site, device, driven(site, device)()) as swarm:
        notes.when(0.0)
        yield Watched(swarm, notes, valid_s=1.0)


@contextmanager
def sunspec(folder: Path) -> Iterator[Watched]:
    """A battery by model 124."""
    (folder / "twin").mkdir(parents=True)
    write_template(folder / "twin")
    notes = Notes()

    def put(asked: object) -> bool:
        assert isinstance(asked, Asked)
        notes.note(asked.value_kw or 0.0)
        return True

    server = SunspecServer("bess", SunspecMap(load_site(folder / "twin" / "site.yaml"), "bess"), "127.0.0.1", 0)
    server.open(put)
    try:
        server.show(BessTelemetry(power_kw=0.0, soc_frac=0.5), None)
        with _in_swarm(folder, "bess", {"type": "sunspec", "host": "127.0.0.1", "port": server.port}, notes) as found:
            yield found
    finally:
        server.close()


class _Mapped(Device):
    """A battery by a map of registers."""

    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self._notes = notes
        self.put(0, 0, 0)
        self.put(10, 50)

    async def _asked(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        wanted: list[int] | list[bool] | None,
    ) -> None:
        if function == WRITE and wanted is not None and address == COMMAND:
            watts = int(wanted[0])
            self._notes.note((watts - 65_536 if watts >= 32_768 else watts) / 1000)
        await super()._asked(function, start, address, count, registers, wanted)


@contextmanager
def modbus(folder: Path) -> Iterator[Watched]:
    notes = Notes()
    with _Mapped(notes).serving() as port:
        driver = {
            "type": "modbus",
            "host": "127.0.0.1",
            "port": port,
            "power_kw": {"address": 0, "type": "int32", "factor": 0.001},
            "soc_frac": {"address": 10, "type": "uint16", "factor": 0.01},
            "command": {"address": COMMAND, "type": "int16", "factor": 1000},
        }
        with _in_swarm(folder, "bess", driver, notes) as found:
            yield found


@contextmanager
def mqtt(folder: Path) -> Iterator[Watched]:
    """A battery with JSON of its own, on a broker of its own."""
    notes, stop = Notes(), threading.Event()
    with LocalMosquitto() as home:
        device = MqttTransport(home.address, "battery")
        device.connect(["battery/set"])

        def live() -> None:
            while not stop.is_set():
                delivery = device.receive(TELEMETRY_S)
                if delivery is not None:
                    notes.note(json.loads(delivery.payload)["watts"] / 1000)
                    device.acknowledge(delivery)
                device.publish("battery/state", b'{"watts": 0, "soc": 50}')

        thread = threading.Thread(target=live, daemon=True)
        thread.start()
        driver = {
            "type": "mqtt",
            "broker": f"mqtt://{home.address.host}:{home.address.port}",
            "power_kw": {"topic": "battery/state", "path": "watts", "factor": 0.001},
            "soc_frac": {"topic": "battery/state", "path": "soc", "factor": 0.01},
            "command": {"topic": "battery/set", "payload": '{"watts": {value}}', "factor": 1000, "decimals": 0},
        }
        try:
            with _in_swarm(folder, "bess", driver, notes) as found:
                yield found
        finally:
            stop.set()
            thread.join(10)
            device.close()


class _Evse(Evse16):
    def __init__(self, url: str, notes: Notes) -> None:
        super().__init__(url)
        self._notes = notes

    def accept(self, connector_id: int, profile: dict[str, Any]) -> None:
        super().accept(connector_id, profile)
        if profile["charging_profile_purpose"] == "TxProfile":
            self._notes.note(float(profile["charging_schedule"]["charging_schedule_period"][0]["limit"]) / 1000)


@contextmanager
def ocpp16(folder: Path) -> Iterator[Watched]:
    """A charger by OCPP 1.6, in a transaction."""
    notes, site = Notes(), ocpp.described(folder)
    participant = driven(site, "ev1")()
    evse = _Evse(f"ws://127.0.0.1:{site.ocpp.port}/CP1", notes)
    try:
        with living(site, "ev1", participant, first=Birth) as swarm:
            evse.connect()
            evse.begin()
            swarm.until(lambda: bool(swarm.all(Telemetry)), "the first telemetry")
            notes.when(0.0)
            yield Watched(swarm, notes, valid_s=3.0)
    finally:
        evse.close()


class _Shown:
    """The face of a twin that notes its power, and commands nothing."""

    name, value_type = "noted", Asked

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def open(self, put: Callable[[object], bool]) -> None:
        """Nothing to be opened."""

    def close(self) -> None:
        """Nothing to be closed."""

    def show(self, telemetry: Telemetry | None, remaining_s: float | None) -> None:
        if telemetry is not None:
            self._notes.note(telemetry.power_kw)

    def over(self, number: int) -> None:
        """Nobody asks for anything here."""


@contextmanager
def native(folder: Path) -> Iterator[Watched]:
    """A battery with the messages of this project: the twin's own power, looked at in each of its turns."""
    write_template(folder)
    file = folder / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    parts["devices"]["bess"]["telemetry_period_s"] = TELEMETRY_S
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    site, notes = load_site(file), Notes()
    twin = build_twin(site, "bess")
    assert isinstance(twin, Twin)
    participant: Participant = Outward(twin, _Shown(notes))
    with living(site, "bess", participant) as swarm:
        notes.when(0.0)
        yield Watched(swarm, notes, valid_s=1.0)


PROTOCOLS: Mapping[str, Callable[[Path], AbstractContextManager[Watched]]] = {
    "native": native,
    "sunspec": sunspec,
    "modbus": modbus,
    "mqtt": mqtt,
    "ocpp": ocpp16,
}
