"""A day of the default site, run in every way there is, and what of its history must not depend on the way."""

import json
import os
import signal
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from broker.address import Credentials
from schemas.site import Site
from services.analysis.result import RunResult
from services.history.sqlite import SqliteHistory
from sites.loader import load_site
from twinswarm.deploy.up import How
from twinswarm.simulation.pipeline import Order
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference, StorageChoice

DIFFERS_BETWEEN_RUNS = ("run", "boot", "wall0")
"""Identifiers and receipt times (design: what "the same to the last bit" excludes)."""


def order_of(folder: Path, length: timedelta | None = None, site: Site | None = None) -> Order:
    folder.mkdir(parents=True, exist_ok=True)
    described = site or load_site("fit_g2v")
    course = course_of(described, length=length)
    return Order(described, course, StorageChoice.BOTH, Reference.SMART, folder / "history.sqlite")


def how_of(folder: Path, broker: str, **options: object) -> How:
    return How(broker, Credentials(), folder, **options)  # type: ignore[arg-type]


def contents(history: Path, run: str) -> dict[tuple[str, int], str]:
    """(topic, seq) to the message's JSON, without what differs between two runs of one day."""
    found = {}
    with closing(SqliteHistory(history)) as opened:
        for topic, payload, seq in opened._connection.execute(
            "SELECT topic, payload, seq FROM message WHERE run = ? AND seq > 0", (run,)
        ):
            fields = json.loads(payload)
            for name in DIFFERS_BETWEEN_RUNS:
                fields.pop(name, None)
            assert (topic, seq) not in found, f"{topic} {seq} was recorded of two lives"
            found[topic, seq] = json.dumps(fields, sort_keys=True)
    return found


def numbers(result: RunResult) -> dict[str, object]:
    """A result without what differs between two runs of one day."""
    return {
        name: value
        for name, value in asdict(result).items()
        if name not in {"run", "reference_run", "wall_s", "messages_stray"}
    }


@dataclass(frozen=True)
class Found:
    pid: int
    device: str


def processes_of(folder: Path) -> list[Found]:
    """Processes of the swarm whose files are below ``folder``."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "twinswarm.deploy.process" in words and any(str(folder) in word for word in words):
            found.append(Found(int(entry.name), words[words.index("twinswarm.deploy.process") + 1]))
    return found


def kill(folder: Path, device: str) -> bool:
    """SIGKILL to a device's process. False: there was none at this moment."""
    for process in processes_of(folder):
        if process.device == device:
            os.kill(process.pid, signal.SIGKILL)
            return True
    return False
