"""A terminal, Ctrl-C, and what is left behind."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import psutil

from services.history.sqlite import SqliteHistory
from tests.cli.calling import COMMAND, plain_environment


def _read(master: int, process: subprocess.Popen[bytes], timeout_s: float = 60.0) -> str:
    """What a terminal was sent until the process ended."""
    parts: list[bytes] = []
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ready, _, _ = select.select([master], [], [], 0.2)
        if ready:
            try:
                parts.append(os.read(master, 65_536))
            except OSError:  # the other end is closed
                break
        elif process.poll() is not None:
            break
    return b"".join(parts).decode(errors="replace")


def test_a_terminal_gets_a_panel_that_is_erased_in_the_end(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    environment = plain_environment() | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(
        [*COMMAND, "run", "--for", "6h", "--no-report"],
        cwd=tmp_path,
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    told = _read(master, process)
    os.close(master)
    assert process.wait(10) == 0
    assert "\x1b[?25l" in told  # the cursor is hidden …
    assert told.rindex("\x1b[?25h") > told.rindex("\x1b[?25l")  # … and comes back
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", told)
    assert "cost so far" in text
    assert "╭─ fit-g2v: storage both, baseline smart, in memory" in text
    assert text.rindex("Savings") > text.rindex("cost so far")


def test_ctrl_c_ends_the_swarm_within_5_s_without_orphans_and_the_history_is_readable(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "up", "--no-report"],
        cwd=tmp_path,
        env=plain_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any("cost so far" in told for told in lines), "the day never began"
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 12  # 4 chargers, BESS, PV, meter, network, EMS, recorder, forecast, tariff, clock, broker
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert time.monotonic() - began < 5.0
    assert process.returncode == 1
    assert "stopped; the history is readable: twinswarm report --history sqlite:runs/history.sqlite" in error
    assert "Traceback" not in error
    gone, alive = psutil.wait_procs(children, timeout=2.0)
    assert alive == []
    assert len(gone) == len(children)
    history = SqliteHistory(tmp_path / "runs" / "history.sqlite")
    info = history.latest()
    assert not info.complete
    assert info.up_to is not None
    assert info.up_to >= info.t0 + 7 * info.step  # the first line comes as step 8, a twelfth of the day, is measured
    history.close()
