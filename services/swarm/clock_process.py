"""The clock's process in lock-step: refuses a site that lives, drives the barrier, ends the session."""

import threading
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from broker.checkpoint import CheckpointStore, FileCheckpoint, NoCheckpoint
from broker.host import new_boot
from broker.mqtt import MqttTransport
from broker.pump import ClockPump
from schemas.cycle import Course
from schemas.errors import RunFailedError
from schemas.messages import RunId, TimeMode
from schemas.site import Site
from schemas.units import UtcTime
from services.clock.lockstep import CLOCK, LockstepClock, lockstep_session
from services.clock.refusal import check_site_is_free
from services.swarm.compose import required
from services.swarm.process import Connection, Life, stop_event, utc_now


class ClockOrder(BaseModel):
    """What the clock is to drive: which run, from when to when, and who may already be on the broker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: RunId
    t0: UtcTime
    t_end: UtcTime
    allowed: frozenset[str] | None = frozenset()
    """Devices that may be on the broker already. None: whoever started this clock has looked who is there."""


def run_clock(site: Site, order: ClockOrder, connection: Connection, checkpoints: Path | None, life: Life) -> None:
    """Drives a run to its end, or goes on with it after a restart. Raises as `drive_clock` does."""
    store = NoCheckpoint() if checkpoints is None else FileCheckpoint(checkpoints / "clock.json")
    transport = MqttTransport(connection.address, f"{site.site}.{CLOCK}", connection.credentials)
    drive_clock(site, order, transport, store, stop_event(life))


def drive_clock(
    site: Site, order: ClockOrder, transport: MqttTransport, store: CheckpointStore, stop: threading.Event
) -> None:
    """Raises SiteBusyError, RunFailedError (somebody is missing or stays silent), BrokerUnreachableError."""
    course = Course(order.t0, order.t_end, site.time.step_s)
    if order.allowed is not None and store.load() is None:
        check_site_is_free(transport, site.site, TimeMode.LOCKSTEP, order.allowed)
    clock = LockstepClock(
        site.site,
        course,
        order.run,
        new_boot(),
        lockstep_session(course, utc_now()),
        required(site),
        site.time,
        store,
        transport.publish,
        utc_now,
    )
    transport.connect(ClockPump.subscriptions(site.site))
    try:
        pump = ClockPump(transport, clock, time.monotonic)
        clock.start(time.monotonic())
        while not clock.finished and not stop.is_set():
            pump.poll()
        if not clock.finished:
            raise RunFailedError(f"the clock was stopped at {clock.time}, cycle {clock.n} {clock.phase}")
    finally:
        clock.abandon()
        transport.flush(2.0)
        transport.close()
