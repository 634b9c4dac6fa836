"""A charger's twin as a charge point: the site's own central system commands it; offline it keeps its messages."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from broker.servers.mosquitto import find_mosquitto
from tests.drivers.ocpp.running import described, running
from tests.outward.charge_point import plugged_site, twin_at
from tests.parts import skip_without

VERSIONS = ("1.6", "2.0.1", "2.1")


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
