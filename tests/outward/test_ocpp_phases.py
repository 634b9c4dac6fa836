"""A charger that switches its phases, by OCPP: the central system says on how many, and sees on how many it charges."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from broker.servers.mosquitto import find_mosquitto
from schemas.messages import ChargerTelemetry
from services.ocpp.limits import to_kw, to_limit
from services.ocpp.readings import Rated, read
from services.outward.ocpp.v16 import WIRE
from tests.drivers.ocpp.running import Swarm, described, running
from tests.outward.charge_point import plugged_site, twin_at
from tests.outward.test_ocpp import VERSIONS
from tests.parts import skip_without

RATED = Rated(11.04, 0.0, 3, 230.0, switches_phases=True)
PHASE_B = 2
CHARGER = {
    "current": "ac",
    "max_charge_kw": 22.08,
    "max_discharge_kw": 0.0,
    "min_power_kw": 4.14,
    "phase": "b",
    "phase_switch": {"pause_s": 1, "hold_s": 0},
}


def test_a_limit_in_ampere_is_of_the_phases_that_are_used() -> None:
    """2.3 kW are 10 A on one phase, and 3.3 A on each of three."""
    assert to_limit(2.3, "A", RATED, 1) == 10.0
    assert to_limit(2.3, "A", RATED) == 3.3
    assert to_limit(2.3, "W", RATED, 1) == 2300.0
    assert to_kw(10.0, "A", 1, 230.0) == pytest.approx(2.3)


@pytest.mark.parametrize(
    ("amperes", "phases"),
    [((10.0, 0.0, 0.1), 1), ((0.0, 0.0, 16.0), 1), ((10.0, 10.1, 9.9), 3), ((0.5, 0.0, 0.0), None)],
)
def test_currents_say_on_how_many_phases_a_vehicle_charges(amperes: tuple[float, ...], phases: int | None) -> None:
    sampled = [
        {"measurand": "Current.Import", "unit": "A", "phase": f"L{i}", "value": str(ampere)}
        for i, ampere in enumerate(amperes, start=1)
    ]
    assert read(sampled, RATED).phases == phases


def test_a_reading_without_phases_says_nothing_of_them() -> None:
    assert read([{"measurand": "Power.Active.Import", "unit": "W", "value": "2000"}], RATED).phases is None


@pytest.mark.parametrize("version", VERSIONS)
def test_the_central_system_switches_the_twins_phases_and_measures_them(
    tmp_path: Path, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    """5 kW are possible on one phase of 32 A and on three; 2 kW on one alone, and in OCPP 2 on the described one."""
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    caplog.set_level(logging.INFO, logger=WIRE.name)
    (tmp_path / "csms").mkdir()
    with running(described(tmp_path / "csms", charger=CHARGER, sample_s=1, max_age_s=8.0)) as swarm:
        site = plugged_site(tmp_path / "twin", seconds=3600, discharge_kw=0.0, **CHARGER)
        with twin_at(site, swarm.url, version) as shown:
            swarm.until(lambda: swarm.telemetry() is not None and swarm.telemetry().vehicle is not None, "the vehicle")
            for name, kw, asked, phases in (("one", 2.0, None, 1), ("two", 5.0, 3, 3), ("three", 5.0, 1, 1)):
                swarm.ask(name, kw, seconds=120.0, phases=asked)
                swarm.until(lambda name=name: swarm.ack(name) is not None, "the ack")
                assert (swarm.ack(name).applied_kw, swarm.ack(name).phases) == (kw, phases)
                swarm.until(lambda kw=kw: swarm.power_is(kw), f"{kw} kW, as the twin measures them", 60.0)
                swarm.until(lambda kw=kw: shown[-1].power_kw == pytest.approx(kw, abs=0.01), "at the twin, too")
                swarm.until(lambda phases=phases: shown[-1].phases == phases, "the phases, at the twin")
                swarm.until(lambda phases=phases: swarm.telemetry().phases == phases, "the phases, in telemetry")
            assert _switches(swarm) == [1, 3, 1]
            assert not swarm.says("is not accepted"), swarm.alarm("hardware_trouble")
            assert not swarm.says("schedule says"), swarm.alarm("hardware_trouble")
            assert not swarm.says("cannot switch"), swarm.alarm("hardware_trouble")
    expected = {(1, None), (3, None)} if version == "1.6" else {(1, PHASE_B), (3, None)}
    asked = {(each.get("numberPhases"), each.get("phaseToUse")) for each in _periods(caplog)}
    assert asked - {(None, None)} == expected, "as the station's own library received them"


def test_a_charger_that_says_that_it_cannot_switch_is_named(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    (tmp_path / "csms").mkdir()
    with running(described(tmp_path / "csms", charger=CHARGER, sample_s=1, max_age_s=8.0)) as swarm:
        plain = {**CHARGER, "phase_switch": None, "phase": None}
        site = plugged_site(tmp_path / "twin", seconds=3600, discharge_kw=0.0, **plain)
        with twin_at(site, swarm.url, "1.6"):
            swarm.until(lambda: swarm.says("it says that it cannot switch from three phases to one"), "why", 60.0)


def _periods(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The periods of all charging profiles that the station received, as they were on the wire."""
    received = [each.getMessage() for each in caplog.records if each.name == WIRE.name]
    frames = [json.loads(text.partition("receive message ")[2]) for text in received if "receive message [2" in text]
    profiles = [frame[3] for frame in frames if frame[2] == "SetChargingProfile"]
    return [period for profile in profiles for period in _found(profile, "chargingSchedulePeriod")]


def _found(value: Any, name: str) -> list[Any]:
    """All elements of the lists of this name, however deep."""
    if isinstance(value, list):
        return [found for each in value for found in _found(each, name)]
    if not isinstance(value, dict):
        return []
    return [*value.get(name, ()), *(found for each in value.values() for found in _found(each, name))]


def _switches(swarm: Swarm) -> list[int]:
    told = [body for _, _, body in swarm.heard if isinstance(body, ChargerTelemetry)]
    return [each.phases for body in told for each in body.phases_switched or ()]
