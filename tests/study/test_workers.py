"""Worker processes live no longer than the command that started them, which says how it came to its end."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.cli.calling import COMMAND, plain_environment

COMPARE = ("compare", "fit_g2v", "--for", "month", "--processes", "2")
YEAR = ("year", "fit_g2v", "--days", "60", "--jobs", "2", "--out", "year")


def wait_for(what: str, holds: object, timeout_s: float = 60.0) -> None:
    assert callable(holds)
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {timeout_s:.0f} s")
        time.sleep(0.05)


@contextmanager
def at_work(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """The command, and its processes: two workers, and that by which Python tracks what they share."""
    environment = plain_environment()
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=pipe, text=True
    ) as command:
        parent = psutil.Process(command.pid)
        wait_for("the start of the workers", lambda: len(parent.children()) >= 3 or command.poll() is not None)
        processes = parent.children()
        assert len(processes) >= 3
        yield command, processes
    _, alive = psutil.wait_procs(processes, timeout=20)
    for process in alive:
        process.kill()
    assert not alive


def test_a_study_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    with at_work(tmp_path, "study", "--processes", "2", "--out", "out") as (study, _):
        study.kill()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("arguments", "code", "says"), [(COMPARE, 130, ""), (YEAR, 1, "stopped; the same command goes on")]
)
def test_a_command_that_is_stopped_ends_at_once_without_a_traceback(
    arguments: tuple[str, ...], code: int, says: str, how: signal.Signals, tmp_path: Path
) -> None:
    with at_work(tmp_path, *arguments) as (command, _):
        command.send_signal(how)
        said = command.communicate(timeout=60)[1]
    assert command.returncode == code
    assert says in said
    assert len(said.splitlines()) <= 1, "neither a traceback nor a warning of something left behind"


@pytest.mark.parametrize("arguments", [COMPARE, YEAR])
def test_a_worker_that_is_killed_is_told_in_a_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """As the system does it when memory runs out."""
    with at_work(tmp_path, *arguments) as (command, processes):
        next(process for process in processes if "spawn_main" in " ".join(process.cmdline())).kill()
        said = command.communicate(timeout=60)[1]
    assert command.returncode == 1
    assert said == (
        "error: a worker process was killed, or the machine has too little memory for so many at once [failed]\n"
    )
