"""What a mapping reads of messages in the forms that devices have, and what it cannot read."""

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.site.drivers import MqttCommand, MqttDriver
from services.drivers.link import Measured
from services.drivers.mqtt_link import measured, payload_of
from services.drivers.presets import resolved
from services.drivers.registers import Registers
from tests.drivers.native import BROKER, at


def driver(**given: Any) -> MqttDriver:
    return MqttDriver.model_validate({"broker": BROKER, **given})


# Excerpts in the form of the devices' documentation.
SHELLY_EM = {"id": 0, "a_act_power": 900.1, "b_act_power": 20.4, "c_act_power": 79.5, "total_act_power": 1000.0}
SHELLY_EMDATA = {"id": 0, "total_act": 5_432_100.0, "total_act_ret": 12_300.5}
SHELLY_SWITCH = {"id": 0, "output": True, "apower": 45.6, "voltage": 231.1, "aenergy": {"total": 1234.5}}
TASMOTA = {"Time": "2026-11-28T12:00:00", "ENERGY": {"Total": 17.185, "Power": 250, "Voltage": 229}}
ZIGBEE = {"state": "ON", "power": 61.2, "energy": 12.8, "voltage": 229, "linkquality": 120}


@pytest.mark.parametrize(
    ("preset", "name", "topic", "payload", "expected"),
    [
        ("shelly_pro_3em", "em1", "em1/status/em:0", SHELLY_EM, {"power_kw": 1.0}),
        (
            "shelly_pro_3em",
            "em1",
            "em1/status/emdata:0",
            SHELLY_EMDATA,
            {"energy_import_kwh": 5432.1, "energy_export_kwh": 12.3005},
        ),
        ("shelly_pro_3em", "em1", "em1/online", False, {"online": False}),
        (
            "shelly_plus_pm",
            "plug",
            "plug/status/switch:0",
            SHELLY_SWITCH,
            {"power_kw": 0.0456, "energy_import_kwh": 1.2345},
        ),
        ("tasmota_energy", "t", "tele/t/SENSOR", TASMOTA, {"power_kw": 0.25, "energy_import_kwh": 17.185}),
        ("zigbee2mqtt_plug", "sauna", "zigbee2mqtt/sauna", ZIGBEE, {"power_kw": 0.0612, "energy_import_kwh": 12.8}),
        ("zigbee2mqtt_plug", "sauna", "zigbee2mqtt/sauna/availability", {"state": "offline"}, {"online": False}),
        ("evcc_loadpoint", "1", "evcc/loadpoints/1/chargePower", 11040, {"power_kw": 11.04}),
        ("evcc_loadpoint", "1", "evcc/loadpoints/1/connected", True, {"plugged": True}),
        ("evcc_loadpoint", "1", "evcc/loadpoints/2/chargePower", 11040, {}),
    ],
)
def test_presets_read_what_the_devices_say(
    preset: str, name: str, topic: str, payload: Any, expected: dict[str, Any]
) -> None:
    found = measured(resolved(driver(preset=preset, id=name)), topic, json.dumps(payload).encode())
    given = {} if found is None else found.model_dump(exclude_none=True)
    assert given.keys() == expected.keys()
    for field, value in expected.items():
        assert given[field] == pytest.approx(value)


def test_a_word_that_is_no_json_is_a_state() -> None:
    tasmota = resolved(driver(preset="tasmota_energy", id="t"))
    for word, online in ((b"Online", True), (b"Offline", False)):
        assert measured(tasmota, "tele/t/LWT", word) == Measured(online=online)


def test_what_is_given_besides_a_preset_goes_before_it() -> None:
    production = {"topic": "inv/status/em:0", "path": "total_act_power", "factor": -0.001}
    found = resolved(driver(preset="shelly_pro_3em", id="em1", power_kw=production, max_age_s=5.0))
    assert found.power_kw is not None
    assert (found.power_kw.topic, found.max_age_s) == ("inv/status/em:0", 5.0)
    assert found.energy_import_kwh is not None
    assert found.energy_import_kwh.topic == "em1/status/emdata:0"


POWER = {"topic": "d/power", "path": "w", "factor": 0.001}


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"{", "power_kw, topic d/power: is no JSON: '{'"),
        (b"[" * 100_000, "is no JSON"),
        (b'{"w": "much"}', "'much' is no number"),
        (b'{"w": true}', "True is no number"),
        (b'{"w": [1]}', "is no number"),
    ],
)
def test_what_cannot_be_read_names_field_topic_and_value(payload: bytes, says: str) -> None:
    found = measured(driver(power_kw=POWER), "d/power", payload)
    assert found is not None
    assert (found.power_kw, found.unread) == (None, {"power_kw"})
    assert says in (found.trouble or "")


@pytest.mark.parametrize("payload", [b'{"w": 1e400}', b'{"w": NaN}', b'{"w": 1e12}'])
def test_a_number_that_no_device_has_is_refused(payload: bytes) -> None:
    found = measured(driver(power_kw=POWER), "d/power", payload)
    assert found is not None
    assert found.power_kw is None
    assert re.fullmatch(r"power_kw: .* topic d/power", found.trouble or "")


@pytest.mark.parametrize("payload", [b'{"w": null}', b"{}", b'{"w": "250"}'])
def test_nothing_there_is_nothing_and_a_number_may_be_a_text(payload: bytes) -> None:
    found = measured(driver(power_kw=POWER), "d/power", payload)
    assert (None if found is None else found.power_kw) == (0.25 if b"250" in payload else None)


def test_nothing_by_a_negative_factor_has_no_sign() -> None:
    found = measured(driver(power_kw={**POWER, "factor": -0.001}), "d/power", b'{"w": 0}')
    assert found is not None
    assert str(found.power_kw) == "0.0"


@pytest.mark.parametrize(
    ("command", "kw", "payload"),
    [
        ({}, -3.5, "-3.500"),
        ({"factor": 1000, "decimals": 0}, 7.36, "7360"),
        ({"factor": -1000, "decimals": 0, "payload": '{"set": {"p": {value}}}'}, 5.0, '{"set": {"p": -5000}}'),
        ({"factor": 1000, "decimals": 0}, -0.0001, "0"),
    ],
)
def test_a_command_is_in_the_devices_unit_and_sign(command: dict[str, Any], kw: float, payload: str) -> None:
    assert payload_of(MqttCommand.model_validate({"topic": "d/set", **command}), kw) == payload.encode()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "power_kw is missing"),
        ({"preset": "tasmota_energy"}, "preset and id belong together"),
        ({"power_kw": {"topic": "a/+/b"}}, "should match pattern"),
        ({"power_kw": {"topic": "a", "factor": 0}}, "factor 0"),
        ({"power_kw": {"topic": "a"}, "command": {"topic": "b", "payload": "x"}}, "has no {value}"),
        ({"power_kw": {"topic": "a"}, "broker": "http://x"}, "should match pattern"),
        ({"power_kw": {"topic": "a"}, "plugged": {"topic": "b", "is": []}}, "at least 1 item"),
    ],
)
def test_a_faulty_mapping_says_what_is_wrong(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        driver(**given)


def test_registers_follow_counters_and_integrate_what_has_none() -> None:
    registers = Registers()
    registers.take(Measured(power_kw=6.0, energy_import_kwh=100.0), at(0))
    registers.take(Measured(power_kw=-3.0), at(60))
    registers.take(Measured(power_kw=0.0, energy_import_kwh=100.5), at(120))
    assert registers.values == pytest.approx({"energy_import_kwh": 100.5, "energy_export_kwh": 3.0 / 60})
    registers.take(Measured(energy_import_kwh=2.0), at(180))  # replaced: it counts on from where it was
    registers.take(Measured(energy_import_kwh=2.25), at(240))
    assert registers.values["energy_import_kwh"] == pytest.approx(100.75)
    registers.take(Measured(power_kw=-12.0), at(300))
    registers.take(Measured(power_kw=0.0), at(300 + 3600))  # silent for an hour: 5 minutes of it are counted
    assert registers.values["energy_export_kwh"] == pytest.approx(3.0 / 60 + 1.0)


def test_a_counter_that_is_read_later_than_the_vehicle_is_seen_is_not_the_vehicles() -> None:
    registers = Registers()
    assert registers.take(Measured(power_kw=6.0), at(0)) == {}
    assert registers.take(Measured(energy_import_kwh=1000.0), at(10))["energy_import_kwh"] == pytest.approx(1000.0)
    assert registers.take(Measured(energy_import_kwh=1001.0), at(20)) == {"energy_import_kwh": 0.0}
