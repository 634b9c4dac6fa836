"""docs/faults.md names a test for every promise: each is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"


def test_every_promise_names_tests_that_are_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    rows = [line for line in text.splitlines() if line.startswith("|") and not line.startswith(("| fault", "|---"))]
    assert all(re.search(r"`tests/[\w/]+\.py::\w+`", row) for row in rows)
    for file in {file for file, _ in named}:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert {test for where, test in named if where == file} <= there, file


def test_every_test_of_this_folder_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        if file.name == Path(__file__).name:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert f"tests/faults/{file.name}::{node.name}" in text
