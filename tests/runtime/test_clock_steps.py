"""The machine's clock is set while a run in wall time goes on: run time neither jumps nor stands still."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from broker.memory import MemoryBroker, MemoryTransport
from runtime.checkpoint import MemoryCheckpoint
from runtime.steady_clock import FOLLOW_AFTER_S, SteadyClock
from runtime.wall import WallLoop
from schemas.messages import Alarm, Phase, Run, Stamp
from schemas.topics import Channel, Topic, everything
from schemas.wire import decode, encode
from services.clock.wall import WallClock, WallTime
from tests.runtime.probe import RUN1, SESSION_TOPIC, SITE, T0, WALL0, Probe, at, machine, session

HOUR_S = 3600.0


@dataclass
class Machine:
    """A machine whose clock can be set. ``elapsed_s`` runs on."""

    elapsed_s: float = 0.0
    set_by_s: float = 0.0

    def clock(self) -> datetime:
        return WALL0 + timedelta(seconds=self.elapsed_s + self.set_by_s)

    def steady(self) -> SteadyClock:
        return SteadyClock(self.clock, lambda: self.elapsed_s)


@pytest.mark.parametrize("held_up_at", range(4))
def test_a_process_that_is_held_up_between_two_readings_sees_no_step(held_up_at: int) -> None:
    """The first two or three readings are those of the start, the others those of the look."""
    machine, readings = Machine(), iter(range(100))

    def elapsed_s() -> float:
        if next(readings) == held_up_at:
            machine.elapsed_s += 30.0
        return machine.elapsed_s

    steady = SteadyClock(machine.clock, elapsed_s)
    assert steady.step() is None
    assert steady.now() == machine.clock()
    machine.set_by_s = -HOUR_S
    assert steady.step() == timedelta(seconds=-HOUR_S)


class Bench:
    """A broker in memory, and one machine on which everybody runs."""

    def __init__(self, run: Run | None = None) -> None:
        self.machine = Machine()
        self.broker = MemoryBroker()
        self.ear = MemoryTransport(self.broker, "ear")
        self.ear.connect([everything(SITE)])
        if run is not None:
            self.announce(run)

    def announce(self, run: Run) -> None:
        hand = MemoryTransport(self.broker, "hand")
        hand.connect([])
        hand.publish(str(SESSION_TOPIC), encode(Stamp(ts=T0, run=RUN1, boot="clock", seq=1), run), retain=True)

    def loop(self, probe: Probe, checkpoint: MemoryCheckpoint | None = None) -> "Driven":
        clock = self.machine.steady()
        transport = MemoryTransport(self.broker, f"{SITE}_{probe.device}")
        loop = WallLoop(probe, transport, checkpoint, new_boot=lambda: "one", clock=clock, once=True)
        loop.start(clock.now())
        return Driven(self.machine, clock, loop, transport).look()

    def alarms(self) -> list[tuple[str, bool, float]]:
        """Those since last asked: device, whether active, seconds."""
        found = []
        while (delivery := self.ear.receive(0.0)) is not None:
            self.ear.acknowledge(delivery)
            topic = Topic.parse(delivery.topic)
            if topic.channel is Channel.ALARM:
                body = decode(topic, delivery.payload)[1]
                assert isinstance(body, Alarm) and body.code == "clock_stepped" and body.value is not None
                found.append((topic.device, body.active, round(body.value, 3)))
        return found

    def retained(self) -> tuple[Stamp, Run]:
        payload = self.broker.retained(str(SESSION_TOPIC))
        assert payload is not None
        stamp, body = decode(SESSION_TOPIC, payload)
        assert isinstance(body, Run)
        return stamp, body


@dataclass
class Driven:
    """A loop, driven to seconds that have passed since the beginning, whatever the machine's clock says."""

    machine: Machine
    clock: SteadyClock
    loop: WallLoop | WallClock
    transport: MemoryTransport

    def until(self, elapsed_s: float, every_s: float = 10.0) -> "Driven":
        while self.machine.elapsed_s < elapsed_s:
            self.machine.elapsed_s = min(self.machine.elapsed_s + every_s, elapsed_s)
            self.look()
        return self

    def look(self) -> "Driven":
        while (delivery := self.transport.receive(0.0)) is not None:
            self.loop.handle(delivery, self.clock.now())
        self.loop.run_due(self.clock.now())
        return self


def sensed(probe: Probe) -> list[float]:
    return [(turn.t - T0).total_seconds() for turn in probe.turns if turn.phase is Phase.SENSE]


# ---- the clock itself


@pytest.mark.parametrize("by_s", [-HOUR_S, HOUR_S, -5 * 86_400.0, 1.5])
def test_it_goes_on_as_if_the_machines_clock_had_not_been_set(by_s: float) -> None:
    box = Machine()
    clock = box.steady()
    box.elapsed_s = 100
    assert clock.now() == machine(100)
    assert clock.step() is None
    box.set_by_s = by_s
    box.elapsed_s = 160
    assert clock.now() == machine(160)
    assert clock.step() == timedelta(seconds=by_s)
    assert clock.step() is None, "a step is noticed once"
    box.set_by_s = 0
    assert clock.step() == timedelta(), "set right again"


def test_what_time_servers_adjust_is_no_step() -> None:
    box = Machine()
    clock = box.steady()
    for second in range(1, 100):
        box.elapsed_s, box.set_by_s = second, 0.009 * second
        assert clock.step() is None


# ---- a participant


@pytest.mark.parametrize("by_s", [-HOUR_S, HOUR_S])
def test_a_participant_acts_at_every_instant_though_the_machines_clock_is_set(by_s: float) -> None:
    bench = Bench(session(hours=3))
    probe = Probe()
    driven = bench.loop(probe).until(130)
    bench.machine.set_by_s = by_s
    driven.until(400)
    bench.machine.set_by_s = 0
    driven.until(600)
    assert sensed(probe) == [60.0 * minute for minute in range(11)]
    assert bench.alarms() == [("probe", True, by_s), ("probe", False, 0.0)]


def test_in_a_real_run_a_step_forward_is_followed_when_it_has_lasted_and_nothing_flowed_in_what_is_left_out() -> None:
    bench = Bench(session(hours=None, simulated=False))
    probe = Probe()
    driven = bench.loop(probe).until(125)
    bench.machine.set_by_s = HOUR_S
    driven.until(125 + FOLLOW_AFTER_S)
    assert sensed(probe) == [60.0 * minute for minute in range(13)]
    driven.until(840)
    jumped = [t for t in sensed(probe) if t > 720]
    assert jumped[0] >= HOUR_S + 700
    gaps = [turn.gap for turn in probe.turns if turn.phase is Phase.SENSE]
    assert gaps.count(True) == 1
    assert bench.alarms() == [("probe", True, HOUR_S), ("probe", False, 0.0)]


def test_a_simulated_run_never_follows() -> None:
    bench = Bench(session(hours=5))
    probe = Probe()
    driven = bench.loop(probe).until(125)
    bench.machine.set_by_s = HOUR_S
    driven.until(3 * FOLLOW_AFTER_S)
    assert sensed(probe) == [60.0 * minute for minute in range(31)]


def test_restarted_from_its_checkpoint_on_a_machine_set_back_it_goes_on_from_where_it_was() -> None:
    bench = Bench(session(hours=3))
    store, first, second = MemoryCheckpoint(), Probe(), Probe()
    driven = bench.loop(first, store).until(185)
    bench.machine.set_by_s = -HOUR_S
    driven.transport.drop()
    bench.loop(second, store).until(400)
    assert sensed(second) == [240.0, 300.0, 360.0], "not silent for the hour, and no instant twice"


# ---- the clock service


def opened(bench: Bench, time: WallTime) -> Driven:
    clock = bench.machine.steady()
    transport = MemoryTransport(bench.broker, f"{SITE}_clock")
    loop = WallClock(SITE, transport, time, run=RUN1, boot="c", resume=False, clock=clock)
    loop.start(clock.now())
    return Driven(bench.machine, clock, loop, transport).look()


@pytest.mark.parametrize("by_s", [-HOUR_S, HOUR_S])
def test_whoever_joins_a_simulated_run_after_a_step_has_its_time_and_it_ends_at_its_end(by_s: float) -> None:
    bench = Bench()
    clock = opened(bench, WallTime(step_s=900, t0=T0, length=timedelta(minutes=20)))
    early, late = Probe(), Probe()
    late.device = "late"
    before = bench.loop(early)
    for driven in (clock, before):
        driven.until(300)
    bench.machine.set_by_s = by_s
    clock.look()
    before.look()
    after = bench.loop(late)
    assert sensed(late) == [300.0]
    while bench.machine.elapsed_s < 1210:
        bench.machine.elapsed_s += 10
        for driven in (clock, before, after):
            driven.look()
    assert sensed(early)[-1] == sensed(late)[-1] == 1200.0
    _, run = bench.retained()
    assert run.ended is not None
    assert run.time_at(run.ended) == at(1200)
    assert {device for device, *_ in bench.alarms()} == {"clock", "probe"}, "nothing was set while the late one ran"


def test_a_real_run_keeps_its_time_base_for_others_have_clocks_of_their_own() -> None:
    bench = Bench()
    clock = opened(bench, WallTime(step_s=900, simulated=False))
    _, before = bench.retained()
    clock.until(300)
    bench.machine.set_by_s = -HOUR_S
    clock.look()
    stamp, run = bench.retained()
    assert (run.t0, run.wall0) == (before.t0, before.wall0)
    assert stamp.ts == WALL0 + timedelta(seconds=300), "announced anew, so that nobody joins earlier than this"
    probe = Probe()
    bench.loop(probe)
    assert [turn.t for turn in probe.turns if turn.phase is Phase.SENSE] == [WALL0 + timedelta(seconds=300)]


def test_a_run_whose_clock_changes_its_speed_after_a_step_goes_on_from_where_it_is() -> None:
    bench = Bench(session(hours=3, speed=60.0))
    probe = Probe()
    driven = bench.loop(probe).until(4, every_s=0.5)
    bench.machine.set_by_s = -HOUR_S
    stepped = session(hours=3, speed=60.0).moved(timedelta(seconds=-HOUR_S))
    bench.announce(stepped)
    driven.until(8, every_s=0.5)
    slower = stepped.at_speed(30.0, machine(8 - HOUR_S))
    bench.announce(slower)
    driven.until(12, every_s=0.5)
    assert sensed(probe) == [60.0 * minute for minute in range(11)]
    bench.announce(slower.model_copy(update={"ended": machine(13 - HOUR_S)}))
    driven.until(20, every_s=0.5)
    assert driven.loop.finished
    assert sensed(probe) == [60.0 * minute for minute in range(11)], "it ended at 630 s"
