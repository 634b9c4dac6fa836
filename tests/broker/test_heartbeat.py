"""The sign of life: a file that is renewed while the loop turns and its connection to a real broker stands."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from time import monotonic

import pytest

from broker.heartbeat import LEAST_S, PERIOD_S, Heartbeat
from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from runtime.checkpoint import MemoryCheckpoint, NoCheckpoint
from runtime.drive import drive
from runtime.host import Host, new_boot
from runtime.pump import ClockPump
from runtime.wall import WallLoop, machine_now
from schemas.errors import InputError, LocalStateError
from schemas.messages import Phase
from schemas.participant import Cadence, Outgoing, Received, Turn
from services.clock.wall import WallClock, WallTime
from tests.parts import skip_without
from tests.runtime.probe import RUN1, SITE, Probe

PROMISED_S = 5.0
"""What supervisors are told."""
SILENCE_S = 2 * PERIOD_S
"""A loop that is alive is heard within so much, on a machine that has time for it."""


def renewed(file: Path, within_s: float) -> bool:
    """Whether anybody renews the file from now on."""
    if file.exists():
        os.utime(file, (0, 0))
    never = threading.Event()
    deadline = monotonic() + within_s
    while not (file.exists() and file.stat().st_mtime > 0):
        if monotonic() >= deadline:
            return False
        never.wait(0.05)
    return True


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "alive"


@pytest.fixture
def mosquitto_of_its_own() -> Iterator[LocalMosquitto]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto() as broker:
        yield broker


@contextmanager
def running(loop: Callable[[threading.Event], object]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=loop, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20.0)
        assert not thread.is_alive()


def transport(broker: LocalMosquitto, file: Path, name: str = "probe") -> MqttTransport:
    return MqttTransport(broker.address, f"{SITE}_{name}", heartbeat=Heartbeat(file))


class Absorbed(Probe):
    """Is lost in its work at the roll call until it is let go, as in a solver that finds no end."""

    def __init__(self) -> None:
        super().__init__({Phase.SENSE: Cadence(period_s=60.0)})
        self.entered, self.let_go = threading.Event(), threading.Event()

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        self.entered.set()
        self.let_go.wait()
        return super().act(turn, inbox)


def wall_loop(participant: Probe, connection: MqttTransport) -> Callable[[threading.Event], None]:
    loop = WallLoop(participant, connection, NoCheckpoint(), new_boot=new_boot)
    return lambda stop: drive(loop, connection, stop)


def test_a_member_in_wall_time_is_alive_while_its_broker_is_there_and_again_when_it_is_back(
    mosquitto_of_its_own: LocalMosquitto, file: Path
) -> None:
    with running(wall_loop(Probe(), transport(mosquitto_of_its_own, file))):
        assert renewed(file, PROMISED_S)
        assert renewed(file, PROMISED_S)
        mosquitto_of_its_own.stop()
        assert not renewed(file, SILENCE_S)
        mosquitto_of_its_own.start()
        assert renewed(file, 20.0)
    assert not renewed(file, SILENCE_S)


def test_a_loop_that_is_stuck_is_not_alive(mosquitto_of_its_own: LocalMosquitto, file: Path) -> None:
    stuck = Absorbed()
    clock_connection = transport(mosquitto_of_its_own, file.with_name("clock"), "clock")
    clock = WallClock(SITE, clock_connection, WallTime(900), run=RUN1, boot=new_boot())
    with (
        running(lambda stop: drive(clock, clock_connection, stop)),
        running(wall_loop(stuck, transport(mosquitto_of_its_own, file))),
    ):
        try:
            assert stuck.entered.wait(20.0)
            assert not renewed(file, SILENCE_S)
            assert renewed(file.with_name("clock"), PROMISED_S)
        finally:
            stuck.let_go.set()
        assert renewed(file, PROMISED_S)


def test_a_member_in_lockstep_that_hears_nothing_is_alive(mosquitto_of_its_own: LocalMosquitto, file: Path) -> None:
    def serve(stop: threading.Event) -> None:
        heartbeat = Heartbeat(file)
        Host(
            make=Probe,
            transport=lambda _: MqttTransport(mosquitto_of_its_own.address, f"{SITE}_probe", heartbeat=heartbeat),
            lockstep_store=MemoryCheckpoint(),
            wall_store=MemoryCheckpoint(),
            zone=UTC,
            stop=stop,
            now=machine_now,
        ).serve()

    with running(serve):
        assert renewed(file, PROMISED_S)
        assert renewed(file, PROMISED_S)
        mosquitto_of_its_own.stop()
        assert not renewed(file, SILENCE_S)


def test_who_waits_long_for_one_message_is_alive_meanwhile(mosquitto_of_its_own: LocalMosquitto, file: Path) -> None:
    """As the clock in lock-step does with a long time limit for its ticks."""
    connection = transport(mosquitto_of_its_own, file)
    connection.connect(ClockPump.subscriptions(SITE))

    def wait(stop: threading.Event) -> None:
        connection.receive(3 * PERIOD_S)
        connection.close()

    with running(wait):
        assert renewed(file, PROMISED_S)
        assert renewed(file, PROMISED_S)


def test_waiting_for_a_stop_is_a_life_of_its_own(file: Path) -> None:
    heartbeat = Heartbeat(file)
    with running(heartbeat.wait):
        assert renewed(file, PROMISED_S)
        assert renewed(file, PROMISED_S)
    assert heartbeat.wait(threading.Event(), 0.0) is False


def test_a_loop_that_turns_fast_renews_once_a_second(file: Path) -> None:
    time = [100.0]
    heartbeat = Heartbeat(file, now=lambda: time[0])
    heartbeat.beat()
    os.utime(file, (0, 0))
    time[0] += 0.99 * LEAST_S
    heartbeat.beat()
    assert file.stat().st_mtime == 0
    time[0] += 0.01 * LEAST_S
    heartbeat.beat()
    assert file.stat().st_mtime > 0


def test_the_file_of_a_process_before_this_one_does_not_vouch_for_it(file: Path) -> None:
    file.touch()
    heartbeat = Heartbeat(file)
    assert not file.exists()
    heartbeat.beat()
    assert file.exists()


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a long path would be cut short in the message
    with pytest.raises(InputError, match=r"--heartbeat: cannot be written: No such file.*nowhere/alive"):
        Heartbeat(Path("nowhere", "alive"))
    with pytest.raises(InputError, match="--heartbeat: cannot be written"):
        Heartbeat(tmp_path)


def test_a_file_that_can_no_longer_be_written_ends_the_process_with_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    heartbeat = Heartbeat(folder / "alive")
    folder.rmdir()
    with pytest.raises(LocalStateError, match="run/alive can no longer be written"):
        heartbeat.beat()
