"""Looking for a run never costs the recorder the queue that the broker keeps for it, whichever run it comes from."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from broker.memory import MemoryBroker, MemoryTransport
from runtime.checkpoint import MemoryCheckpoint
from runtime.host import Host
from runtime.steady_clock import machine_now
from schemas.messages import Body, Phase, Run, Stamp, Tick, TimeMode
from schemas.topics import Channel, Kind, Topic
from schemas.wire import encode
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from services.recorder.recorder import Recorder
from tests.history.tape import SITE

EARLIER, LATER = "20261101T120000.000000Z-0001", "20261101T130000.000000Z-0002"


def test_a_recorder_that_comes_from_a_lock_step_run_enters_one_in_wall_time_without_a_clean_connection(
    tmp_path: Path,
) -> None:
    broker, stop = MemoryBroker(), threading.Event()
    clock = MemoryTransport(broker, "clock")
    clock.connect(())
    now = datetime.now(UTC).replace(microsecond=0)
    store = HistoryStore(tmp_path / "history.sqlite", durable=False)
    connections: list[bool] = []

    def transport(persistent: bool) -> MemoryTransport:
        connections.append(persistent)
        return MemoryTransport(broker, "recorder", persistent=persistent)

    def publish(channel: Channel, run: str, seq: int, body: Body) -> None:
        topic = Topic(SITE.site, Kind.CLOCK, "clock", channel)
        clock.publish(str(topic), encode(Stamp(ts=now, run=run, boot="clock", seq=seq), body), retain=topic.retained)

    host = Host(
        make=lambda: Recorder(SITE, store),
        transport=transport,
        lockstep_store=MemoryCheckpoint(),
        wall_store=MemoryCheckpoint(),
        zone=UTC,
        stop=stop,
        now=machine_now,
    )
    thread = threading.Thread(target=host.serve)
    thread.start()
    try:
        lockstep = Run(mode=TimeMode.LOCKSTEP, step_s=900, t0=now, t_end=now + timedelta(hours=1), wall0=now)
        publish(Channel.RUN, EARLIER, 1, lockstep)
        tick = Tick(
            n=0,
            phase=Phase.ROLLCALL,
            t=now,
            attempt=1,
            t0=now,
            t_end=now + timedelta(hours=1),
            step_s=900,
            roster={},
            announced={},
        )
        until(lambda: connections != [])
        for attempt in range(1, 20):
            publish(Channel.TICK, EARLIER, attempt, tick.model_copy(update={"attempt": attempt}))
            time.sleep(0.02)
        publish(Channel.RUN, EARLIER, 2, lockstep.model_copy(update={"ended": now}))
        publish(Channel.RUN, LATER, 3, Run(mode=TimeMode.WALL, step_s=900, t0=now, wall0=now, speed=1.0))
        until(lambda: len(connections) > 1)
        until(lambda: LATER in {info.run for info in SqliteHistory(store.path).runs()})
        assert connections == [True, True]
    finally:
        stop.set()
        thread.join(20.0)
        store.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()
