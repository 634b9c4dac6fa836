"""Packages of npm by a lock file, kept from one run of the tests to the next outside the repository."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts import skip_without

OLDEST_NODE = 18


def installed(source: Path) -> Path:
    """The folder node_modules of the package.json and package-lock.json in ``source``."""
    skip_without("node with npm", present=bool(shutil.which("node") and shutil.which("npm")))
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    skip_without(f"node {OLDEST_NODE} or later ({version})", present=int(version[1:].split(".")[0]) >= OLDEST_NODE)
    lock = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "twinswarm-npm" / f"{source.name}-{lock}"
    complete = folder / "complete"
    with alone_in(folder):
        if not complete.exists():
            _install(source, folder)
            complete.touch()
    return folder / "node_modules"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Of several processes of the tests one at a time makes what the others find."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    skip_without(f"what {source} depends on ({done.stderr[-200:]})", present=done.returncode == 0)
