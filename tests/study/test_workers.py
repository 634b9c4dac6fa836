"""Worker processes of a study live no longer than the command that started them."""

import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.cli.calling import COMMAND, plain_environment


def wait_for(what: str, holds: object, timeout_s: float = 60.0) -> None:
    assert callable(holds)
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {timeout_s:.0f} s")
        time.sleep(0.05)


def test_a_study_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    command = [*COMMAND, "study", "--processes", "2", "--out", "out"]
    with subprocess.Popen(command, cwd=tmp_path, env=plain_environment(), stdout=subprocess.DEVNULL) as study:
        parent = psutil.Process(study.pid)
        # Two workers, and the process by which Python tracks what they share.
        wait_for("the start of the workers", lambda: len(parent.children()) >= 3 or study.poll() is not None)
        workers = parent.children()
        assert len(workers) >= 3
        study.kill()
    gone, alive = psutil.wait_procs(workers, timeout=20)
    for process in alive:
        process.kill()
    assert not alive
    assert gone
