"""Drivers by the contract, with hardware behind them: mapped MQTT, Modbus registers, SunSpec, S2, OCPP 1.6 and 2.1."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from broker.address import BrokerAddress
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from schemas.site import Site
from services.conformance.verdicts import Verdicts
from sites.loader import load_site
from sites.loader.template import write_template
from tests.conformance.bench import examined, failures, living, not_judged
from tests.drivers import sunspec_device as lab
from tests.drivers.modbus_device import Device
from tests.drivers.native import Wallbox, described
from tests.drivers.ocpp.evse import Evse16
from tests.drivers.ocpp.running import described as ocpp_site
from tests.drivers.s2_rm import Battery as S2Battery
from tests.drivers.s2_rm import ResourceManager, free_port
from tests.drivers.sunspec_device import SunspecDevice
from tests.outward.charge_point import plugged_site, twin_at
from tests.parts import skip_without
from twinswarm.deploy.drivers import driven

COMMAND, SOC, MAX_KW = 20, 10, 8.0


class Inverter(SunspecDevice):
    """A battery of 8 kW whose power is what is written to its rate, at once."""

    def put(self, address: int, *values: int) -> None:
        super().put(address, *values)
        if self.addresses.get(124) and address <= self.at(124, "InWRte") < address + len(values):
            asked = self.has(124, "InWRte")  # in hundredths of a percent
            super().put(self.at(103, "W"), round(-asked * 8000 / 10_000))


def battery(folder: Path, driver: dict[str, Any]) -> Site:
    """The template's site, whose battery has this driver."""
    write_template(folder)
    file = folder / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    parts["site"] = folder.name
    parts["devices"]["bess"] |= {"max_charge_kw": MAX_KW, "max_discharge_kw": MAX_KW, "telemetry_period_s": 0.25}
    parts["devices"]["bess"] |= {"driver": {"host": "127.0.0.1", **driver}}
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    return load_site(file)


def modbus(folder: Path, broker: BrokerAddress) -> Verdicts:
    device = Device()
    device.put(SOC, 55)
    registers = {
        "power_kw": {"address": COMMAND, "type": "int16", "factor": 0.001},
        "soc_frac": {"address": SOC, "type": "uint16", "factor": 0.01},
        "command": {"address": COMMAND, "type": "int16", "factor": 1000},
    }
    with device.serving() as port:
        site = battery(folder, {"type": "modbus", "port": port, "poll_s": 0.1, **registers})
        with living(driven(site, "bess"), broker) as way:
            return examined(broker, site.site, "bess", way)


def sunspec(folder: Path, broker: BrokerAddress) -> Verdicts:
    device = Inverter({1: lab.COMMON, 103: {"W": 0, "W_SF": 0}, 124: lab.STORAGE})
    with device.serving() as port:
        site = battery(folder, {"type": "sunspec", "port": port, "poll_s": 0.1, "timeout_s": 1.0})
        with living(driven(site, "bess"), broker) as way:
            return examined(broker, site.site, "bess", way)


def s2(folder: Path, broker: BrokerAddress) -> Verdicts:
    rated = S2Battery()
    rated.modes["charge"] = (0.0, 8000.0)
    port = free_port()
    site = battery(folder, {"type": "s2", "port": port})
    with ResourceManager(f"ws://127.0.0.1:{port}", rated), living(driven(site, "bess"), broker) as way:
        return examined(broker, site.site, "bess", way)


def mapped(folder: Path, broker: BrokerAddress) -> Verdicts:
    with LocalMosquitto() as home:
        site = described(folder, home.address)
        wallbox = Wallbox(home.address)
        wallbox.iec = "B"
        try:
            with living(driven(site, "ev1"), broker) as way:
                return examined(broker, site.site, "ev1", way)
        finally:
            wallbox.close()


def ocpp16(folder: Path, broker: BrokerAddress) -> Verdicts:
    site = ocpp_site(folder, site=folder.name)
    evse = Evse16(f"ws://127.0.0.1:{site.ocpp.port}/CP1")
    evse.sample_every_s = 0.1
    try:
        with living(driven(site, "ev1"), broker) as way:
            evse.connect().begin()
            return examined(broker, site.site, "ev1", way)
    finally:
        evse.close()


def ocpp21(folder: Path, broker: BrokerAddress) -> Verdicts:
    """A twin of ours is the charge point: no independent program of OCPP 2.1 could be had."""
    site = ocpp_site(folder, site=folder.name, charger={"max_discharge_kw": 11.0}, sample_s=1, max_age_s=8.0)
    twin = plugged_site(folder / "twin", seconds=3600, discharge_kw=11.0)
    url = f"ws://127.0.0.1:{site.ocpp.port}/CP1"
    with living(driven(site, "ev1"), broker) as way, twin_at(twin, url, "2.1"):
        return examined(broker, site.site, "ev1", way)


DRIVERS: dict[str, Callable[[Path, BrokerAddress], Verdicts]] = {
    "modbus": modbus,
    "sunspec": sunspec,
    "mapped": mapped,
    "s2": s2,
    "ocpp16": ocpp16,
    "ocpp21": ocpp21,
}


def test_drivers_of_all_protocols_pass(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    results: dict[str, Verdicts] = {}

    def one(name: str, broker: BrokerAddress) -> None:
        (tmp_path / name).mkdir()
        results[name] = DRIVERS[name](tmp_path / name, broker)

    with LocalMosquitto() as broker:
        threads = [threading.Thread(target=one, args=(name, broker.address)) for name in DRIVERS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
    assert {name: failures(results[name]) for name in DRIVERS} == {name: {} for name in DRIVERS}
    # A wallbox does not know its vehicle's SOC, so less than what is asked may flow.
    assert not_judged(results["mapped"]) <= {"S4", "S9"}
    others = [name for name in DRIVERS if name != "mapped"]
    assert {name: not_judged(results[name]) for name in others} == {name: set() for name in others}
