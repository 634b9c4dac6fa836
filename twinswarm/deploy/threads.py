"""The swarm in one process, by `twinswarm.deploy.hosting`. Same interface as the supervisor of processes."""

from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from broker.mqtt import MqttTransport
from runtime.checkpoint import MemoryCheckpoint
from schemas.messages import TimeMode
from schemas.site import Site
from schemas.topics import client_id
from services.clock.lockstep import CLOCK
from twinswarm.deploy.clock_order import ClockOrder
from twinswarm.deploy.clock_process import drive_clock
from twinswarm.deploy.hosting import Hosting, host_of, in_memory
from twinswarm.deploy.outward import faced
from twinswarm.deploy.process import Connection
from twinswarm.deploy.supervisor import Death
from twinswarm.simulation.compose import Recording, maker

if TYPE_CHECKING:
    from services.ems.algorithm import Algorithm


@dataclass
class ThreadedSwarm:
    """Starts participants as threads. One that fails ends the run: there is no process to start again."""

    site: Site
    order: ClockOrder
    connection: Connection
    history: Path
    algorithm: "Algorithm | None" = None
    """What the EMS plans with in the place of the optimiser."""
    _hosting: Hosting = field(default_factory=Hosting)

    def start(self, device: str) -> None:
        # Built here: threads that import at the same time can lock each other out.
        self._hosting.start(device, self._run_clock if device == CLOCK else self._host(device))

    def _host(self, device: str) -> Callable[[], None]:
        from services.history.store import HistoryStore

        store = HistoryStore(self.history) if device == "recorder" else None
        make = maker(self.site, device, None if store is None else Recording(store), self.algorithm)
        if self.order.mode is TimeMode.WALL:
            make = faced(self.site, device, make)
        host = host_of(make, self.site, device, self.connection, in_memory, self._hosting.stop)

        def serve() -> None:
            with closing(store) if store is not None else nullcontext():
                host.serve()

        return serve

    def _run_clock(self) -> None:
        name = client_id(self.site.site, CLOCK)
        transport = MqttTransport(self.connection.address, name, self.connection.credentials_of(CLOCK))
        drive_clock(self.site, self.order, transport, MemoryCheckpoint(), self._hosting.stop)

    def watch(self) -> list[Death]:
        """Raises what a participant raised: an error of ours as it is, another as RunFailedError."""
        self._hosting.check()
        return []

    def finished(self, device: str) -> bool:
        return self._hosting.finished(device)

    def stop(self) -> None:
        self._hosting.leave()
