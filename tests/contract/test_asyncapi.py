"""The AsyncAPI document: what the models say, and valid by the parser of the AsyncAPI initiative (npm)."""

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from schemas.asyncapi import asyncapi, write_asyncapi
from schemas.errors import Code
from schemas.examples import examples
from schemas.export import message_schemas
from schemas.roles import READS, WRITES
from schemas.topics import Channel, Kind
from tests.errors import raises
from tests.parts import skip_without

ROOT = Path(__file__).parents[2]
CHECKED_IN = ROOT / "docs" / "asyncapi.json"
DOCUMENT = asyncapi()
SCHEMAS = message_schemas()

PARSER = "@asyncapi/parser@3.6.3"
SCRIPT = """
const { Parser } = require('@asyncapi/parser');
const text = require('fs').readFileSync(0, 'utf8');
new Parser().parse(text).then(({ document, diagnostics }) => {
  const names = (all) => all.map((one) => one.id()).sort();
  console.log(JSON.stringify({
    errors: diagnostics.filter((one) => one.severity === 0).map((one) => one.path.join('/') + ': ' + one.message),
    channels: document ? names(document.channels().all()) : null,
    operations: document ? names(document.operations().all()) : null,
  }));
});
"""


@pytest.fixture(scope="session")
def parser() -> Path:
    """A folder in which node finds the parser; kept from one session to the next, outside the repository."""
    skip_without("node with npm", present=bool(shutil.which("node") and shutil.which("npm")))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "twinswarm-npm" / PARSER.rpartition("@")[2]
    if not (folder / "node_modules" / "@asyncapi" / "parser" / "package.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), PARSER]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        skip_without(f"the npm package {PARSER} ({done.stderr[-200:]})", present=done.returncode == 0)
    return folder


def parsed(parser: Path, document: Any) -> dict[str, Any]:
    command = ["node", "-e", SCRIPT]
    done = subprocess.run(
        command, cwd=parser, input=json.dumps(document), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_independent_parser_takes_the_document(parser: Path) -> None:
    found = parsed(parser, DOCUMENT)
    assert found["errors"] == []
    assert found["channels"] == sorted(SCHEMAS)
    assert found["operations"] == sorted(DOCUMENT["operations"])


def test_that_parser_would_notice_a_fault(parser: Path) -> None:
    dangling, no_schema = copy.deepcopy(DOCUMENT), copy.deepcopy(DOCUMENT)
    dangling["operations"]["ems.send.plan"]["channel"]["$ref"] = "#/channels/none"
    no_schema["components"]["messages"]["setpoint"]["payload"]["type"] = "nonsense"
    assert parsed(parser, dangling)["errors"]
    assert any("setpoint" in error for error in parsed(parser, no_schema)["errors"])


def test_the_checked_in_document_is_what_the_models_make(tmp_path: Path) -> None:
    """When it differs: ``twinswarm schema DIR``, and copy its asyncapi.json to docs/."""
    assert CHECKED_IN.read_bytes() == write_asyncapi(tmp_path).read_bytes()


def test_every_message_has_a_channel_and_every_channel_a_sender_and_a_receiver() -> None:
    assert set(DOCUMENT["channels"]) == set(DOCUMENT["components"]["messages"]) == set(SCHEMAS)
    for action in ("send", "receive"):
        used = {one["channel"]["$ref"] for one in DOCUMENT["operations"].values() if one["action"] == action}
        assert used == {f"#/channels/{name}" for name in SCHEMAS}


def test_operations_are_the_rights() -> None:
    """Telemetry counts once: its messages differ by kind."""
    for action, table in (("send", WRITES), ("receive", READS)):
        told = {tuple(name.split(".")[::2][:2]) for name in DOCUMENT["operations"] if f".{action}." in name}
        assert told - {("observer", str(channel)) for channel in Channel} == {
            (str(kind), str(right.channel)) for kind, rights in table.items() for right in rights
        }


@pytest.mark.parametrize("name", SCHEMAS)
def test_payload_schemas_say_the_same_as_the_exported_ones(name: str) -> None:
    """Of every example with each field changed or left out."""
    payload = DOCUMENT["components"]["messages"][name]["payload"]
    translated = Draft7Validator({**payload, "components": DOCUMENT["components"]})
    exported = Draft202012Validator(SCHEMAS[name])
    (example,) = SCHEMAS[name]["examples"]
    translated.validate(example)
    for field in example:
        others = [None, "x", -1, 1e9, [], {}, [["t", 1]], [["t", 1, 2, 3]], {"ev1": [["t", "1", 2]]}]
        for other in [{**example, field: value} for value in others] + [{k: example[k] for k in example if k != field}]:
            assert translated.is_valid(other) == exported.is_valid(other), (
                field,
                other.get(field),
            )
    assert translated.is_valid({**example, "new": 1}) == exported.is_valid({**example, "new": 1})


def test_addresses_are_the_topics_of_the_examples() -> None:
    for topic, _, _ in examples():
        name = f"telemetry.{topic.kind}" if topic.channel is Channel.TELEMETRY else str(topic.channel)
        channel = DOCUMENT["channels"][name]
        values = {"site": topic.site, "kind": str(topic.kind), "device": topic.device}
        assert channel["address"].format(**values) == str(topic)
        assert topic.kind in channel["parameters"].get("kind", {}).get("enum", list(Kind))


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with raises(Code.UNWRITABLE):
        write_asyncapi(tmp_path / "file" / "schemas")
