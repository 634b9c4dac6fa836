"""The contract as an AsyncAPI 3 document: channels, who sends and receives what, every message with its schema.

Made from the models (`schemas.export`), the examples (`schemas.examples`) and the table of rights (`schemas.roles`),
so that it cannot say anything else than they do. Payloads are AsyncAPI schema objects, a superset of JSON Schema
draft-07; the schemas of `schemas.export` are draft 2020-12, from which they are translated: references point into
``components``, and a tuple's ``prefixItems`` are a list of ``items``.
"""

import json
from pathlib import Path
from typing import Any

from schemas.errors import Code, InputError
from schemas.export import message_schemas
from schemas.messages import CONTRACT
from schemas.roles import OBSERVER, READS, WRITES, Right
from schemas.topics import DEVICE_PATTERN, FORWARD_PREFIX, PREFIX, RETAINED, SITE_PATTERN, Channel, Kind
from schemas.wire import MAX_PAYLOAD_BYTES, TELEMETRY

VERSION = "3.0.0"
FILE = "asyncapi.json"

_ABOUT = f"""\
A building with photovoltaics, a stationary battery, bidirectional chargers and meters, as a swarm of services on an
MQTT broker. Any device takes part by speaking these topics.

Topics are `{PREFIX}/{{site}}/{{kind}}/{{device}}/{{channel}}`. A message is one flat JSON object of at most
{MAX_PAYLOAD_BYTES // 1024} KiB, published with QoS 1. `boot` is a life of its sender, `seq` counts from 1 per boot and
topic: (topic, boot, seq) is a message's identity. Power is in kW and positive when drawn from the building's bus; only
the PCC meter counts import as positive. Energies are in kWh, a state of charge is a fraction, times carry their zone.
What a participant with `store_and_forward` finds lost by its receipts it publishes again, byte for byte, below
`{FORWARD_PREFIX}` in the place of `{PREFIX}`, where only the recorder reads.
Unknown fields are refused in `run`, `limit`, `setpoint`, `tick` and `done`, tolerated elsewhere."""


def asyncapi() -> dict[str, Any]:
    """The document, as JSON values; equal on every call."""
    schemas = message_schemas()
    parts: dict[str, Any] = {}
    messages = {name: _message(name, schema, parts) for name, schema in schemas.items()}
    return {
        "asyncapi": VERSION,
        "id": f"urn:twinswarm:v{CONTRACT}",
        "info": {
            "title": "twinswarm",
            "version": f"{CONTRACT}.0.0",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {name: _channel(name) for name in schemas},
        "operations": _operations(),
        "components": {
            "messages": messages,
            "schemas": dict(sorted(parts.items())),
            "securitySchemes": {
                "certificate": {
                    "type": "X509",
                    "description": "Mutual TLS. The certificate's CN, {site}_{device}, is user name and client id.",
                }
            },
        },
    }


def _servers() -> dict[str, Any]:
    return {
        "broker": {
            "host": "localhost:8883",
            "protocol": "secure-mqtt",
            "protocolVersion": "3.1.1",
            "description": "The site's broker, as `twinswarm provision` configures it.",
            "security": [{"$ref": "#/components/securitySchemes/certificate"}],
        },
        "local": {
            "host": "localhost:1883",
            "protocol": "mqtt",
            "protocolVersion": "3.1.1",
            "description": "A broker for development on the loopback interface, without names.",
        },
    }


def _split(name: str) -> tuple[Channel, Kind | None]:
    """``telemetry.charger`` is the channel telemetry of chargers; other names are channels of any kind."""
    channel, _, kind = name.partition(".")
    return Channel(channel), Kind(kind) if kind else None


def _channel(name: str) -> dict[str, Any]:
    channel, kind = _split(name)
    kinds = (kind,) if kind else _writers(channel)
    where = str(kinds[0]) if len(kinds) == 1 else "{kind}"
    parameters: dict[str, Any] = {
        "site": {"description": f"The site's identifier, {SITE_PATTERN}.", "examples": ["fit-g2v"]},
        "device": {"description": _device(channel), "examples": ["ev1"]},
    }
    if len(kinds) > 1:
        parameters["kind"] = {"description": "What the device is.", "enum": [str(one) for one in kinds]}
    retained = "retained" if channel in RETAINED else "not retained"
    return {
        "address": f"{PREFIX}/{{site}}/{where}/{{device}}/{channel}",
        "title": name,
        "description": f"QoS 1, {retained}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "parameters": parameters,
    }


def _device(channel: Channel) -> str:
    who = "The device that is to obey" if channel is Channel.SETPOINT else "The sender"
    return f"{who}, unique in its site, {DEVICE_PATTERN}."


def _writers(channel: Channel) -> tuple[Kind, ...]:
    """The kinds below which a channel stands: its writers', for set-points those who obey."""
    found: list[Kind] = []
    for kind, rights in WRITES.items():
        for right in rights:
            if right.channel is channel:
                found += (kind,) if right.own else right.kinds
    return tuple(dict.fromkeys(found))


def _operations() -> dict[str, Any]:
    """``{role}.{send|receive}.{message}``: a role is a kind of participant, or an observer."""
    found: dict[str, Any] = {}
    for kind, rights in WRITES.items():
        for right in rights:
            for name in _names(right, kind):
                found[f"{kind}.send.{name}"] = _operation("send", str(kind), name, right)
    readers: dict[str, tuple[Right, ...]] = {str(kind): rights for kind, rights in READS.items()}
    readers[OBSERVER] = READS[Kind.RECORDER]
    for role, rights in readers.items():
        for right in rights:
            for name in _names(right, Kind(role) if role != OBSERVER else None):
                found[f"{role}.receive.{name}"] = _operation("receive", role, name, right)
    return dict(sorted(found.items()))


def _names(right: Right, kind: Kind | None) -> list[str]:
    """The messages of a right: telemetry has one per kind of device."""
    if right.channel is not Channel.TELEMETRY:
        return [str(right.channel)]
    wanted = (kind,) if right.own else right.kinds or tuple(TELEMETRY)
    return [f"{right.channel}.{one}" for one in TELEMETRY if one in wanted]


def _operation(action: str, role: str, name: str, right: Right) -> dict[str, Any]:
    if action == "receive" and right.own:
        which = ", on its own topic"
    elif right.kinds:
        which = f", of {' '.join(right.kinds)}" if action == "receive" else f", to {' '.join(right.kinds)}"
    else:
        which = ""
    binding: dict[str, Any] = {"qos": 1, "bindingVersion": "0.2.0"}
    if action == "send":
        binding["retain"] = right.channel in RETAINED
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "title": f"{role} {action}s {name}{which}",
        "tags": [{"name": role}],
        "bindings": {"mqtt": binding},
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
    }


def _message(name: str, schema: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """A message object. The schema's definitions go to ``parts``, under the message's name."""
    payload = {key: value for key, value in schema.items() if key not in ("$schema", "$id", "$defs", "examples")}
    for part, definition in schema.get("$defs", {}).items():
        parts[f"{name}.{part}"] = _translated(definition, name)
    return {
        "name": name,
        "title": name,
        "summary": schema["description"].split("\n\n")[0],
        "contentType": "application/json",
        "payload": _translated(payload, name),
        "examples": [{"name": "example", "payload": example} for example in schema["examples"]],
    }


def _translated(value: Any, name: str) -> Any:
    """Draft 2020-12 to the dialect of AsyncAPI schema objects."""
    if isinstance(value, list):
        return [_translated(item, name) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, item in value.items():
        if key == "$ref":
            found[key] = item.replace("#/$defs/", f"#/components/schemas/{name}.")
        elif key == "prefixItems":
            found["items"], found["additionalItems"] = _translated(item, name), False
        elif key == "discriminator":
            found[key] = item["propertyName"]
        else:
            found[key] = _translated(item, name)
    return found


def write_asyncapi(directory: Path) -> Path:
    """Writes ``asyncapi.json``; returns its path. Raises InputError when the folder cannot be written."""
    path = directory / FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asyncapi(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError.one(str(directory), f"cannot be written: {error.strerror}", code=Code.UNWRITABLE) from None
    return path
