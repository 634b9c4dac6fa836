"""A battery and an inverter with SunSpec in a swarm: set-points to registers, expiry with nobody left, bad devices."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.servers.mosquitto import find_mosquitto
from schemas.errors import InputError
from schemas.messages import Ack, Alarm, BessTelemetry
from schemas.site import Site
from sites.loader import load_site
from sites.loader.template import write_template
from tests.drivers import sunspec_device as lab
from tests.drivers.sunspec_device import SunspecDevice
from tests.parts import skip_without
from tests.wall_swarm import WallSwarm, living
from twinswarm.deploy.drivers import driven

BESS = {1: lab.COMMON, 103: lab.INVERTER, 124: lab.STORAGE}


def described(folder: Path, port: int, **changes: Any) -> Site:
    write_template(folder)
    file = folder / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    fields = {"type": "sunspec", "host": "127.0.0.1", "port": port, "poll_s": 0.1, "timeout_s": 1.0, **changes}
    parts["devices"]["bess"] |= {"telemetry_period_s": 0.2, "driver": fields}
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    return load_site(file)


@contextmanager
def driving(folder: Path, device: SunspecDevice, **changes: Any) -> Iterator[WallSwarm]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with device.serving() as port:
        site = described(folder, port, **changes)
        with living(site, "bess", driven(site, "bess")()) as swarm:
            yield swarm


def rate(device: SunspecDevice) -> float:
    """Power [kW] that is asked of the battery of 8 kW."""
    return device.has(124, "InWRte") / 10_000 * 8.0


def within(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> datetime:
    """When it was so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.005)
    return datetime.now(UTC)


def alarms(swarm: WallSwarm, code: str) -> list[tuple[bool, str]]:
    return [(alarm.active, alarm.text) for alarm in swarm.all(Alarm) if alarm.code == code]


def test_a_set_point_is_written_acknowledged_and_ends_with_the_ems_dead_and_the_broker_dead(tmp_path: Path) -> None:
    device = SunspecDevice(BESS)
    with driving(tmp_path, device) as swarm:
        swarm.ask("one", seconds=3.0, power_kw=2.0)
        until = datetime.now(UTC) + timedelta(seconds=3.0)
        swarm.until(lambda: rate(device) == 2.0, "the register")
        swarm.until(lambda: bool(swarm.all(Ack)), "the ack")
        assert swarm.all(Ack)[0].applied_kw == 2.0
        late = within(lambda: rate(device) == 0.0, "the fallback, with the EMS dead") - until
        assert timedelta(seconds=-0.1) < late < timedelta(seconds=1.0)
        swarm.ask("two", seconds=3.0, power_kw=-4.0)
        until = datetime.now(UTC) + timedelta(seconds=3.0)
        swarm.until(lambda: rate(device) == -4.0, "the register")
        swarm.broker.stop()
        late = within(lambda: rate(device) == 0.0, "the fallback, with the broker dead") - until
        assert timedelta(seconds=-0.1) < late < timedelta(seconds=1.0)
        assert device.has(124, "StorCtl_Mod") == 3, "rest is commanded"
        swarm.broker.start()


def test_an_answer_that_comes_after_the_set_points_end_changes_nothing(tmp_path: Path) -> None:
    device = SunspecDevice(BESS)
    with driving(tmp_path, device, timeout_s=5.0) as swarm:
        swarm.until(lambda: rate(device) == 0.0, "rest")
        device.slow_s = 1.5
        swarm.ask("late", seconds=1.0, power_kw=3.0)
        swarm.until(lambda: any(ack.id == "late" for ack in swarm.all(Ack)), "the ack")
        swarm.ask("newer", seconds=60.0, power_kw=-1.0)
        device.slow_s = 0.0
        swarm.until(lambda: rate(device) == -1.0, "the newest only")
        time.sleep(0.5)
        assert rate(device) == -1.0


def test_a_connection_that_flaps_loses_no_energy_and_says_when_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.drivers.polled_link.RETRY_S", 0.1)
    monkeypatch.setattr("services.drivers.polled_link.MOST_RETRY_S", 0.2)
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    device = SunspecDevice(BESS | {103: lab.INVERTER | {"WH": 50_000, "WH_SF": 0}})
    with device.serving() as port:
        site = described(tmp_path, port, max_age_s=1.0)
        participant = driven(site, "bess")()
    with device.serving(port):
        life = living(site, "bess", participant)
        swarm = life.__enter__()
    try:
        swarm.until(lambda: bool(alarms(swarm, "hardware_silent")), "the alarm that it is gone")
        swarm.ask("meanwhile", seconds=600.0, power_kw=1.5)
        for flap in range(4):
            device.set(103, "WH", 0, 50_000 + flap)
            with device.serving(port):
                wanted = (50_000 + flap) / 1000
                swarm.until(lambda wanted=wanted: exported(swarm) == wanted, "its counter")
        assert rate(device) == 1.5, "what was asked while it was away"
        swarm.until(lambda: alarms(swarm, "hardware_silent")[-1][0], "gone again")
        assert all(one.energy_export_kwh <= two.energy_export_kwh for one, two in pairwise(swarm.all(BessTelemetry)))
    finally:
        life.__exit__(None, None, None)


def exported(swarm: WallSwarm) -> float:
    told = swarm.all(BessTelemetry)
    return told[-1].energy_export_kwh if told else 0.0


def test_nonsense_of_a_device_is_named_and_what_is_good_goes_on(tmp_path: Path) -> None:
    device = SunspecDevice(BESS)
    with driving(tmp_path, device) as swarm:
        device.set(103, "WH", 0, 0)  # the counter jumps back to nothing
        device.set(124, "ChaState", 3000)
        swarm.until(lambda: bool(alarms(swarm, "hardware_trouble")), "the alarm of a SOC of 300 %")
        assert "soc_frac: 3.0" in alarms(swarm, "hardware_trouble")[0][1]
        device.set(124, "ChaState", 600)
        swarm.until(lambda: not alarms(swarm, "hardware_trouble")[-1][0], "the end of the alarm")
        swarm.until(lambda: swarm.all(BessTelemetry)[-1].soc_frac == 0.6, "the SOC")
        assert exported(swarm) >= 123.45
        device.set(103, "W_SF", 9)
        device.set(103, "W", 30_000)
        swarm.until(lambda: "power_kw" in alarms(swarm, "hardware_trouble")[-1][1], "a power of 30 TW")


def test_check_refuses_a_charger_with_sunspec(tmp_path: Path) -> None:
    write_template(tmp_path)
    file = tmp_path / "site.yaml"
    parts = yaml.safe_load(file.read_text())
    parts["devices"]["ev1"]["driver"] = {"type": "sunspec", "host": "127.0.0.1"}
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    with pytest.raises(InputError, match=r"devices\.ev1\.driver\.type: sunspec is for a pv, bess or meter"):
        load_site(file)
