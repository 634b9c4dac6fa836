"""A user's folder with modules that are named like ours, or like the standard library's."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.calling import plain_environment

PRODUCT = ("schemas", "broker", "runtime", "twin_devices", "services", "sites", "twinswarm")
ROOT = Path(__file__).parents[2]
TWINSWARM = Path(sys.executable).parent / "twinswarm"
"""The installed script: with ``python -m`` the interpreter itself looks into the working folder first."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Whoever imports one of these modules ends with an error."""
    for name in (*PRODUCT, "logging", "signal", "queue"):
        module = tmp_path / f"{name}.py"
        if name == "services":
            module = tmp_path / name / "__init__.py"
            module.parent.mkdir()
        module.write_text("raise SystemExit('this module is the user\\'s own')\n", encoding="utf-8")
    return tmp_path


def _call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TWINSWARM), *arguments],
        cwd=folder,
        env=plain_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_up_runs_in_a_folder_with_modules_of_the_users_own(folder: Path) -> None:
    done = _call(folder, "up", "--for", "15min", "--storage", "none", "--reference", "no-cars", "--no-report")
    assert done.returncode == 0, done.stderr
    assert "Cost" in done.stdout, done.stdout


def test_workers_of_the_study_start_in_a_folder_with_modules_of_the_users_own(folder: Path) -> None:
    done = _call(folder, "study", "--cases", "6", "--no-robustness", "--processes", "2")
    assert done.returncode == 0, done.stderr


def test_every_interpreter_that_we_start_keeps_away_from_the_working_folder() -> None:
    """Without ``-P`` a module is looked for in the working folder first."""
    found = []
    for package in PRODUCT:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.List) and node.elts and ast.unparse(node.elts[0]) == "sys.executable":
                    found.append((file.relative_to(ROOT), ast.unparse(node.elts[1])))
    assert len(found) >= 3
    assert [each for each in found if each[1] != "'-P'"] == []
