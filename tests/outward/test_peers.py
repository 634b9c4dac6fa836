"""Clients that nobody here wrote, at twins that answer as SunSpec devices: pysunspec2 and mbpoll."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from broker.servers.mosquitto import find_mosquitto
from schemas.messages import Ack
from tests.outward.swarm import serving
from tests.parts import skip_without


@pytest.fixture(autouse=True)
def _parts() -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)


@contextmanager
def alliance(port: int) -> Iterator[Any]:
    client = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=port, timeout=10)
    try:
        client.scan()
        yield client
    finally:
        client.close()


def models(client: Any) -> list[int]:
    return [model.model_id for model in client.model_list]


def test_pysunspec2_limits_a_pv_twin_and_its_time_out_ends_the_limit(tmp_path: Path) -> None:
    with serving(tmp_path, "pv") as (swarm, port), alliance(port) as client:
        assert models(client) == [1, 103, 120, 121, 122, 123]
        assert not [model.error_info for model in client.model_list if model.error_info]
        common, inverter, settings, controls = (client.models[each][0] for each in (1, 103, 121, 123))
        assert (common.Mn.value, common.SN.value) == ("twinswarm", f"{swarm.site.site}/pv")
        free_kw = -(swarm.power_kw() or 0.0)
        assert inverter.W.cvalue == pytest.approx(1000 * free_kw, abs=1)
        rated_kw = settings.WMax.cvalue / 1000
        asked = 20.0
        assert asked / 100 * rated_kw < free_kw, "the limit cuts something off"
        controls.WMaxLimPct.cvalue = asked
        controls.WMaxLimPct_RvrtTms.value = 3
        controls.WMaxLim_Ena.value = 1
        controls.write()
        swarm.until(lambda: swarm.power_kw() == pytest.approx(-asked / 100 * rated_kw), "the limited power")
        (ack,) = swarm.all(Ack)
        assert (ack.accepted, ack.applied_limit_kw) == (True, pytest.approx(asked / 100 * rated_kw))
        inverter.read()
        assert (inverter.W.cvalue, inverter.St.value) == (pytest.approx(10 * asked * rated_kw), 5)
        swarm.until(lambda: swarm.power_kw() == pytest.approx(-free_kw, rel=0.01), "the free power")
        controls.read()
        assert (controls.WMaxLim_Ena.value, controls.WMaxLimPct_RvrtTms.value) == (0, 0)


def test_pysunspec2_commands_a_storage_by_its_rates_and_releases_it(tmp_path: Path) -> None:
    with serving(tmp_path, "bess") as (swarm, port), alliance(port) as client:
        assert models(client) == [1, 103, 120, 121, 124, 802]
        assert not [model.error_info for model in client.model_list if model.error_info]
        store, battery = client.models[124][0], client.models[802][0]
        assert store.ChaState.cvalue == pytest.approx(battery.SoC.cvalue)
        most_kw = store.WChaMax.cvalue / 1000
        store.InWRte.cvalue, store.OutWRte.cvalue, store.StorCtl_Mod.value = 50, -50, 3
        store.write()
        swarm.until(lambda: swarm.power_kw() == pytest.approx(most_kw / 2), "charging")
        store.InWRte.cvalue, store.OutWRte.cvalue = -25, 25
        store.write()
        swarm.until(lambda: swarm.power_kw() == pytest.approx(-most_kw / 4), "discharging")
        store.StorCtl_Mod.value = 0
        store.write()
        swarm.until(lambda: swarm.power_kw() == 0, "rest")


def test_pysunspec2_commands_the_700_series_in_watts(tmp_path: Path) -> None:
    with serving(tmp_path, "bess", "700") as (swarm, port), alliance(port) as client:
        assert models(client) == [1, 701, 702, 704, 713]
        assert not [model.error_info for model in client.model_list if model.error_info]
        control = client.models[704][0]
        control.WSet.cvalue, control.WSetRvrtTms.value, control.WSetEna.value = -3210, 4, 1
        control.write()
        swarm.until(lambda: swarm.power_kw() == pytest.approx(3.21), "charging")
        control.read()
        assert 1 <= control.WSetRvrtRem.value <= 4
        swarm.until(lambda: swarm.power_kw() == 0, "the fallback")
        control.read()
        assert control.WSetEna.value == 0


def test_pysunspec2_reads_a_meter_and_cannot_write_it(tmp_path: Path) -> None:
    with serving(tmp_path, "building") as (swarm, port), alliance(port) as client:
        assert models(client) == [1, 203]
        meter = client.models[203][0]
        assert not meter.error_info
        assert meter.W.cvalue == pytest.approx(1000 * (swarm.power_kw() or 0.0), abs=1)
        meter.W.value = 5
        with pytest.raises(Exception, match="2"):
            meter.write()


def mbpoll(port: int, *arguments: str, unit: int = 1) -> subprocess.CompletedProcess[str]:
    command = ["mbpoll", "-m", "tcp", "-p", str(port), "-a", str(unit), "-0", "-1", "-t", "4:hex", *arguments]
    return subprocess.run([*command], capture_output=True, text=True, timeout=30, check=False)


def test_mbpoll_reads_and_writes_registers_and_is_refused_what_is_wrong(tmp_path: Path) -> None:
    skip_without("mbpoll", present=shutil.which("mbpoll") is not None)
    with serving(tmp_path, "pv") as (swarm, port):
        read = mbpoll(port, "-r", "40000", "-c", "3", "127.0.0.1")
        assert "0x5375" in read.stdout
        assert "0x6E53" in read.stdout
        with alliance(port) as client:
            control = client.models[123][0]
            places = (control.points[name].offset for name in ("WMaxLimPct", "WMaxLim_Ena"))
            percent, enable = (str(control.model_addr + offset) for offset in places)
        assert mbpoll(port, "-r", percent, "127.0.0.1", "0").returncode == 0
        assert mbpoll(port, "-r", enable, "127.0.0.1", "1").returncode == 0
        swarm.until(lambda: swarm.power_kw() == 0, "a limit of nothing")
        for where, value, says in (
            (percent, "20000", "Illegal data value"),
            (enable, "2", "Illegal data value"),
            ("40002", "7", "Illegal data address"),
            ("49000", "7", "Illegal data address"),
        ):
            refused = mbpoll(port, "-r", where, "127.0.0.1", value)
            assert says in refused.stdout + refused.stderr, (where, value)
        other = mbpoll(port, "-r", "40000", "127.0.0.1", unit=9)
        assert "Target device failed to respond" in other.stdout + other.stderr
        assert mbpoll(port, "-r", enable, "127.0.0.1", "0").returncode == 0
        swarm.until(lambda: (swarm.power_kw() or 0) < 0, "production")
