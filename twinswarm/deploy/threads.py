"""The swarm in one process: a thread and a connection of its own per participant. Same interface as the supervisor."""

import threading
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from broker.mqtt import MqttTransport
from runtime.checkpoint import MemoryCheckpoint
from runtime.host import Host
from schemas.errors import RunFailedError, TwinswarmError
from schemas.site import Site
from schemas.topics import client_id
from services.clock.lockstep import CLOCK
from twinswarm.deploy.clock_order import ClockOrder
from twinswarm.deploy.clock_process import drive_clock
from twinswarm.deploy.process import Connection, utc_now
from twinswarm.deploy.supervisor import Death
from twinswarm.simulation.compose import Recording, maker

if TYPE_CHECKING:
    from services.ems.algorithm import Algorithm


@dataclass
class _Thread:
    thread: threading.Thread
    finished: bool = False
    failure: BaseException | None = None


@dataclass
class ThreadedSwarm:
    """Starts participants as threads. One that fails ends the run: there is no process to start again."""

    site: Site
    order: ClockOrder
    connection: Connection
    history: Path
    algorithm: "Algorithm | None" = None
    """What the EMS plans with in the place of the optimiser."""
    _threads: dict[str, _Thread] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self, device: str) -> None:
        # Built here: threads that import at the same time can lock each other out.
        run = self._run_clock if device == CLOCK else self._host(device)
        started = _Thread(threading.Thread(target=lambda: self._guard(device, run), name=device, daemon=True))
        self._threads[device] = started
        started.thread.start()

    def _guard(self, device: str, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:
            # Raised again, as what it is, by whoever watches.
            self._threads[device].failure = error
        else:
            self._threads[device].finished = True

    def _host(self, device: str) -> Callable[[], None]:
        from services.history.store import HistoryStore

        store = HistoryStore(self.history) if device == "recorder" else None
        host = Host(
            make=maker(self.site, device, None if store is None else Recording(store), self.algorithm),
            transport=lambda persistent: self._connect(device, persistent=persistent),
            lockstep_store=MemoryCheckpoint(),
            wall_store=MemoryCheckpoint(),
            zone=self.site.zone,
            stop=self._stop,
            now=utc_now,
        )

        def serve() -> None:
            with closing(store) if store is not None else nullcontext():
                host.serve()

        return serve

    def _run_clock(self) -> None:
        drive_clock(self.site, self.order, self._connect(CLOCK), MemoryCheckpoint(), self._stop)

    def _connect(self, device: str, *, persistent: bool = False) -> MqttTransport:
        name = client_id(self.site.site, device)
        return MqttTransport(
            self.connection.address, name, self.connection.credentials_of(device), persistent=persistent
        )

    def watch(self) -> list[Death]:
        """Raises what a participant raised: an error of ours as it is, another as RunFailedError."""
        for device, started in self._threads.items():
            if isinstance(started.failure, TwinswarmError):
                raise started.failure
            if started.failure is not None:
                raise RunFailedError(f"{device} failed: {started.failure!r}") from started.failure
        return []

    def finished(self, device: str) -> bool:
        return self._threads[device].finished

    def stop(self) -> None:
        self._stop.set()
        deadline = time.monotonic() + 5.0
        for started in self._threads.values():
            started.thread.join(max(0.0, deadline - time.monotonic()))
