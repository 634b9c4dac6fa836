"""The clock's process: refuses a site that lives, then drives the barrier, or opens a run in wall time."""

import logging
import threading
import time
from pathlib import Path

from broker.heartbeat import Heartbeat
from broker.mqtt import MqttTransport
from runtime.checkpoint import CheckpointStore, FileCheckpoint, NoCheckpoint
from runtime.drive import PATIENCE_S, drive
from runtime.host import new_boot
from runtime.log_context import DEVICE, RUN
from runtime.patience import connected
from runtime.pump import ClockPump
from runtime.steady_clock import SteadyClock
from schemas.cycle import Course
from schemas.errors import BrokerUnreachableError, Code, RunFailedError
from schemas.site import Site
from schemas.topics import client_id
from services.clock.lockstep import CLOCK, LockstepClock, lockstep_run
from services.clock.refusal import check_nothing_is_simulated, check_site_is_free
from services.clock.wall import WallClock, WallTime
from twinswarm.deploy.clock_order import ClockOrder, OrderStore
from twinswarm.deploy.process import Connection, Life, stop_event, utc_now
from twinswarm.simulation.compose import required

LOG = logging.getLogger(__name__)

LEAD_S = 5.0
"""Machine time from the announcement of a run in wall time to its start: everybody is to be there by then."""
RETRY_S = 2.0
"""Between attempts of a clock that stays to reach a broker that is away."""


def run_clock(site: Site, order: ClockOrder, connection: Connection, checkpoints: Path | None, life: Life) -> None:
    """Drives a run to its end, or goes on with it after a restart. Raises as `drive_clock` does.

    Waits for a broker that is away, unless it is to end with the run.
    """
    DEVICE.set(CLOCK)
    store = NoCheckpoint() if checkpoints is None else FileCheckpoint(checkpoints / "clock.json")
    transport = MqttTransport(
        connection.address, client_id(site.site, CLOCK), connection.credentials, heartbeat=Heartbeat(life.heartbeat)
    )
    stop = stop_event(life)
    if not life.once:
        if not connected(lambda: transport.connect(()), stop):
            return
        transport.close()
    drive_clock(site, order, transport, store, stop)


def drive_clock(
    site: Site, order: ClockOrder, transport: MqttTransport, store: CheckpointStore, stop: threading.Event
) -> None:
    """Goes on with the run of this order that ``store`` keeps, or else begins one.

    Raises SiteBusyError, RunFailedError (somebody is missing or stays silent, or it was stopped before the end),
    BrokerUnreachableError, LocalStateError.
    """
    kept = OrderStore(store, order)
    if not order.simulated:
        check_nothing_is_simulated(transport, site.site)
    elif order.allowed is not None and kept.run is None:
        check_site_is_free(transport, site.site, order.mode, order.allowed)
    if kept.run is not None:
        LOG.info("goes on with run %s", kept.run)
        order = order.model_copy(update={"run": kept.run})
    RUN.set(order.run)
    if order.speed is None:
        _drive_lockstep(site, order, transport, kept, stop)
    else:
        _drive_wall(site, order, order.speed, transport, kept, stop)
    if order.stay:
        _stay(transport, stop)


def _drive_wall(
    site: Site, order: ClockOrder, speed: float, transport: MqttTransport, kept: OrderStore, stop: threading.Event
) -> None:
    # With real devices the run begins at once: there is nothing to wait for.
    lead_s = LEAD_S if order.simulated else 0.0
    time_ = WallTime(site.time.step_s, order.t0, order.length, speed, order.simulated, lead_s, order.wall0)
    steady = SteadyClock(utc_now)
    clock = WallClock(
        site.site,
        transport,
        time_,
        run=order.run,
        boot=new_boot(),
        resume=True,
        end_when_stopped=order.end_when_stopped,
        store=kept,
        when_late=order.when_late,
        clock=steady,
    )
    drive(clock, transport, stop, steady.now)
    time_base = clock.time_base
    if clock.finished:
        kept.clear()
    if clock.stopped_for is not None:
        what = "the run goes too fast for this machine and was ended; a lower --speed, or --when-late slow, is obeyed"
        raise RunFailedError(f"{what}: {clock.stopped_for}", code=Code.STOPPED)
    if order.length is None:
        return
    if (
        time_base is None
        or time_base.ended is None
        or (time_base.t_end and time_base.time_at(time_base.ended) < time_base.t_end)
    ):
        raise RunFailedError(f"the clock was stopped before the end of its run{_again(order)}", code=Code.STOPPED)


def _drive_lockstep(
    site: Site, order: ClockOrder, transport: MqttTransport, kept: OrderStore, stop: threading.Event
) -> None:
    assert order.t0 is not None
    assert order.length is not None
    course = Course(order.t0, order.t0 + order.length, site.time.step_s)
    clock = LockstepClock(
        site.site,
        course,
        order.run,
        new_boot(),
        lockstep_run(course, utc_now()),
        required(site),
        site.time,
        kept,
        transport.publish,
        utc_now,
    )
    transport.connect(ClockPump.subscriptions(site.site))
    to_end = order.end_when_stopped
    try:
        pump = ClockPump(transport, clock, time.monotonic)
        clock.start(time.monotonic())
        while not clock.finished and not stop.is_set():
            pump.poll()
        completed = clock.finished
    except RunFailedError:
        to_end = True
        raise
    finally:
        if to_end:
            clock.abandon()
        if clock.finished:
            kept.clear()
        transport.flush(2.0)
        transport.close()
    if not completed:
        raise RunFailedError(
            f"the clock was stopped at {clock.time}, cycle {clock.n} {clock.phase}{_again(order)}", code=Code.STOPPED
        )


def _again(order: ClockOrder) -> str:
    return "" if order.end_when_stopped else "; started again it goes on from there"


def _stay(transport: MqttTransport, stop: threading.Event) -> None:
    """A supervisor that sees the clock live does not begin the run again."""
    LOG.info("the run is over; waits to be stopped")
    while not stop.is_set():
        try:
            transport.connect(())
            while not stop.is_set():
                transport.receive(PATIENCE_S)
        except BrokerUnreachableError as error:
            LOG.warning("%s", error)
            stop.wait(RETRY_S)
        finally:
            transport.close()
