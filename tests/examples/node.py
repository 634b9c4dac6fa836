"""The example battery in JavaScript as somebody elsewhere has it: its files, the contract, what npm installs."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.parts import skip_without

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "examples" / "node"
OLDEST_NODE = 18


def installed() -> Path:
    """The folder node_modules of the lock file, kept from one session to the next outside the repository."""
    skip_without("node with npm", present=bool(shutil.which("node") and shutil.which("npm")))
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    skip_without(f"node {OLDEST_NODE} or later ({version})", present=int(version[1:].split(".")[0]) >= OLDEST_NODE)
    lock = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "twinswarm-npm" / f"battery-{lock}"
    complete = folder / "complete"
    if not complete.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCE / name, folder)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
        skip_without(f"what examples/node depends on ({done.stderr[-200:]})", present=done.returncode == 0)
        complete.touch()
    return folder / "node_modules"


def lay_out(folder: Path) -> Path:
    """Copies the example below ``folder``; returns the path of its script."""
    example = folder / "examples" / "node"
    example.mkdir(parents=True)
    for file in (*SOURCE.glob("*.js"), SOURCE / "package.json"):
        shutil.copy(file, example)
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "asyncapi.json", folder / "docs")
    (example / "node_modules").symlink_to(installed())
    return example / "attach.js"
