"""The machine's clock is set by an hour, back and ahead, while a swarm runs in wall time: nobody is silent for it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from broker.memory import MemoryBroker, MemoryTransport
from runtime.checkpoint import MemoryCheckpoint
from runtime.drive import drive
from runtime.host import Host, new_boot
from runtime.steady_clock import SteadyClock
from schemas.messages import TimeMode
from schemas.site import Site
from schemas.topics import Channel, client_id
from services.clock.wall import WallClock, WallTime
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from tests.twins import builders
from twinswarm.simulation.compose import Recording, maker, members
from twinswarm.simulation.runs import new_run_id

SPEED = 600.0
"""A settlement period takes 1.5 s."""
T0 = datetime(2024, 5, 17, 10, tzinfo=UTC)
LENGTH = timedelta(minutes=75)
STEP = timedelta(minutes=15)


class Machine:
    """The machine's clock, for every process on it: it can be set."""

    def __init__(self) -> None:
        self.set_by = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.set_by


@contextmanager
def swarm(site: Site, machine: Machine, history: Path) -> Iterator[threading.Event]:
    """Everybody of a site in threads, over a broker in memory. The event is set when the clock has ended the run."""
    broker, stop, ended = MemoryBroker(), threading.Event(), threading.Event()
    store = HistoryStore(history, durable=False)

    makers = {
        device: maker(site, device, Recording(store) if device == "recorder" else None) for device in members(site)
    }

    def serve(device: str) -> None:
        name = client_id(site.site, device)
        Host(
            make=makers[device],
            transport=lambda persistent: MemoryTransport(broker, name, persistent=persistent),
            lockstep_store=MemoryCheckpoint(),
            wall_store=MemoryCheckpoint(),
            zone=site.zone,
            stop=stop,
            now=machine.now,
            once=True,
        ).serve()

    def clock() -> None:
        steady = SteadyClock(machine.now)
        transport = MemoryTransport(broker, client_id(site.site, "clock"))
        order = WallTime(site.time.step_s, T0, LENGTH, SPEED, lead_s=2.0)
        run = new_run_id(machine.now())
        drive(
            WallClock(site.site, transport, order, run=run, boot=new_boot(), clock=steady), transport, stop, steady.now
        )
        ended.set()

    threads = [threading.Thread(target=serve, args=(device,)) for device in makers]
    threads.append(threading.Thread(target=clock))
    for thread in threads:
        thread.start()
    try:
        yield ended
        for thread in threads:
            thread.join(30.0)
        assert not any(thread.is_alive() for thread in threads), (
            "they end with the run, whatever the machine's clock says"
        )
    finally:
        stop.set()
        for thread in threads:
            thread.join(30.0)
        store.close()


def test_twins_ems_and_recorder_go_on(tmp_path: Path) -> None:
    machine, file = Machine(), tmp_path / "history.sqlite"
    period = {"telemetry_period_s": 300.0}
    site = builders.site({"bess": builders.bess(**period), "load": {"kind": "meter", "profile": "base"} | period})
    with swarm(site, machine, file) as ended:
        time.sleep(4.5)
        machine.set_by = timedelta(hours=-1)
        time.sleep(2.0)
        machine.set_by = timedelta(hours=1)
        assert ended.wait(40.0)
    history = SqliteHistory(file)
    try:
        (info,) = history.runs()
        assert (info.mode, info.t0, info.up_to, info.complete) == (TimeMode.WALL, T0, T0 + LENGTH, True)
        starts = sorted({plan.start for _, plan in history.plans(info.run)})
        around = [T0 - STEP, *starts, T0 + LENGTH]
        assert max(b - a for a, b in pairwise(around)) <= 2 * STEP, "a plan in every settlement period but a late one"
        commanded = {setpoint.valid_from for _, setpoint in history.setpoints(info.run)}
        # At its first plan the EMS may not have heard of everybody on a busy machine.
        assert set(starts[1:]) <= commanded <= set(starts)
        longest = {
            device: max((b.ts - a.ts for a, b in pairwise(track.samples)), default=LENGTH)
            for device, track in history.tracks(info.run).items()
        }
        assert longest.keys() >= {"network", "bess"}
        assert max(longest.values()) < 3 * STEP, "nobody was silent for the hour, nor jumped over it"
        said = {received.topic.device for received, alarm in history.alarms(info.run) if alarm.code == "clock_stepped"}
        assert said >= {"clock", "ems", "recorder", "network", "bess"}
        assert history.misdated(info.run) == []
        for received in history.messages(info.run, Channel.TELEMETRY):
            assert T0 <= received.stamp.ts <= T0 + LENGTH
    finally:
        history.close()
