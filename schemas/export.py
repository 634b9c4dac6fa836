"""JSON Schemas (draft 2020-12) of every message on the wire. That of a site file is `sites.json_schema`.

They say what `schemas.wire.decode` accepts, for programs that know nothing of this one. Four things no JSON Schema
can say, which decode checks as well: that one time lies after another, that a date exists (in the years 1971 to 2260),
that an integer is written without a decimal point, and that capabilities are those of the nameplate. Besides, decode
refuses payloads above `schemas.wire.MAX_PAYLOAD_BYTES`, and takes ``true`` where the constant 1 is wanted.
"""

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from schemas.errors import Code, InputError
from schemas.examples import examples
from schemas.messages import Limit, RequestedPower, Setpoint, Telemetry
from schemas.topics import Channel, Topic
from schemas.units import TIME_PATTERN
from schemas.wire import body_type, encode, wire_type

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NUMBER, _NULL = {"type": "number"}, {"type": "null"}
_POWER_OR_LIMIT: dict[str, Any] = {
    "oneOf": [
        {"required": ["power_kw"], "properties": {"power_kw": _NUMBER, "limit_kw": _NULL}},
        {"required": ["limit_kw"], "properties": {"limit_kw": _NUMBER, "power_kw": _NULL}},
    ]
}

RULES: dict[type[BaseModel], dict[str, Any]] = {
    Limit: {
        "anyOf": [
            {"required": ["heartbeat_s"], "properties": {"heartbeat_s": _NUMBER}},
            {"properties": {"failsafe_import_kw": _NULL, "failsafe_export_kw": _NULL}},
        ]
    },
    RequestedPower: _POWER_OR_LIMIT,
    Setpoint: _POWER_OR_LIMIT,
    Telemetry: {
        "anyOf": [
            {
                "required": ["energy_import_kwh", "energy_export_kwh"],
                "properties": {"energy_import_kwh": _NUMBER, "energy_export_kwh": _NUMBER},
            },
            {"properties": {"energy_import_kwh": _NULL, "energy_export_kwh": _NULL}},
        ]
    },
}
"""A rule of a model about several fields together."""


@cache
def _docs(model: type[BaseModel]) -> dict[str, str]:
    """The strings that stand below the fields of a class, inherited ones included."""
    found: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        if not issubclass(parent, BaseModel) or parent is BaseModel:
            continue
        try:
            source = inspect.getsource(parent)
        except (OSError, TypeError):
            continue  # Made by `wire_type`; its parents have sources.
        (definition,) = ast.parse(textwrap.dedent(source)).body
        assert isinstance(definition, ast.ClassDef)
        for field, doc in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
                assert isinstance(field.target, ast.Name)
                found[field.target.id] = inspect.cleandoc(str(doc.value.value))
    return found


class SchemaGenerator(GenerateJsonSchema):
    """Pydantic's generator, with what the models' validators and docstrings say besides."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        return super().datetime_schema(schema) | {"pattern": TIME_PATTERN}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        # 1e999 is a number in JSON; it is none that a double holds.
        found = super().float_schema(schema)
        if not {"minimum", "exclusiveMinimum"} & found.keys():
            found["minimum"] = -sys.float_info.max
        if not {"maximum", "exclusiveMaximum"} & found.keys():
            found["maximum"] = sys.float_info.max
        return found

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        found = super().dict_schema(schema)
        if "patternProperties" in found:
            found["additionalProperties"] = False
        return found

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        properties = found.get("properties", {})
        for name, doc in _docs(model).items():
            if name in properties:
                properties[name] = {**properties[name], "description": doc}
        for tag in ("type", "kind"):
            if "const" in properties.get(tag, {}):
                found["required"] = [tag, *(name for name in found.get("required", []) if name != tag)]
        for ruled, rule in RULES.items():
            if issubclass(model, ruled):
                found |= rule
        return found


def message_schemas() -> dict[str, dict[str, Any]]:
    """By name (``setpoint``, ``telemetry.charger``): the schema of each message type, with an example."""
    found = {}
    for topic, stamp, body in examples():
        name = f"{topic.channel}.{topic.kind}" if topic.channel is Channel.TELEMETRY else str(topic.channel)
        found[name] = _message_schema(name, topic) | {"examples": [json.loads(encode(stamp, body))]}
    return found


def _message_schema(name: str, topic: Topic) -> dict[str, Any]:
    model = wire_type(body_type(topic.kind, topic.channel))
    schema: dict[str, Any] = model.model_json_schema(schema_generator=SchemaGenerator)
    kind = topic.kind if topic.channel is Channel.TELEMETRY else "{kind}"
    where = f"Topic: twin/v2/{{site}}/{kind}/{{device}}/{topic.channel}, QoS 1{', retained' if topic.retained else ''}."
    text = f"{schema.get('description', '')}\n\n{where}".strip()
    return {"$schema": DIALECT, "$id": f"urn:twinswarm:v1:{name}", **schema, "title": name, "description": text}


def write_schemas(directory: Path, further: Mapping[str, dict[str, Any]] | None = None) -> list[Path]:
    """Writes ``{name}.json`` for every message type and for the ``further`` schemas; returns their paths, sorted.

    Raises InputError when the folder cannot be written.
    """
    schemas = message_schemas() | dict(further or {})
    paths = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, schema in sorted(schemas.items()):
            path = directory / f"{name}.json"
            path.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            paths.append(path)
    except OSError as error:
        raise InputError.one(str(directory), f"cannot be written: {error.strerror}", code=Code.UNWRITABLE) from None
    return paths
