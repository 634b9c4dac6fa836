"""Which swarms run on this machine, and on which broker: a small file for each, so that other commands find them.

The file is in the user's own runtime folder (``XDG_RUNTIME_DIR``, else the folder for temporary files), is written once
the broker accepts connections, and is removed at the end of the run. A run that was killed leaves its file behind; a
file counts only while its process lives, and the others are removed by whoever looks.
"""

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from broker.address import BrokerAddress, parse_broker
from schemas.errors import Code, InputError

FOLDER_VARIABLE = "TWINSWARM_RUNTIME_DIR"
"""Another folder for these files."""


@dataclass(frozen=True, slots=True)
class RunningSwarm:
    """A swarm that runs now. ``broker``: its address, as ``--broker`` takes it."""

    pid: int
    started: str
    """When the process began, as the system counts it: a later process of the same number has another one."""
    site: str
    run: str
    broker: str

    def __str__(self) -> str:
        return f"site {self.site} on {self.broker} (process {self.pid})"


def folder() -> Path:
    """Where the files are."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "twinswarm"
    return Path(tempfile.gettempdir()) / f"twinswarm-{os.getuid()}"


@contextmanager
def announced(site: str, run: str, address: BrokerAddress) -> Iterator[None]:
    """While this lasts other commands of this user find the broker. A machine that forbids the file is no obstacle."""
    pid = os.getpid()
    swarm = RunningSwarm(pid, _started(pid) or "", site, run, str(address))
    file: Path | None = folder() / f"{pid}-{run}.json"
    try:
        assert file is not None
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_ours(file.parent):
            draft = file.with_suffix(".draft")
            draft.write_text(json.dumps(asdict(swarm)), encoding="utf-8")
            draft.replace(file)
        else:
            file = None
    except OSError:
        file = None
    try:
        yield
    finally:
        if file is not None:
            with contextlib.suppress(OSError):
                file.unlink()


def running_swarms() -> list[RunningSwarm]:
    """Every swarm of this user that lives, the oldest first. Files of processes that are gone are removed."""
    found = []
    where = folder()
    try:
        if not _is_ours(where):
            return []
        files = sorted(where.glob("*.json"))
    except OSError:
        return []
    for file in files:
        swarm = _read(file)
        if swarm is not None and _started(swarm.pid) == swarm.started:
            found.append(swarm)
        else:
            with contextlib.suppress(OSError):
                file.unlink()
    return sorted(found, key=lambda swarm: swarm.run)


def find_broker(default: str, site: str | None = None) -> str:
    """The broker of the only swarm that runs (on ``site``, if it is given); ``default`` when there is none.

    Raises InputError when several run on different brokers.
    """
    swarms = [swarm for swarm in running_swarms() if site in (None, swarm.site)]
    brokers = {swarm.broker for swarm in swarms}
    if len(brokers) > 1:
        named = "; ".join(map(str, swarms))
        what = f"is needed, because several swarms run on this machine: {named}"
        raise InputError.one("--broker", what, code=Code.MISSING)
    return brokers.pop() if brokers else default


def _read(file: Path) -> RunningSwarm | None:
    try:
        swarm = RunningSwarm(**json.loads(file.read_text(encoding="utf-8")))
        parse_broker(swarm.broker)
    except (OSError, ValueError, TypeError, InputError):
        return None
    return swarm if isinstance(swarm.pid, int) and isinstance(swarm.run, str) else None


def _started(pid: int) -> str | None:
    """When a process began; None: there is none of this number. Where the system does not tell, all began alike."""
    try:
        # The name in brackets may hold anything; the 22nd field is the 20th after it (proc(5)).
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except PermissionError:
        return ""
    except OSError:
        return None
    return ""


def _is_ours(where: Path) -> bool:
    """Whether nobody else could have put a file there: the folder for temporary files is everybody's."""
    status = where.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
