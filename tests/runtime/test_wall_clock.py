"""The wall clock, along a machine clock that the test sets, over the broker in memory."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from broker.memory import MemoryBroker, MemoryTransport
from runtime.checkpoint import MemoryCheckpoint
from schemas.errors import Code, LocalStateError, RunFailedError
from schemas.messages import Ack, Fallback, Presence, Run, RunId, Setpoint, Stamp, State, TimeMode
from schemas.participant import Json
from schemas.presence import HEARTBEAT_S
from schemas.topics import Channel, Kind, Topic
from schemas.wire import decode, encode
from services.clock.lateness import WhenLate
from services.clock.wall import WallClock, WallTime
from tests.errors import raises
from tests.runtime.probe import RUN1, RUN2, SESSION_TOPIC, SITE, T0, WALL0, machine

HOUR = WallTime(step_s=900, t0=T0, length=timedelta(hours=1), speed=60.0)
STATE = Topic(SITE, Kind.CLOCK, "clock", Channel.STATE)


class Bench:
    def __init__(self) -> None:
        self.broker = MemoryBroker()

    def clock(
        self,
        time: WallTime = HOUR,
        run: RunId = RUN1,
        boot: str = "one",
        *,
        resume: bool = True,
        store: MemoryCheckpoint | None = None,
        when_late: WhenLate = WhenLate.GO_ON,
    ) -> WallClock:
        self.transport = MemoryTransport(self.broker, f"{SITE}_clock")
        return WallClock(
            SITE, self.transport, time, run=run, boot=boot, resume=resume, store=store, when_late=when_late
        )

    def at(self, clock: WallClock, seconds: float) -> None:
        while (delivery := self.transport.receive(0.0)) is not None:
            clock.handle(delivery, machine(seconds))
        clock.run_due(machine(seconds))

    def session(self) -> tuple[Stamp, Run] | None:
        payload = self.broker.retained(str(SESSION_TOPIC))
        if payload is None:
            return None
        stamp, body = decode(SESSION_TOPIC, payload)
        assert isinstance(body, Run)
        return stamp, body

    def state(self) -> tuple[Stamp, Presence]:
        payload = self.broker.retained(str(STATE))
        assert payload is not None
        stamp, body = decode(STATE, payload)
        assert isinstance(body, State)
        return stamp, body.state


def opened(bench: Bench) -> tuple[Stamp, Run]:
    found = bench.session()
    assert found is not None
    return found


def test_it_looks_for_a_session_of_its_own_before_it_opens_one() -> None:
    bench = Bench()
    clock = bench.clock()
    clock.start(machine(0))
    assert clock.run_due(machine(0)) == machine(1)
    assert bench.session() is None
    bench.at(clock, 1)
    stamp, session = opened(bench)
    assert (stamp.run, stamp.boot, session.mode, session.speed) == (RUN1, "one", TimeMode.WALL, 60.0)
    assert session.wall0 == machine(1)
    assert session.time_at(machine(11)) == T0 + timedelta(minutes=10)
    assert bench.state()[1] is Presence.ONLINE


def test_with_real_devices_the_session_begins_now_and_has_no_end() -> None:
    bench = Bench()
    clock = bench.clock(WallTime(step_s=900, simulated=False), resume=False)
    clock.start(machine(0))
    assert clock.run_due(machine(0)) == machine(HEARTBEAT_S), "nothing is due but its next heartbeat"
    _, session = opened(bench)
    assert (session.t0, session.wall0, session.speed, session.t_end) == (WALL0, WALL0, 1.0, None)
    assert not session.simulated


def test_two_runs_that_begin_at_one_time_of_the_machine_have_one_clock_however_late_they_are_announced() -> None:
    one, other = Bench(), Bench()
    ordered = replace(HOUR, wall0=machine(20), lead_s=5.0)
    earlier = replace(ordered, t0=T0 - timedelta(minutes=15), wall0=machine(5))
    for bench, time, seconds in ((one, ordered, 0.0), (other, earlier, 4.9)):
        clock = bench.clock(time, resume=False)
        clock.start(machine(seconds))
        bench.at(clock, seconds)
    runs = [opened(bench)[1] for bench in (one, other)]
    assert [run.time_at(machine(47)) for run in runs] == [T0 + timedelta(minutes=27)] * 2


def test_a_run_whose_time_to_begin_has_passed_is_refused_and_an_older_one_is_not_taken_for_it() -> None:
    bench = Bench()
    ordered = replace(HOUR, wall0=machine(20))
    late = bench.clock(ordered, resume=False)
    late.start(machine(20.5))
    with raises(Code.FAILED, "its clock was ready 0.5 s after that", kind=RunFailedError):
        late.run_due(machine(20.5))
    assert bench.session() is None
    first = bench.clock(ordered, resume=False)
    first.start(machine(1))
    bench.at(first, 1)
    bench.transport.drop()
    same = bench.clock(ordered, run=RUN2, boot="two")
    same.start(machine(30))
    bench.at(same, 30)
    assert same.run == RUN1, "a clock that was started again goes on"
    bench.transport.drop()
    another = bench.clock(replace(ordered, wall0=machine(50)), run=RUN2, boot="three")
    another.start(machine(40))
    bench.at(another, 41)
    assert (opened(bench)[0].run, opened(bench)[1].wall0) == (RUN2, machine(50))


def test_it_ends_the_session_at_its_end() -> None:
    bench = Bench()
    clock = bench.clock(resume=False)
    clock.start(machine(0))
    clock.run_due(machine(0))
    assert clock.run_due(machine(59)) == machine(60)  # an hour at 60 times
    bench.at(clock, 59.9)
    assert not clock.finished
    bench.at(clock, 60)
    assert clock.finished
    stamp, session = opened(bench)
    assert (stamp.run, session.ended) == (RUN1, machine(60))


def test_restarted_it_resumes_the_session_that_it_left_open() -> None:
    bench = Bench()
    first = bench.clock(resume=False)
    first.start(machine(0))
    bench.at(first, 0)
    bench.transport.drop()
    assert bench.state()[1] is Presence.OFFLINE
    again = bench.clock(run=RUN2, boot="two")
    again.start(machine(20))
    bench.at(again, 20)
    stamp, session = opened(bench)
    assert (stamp.run, stamp.boot, session.wall0) == (RUN1, "two", WALL0)
    assert again.run == RUN1
    assert bench.state()[0].boot == "two"
    bench.at(again, 60)
    assert opened(bench)[1].ended == machine(60)


@pytest.mark.parametrize(
    "other",
    [
        replace(HOUR, speed=2.0),
        replace(HOUR, length=timedelta(hours=2)),
        replace(HOUR, length=None),
        replace(HOUR, t0=T0 + timedelta(hours=1)),
        replace(HOUR, step_s=300),
        replace(HOUR, simulated=False),
    ],
)
def test_a_session_that_it_would_not_have_opened_is_not_resumed(other: WallTime) -> None:
    bench = Bench()
    first = bench.clock(resume=False)
    first.start(machine(0))
    bench.at(first, 0)
    bench.transport.drop()
    again = bench.clock(other, run=RUN2, boot="two")
    again.start(machine(20))
    bench.at(again, 20)
    bench.at(again, 21)
    stamp, session = opened(bench)
    assert (stamp.run, session.speed, session.simulated) == (RUN2, other.speed, other.simulated)


def test_one_that_it_kept_is_resumed_though_the_broker_has_forgotten_it() -> None:
    store = MemoryCheckpoint()
    bench = Bench()
    first = bench.clock(resume=False, store=store)
    first.start(machine(0))
    bench.at(first, 0)
    stamp, session = opened(bench)
    elsewhere = Bench()
    again = elsewhere.clock(run=RUN2, boot="two", store=store)
    again.start(machine(20))
    elsewhere.at(again, 20)
    resumed, same = opened(elsewhere)
    assert (resumed.run, same.t0, same.wall0, same.t_end) == (RUN1, session.t0, session.wall0, session.t_end)
    assert stamp.run == RUN1


@pytest.mark.parametrize("kept", [{}, {"run": RUN1}, {"run": RUN1, "body": {"mode": "wall"}}, []])
def test_what_is_kept_and_is_no_session_is_told(kept: Json) -> None:
    store = MemoryCheckpoint()
    store.save(kept)
    with raises(Code.STATE, kind=LocalStateError):
        Bench().clock(store=store)


def test_one_that_has_ended_is_not_resumed() -> None:
    bench = Bench()
    first = bench.clock(resume=False)
    first.start(machine(0))
    bench.at(first, 0)
    bench.at(first, 60)
    first.finish(machine(61))
    bench.transport.close()
    again = bench.clock(run=RUN2, boot="two")
    again.start(machine(70))
    bench.at(again, 70)
    bench.at(again, 71)
    assert opened(bench)[0].run == RUN2


def test_stopped_it_ends_a_simulated_session_and_leaves_a_real_one_open() -> None:
    for simulated in (True, False):
        bench = Bench()
        clock = bench.clock(WallTime(step_s=900, simulated=simulated), resume=False)
        clock.start(machine(0))
        bench.at(clock, 0)
        clock.finish(machine(5))
        assert opened(bench)[1].ended == (machine(5) if simulated else None)
        assert bench.state()[1] is Presence.OFFLINE


def test_its_own_last_will_is_answered_with_online_and_bad_messages_are_counted() -> None:
    bench = Bench()
    clock = bench.clock(resume=False)
    clock.start(machine(0))
    bench.at(clock, 0)
    peer = MemoryTransport(bench.broker, "peer")
    peer.connect([])
    will = encode(Stamp(ts=T0, boot="one", seq=0), State(state=Presence.OFFLINE))
    peer.publish(str(STATE), will, retain=True)
    peer.publish(str(SESSION_TOPIC), b"{", retain=True)
    bench.at(clock, 1)
    assert bench.state()[1] is Presence.ONLINE
    assert clock.rejected == 1


# A machine that is too slow. At 900 times real time a settlement period is a second.

FAST = WallTime(step_s=900, t0=T0, length=timedelta(hours=24), speed=900.0)


class Commanded(Bench):
    """A site whose EMS sends a set-point each second; its device answers so much of the run's time later."""

    def __init__(self, when_late: WhenLate, time: WallTime = FAST) -> None:
        super().__init__()
        self.fast = self.clock(time, resume=False, when_late=when_late)
        self.fast.start(machine(0))
        self.at(self.fast, 0)
        self.device = MemoryTransport(self.broker, f"{SITE}_ev1")
        self.device.connect((), None)
        self.seq = 0

    def publish(self, channel: Channel, body: Setpoint | Ack, ts: datetime) -> None:
        self.seq += 1
        topic = Topic(SITE, Kind.CHARGER, "ev1", channel)
        self.device.publish(str(topic), encode(Stamp(ts=ts, run=RUN1, boot="life", seq=self.seq), body))

    def command(self, period: int, after_s: float) -> None:
        start = T0 + period * timedelta(minutes=15)
        until = start + timedelta(minutes=15)
        self.publish(
            Channel.SETPOINT,
            Setpoint(
                id=f"s{period}", epoch=1, valid_from=start, valid_until=until, power_kw=1.0, fallback=Fallback.IDLE
            ),
            start,
        )
        answered = start + timedelta(seconds=after_s)
        self.publish(Channel.ACK, Ack(id=f"s{period}", accepted=answered < until), answered)


@pytest.mark.parametrize("after_s", [100.0, 950.0])
def test_a_run_that_is_too_fast_goes_on_from_where_it_is_at_half_the_speed(after_s: float) -> None:
    bench = Commanded(WhenLate.SLOW)
    before = opened(bench)[1]
    for second in range(6):
        bench.command(second, after_s)
        bench.at(bench.fast, second)
    slowed = [opened(bench)[1]]
    assert (slowed[0].speed, slowed[0].t0, slowed[0].t_end) == (450.0, before.t0, before.t_end)
    assert slowed[0].time_at(machine(4)) == before.time_at(machine(4))
    assert slowed[0].time_at(machine(6)) == before.time_at(machine(4)) + timedelta(seconds=900)
    assert opened(bench)[0].run == RUN1
    # In time from now on: it stays, and ends when its time is over.
    for second in range(6, 30):
        bench.command(second, 5.0)
        bench.at(bench.fast, second)
    assert opened(bench)[1] == slowed[0]
    end_s = (slowed[0].machine_time_at(slowed[0].t_end or T0) - machine(0)).total_seconds()
    assert end_s == pytest.approx(4 + (86_400 - 3600) / 450)
    bench.at(bench.fast, end_s + 0.001)
    assert bench.fast.finished


def test_periods_that_the_ems_did_not_plan_count_as_late() -> None:
    bench = Commanded(WhenLate.SLOW)
    for second in range(0, 9):
        if second % 3 == 0:
            bench.command(second, 5.0)
        bench.at(bench.fast, second)
    assert opened(bench)[1].speed == 450.0


def test_a_run_that_is_too_fast_is_stopped_by_choice_and_says_why() -> None:
    bench = Commanded(WhenLate.STOP)
    for second in range(6):
        bench.command(second, 950.0)
        bench.at(bench.fast, second)
    assert bench.fast.finished and bench.fast.stopped_for is not None
    assert "100% of the set-points came late or not at all at 900 times real time" in bench.fast.stopped_for
    assert opened(bench)[1].ended == machine(4)


@pytest.mark.parametrize(
    ("when_late", "after_s", "speed"),
    [(WhenLate.GO_ON, 950.0, 900.0), (WhenLate.SLOW, 5.0, 900.0), (WhenLate.STOP, 5.0, 900.0), (WhenLate.STOP, 0, 1.0)],
)
def test_it_leaves_a_run_alone_that_is_in_time_or_in_real_time_or_may_be_late(
    when_late: WhenLate, after_s: float, speed: float
) -> None:
    bench = Commanded(when_late, replace(FAST, speed=speed))
    for second in range(12):
        bench.command(second, after_s)
        bench.at(bench.fast, second)
    assert (opened(bench)[1].speed, bench.fast.finished) == (speed, False)


def test_a_clock_goes_on_with_the_run_that_was_slowed_down() -> None:
    bench = Commanded(WhenLate.SLOW)
    for second in range(6):
        bench.command(second, 950.0)
        bench.at(bench.fast, second)
    slowed = opened(bench)[1]
    second_clock = bench.clock(FAST, run=RUN2, boot="two", when_late=WhenLate.SLOW)
    second_clock.start(machine(7))
    bench.at(second_clock, 7)
    found = second_clock.time_base
    assert found is not None
    assert (second_clock.run, found.speed, found.t0, found.wall0) == (RUN1, 450.0, slowed.t0, slowed.wall0)
