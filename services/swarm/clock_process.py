"""The clock's process: refuses a site that lives, then drives the barrier, or opens a session in wall time."""

import threading
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from broker.checkpoint import CheckpointStore, FileCheckpoint, NoCheckpoint
from broker.heartbeat import Heartbeat
from broker.host import new_boot
from broker.mqtt import MqttTransport
from broker.pump import ClockPump
from broker.wall import drive
from schemas.cycle import Course
from schemas.errors import RunFailedError
from schemas.messages import RunId, TimeMode
from schemas.site import Site
from schemas.units import UtcTime
from services.clock.lockstep import CLOCK, LockstepClock, lockstep_session
from services.clock.refusal import check_site_is_free
from services.clock.wall import WallClock, WallTime
from services.swarm.compose import required
from services.swarm.process import Connection, Life, stop_event, utc_now

LEAD_S = 5.0
"""Machine time from the announcement of a session in wall time to its start: everybody is to be there by then."""


class ClockOrder(BaseModel):
    """What the clock is to drive: which run, from when to when, and who may already be on the broker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: RunId
    t0: UtcTime
    t_end: UtcTime
    allowed: frozenset[str] | None = frozenset()
    """Devices that may be on the broker already. None: whoever started this clock has looked who is there."""
    speed: float | None = None
    """None: lock-step; else wall time, so many times faster than the machine's clock."""


def run_clock(site: Site, order: ClockOrder, connection: Connection, checkpoints: Path | None, life: Life) -> None:
    """Drives a run to its end, or goes on with it after a restart. Raises as `drive_clock` does."""
    store = NoCheckpoint() if checkpoints is None else FileCheckpoint(checkpoints / "clock.json")
    transport = MqttTransport(
        connection.address, f"{site.site}.{CLOCK}", connection.credentials, heartbeat=Heartbeat(life.heartbeat)
    )
    drive_clock(site, order, transport, store, stop_event(life))


def drive_clock(
    site: Site, order: ClockOrder, transport: MqttTransport, store: CheckpointStore, stop: threading.Event
) -> None:
    """Raises SiteBusyError, RunFailedError (somebody is missing or stays silent), BrokerUnreachableError."""
    mode = TimeMode.LOCKSTEP if order.speed is None else TimeMode.WALL
    if order.allowed is not None and store.load() is None:
        check_site_is_free(transport, site.site, mode, order.allowed)
    if order.speed is None:
        _drive_lockstep(site, order, transport, store, stop)
    else:
        _drive_wall(site, order, order.speed, transport, stop)


def _drive_wall(site: Site, order: ClockOrder, speed: float, transport: MqttTransport, stop: threading.Event) -> None:
    """The broker keeps the session; a restarted clock resumes it from there."""
    time_ = WallTime(site.time.step_s, order.t0, order.t_end, speed, lead_s=LEAD_S)
    clock = WallClock(site.site, transport, time_, run=order.run, boot=new_boot(), resume=True)
    drive(clock, transport, stop, utc_now)
    if clock.session is None or clock.session.ended is None or clock.session.time_at(utc_now()) < order.t_end:
        raise RunFailedError("the clock was stopped before the end of its session")


def _drive_lockstep(
    site: Site, order: ClockOrder, transport: MqttTransport, store: CheckpointStore, stop: threading.Event
) -> None:
    course = Course(order.t0, order.t_end, site.time.step_s)
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
