"""Calls the command line as a user does: in a process of its own, without a terminal."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = (sys.executable, "-m", "twinswarm.cli")


def plain_environment() -> dict[str, str]:
    """This one, without what would make a colourful terminal of a pipe."""
    kept = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "GITHUB_ACTIONS"}}
    return kept | {"COLUMNS": "120"}


def call(*arguments: str | Path, cwd: Path, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=plain_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
