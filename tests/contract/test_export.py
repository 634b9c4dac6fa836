"""The exported JSON Schemas: valid, complete, and of one mind with what decodes messages."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.errors import Code, InputError, RemoteMessageError
from schemas.examples import examples
from schemas.export import message_schemas, write_schemas
from schemas.topics import Channel, Kind, Topic
from schemas.wire import BODIES, TELEMETRY, decode
from sites.json_schema import site_schema
from sites.loader import builtin_sites, load_site
from sites.loader.text import read_yaml
from tests.errors import raises

Place = tuple[str | int, ...]

ROOT = Path(__file__).parents[2]
SCHEMAS = message_schemas()
VALIDATORS = {name: Draft202012Validator(schema) for name, schema in SCHEMAS.items()}
TOPICS: dict[str, Topic] = dict(zip(SCHEMAS, (topic for topic, _, _ in examples()), strict=True))


def accepted(name: str, message: Any) -> tuple[bool, str]:
    try:
        decode(TOPICS[name], json.dumps(message).encode())
    except RemoteMessageError as error:
        return False, str(error)
    return True, ""


def test_every_type_on_the_wire_has_a_schema() -> None:
    telemetry = {f"telemetry.{kind}" for kind in TELEMETRY}
    assert set(SCHEMAS) == {str(channel) for channel in BODIES} | telemetry
    assert {topic.channel for topic in TOPICS.values()} == set(Channel)


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_valid_and_so_is_its_example(name: str) -> None:
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:twinswarm:v1:{name}"
    assert schema["title"] == name
    assert str(TOPICS[name].channel) in schema["description"]
    (message,) = schema["examples"]
    VALIDATORS[name].validate(message)
    assert accepted(name, message) == (True, "")


def test_fields_carry_the_text_that_stands_below_them() -> None:
    properties = SCHEMAS["setpoint"]["properties"]
    assert properties["epoch"]["description"].startswith("Of the EMS that leads")


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    yield above
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*above, key))


def put(message: Any, place: Place, new: Any) -> Any:
    changed = copy.deepcopy(message)
    holder = changed
    for part in place[:-1]:
        holder = holder[part]
    if new is DROP:
        del holder[place[-1]]
    else:
        holder[place[-1]] = new
    return changed


DROP = object()
MESSAGES = {name: schema["examples"][0] for name, schema in SCHEMAS.items()}
PLACES = [(name, place) for name, message in MESSAGES.items() for place in places(message) if place]
VALUES = [
    DROP, None, True, False, 0, 1, 2, -1, 0.5, -0.5, 1.5, 40_000, 10_000_000.5, -10_000_000.5, 1e12 + 0.5, 1e999,
    -1e999, 2**60, "", "x", "x" * 65, "x" * 501, "ev1", "EV 1", "online", "1715900000", "2024-05-17T07:15:00Z",
    "2024-05-17 09:15+02:00", "2024-05-17T07:15:00", "2024-05-17", [], [0.5], [None], [True], ["x"], [1, 2, 3, 4], {},
    {"ev1": []}, {"EV 1": []}, {"x": 1.0}, {"type": "service"}, {"type": "charger"},
]  # fmt: skip

CONSTANT_ONE = {"contract", "phases"}
"""Fields that are a constant 1 or 3, where decode takes true for 1."""

NOT_IN_SCHEMAS = ("is not after", "do not agree with the nameplate")
"""Order of times, and what a nameplate implies: no JSON Schema can compare two fields."""


@settings(deadline=None, max_examples=1000)
@given(at=st.sampled_from(PLACES), new=st.sampled_from(VALUES))
@example(at=("setpoint", ("power_kw",)), new=DROP)
@example(at=("setpoint", ("power_kw",)), new=None)
@example(at=("request", ("setpoints", "ev1", "power_kw")), new=DROP)
@example(at=("metric", ("values",)), new={"x": 1e999})
@example(at=("tick", ("roster",)), new={"EV 1": "b"})
@example(at=("telemetry.bess", ("energy_import_kwh",)), new=DROP)
@example(at=("birth", ("nameplate",)), new={})
@example(at=("event", ("event", "start")), new=1e12 + 0.5)
@example(at=("event", ("event", "available_frac")), new="0.5")
def test_schema_and_decode_agree_on_one_changed_field(at: tuple[str, Place], new: Any) -> None:
    name, place = at
    assume(not (new is True and place[-1] in CONSTANT_ONE))
    message = put(MESSAGES[name], place, new)
    valid = VALIDATORS[name].is_valid(message)
    taken, reason = accepted(name, message)
    if not any(text in reason for text in NOT_IN_SCHEMAS):
        assert valid == taken, (place, new, reason)


@pytest.mark.parametrize("name", SCHEMAS)
def test_unknown_fields_are_refused_on_commands_and_tolerated_elsewhere(name: str) -> None:
    message = MESSAGES[name] | {"from_the_future": 1}
    commands = {"limit", "request", "event", "setpoint", "run", "tick", "done"}
    assert VALIDATORS[name].is_valid(message) == accepted(name, message)[0] == (name not in commands)


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({"power_kw": None, "limit_kw": 5.0}, True),
        ({"limit_kw": None}, True),
        ({"limit_kw": 5.0}, False),
        ({"power_kw": None}, False),
        ({"contract": 1}, False),
        ({"power_kw": "5"}, False),
        ({"seq": -1}, False),
        ({"run": "yesterday"}, False),
        ({"boot": ""}, False),
        ({"boot": "a b"}, False),
    ],
)
def test_setpoints_good_and_bad(change: dict[str, Any], valid: bool) -> None:
    message = MESSAGES["setpoint"] | change
    assert VALIDATORS["setpoint"].is_valid(message) == accepted("setpoint", message)[0] == valid


def test_site_schema_takes_every_site_as_written_and_as_resolved() -> None:
    schema = site_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    for path in sorted((ROOT / "sites" / "data").glob("*/site.yaml")):
        validator.validate(read_yaml(path)[0])
    for name in builtin_sites():
        validator.validate(json.loads(load_site(name).model_dump_json()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_charge_kw: 22", "max_charge_kW: 22"),
        ("kind: bess", "kind: battery"),
        ("material: copper", "material: gold"),
        ("type: NYY-J 5x10 RE, length_m: 14", "type: NYY-J 5x10 RE"),
        ("initial_soc_frac: 0.5", "initial_soc_frac: 50"),
        ("column: load_kw", "colum: load_kw"),
        ("type: clearsky", "type: cloudy"),
        ("arrival: 2024-05-17T10:30:00+02:00", "arrival: 2024-05-17T10:30:00"),
    ],
)
def test_site_schema_and_loader_refuse_the_same(old: str, new: str, tmp_path: Path) -> None:
    template = ROOT / "sites" / "data" / "init_template"
    (tmp_path / "profiles.csv").write_bytes((template / "profiles.csv").read_bytes())
    file = tmp_path / "site.yaml"
    file.write_text((template / "site.yaml").read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    assert not Draft202012Validator(site_schema()).is_valid(read_yaml(file)[0])
    with pytest.raises(InputError):
        load_site(file)


def test_schemas_are_written_one_file_a_type_and_always_the_same(tmp_path: Path) -> None:
    site = {"site": site_schema()}
    first, second = write_schemas(tmp_path / "a", site), write_schemas(tmp_path / "b" / "c", site)
    assert [path.name for path in first] == sorted(f"{name}.json" for name in [*SCHEMAS, "site"])
    assert {path.name for path in first} >= {"setpoint.json", "telemetry.charger.json", "telemetry.network.json"}
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert json.loads((tmp_path / "a" / "telemetry.charger.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(SCHEMAS["telemetry.charger"])
    )


def test_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with raises(Code.UNWRITABLE):
        write_schemas(tmp_path / "file" / "schemas")


def test_kinds_with_power_are_those_that_send_telemetry() -> None:
    assert set(TELEMETRY) == {Kind.CHARGER, Kind.BESS, Kind.HEATPUMP, Kind.PV, Kind.METER, Kind.NETWORK}
