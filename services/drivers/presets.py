"""Ready mappings of devices with an MQTT interface of their own, by their public documentation.

``{id}`` is the device's name in its topics. Sources: Shelly's Gen2 API (components EM, EMData and Switch, *Generic
status update over MQTT* switched on), Tasmota's MQTT documentation (``TelePeriod`` says how often), Zigbee2MQTT's
(``availability`` switched on), evcc's MQTT API.
"""

import json
from typing import Any

from schemas.site.drivers import MqttDriver

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


def resolved(driver: MqttDriver) -> MqttDriver:
    """The driver with its preset filled in; what it says itself goes before."""
    if driver.preset is None or driver.id is None:
        return driver
    mapping = json.loads(json.dumps(_PRESETS[driver.preset]).replace("{id}", json.dumps(driver.id)[1:-1]))
    own = driver.model_dump(exclude_unset=True, by_alias=True, exclude={"preset", "id"})
    return MqttDriver.model_validate({**mapping, **own})
