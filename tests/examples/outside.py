"""An example that runs outside the swarm: the certificate that is carried there, and waiting for what it does."""

import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.cli.calling import call
from tests.provision.secured import Secured

PATIENCE_S = 20.0


def carried(secured: Secured, name: str, folder: Path, kind: str | None = None) -> list[str]:
    """What `provision export` packs, unpacked elsewhere; returns the options by which an example shows who it is.

    ``kind``: of a device that the site does not have; the broker that runs is told of it.
    """
    provisioned = ("--dir", str(secured.folder.root))
    steps: list[tuple[str, ...]] = [("export", name, "--out", f"{name}.tar", *provisioned)]
    if kind is not None:
        steps.insert(0, ("add", name, "--kind", kind, "--pid", str(secured.pid), *provisioned))
    for step in steps:
        done = call("provision", *step, cwd=folder)
        assert done.returncode == 0, done.stderr
    with tarfile.open(folder / f"{name}.tar") as archive:
        archive.extractall(folder, filter="data")
    files = {"--cafile": "ca.crt", "--cert": f"{name}.crt", "--key": f"{name}.key"}
    return [word for option, file in files.items() for word in (option, str(folder / name / file))]


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not there():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
