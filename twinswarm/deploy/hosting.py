"""One process hosts participants, one or several: each has a thread and a connection of its own.

This is the way in which every participant runs: a twin's process hosts one, a gateway of drivers several, `up
--one-process` a whole site. They share nothing but the process: each has its client identifier, last will, checkpoint
and run loop, and the broker and the other participants cannot see who lives with whom.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from broker.heartbeat import NOBODY_LOOKS, Heartbeat
from broker.mqtt import MqttTransport
from runtime.checkpoint import CheckpointStore, FileCheckpoint, MemoryCheckpoint, NoCheckpoint
from runtime.host import Host
from runtime.keep import Kept, NothingKept
from runtime.log_context import DEVICE
from schemas.errors import RunFailedError, TwinswarmError
from schemas.participant import Participant
from schemas.site import Site
from schemas.topics import client_id
from twinswarm.deploy.process import Connection, Life, utc_now
from twinswarm.extras import missing_extra

if TYPE_CHECKING:
    from services.history.store import HistoryStore

LOG = logging.getLogger(__name__)

LOOK_S = 0.1
"""How often the process looks whether a participant has failed, or whether it is to stop."""
PATIENCE_S = 5.0
"""Participants that are asked to leave are waited for so long."""


@dataclass
class _Tenant:
    thread: threading.Thread
    finished: bool = False
    failure: BaseException | None = None


@dataclass
class Hosting:
    """Threads of one process that serve until they have finished or ``stop`` is set."""

    stop: threading.Event = field(default_factory=threading.Event)
    _tenants: dict[str, _Tenant] = field(default_factory=dict)

    def start(self, name: str, serve: Callable[[], None]) -> None:
        tenant = _Tenant(threading.Thread(target=lambda: self._guard(name, serve), name=name, daemon=True))
        self._tenants[name] = tenant
        tenant.thread.start()

    def _guard(self, name: str, serve: Callable[[], None]) -> None:
        DEVICE.set(name)
        try:
            serve()
        except Exception as error:
            failure = missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
            if failure is None and not isinstance(error, TwinswarmError):
                LOG.exception("%s failed", name)
            self._tenants[name].failure = failure or error  # raised again, as what it is, by whoever watches
        else:
            self._tenants[name].finished = True

    def finished(self, name: str) -> bool:
        return self._tenants[name].finished

    def check(self) -> None:
        """Raises the first failure: an error of ours as it is, another as RunFailedError with its participant."""
        for name, tenant in self._tenants.items():
            if isinstance(tenant.failure, TwinswarmError):
                raise tenant.failure
            if tenant.failure is not None:
                raise RunFailedError(f"{name} failed: {tenant.failure!r}") from tenant.failure

    def wait(self) -> None:
        """Until all have finished. One that fails ends all of them: they leave properly, and its error is raised.

        A process is started again as a whole, so that nobody of it stays away unnoticed.
        """
        try:
            while any(tenant.thread.is_alive() for tenant in self._tenants.values()):
                self.check()
                if self.stop.wait(LOOK_S):
                    break
        finally:
            self.leave()
        self.check()

    def leave(self) -> None:
        """Asks everybody to leave, and waits for them."""
        self.stop.set()
        deadline = time.monotonic() + PATIENCE_S
        for tenant in self._tenants.values():
            tenant.thread.join(max(0.0, deadline - time.monotonic()))


class SharedHeartbeat:
    """The heartbeat of a process with several participants: renewed when every one of them has beaten since the last
    time, so that one that is stuck is noticed.
    """

    def __init__(self, heartbeat: Heartbeat, names: Sequence[str]) -> None:
        self._heartbeat = heartbeat
        self._names = frozenset(names)
        self._beaten: set[str] = set()
        self._lock = threading.Lock()

    def of(self, name: str) -> Heartbeat:
        return _Part(self, name)

    def beat(self, name: str) -> None:
        with self._lock:
            self._beaten.add(name)
            if self._beaten == self._names:
                self._beaten.clear()
                self._heartbeat.beat()


class _Part(Heartbeat):
    """One participant's part of the process's heartbeat."""

    def __init__(self, shared: SharedHeartbeat, name: str) -> None:
        super().__init__(None)
        self._shared = shared
        self._name = name

    def beat(self) -> None:
        self._shared.beat(self._name)


def not_kept(name: str) -> Kept:
    """Nothing that is sent is kept."""
    del name
    return NothingKept()


def kept_in(folder: Path | None) -> Callable[[str], Kept]:
    """What a participant sends is kept beside its checkpoints; without a folder it is not."""
    if folder is None:
        return not_kept
    from runtime.kept import KeptMessages  # a process without a folder goes without SQLite

    return lambda name: KeptMessages(folder / f"{name}-sent.sqlite")


def host_of(
    make: Callable[[], Participant],
    site: Site,
    device: str,
    connection: Connection,
    stores: Callable[[str], CheckpointStore],
    stop: threading.Event,
    *,
    once: bool = False,
    heartbeat: Heartbeat = NOBODY_LOOKS,
    kept: Callable[[str], Kept] = not_kept,
) -> Host:
    """The run loops of one participant with a connection in its own name. ``stores`` makes a checkpoint by its name,
    ``kept`` the store of what it sends (`runtime.kept`).
    """
    credentials = connection.credentials_of(device)
    return Host(
        make=make,
        transport=lambda persistent: MqttTransport(
            connection.address,
            client_id(site.site, device),
            credentials,
            persistent=persistent,
            heartbeat=heartbeat,
        ),
        lockstep_store=stores(device),
        wall_store=stores(f"{device}-wall"),
        zone=site.zone,
        stop=stop,
        now=utc_now,
        once=once,
        kept=kept(device),  # last: the checkpoint's lock says that nobody else has it
    )


def in_memory(name: str) -> CheckpointStore:
    """A checkpoint that lives as long as this process."""
    del name
    return MemoryCheckpoint()


def in_folder(folder: Path | None) -> Callable[[str], CheckpointStore]:
    """Checkpoints as files of a folder; None: none are kept."""
    return lambda name: NoCheckpoint() if folder is None else FileCheckpoint(folder / f"{name}.json")


def host(
    makers: Mapping[str, Callable[[], Participant]],
    site: Site,
    connection: Connection,
    checkpoints: Path | None,
    life: Life,
    stop: threading.Event,
    history: "HistoryStore | None" = None,
) -> None:
    """Serves participants, by their names, until ``stop`` is set or, with ``life.once``, a run has ended.

    ``history``: the recorder's, closed at the end. Raises TwinswarmError: what the first one raised that failed.
    """
    heartbeat = SharedHeartbeat(Heartbeat(life.heartbeat), list(makers))
    stores, kept = in_folder(checkpoints), kept_in(checkpoints)
    with closing(history) if history is not None else nullcontext():
        # All are built before any runs: threads that import at the same time can lock each other out.
        hosts = {
            name: host_of(
                make,
                site,
                name,
                connection,
                stores,
                stop,
                once=life.once,
                heartbeat=heartbeat.of(name),
                kept=kept,
            )
            for name, make in makers.items()
        }
        hosting = Hosting(stop)
        for name, one in hosts.items():
            hosting.start(name, one.serve)
        hosting.wait()
