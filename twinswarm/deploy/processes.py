"""The swarm as processes: the command line of each, under a supervisor."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.messages import TimeMode
from schemas.site import OnSilence, Site
from services.clock.lockstep import CLOCK
from twinswarm.deploy.clock_order import ClockOrder
from twinswarm.deploy.process import Connection
from twinswarm.deploy.supervisor import Death, Supervisor

if TYPE_CHECKING:
    from services.ems.algorithm import Algorithm
    from twinswarm.deploy.threads import ThreadedSwarm

EMS = "ems"


@dataclass
class ProcessSwarm:
    """``folder`` takes the run's resolved site, logs and checkpoints."""

    site: Site
    order: ClockOrder
    connection: Connection
    history: Path
    folder: Path
    algorithm: "Algorithm | None" = None
    """What the EMS plans with in the place of the optimiser: a function of this process, so that EMS is a thread."""
    supervisor: Supervisor = field(init=False)

    _own_ems: "ThreadedSwarm | None" = field(init=False, default=None)

    def __post_init__(self) -> None:
        dropped = frozenset(self.site.devices) if self.site.time.on_silence is OnSilence.DROP else frozenset()
        self.supervisor = Supervisor(self.folder / "logs", expendable=dropped)
        self._site_file.write_text(self.site.model_dump_json(), encoding="utf-8")

    @property
    def _site_file(self) -> Path:
        return self.folder / "site.json"

    def start(self, device: str) -> None:
        if device == EMS and self.algorithm is not None:
            from twinswarm.deploy.threads import ThreadedSwarm

            self._own_ems = ThreadedSwarm(self.site, self.order, self.connection, self.history, self.algorithm)
            self._own_ems.start(device)
            return
        self.supervisor.start(device, self._command(device))

    def _command(self, device: str) -> list[str]:
        credentials = self.connection.credentials_of(device)
        options = {
            "--site": self._site_file,
            "--broker": self.connection.address,
            "--checkpoints": self.folder / "checkpoints",
            "--cafile": credentials.cafile,
            "--cert": credentials.cert,
            "--key": credentials.key,
            "--username": credentials.username,
            "--password-file": credentials.password_file,
            "--history": self.history if device == "recorder" else None,
            "--course": self.order.model_dump_json() if device == CLOCK else None,
        }
        given = [str(part) for option, value in options.items() if value is not None for part in (option, value)]
        if self.order.mode is TimeMode.WALL:
            given.append("--outward")
        return [sys.executable, "-P", "-m", "twinswarm.deploy.process", device, *given, "--lifeline"]

    def watch(self) -> list[Death]:
        if self._own_ems is not None:
            self._own_ems.watch()
        return self.supervisor.watch()

    def finished(self, device: str) -> bool:
        return self.supervisor.finished(device)

    def stop(self) -> None:
        if self._own_ems is not None:
            self._own_ems.stop()
        self.supervisor.stop()
