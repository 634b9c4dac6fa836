"""Ready mappings of devices with an MQTT interface or Modbus registers of their own, by their public documentation.

``{id}`` is the device's name in its topics. Sources: Shelly's Gen2 API (components EM, EMData and Switch, *Generic
status update over MQTT* switched on), Tasmota's MQTT documentation (``TelePeriod`` says how often), Zigbee2MQTT's
(``availability`` switched on), evcc's MQTT API; for Wallbox' bidirectional Quasar the registers that the package
wallbox-modbus and V2G Liberty publish.
"""

import json
from typing import Any

from schemas.site.drivers import ModbusDriver, MqttDriver

W = 0.001
_PRESETS: dict[str, dict[str, Any]] = {
    "shelly_pro_3em": {
        "power_kw": {"topic": "{id}/status/em:0", "path": "total_act_power", "factor": W},
        "energy_import_kwh": {"topic": "{id}/status/emdata:0", "path": "total_act", "factor": W},
        "energy_export_kwh": {"topic": "{id}/status/emdata:0", "path": "total_act_ret", "factor": W},
        "online": {"topic": "{id}/online", "is": [True]},
    },
    "shelly_plus_pm": {
        "power_kw": {"topic": "{id}/status/switch:0", "path": "apower", "factor": W},
        "energy_import_kwh": {"topic": "{id}/status/switch:0", "path": "aenergy.total", "factor": W},
        "online": {"topic": "{id}/online", "is": [True]},
    },
    "tasmota_energy": {
        "power_kw": {"topic": "tele/{id}/SENSOR", "path": "ENERGY.Power", "factor": W},
        "energy_import_kwh": {"topic": "tele/{id}/SENSOR", "path": "ENERGY.Total"},
        "online": {"topic": "tele/{id}/LWT", "is": ["Online"]},
        "max_age_s": 700.0,
    },
    "zigbee2mqtt_plug": {
        "power_kw": {"topic": "zigbee2mqtt/{id}", "path": "power", "factor": W},
        "energy_import_kwh": {"topic": "zigbee2mqtt/{id}", "path": "energy"},
        "online": {"topic": "zigbee2mqtt/{id}/availability", "path": "state", "is": ["online"]},
        "max_age_s": 700.0,
    },
    # A SOC of 0 is also what evcc says of a vehicle that it does not know; so none is taken.
    "evcc_loadpoint": {
        "power_kw": {"topic": "evcc/loadpoints/{id}/chargePower", "factor": W},
        "energy_import_kwh": {"topic": "evcc/loadpoints/{id}/chargeTotalImport"},
        "plugged": {"topic": "evcc/loadpoints/{id}/connected", "is": [True]},
        "online": {"topic": "evcc/status", "is": ["online"]},
    },
}


# It is taken from its app (81), told that set-points are powers (83), and started (257) before each. A SOC of 0 is what
# it says without a vehicle.
_REGISTERS: dict[str, dict[str, Any]] = {
    "wallbox_quasar": {
        "power_kw": {"address": 526, "type": "int16", "factor": W},
        "soc_frac": {"address": 538, "type": "uint16", "factor": 0.01, "absent": 0},
        "plugged": {"address": 537, "is": [1, 2, 3, 4, 5, 8, 10, 11]},
        "command": {"address": 260, "type": "int16", "factor": 1 / W, "before": {81: 1, 83: 1, 257: 1}},
    },
}


def resolved(driver: MqttDriver | ModbusDriver) -> MqttDriver | ModbusDriver:
    """The driver with its preset filled in; what it says itself goes before."""
    if driver.preset is None:
        return driver
    own = driver.model_dump(exclude_unset=True, by_alias=True, exclude={"preset", "id"})
    if isinstance(driver, ModbusDriver):
        return ModbusDriver.model_validate({**_REGISTERS[driver.preset], **own})
    assert driver.id is not None, "it comes with a preset"
    mapping = json.loads(json.dumps(_PRESETS[driver.preset]).replace("{id}", json.dumps(driver.id)[1:-1]))
    return MqttDriver.model_validate({**mapping, **own})
