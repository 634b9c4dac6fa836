"""A real Home Assistant discovers the site, and a person there sets a charger by hand.

It is a large environment (`install`): where it is not, the test is skipped, in a run that asks for all parts, too.
"""

from pathlib import Path

import pytest

from schemas.messages import ChargerTelemetry, Setpoint
from tests.homeassistant.home import ASKED_KW, Home, by_ems, by_hand
from tests.homeassistant.home_assistant import VERSION, HomeAssistant, program


def test_home_assistant_shows_the_site_and_its_person_is_obeyed(home: Home, tmp_path: Path) -> None:
    binary = program()
    if binary is None:
        pytest.skip(f"Home Assistant {VERSION} is not on this machine; tests/homeassistant/install makes it")
    hass = HomeAssistant(binary, tmp_path / "hass", home.address)
    try:
        power = hass.until("sensor.faulty_ev1_power")["attributes"]
        assert (power["device_class"], power["unit_of_measurement"], power["state_class"]) == (
            "power",
            "kW",
            "measurement",
        )
        energy = hass.until("sensor.faulty_ev1_energy_import")["attributes"]
        assert (energy["device_class"], energy["unit_of_measurement"], energy["state_class"]) == (
            "energy",
            "kWh",
            "total_increasing",
        )
        assert hass.until("sensor.faulty_ev1_soc")["attributes"]["device_class"] == "battery"
        assert hass.until("binary_sensor.faulty_ev1_plugged")["state"] == "on"
        number = hass.until("number.faulty_ev1_setpoint")["attributes"]
        assert (number["min"], number["max"], number["unit_of_measurement"]) == (-11.0, 11.0, "kW")
        assert hass.until("select.faulty_ev1_mode")["attributes"]["options"] == ["ems", "set-point"]
        assert hass.until("select.faulty_ems_mode")["state"] == "on"

        hass.call("number", "set_value", "number.faulty_ev1_setpoint", value=ASKED_KW)
        hass.until("number.faulty_ev1_setpoint", str(ASKED_KW))
        hass.call("select", "select_option", "select.faulty_ev1_mode", option="set-point")
        home.until("its set-point", Setpoint, by_hand)
        home.until("its power", ChargerTelemetry, lambda told: told.power_kw == ASKED_KW)
        hass.until("sensor.faulty_ev1_power", str(ASKED_KW))
        hass.until("sensor.faulty_ev1_status", f"{ASKED_KW} kW")
        hass.until("select.faulty_ev1_mode", "set-point")

        hass.call("select", "select_option", "select.faulty_ems_mode", option="standby")
        hass.until("select.faulty_ems_mode", "standby")
        hass.until("sensor.faulty_ems_status", "standby, asked for by Home Assistant: devices follow their fallback")
        hass.call("select", "select_option", "select.faulty_ems_mode", option="on")
        home.until("its set-point", Setpoint, by_hand)
        hass.kill()
        home.until("the EMS, when Home Assistant is gone", Setpoint, by_ems)
    finally:
        hass.kill()
