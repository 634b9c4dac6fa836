"""Codes of errors: each is described, each place that raises one says which."""

import ast
import re
from pathlib import Path

import pytest
from pydantic import BaseModel, Field, ValidationError

from schemas.errors import Code, Fault, InputError, RemoteMessageError, RunFailedError, faults_of

ROOT = Path(__file__).parents[2]
PRODUCT = ("schemas", "broker", "runtime", "twin_devices", "services", "sites", "twinswarm")


def test_every_code_is_described_once() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE) == [*Code]


def places_without_a_code(path: Path) -> list[int]:
    """Lines that make a fault, or an error of one fault, and leave its code to the default."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"Fault", "InputError.one"}
        and all(keyword.arg != "code" for keyword in node.keywords)
    ]


def test_every_fault_says_its_code() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for package in PRODUCT
        for path in sorted((ROOT / package).rglob("*.py"))
        if (lines := places_without_a_code(path))
    }
    assert found == {}


def test_an_error_of_several_faults_has_the_code_of_each() -> None:
    error = InputError([Fault("a", "x", code=Code.RANGE), Fault("b", "y", code=Code.MISSING)])
    assert (error.code, error.codes) == (Code.RANGE, (Code.RANGE, Code.MISSING))
    assert InputError.one("a", "x", 3, code=Code.UNKNOWN).codes == (Code.UNKNOWN,)


def test_an_error_has_the_code_of_its_kind_if_it_gives_none() -> None:
    assert RemoteMessageError("x").code is Code.MESSAGE
    assert RunFailedError("x", code=Code.STOPPED).code is Code.STOPPED


class Model(BaseModel, extra="forbid"):
    power_kw: float = Field(ge=0)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, Code.MISSING),
        ({"power_kw": -1}, Code.RANGE),
        ({"power_kw": "much"}, Code.FORMAT),
        ({"power_kw": 1, "powr_kw": 1}, Code.UNKNOWN),
    ],
)
def test_a_model_s_rule_has_its_code(given: dict[str, object], code: Code) -> None:
    with pytest.raises(ValidationError) as caught:
        Model.model_validate(given)
    assert [fault.code for fault in faults_of(caught.value, "x")] == [code]
