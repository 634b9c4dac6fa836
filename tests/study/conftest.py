"""One study of case 6 that several tests read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import call


@dataclass(frozen=True)
class Told:
    """``folder`` holds out/ with page and figures; ``study`` is what ``--json`` wrote."""

    folder: Path
    stdout: str
    study: dict[str, Any]


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Case 6 only, in one process."""
    folder = tmp_path_factory.mktemp("study")
    ordered = ("study", "--cases", "6", "--processes", "1", "--out", "out", "--json", "study.json")
    done = call(*ordered, cwd=folder, timeout_s=180)
    assert done.returncode == 0, done.stderr
    return Told(folder, done.stdout, json.loads((folder / "study.json").read_text()))
