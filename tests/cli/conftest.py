"""One short recorded day that several tests read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import call


@dataclass(frozen=True)
class Recorded:
    """``folder`` holds runs/history.sqlite; ``result`` is what ``--json -`` printed."""

    folder: Path
    stdout: str
    stderr: str
    result: dict[str, Any]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Half a day of case 3, in memory, with its report."""
    folder = tmp_path_factory.mktemp("recorded")
    done = call("run", "--case", "3", "--for", "12h", "--report", "out", "--json", "-", cwd=folder)
    assert done.returncode == 0, done.stderr
    return Recorded(folder, done.stdout, done.stderr, json.loads(done.stdout))
