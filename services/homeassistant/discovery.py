"""A device's discovery payload for Home Assistant, from its birth: pure functions.

The device-based form, one retained payload a device with all of its components, which Home Assistant reads from 2024.11
on (https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload). States come from the contract's own
topics: nothing is published twice.
"""

import math
from typing import Any

from schemas.capabilities import Capability
from schemas.messages import Birth
from schemas.participant import software
from schemas.presence import STALE_PERIODS
from schemas.topics import Channel, Topic

PREFIX = "homeassistant"
"""Home Assistant's own default for its discovery topics."""
LEAST_EXPIRY_S = 10
_URL = "https://www.home-assistant.io/integrations/mqtt/"

Payload = dict[str, Any]


def object_id(site: str, device: str) -> str:
    """Neither part can hold an underscore."""
    return f"{site}_{device}"


def config_topic(prefix: str, site: str, device: str) -> str:
    """Without Home Assistant's optional node in it: 2025.1 does not take away again what was announced with one."""
    return f"{prefix}/device/{object_id(site, device)}/config"


def payload(topic: Topic, birth: Birth) -> Payload | None:
    """The payload of the device with this birth; None for a participant that measures no power."""
    if birth.telemetry_period_s is None or birth.nameplate.type == "service":
        return None
    name = object_id(topic.site, topic.device)
    telemetry = str(Topic(topic.site, topic.kind, topic.device, Channel.TELEMETRY))
    expire_s = max(math.ceil(STALE_PERIODS * birth.telemetry_period_s), LEAST_EXPIRY_S)
    components = {
        key: {"platform": "sensor", "expire_after": expire_s, **fields} for key, fields in _sensors(birth).items()
    }
    if Capability.VEHICLES in birth.capabilities:
        components["plugged"] = {
            "platform": "binary_sensor",
            "name": "Vehicle plugged",
            "device_class": "plug",
            "expire_after": expire_s,
            "value_template": "{{ 'ON' if value_json.vehicle is defined else 'OFF' }}",
        }
    for key, component in components.items():
        component |= {"unique_id": f"{name}_{key}", "object_id": f"{name}_{key}", "state_topic": telemetry}
    return {
        "device": {
            "identifiers": [name],
            "name": f"{topic.site} {topic.device}",
            "model": f"{topic.kind}, {birth.nameplate.text}"[:100],
            "sw_version": birth.software,
        },
        "origin": {"name": "twinswarm", "sw_version": software(), "support_url": _URL},
        "availability": [
            {
                "topic": str(Topic(topic.site, topic.kind, topic.device, Channel.STATE)),
                "value_template": "{{ 'online' if value_json.state == 'online' else 'offline' }}",
            }
        ],
        "components": components,
    }


def _sensors(birth: Birth) -> dict[str, Payload]:
    """By key. A value that a telemetry leaves out is unknown there."""
    energy = {"device_class": "energy", "state_class": "total_increasing", "unit_of_measurement": "kWh"}
    power = {"device_class": "power", "state_class": "measurement", "unit_of_measurement": "kW"}
    found: dict[str, Payload] = {
        "power": {"name": "Power", **power, "value_template": "{{ value_json.power_kw }}"},
        "energy_import": {"name": "Energy imported", **energy, "value_template": _field("energy_import_kwh")},
        "energy_export": {"name": "Energy exported", **energy, "value_template": _field("energy_export_kwh")},
    }
    if Capability.GENERATION in birth.capabilities:
        found["available"] = {"name": "Available power", **power, "value_template": _field("available_kw")}
    if Capability.STORAGE in birth.capabilities:
        source = "value_json.get('vehicle', {})" if Capability.VEHICLES in birth.capabilities else "value_json"
        template = (
            f"{{% set soc = {source}.get('soc_frac') %}}{{{{ None if soc is none else (100 * soc) | round(1) }}}}"
        )
        found["soc"] = {
            "name": "State of charge",
            "state_class": "measurement",
            "unit_of_measurement": "%",
            "value_template": template,
        }
        if Capability.HEAT not in birth.capabilities:
            found["soc"]["device_class"] = "battery"
    return found


def _field(name: str) -> str:
    return f"{{{{ value_json.get('{name}') }}}}"
