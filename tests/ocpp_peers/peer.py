"""A program of others that says what happens to it in lines of JSON."""

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.npm import alone_in, installed
from tests.parts import skip_without

SOURCE = Path(__file__).parent
OCPP_CSMS = "ocpp-csms==0.1.0"


def scripts_of_node(folder: Path) -> Path:
    """The scripts beside the packages that they need, below ``folder``."""
    scripts = folder / "scripts"
    scripts.mkdir()
    for file in SOURCE.glob("*.js"):
        shutil.copy(file, scripts)
    (scripts / "node_modules").symlink_to(installed(SOURCE))
    return scripts


def python_with(requirement: str) -> Path:
    """An interpreter of an environment of its own with a package, kept outside the repository."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "twinswarm-python" / f"{requirement}-{sys.version_info[0]}.{sys.version_info[1]}"
    complete = folder / "complete"
    with alone_in(folder):
        if not complete.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=120)
            command = [str(folder / "bin" / "pip"), "install", "-q", requirement]
            done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
            skip_without(f"{requirement} of PyPI ({done.stderr[-200:]})", present=done.returncode == 0)
            complete.touch()
    return folder / "bin" / "python"


class Peer:
    """What it says in JSON is read line by line; orders go to its standard input."""

    def __init__(self, command: list[str], folder: Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[dict[str, Any]] = []
        self.log: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(line)
            text = line.removeprefix("SAID ").strip()
            if text.startswith('{"'):
                self.said.append(json.loads(text))

    def order(self, what: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()

    def has_said(self, name: str) -> bool:
        return any(name in each for each in self.said)

    def first(self, name: str) -> Any:
        return next(each[name] for each in self.said if name in each)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)


def started(make: Callable[[], Peer], name: str) -> Peer:
    """Once it is in: the central system may not listen yet, and these peers give up."""
    deadline = time.monotonic() + 40
    while True:
        peer = make()
        while peer.process.poll() is None and time.monotonic() < deadline:
            if peer.has_said(name):
                return peer
            time.sleep(0.05)
        assert time.monotonic() < deadline, peer.log
        peer.close()


def wait_until(condition: Callable[[], bool], what: str, peer: Peer, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s; it said {peer.log[-5:]}"
        time.sleep(0.05)
