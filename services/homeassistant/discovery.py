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
from services.homeassistant.panel import EMS, ON, SETPOINT, STANDBY, Range, base, own_state, range_of

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


def discovered(prefix: str) -> str:
    """Where devices of every site are announced, as an MQTT filter."""
    return f"{prefix}/device/+/config"


def is_of_site(topic: str, prefix: str, site: str) -> bool:
    """Whether a device of this site is announced there."""
    return topic.startswith(f"{prefix}/device/{object_id(site, '')}")


def payload(topic: Topic, birth: Birth, *, commands: bool = False) -> Payload | None:
    """The payload of the device with this birth; None for a participant that measures no power.

    ``commands``: with what a person may set, where the device takes set-points.
    """
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
    components = {key: {**each, **_identity(name, key), "state_topic": telemetry} for key, each in components.items()}
    if commands and (allowed := range_of(birth)) is not None:
        components |= _set_by_hand(topic, allowed)
    return _device(topic, birth, f"{topic.kind}, {birth.nameplate.text}", components)


def ems_payload(topic: Topic, birth: Birth) -> Payload:
    """The payload of the EMS, with its mode."""
    where = base(topic.site, EMS)
    components: dict[str, Payload] = {
        "mode": {"platform": "select", "name": "Mode", "options": [ON, STANDBY]} | _command(f"{where}/mode"),
        "status": {"platform": "sensor", "name": "Status", "state_topic": f"{where}/status"},
    }
    return _device(topic, birth, "EMS", _settable(topic, components))


def _set_by_hand(topic: Topic, allowed: Range) -> dict[str, Payload]:
    """The number that a person sets, whether it or the EMS holds, and what became of it."""
    where = base(topic.site, topic.device)
    numbers = {"min": allowed.least_kw, "max": allowed.most_kw, "step": 0.01, "mode": "box"}
    components: dict[str, Payload] = {
        "setpoint": {
            "platform": "number",
            "name": "Limit by hand" if allowed.is_limit else "Set-point by hand",
            "device_class": "power",
            "unit_of_measurement": "kW",
            **numbers,
            **_command(f"{where}/setpoint"),
        },
        "mode": {"platform": "select", "name": "Mode", "options": [EMS, SETPOINT], **_command(f"{where}/mode")},
        "status": {"platform": "sensor", "name": "Set-point status", "state_topic": f"{where}/status"},
    }
    return _settable(topic, components)


def _command(where: str) -> Payload:
    return {"state_topic": where, "command_topic": f"{where}/set", "retain": False, "qos": 1}


def _identity(name: str, key: str) -> Payload:
    return {"unique_id": f"{name}_{key}", "object_id": f"{name}_{key}"}


def _settable(topic: Topic, components: dict[str, Payload]) -> dict[str, Payload]:
    """They can be set while the device is there and its commands are taken."""
    name = object_id(topic.site, topic.device)
    served = {"availability": [_presence(topic), {"topic": own_state(topic.site)}], "availability_mode": "all"}
    return {key: {**each, **_identity(name, key), **served} for key, each in components.items()}


def _presence(topic: Topic) -> Payload:
    return {
        "topic": str(Topic(topic.site, topic.kind, topic.device, Channel.STATE)),
        "value_template": "{{ 'online' if value_json.state == 'online' else 'offline' }}",
    }


def _device(topic: Topic, birth: Birth, model: str, components: dict[str, Payload]) -> Payload:
    return {
        "device": {
            "identifiers": [object_id(topic.site, topic.device)],
            "name": f"{topic.site} {topic.device}",
            "model": model[:100],
            "sw_version": birth.software,
        },
        "origin": {"name": "twinswarm", "sw_version": software(), "support_url": _URL},
        "availability": [_presence(topic)],
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
