"""The wall-time run loop along a clock that the test sets, over the broker in memory; at last over a real one."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from broker.address import BrokerAddress
from broker.memory import MemoryBroker, MemoryTransport
from broker.mqtt import MqttTransport
from broker.transport import Delivery
from runtime.checkpoint import CheckpointStore, MemoryCheckpoint
from runtime.drive import drive
from runtime.schedule import aligned
from runtime.wall import WallLoop
from runtime.wall_inbox import BATCH
from schemas.errors import DiskFullError
from schemas.messages import (
    Ack,
    Birth,
    Body,
    MeterTelemetry,
    Phase,
    Presence,
    Run,
    RunId,
    Stamp,
    State,
    TimeMode,
)
from schemas.participant import Cadence, Json, Outgoing, Received, Turn, Wanted
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import decode, encode
from services.clock.wall import WallClock, WallTime
from tests.runtime.probe import (
    RUN0,
    RUN1,
    RUN2,
    SESSION_TOPIC,
    SETPOINTS,
    SITE,
    T0,
    Probe,
    at,
    machine,
    session,
    setpoint,
)


class Bench:
    """A broker in memory, the clock's hand, and an ear that hears everything of the site."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.clock = MemoryTransport(self.broker, "clock")
        self.clock.connect([])
        self.ear = MemoryTransport(self.broker, "ear")
        self.ear.connect([everything(SITE)])
        self.boots = iter(["one", "two", "three"])
        self._session_seq = 0

    def announce(self, content: Run, run: RunId = RUN1) -> None:
        self._session_seq += 1
        stamp = Stamp(ts=T0, run=run, boot="clock", seq=self._session_seq)
        self.clock.publish(str(SESSION_TOPIC), encode(stamp, content), retain=True)

    def loop(
        self,
        participant: Probe,
        checkpoint: CheckpointStore | None = None,
        *,
        once: bool = False,
        found: tuple[RunId, Run] | None = None,
    ) -> "Driven":
        transport = MemoryTransport(self.broker, f"{SITE}_{participant.device}", persistent=False)
        loop = WallLoop(participant, transport, checkpoint, new_boot=lambda: next(self.boots), once=once, found=found)
        return Driven(loop, transport)

    def heard(self, channel: Channel) -> list[tuple[Stamp, Body]]:
        """What was sent on this channel since last asked, sessions apart; forgets the other channels."""
        found = []
        while (delivery := self.ear.receive(0.0)) is not None:
            self.ear.acknowledge(delivery)
            topic = Topic.parse(delivery.topic)
            if topic.channel is channel:
                found.append(decode(topic, delivery.payload))
        return found


@dataclass
class Driven:
    """A loop and its transport, driven to instants of the machine's clock [s after the session's start]."""

    loop: WallLoop
    transport: MemoryTransport

    def start(self, seconds: float = 0.0) -> "Driven":
        self.loop.start(machine(seconds))
        return self.at(seconds)

    def at(self, seconds: float) -> "Driven":
        """Takes in what arrived, then acts as far as it is due; the last act may cause others."""
        while (delivery := self.transport.receive(0.0)) is not None:
            self.loop.handle(delivery, machine(seconds))
        self.loop.run_due(machine(seconds))
        return self

    def die(self) -> None:
        self.transport.drop()


def turns_of(probe: Probe, phase: Phase) -> list[float]:
    return [(turn.t - T0).total_seconds() for turn in probe.turns if turn.phase is phase]


# ---- the schedule


@pytest.mark.parametrize(
    ("t", "period_s", "expected"),
    [
        ("2026-03-02T10:07:30", 900, "2026-03-02T10:15:00"),
        ("2026-03-02T10:15:00", 900, "2026-03-02T10:15:00"),
        ("2026-03-02T10:15:00.000001", 900, "2026-03-02T10:30:00"),
        # Rome is one hour ahead in winter, two in summer; its days begin at 23:00 and 22:00 UTC.
        ("2026-03-02T10:00:00", 86_400, "2026-03-02T23:00:00"),
        # 7 h count from midnight: 00, 07, 14, 21 o'clock in Rome, and the next midnight starts anew.
        ("2026-03-02T20:30:00", 25_200, "2026-03-02T23:00:00"),
        # The clocks go forward on 29 March 2026 at 02:00: 4 h after that midnight it is 05:00 in Rome.
        ("2026-03-28T23:00:01", 14_400, "2026-03-29T03:00:00"),
        ("2026-03-29T20:00:00", 86_400, "2026-03-29T22:00:00"),
    ],
)
def test_periods_count_from_local_midnight(t: str, period_s: float, expected: str) -> None:
    found = aligned(datetime.fromisoformat(t).replace(tzinfo=UTC), period_s, ZoneInfo("Europe/Rome"))
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_phases_come_at_their_instants_and_those_of_one_instant_in_order() -> None:
    bench = Bench()
    cadence = {
        Phase.COMMIT: Cadence(period_s=120.0),
        Phase.DECIDE: Cadence(period_s=120.0, delay_s=10.0),
        Phase.SENSE: Cadence(period_s=60.0),
    }
    probe = Probe(cadence)
    bench.announce(session())
    driven = bench.loop(probe).start()
    for second in range(0, 136, 5):
        driven.at(second)
    assert [(turn.phase, (turn.t - T0).total_seconds()) for turn in probe.turns] == [
        (Phase.ROLLCALL, 0),
        (Phase.SENSE, 0),
        (Phase.COMMIT, 0),
        (Phase.DECIDE, 0),  # 10 s after the instant that it is about
        (Phase.SENSE, 60),
        (Phase.SENSE, 120),
        (Phase.COMMIT, 120),
        (Phase.DECIDE, 120),
    ]
    assert {turn.mode for turn in probe.turns} == {TimeMode.WALL}
    assert [turn.n for turn in probe.turns] == list(range(8))


def test_the_loop_says_when_it_wants_to_be_called_again_in_machine_time() -> None:
    bench = Bench()
    bench.announce(session(speed=60.0))
    driven = bench.loop(Probe()).start()
    assert driven.loop.run_due(machine(0.5)) == machine(1.0)  # 60 s of session time
    assert driven.loop.run_due(machine(1.0)) == machine(2.0)


def test_instants_missed_for_the_next_one_are_skipped_and_counted() -> None:
    bench = Bench()
    probe = Probe()
    bench.announce(session())
    driven = bench.loop(probe).start().at(250)
    assert turns_of(probe, Phase.SENSE) == [0, 240]
    assert driven.loop.skipped == 3


def test_nothing_is_due_before_the_start_and_who_joins_late_acts_at_once_then_at_its_instants() -> None:
    bench = Bench()
    early, late = Probe(), Probe()
    bench.announce(session())
    bench.loop(early).start(-5).at(-1)
    assert early.turns == []
    late.device = "late"
    bench.loop(late).start(100).at(119).at(120)
    assert turns_of(late, Phase.SENSE) == [100, 120]


def test_time_never_runs_backwards_within_a_life() -> None:
    bench = Bench()
    probe = Probe()
    bench.announce(session())
    driven = bench.loop(probe).start()
    bench.clock.publish(str(SETPOINTS), setpoint("a"))
    driven.at(59)
    bench.clock.publish(str(SETPOINTS), setpoint("b"))
    driven.at(61)  # the instant 60 s comes first, then the message at 61 s
    bench.clock.publish(str(SETPOINTS), setpoint("c"))
    driven.at(50)  # the machine's clock was put back
    assert [(turn.t - T0).total_seconds() for turn in probe.turns] == [0, 0, 59, 60, 61, 61]


def test_at_the_runs_end_it_senses_but_commands_no_more_and_has_then_finished() -> None:
    bench = Bench()
    probe = Probe({phase: Cadence(period_s=900.0) for phase in (Phase.SENSE, Phase.DECIDE, Phase.COMMIT)})
    bench.announce(session())
    driven = bench.loop(probe, once=True).start()
    for quarter in range(1, 5):
        driven.at(900 * quarter)
    assert [turn.phase for turn in probe.turns[-2:]] == [Phase.SENSE, Phase.COMMIT]
    assert probe.turns[-1].t == at(3600)
    driven.at(3700)
    assert not driven.loop.finished
    bench.announce(session(ended_after_s=3600))
    assert driven.at(3701).loop.finished
    assert turns_of(probe, Phase.SENSE) == [0, 900, 1800, 2700, 3600]


def test_a_session_ended_before_its_time_ends_the_schedule_there() -> None:
    bench = Bench()
    probe = Probe()
    bench.announce(session())
    driven = bench.loop(probe, once=True).start().at(60)
    bench.announce(session(ended_after_s=130))
    driven.at(200)
    assert turns_of(probe, Phase.SENSE) == [0, 60, 120]
    assert driven.loop.finished


# ---- messages


def test_a_message_is_handed_over_at_once_and_once_to_the_phase_that_comes_on_messages() -> None:
    bench = Bench()
    probe = Probe()
    bench.announce(session())
    driven = bench.loop(probe).start()
    bench.clock.publish(str(SETPOINTS), setpoint("a"))
    driven.at(7.5).at(8).at(60)
    assert probe.handed == [(Phase.APPLY, "a")]
    assert turns_of(probe, Phase.APPLY) == [7.5]


def test_without_such_a_phase_messages_wait_for_the_next_one_that_has_work() -> None:
    bench = Bench()
    probe = Probe({Phase.SENSE: Cadence(period_s=60.0)})
    bench.announce(session())
    driven = bench.loop(probe).start()
    bench.clock.publish(str(SETPOINTS), setpoint("b", boot="two"))
    bench.clock.publish(str(SETPOINTS), setpoint("a", boot="one"))
    driven.at(30)
    assert probe.handed == []
    driven.at(60).at(120)
    assert probe.handed == [(Phase.SENSE, "b"), (Phase.SENSE, "a")]  # lives in the order in which they were heard


def test_a_message_delivered_twice_or_late_is_handed_over_once_and_not_after_a_newer_one() -> None:
    bench = Bench()
    probe = Probe()
    bench.announce(session())
    driven = bench.loop(probe).start()
    for payload in (setpoint("second", seq=902), setpoint("second", seq=902), setpoint("first", seq=901)):
        bench.clock.publish(str(SETPOINTS), payload)
    driven.at(1)
    assert [name for _, name in probe.handed] == ["second"]
    assert driven.loop.repeated == 2


def test_messages_of_other_runs_are_ignored_and_counted_and_one_without_a_run_means_the_live_one() -> None:
    bench = Bench()
    probe = Probe()
    bench.announce(session())
    driven = bench.loop(probe).start()
    bench.clock.publish(str(SETPOINTS), setpoint("old", run=RUN0))
    bench.clock.publish(str(SETPOINTS), setpoint("bare", run=None))
    bench.clock.publish(str(SETPOINTS), setpoint("mine", run=RUN1))
    driven.at(1)
    assert [name for _, name in probe.handed] == ["bare", "mine"]
    assert driven.loop.other_runs == 1


def test_a_message_that_overtakes_its_session_is_kept_for_it() -> None:
    bench = Bench()
    probe = Probe()
    driven = bench.loop(probe).start()
    bench.clock.publish(str(SETPOINTS), setpoint("ahead", run=RUN1))
    driven.at(0.5)
    assert probe.handed == []
    bench.announce(session())
    driven.at(1)
    assert [name for _, name in probe.handed] == ["ahead"]


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"\xff", b'{"contract": 3}', setpoint("x").replace(b"1.0", b"1e999"), b"[" * 5000]
)
def test_what_is_not_of_the_contract_is_counted_and_stops_nothing(payload: bytes) -> None:
    bench = Bench()
    probe = Probe()
    bench.announce(session())
    driven = bench.loop(probe).start()
    bench.clock.publish(str(SETPOINTS), payload)
    bench.clock.publish(str(SETPOINTS), setpoint("good"))
    driven.at(1)
    assert driven.loop.rejected == 1
    assert [name for _, name in probe.handed] == ["good"]


# ---- lives


def test_it_shows_itself_with_birth_then_online_of_one_boot_and_run() -> None:
    bench = Bench()
    bench.announce(session())
    bench.loop(Probe()).start()
    messages = []
    while (delivery := bench.ear.receive(0.0)) is not None:
        topic = Topic.parse(delivery.topic)
        if topic.channel in (Channel.BIRTH, Channel.STATE):
            messages.append(decode(topic, delivery.payload))
    (birth_stamp, birth), (state_stamp, state) = messages
    assert isinstance(birth, Birth)
    assert isinstance(state, State)
    assert state.state is Presence.ONLINE
    assert (birth_stamp.boot, birth_stamp.run, birth_stamp.seq) == ("one", RUN1, 1)
    assert (state_stamp.boot, state_stamp.run, state_stamp.seq) == ("one", RUN1, 1)


def test_without_a_session_it_shows_itself_after_a_moment_and_waits() -> None:
    bench = Bench()
    probe = Probe()
    driven = bench.loop(probe).start(0).at(0.5)
    assert bench.heard(Channel.BIRTH) == []
    driven.at(1.0).at(100)
    assert [stamp.run for stamp, _ in bench.heard(Channel.BIRTH)] == [None]
    assert probe.turns == []
    bench.announce(session())
    driven.at(200)
    ((stamp, _),) = bench.heard(Channel.BIRTH)
    assert (stamp.run, stamp.boot, stamp.seq) == (RUN1, "one", 2)


def test_a_session_that_has_ended_or_is_in_lockstep_is_not_joined() -> None:
    bench = Bench()
    probe = Probe()
    bench.announce(session(ended_after_s=10))
    driven = bench.loop(probe).start(20).at(30)
    bench.announce(session().model_copy(update={"mode": TimeMode.LOCKSTEP}), RUN2)
    driven.at(40)
    assert probe.turns == []


def test_a_newer_run_is_a_new_life_with_fresh_registers_and_an_older_one_is_nothing() -> None:
    bench = Bench()
    probe = Probe()
    bench.announce(session())
    driven = bench.loop(probe).start().at(60)
    assert [t.energy_import_kwh for _, t in telemetry(bench)] == [0.0, pytest.approx(0.1)]
    bench.announce(session(), RUN0)
    driven.at(70)
    assert bench.heard(Channel.BIRTH) == []
    bench.announce(session(), RUN2)
    driven.at(3)
    sent = telemetry(bench)
    assert [(s.run, s.boot, s.seq, s.ts, t.energy_import_kwh) for s, t in sent] == [(RUN2, "two", 1, T0, 0.0)]
    driven.at(60)
    assert [t.energy_import_kwh for _, t in telemetry(bench)] == [pytest.approx(0.1)]


def telemetry(bench: Bench) -> list[tuple[Stamp, MeterTelemetry]]:
    found = []
    for stamp, body in bench.heard(Channel.TELEMETRY):
        assert isinstance(body, MeterTelemetry)
        found.append((stamp, body))
    return found


def test_a_restart_from_the_checkpoint_keeps_life_numbers_and_registers_and_adds_no_energy() -> None:
    bench, checkpoint = Bench(), MemoryCheckpoint()
    bench.announce(session())
    first = bench.loop(Probe(), checkpoint).start().at(60).at(120)
    first.die()
    assert [(s.seq, t.energy_import_kwh) for s, t in telemetry(bench)][-1] == (3, pytest.approx(0.2))
    reborn = Probe()
    again = bench.loop(reborn, checkpoint).start(250)
    assert [turn.phase for turn in reborn.turns] == [Phase.SENSE]  # no second roll call
    assert reborn.turns[0].gap
    again.at(300)
    sent = telemetry(bench)
    # Away from 120 s to 240 s: nothing flowed. From 240 s to 300 s: 6 kW for a minute.
    assert [(s.boot, s.seq, t.energy_import_kwh) for s, t in sent] == [
        ("one", 4, pytest.approx(0.2)),
        ("one", 5, pytest.approx(0.3)),
    ]
    assert [turn.gap for turn in reborn.turns] == [True, False]


def test_what_was_sent_was_saved_before_so_that_no_number_is_used_twice() -> None:
    bench = Bench()

    class DyingBroker(MemoryTransport):
        """Breaks at the very moment of sending telemetry: the checkpoint is already there."""

        def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
            super().publish(topic, payload, retain=retain)
            if topic.endswith("telemetry"):
                raise ConnectionAbortedError

    checkpoint = MemoryCheckpoint()
    bench.announce(session())
    transport = DyingBroker(bench.broker, "lab_probe")
    loop = WallLoop(Probe(), transport, checkpoint, new_boot=lambda: "one")
    loop.start(machine(0))
    with pytest.raises(ConnectionAbortedError):
        Driven(loop, transport).at(0)
    transport.drop()
    bench.loop(Probe(), checkpoint).start(60)
    assert [s.seq for s, _ in telemetry(bench)] == [1, 2]


def test_without_its_checkpoint_a_restart_is_a_new_boot() -> None:
    bench = Bench()
    bench.announce(session())
    bench.loop(Probe()).start().die()
    bench.loop(Probe()).start(10)
    assert [stamp.boot for stamp, _ in bench.heard(Channel.BIRTH)] == ["one", "two"]


def test_its_own_last_will_is_answered_with_online() -> None:
    bench = Bench()
    bench.announce(session())
    driven = bench.loop(Probe()).start()
    will = State(state=Presence.OFFLINE, reason="connection lost")
    topic = str(Topic(SITE, Kind.METER, "probe", Channel.STATE))
    bench.clock.publish(topic, encode(Stamp(ts=T0, boot="one", seq=0), will), retain=True)
    driven.at(1).at(2)
    states = [(stamp.seq, body.state) for stamp, body in bench.heard(Channel.STATE) if isinstance(body, State)]
    assert states == [(1, Presence.ONLINE), (0, Presence.OFFLINE), (2, Presence.ONLINE)]


def test_a_broken_connection_leaves_state_offline_of_the_same_boot() -> None:
    bench = Bench()
    bench.announce(session())
    bench.loop(Probe()).start().die()
    stamp, body = bench.heard(Channel.STATE)[-1]
    assert isinstance(body, State)
    assert (stamp.boot, stamp.seq, body.state) == ("one", 0, Presence.OFFLINE)


def test_a_participant_that_fails_leaves_state_fault_and_why_and_the_error_is_raised() -> None:
    bench = Bench()
    bench.announce(session())

    class Broken(Probe):
        def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
            raise ZeroDivisionError("of the tests")

    driven = bench.loop(Broken())
    with pytest.raises(ZeroDivisionError):
        drive(driven.loop, driven.transport, threading.Event(), now=lambda: machine(0))
    _, body = bench.heard(Channel.STATE)[-1]
    assert isinstance(body, State)
    assert body.state is Presence.FAULT
    assert body.reason == "ZeroDivisionError: of the tests"


def test_whose_checkpoint_finds_no_room_leaves_state_fault_and_why() -> None:
    """Its state goes out though nothing else may, for what has a number is in the checkpoint before it is sent."""
    bench = Bench()
    bench.announce(session())

    class Filling(MemoryCheckpoint):
        full = False

        def save(self, value: Json) -> None:
            if self.full:
                raise DiskFullError("the checkpoint cannot be written: No space left on device", Path())
            super().save(value)

    checkpoint = Filling()
    driven = bench.loop(Probe(), checkpoint).start()
    checkpoint.full = True
    with pytest.raises(DiskFullError):
        driven.at(60)
    driven.loop.fail("the disk is full", machine(60))
    stamp, body = bench.heard(Channel.STATE)[-1]
    assert isinstance(body, State)
    assert (stamp.boot, stamp.seq, body.state, body.reason) == ("one", 0, Presence.FAULT, "the disk is full")
    checkpoint.full = False
    bench.loop(Probe(), checkpoint).start(120)
    stamp, body = bench.heard(Channel.STATE)[-1]
    assert isinstance(body, State)
    assert (stamp.boot, body.state) == ("one", Presence.ONLINE)


def test_asked_to_stop_it_leaves_state_offline() -> None:
    bench = Bench()
    driven = bench.loop(Probe())
    stop = threading.Event()
    bench.announce(session(hours=None))
    ends = threading.Timer(0.2, stop.set)
    ends.start()
    start = datetime.now(UTC)
    drive(driven.loop, driven.transport, stop, now=lambda: machine(0) + (datetime.now(UTC) - start))
    _, body = bench.heard(Channel.STATE)[-1]
    assert isinstance(body, State)
    assert body.state is Presence.OFFLINE


# ---- a participant with an inbox of its own


@dataclass
class Ledger:
    """An inbox that notes when it was made durable."""

    added: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    _fresh: int = 0

    def add(self, received: Received, payload: bytes) -> None:
        self.added.append(str(received.topic))
        self._fresh += 1

    def reject(self, topic: str, payload: bytes, reason: str) -> None:
        self.rejected.append(topic)
        self._fresh += 1

    def flush(self) -> None:
        self.batches.append(self._fresh)
        self._fresh = 0

    def missing(self, wanted: Sequence[Wanted]) -> bool:
        return False

    def take(self, run: str, turn: Turn, wanted: Sequence[Wanted]) -> list[Received]:
        return []


class Keeper(Probe):
    kind = Kind.RECORDER
    device = "recorder"

    def __init__(self) -> None:
        super().__init__({Phase.COMMIT: Cadence(period_s=60.0, on_message=True)})
        self.inbox = Ledger()

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return (everything(SITE),)


class Watched(MemoryTransport):
    """Notes how much was durable when each message was acknowledged."""

    ledger: Ledger
    acknowledged: list[int]

    def acknowledge(self, delivery: Delivery) -> None:
        super().acknowledge(delivery)
        self.acknowledged.append(sum(self.ledger.batches))


def test_a_recorder_acknowledges_only_what_is_durable_in_batches_smaller_than_the_window() -> None:
    bench, keeper = Bench(), Keeper()
    bench.announce(session())
    transport = Watched(bench.broker, "lab_recorder")
    transport.ledger, transport.acknowledged = keeper.inbox, []
    loop = WallLoop(keeper, transport, new_boot=lambda: "one")
    driven = Driven(loop, transport)
    driven.start()
    before = len(transport.acknowledged)
    for i in range(40):
        bench.clock.publish(str(SETPOINTS), setpoint(f"s{i}"))
    bench.clock.publish("twin/v2/lab/nonsense", b"?")
    driven.at(1)
    assert len(transport.acknowledged) - before == 42  # with its own reject of the last one
    assert max(keeper.inbox.batches) <= BATCH
    assert keeper.inbox.rejected == ["twin/v2/lab/nonsense"]
    assert all(durable > i for i, durable in enumerate(transport.acknowledged))
    assert turns_of(keeper, Phase.COMMIT)[-1] == 1.0
    assert str(SESSION_TOPIC) in keeper.inbox.added


def test_a_recorder_listens_on_for_a_quiet_while_after_the_session_has_ended() -> None:
    bench, keeper = Bench(), Keeper()
    bench.announce(session(hours=1 / 60))
    driven = bench.loop(keeper, once=True).start().at(60)
    bench.announce(session(hours=1 / 60, ended_after_s=60))
    driven.at(61)
    assert not driven.loop.finished
    bench.clock.publish(str(SETPOINTS), setpoint("straggler"))
    driven.at(62.9).at(63.1)
    assert not driven.loop.finished
    assert driven.at(65).loop.finished
    assert keeper.inbox.added[-1] == str(SETPOINTS)


def test_the_next_runs_roll_call_does_not_keep_a_recorder_that_listens_on() -> None:
    """Seen: a clock called the roll twice a second for the recorder, which waited for two quiet seconds."""
    bench, keeper = Bench(), Keeper()
    bench.announce(session(hours=1 / 60))
    driven = bench.loop(keeper, once=True).start().at(60)
    bench.announce(session(hours=1 / 60, ended_after_s=60))
    driven.at(61)
    for half_seconds in range(123, 127):
        bench.clock.publish(str(SETPOINTS), setpoint(f"next-{half_seconds}", run=RUN2))
        driven.at(half_seconds / 2)
    assert driven.at(63.1).loop.finished


def test_of_two_lives_of_a_sender_the_one_that_was_heard_first_is_handed_over_first() -> None:
    """Seen: an EMS took the life before the run for the living one, for its name came later in the alphabet."""
    bench = Bench()
    probe = Probe({Phase.SENSE: Cadence(period_s=60.0)})
    bench.announce(session())
    driven = bench.loop(probe).start()
    probe.handed.clear()
    for name, boot, seq in (("before", "zzz", 1), ("now 1", "aaa", 1), ("now 2", "aaa", 2)):
        bench.clock.publish(str(SETPOINTS), setpoint(name, boot=boot, seq=seq))
    driven.at(60)
    assert [name for _, name in probe.handed] == ["before", "now 1", "now 2"]


def lockstep(ended_after_s: float | None = None) -> Run:
    ended = None if ended_after_s is None else machine(ended_after_s)
    return Run(mode=TimeMode.LOCKSTEP, step_s=60, t0=T0, t_end=at(3600), wall0=machine(0.0), ended=ended)


@pytest.mark.parametrize("found_ended_after_s", [None, 60.0], ids=["found open", "found ended"])
@pytest.mark.parametrize(
    "later", [lockstep(), lockstep(ended_after_s=61.0), session(ended_after_s=61.0)], ids=["on", "over", "over, wall"]
)
def test_a_run_that_was_found_and_that_another_followed_before_the_loop_heard_of_it_is_over(
    later: Run, found_ended_after_s: float | None
) -> None:
    """Seen: recorder and network, to end a run of before, waited for ever for what the broker no longer had."""
    bench, keeper = Bench(), Keeper()
    bench.announce(later, RUN2)
    driven = bench.loop(keeper, once=True, found=(RUN1, session(hours=1 / 60, ended_after_s=found_ended_after_s)))
    driven.start(61).at(62).at(63.1).at(63.2)
    assert driven.loop.finished
    assert driven.loop.life.run == RUN1


class Simulated(Probe):
    def birth(self) -> Birth:
        return super().birth().model_copy(update={"time_modes": (TimeMode.LOCKSTEP, TimeMode.WALL)})


def test_a_run_is_over_when_a_later_one_begins_in_the_other_time_mode_though_its_clock_said_nothing() -> None:
    bench, probe = Bench(), Simulated()
    bench.announce(session())
    driven = bench.loop(probe, once=True).start().at(60)
    bench.announce(lockstep(), RUN2)
    driven.at(61).at(120).at(180)
    assert driven.loop.finished
    assert turns_of(probe, Phase.SENSE)[-1] <= 61


def test_a_device_of_wall_time_only_stays_in_its_run_when_a_clock_begins_one_in_lockstep() -> None:
    bench, probe = Bench(), Probe()
    bench.announce(session())
    driven = bench.loop(probe, once=True).start().at(60)
    bench.announce(lockstep(), RUN2)
    driven.at(61).at(120).at(180)
    assert not driven.loop.finished
    assert turns_of(probe, Phase.SENSE)[-1] == 180


# ---- over a real broker, in real time


def test_a_session_at_speed_3600_runs_over_a_real_broker_to_its_end(address: BrokerAddress) -> None:
    """One hour passes in a second: 4 quarters and the end, for a participant of a 15-minute period."""
    probe = Probe({Phase.SENSE: Cadence(period_s=900.0), Phase.APPLY: Cadence(on_message=True)})
    site, clock_transport = SITE, MqttTransport(address, "lab_clock")
    run: RunId = RUN1 if address.port % 2 else RUN2
    time = WallTime(step_s=900, t0=T0, length=timedelta(hours=1), speed=3600.0, lead_s=0.3)
    clock = WallClock(site, clock_transport, time, run=run, boot="clock1", resume=False)
    loop = WallLoop(probe, MqttTransport(address, "lab_probe"), new_boot=lambda: "probe1", once=True)
    ear = MqttTransport(address, "ear")
    ear.connect([everything(SITE)])
    stop = threading.Event()
    threads = [
        threading.Thread(target=drive, args=(clock, clock_transport, stop)),
        threading.Thread(target=drive, args=(loop, loop._transport, stop)),
    ]
    for thread in reversed(threads):
        thread.start()
    energies: list[tuple[datetime, float | None]] = []
    acks = 0
    sent = False
    while True:
        over = not threads[1].is_alive()
        delivery = ear.receive(0.5 if over else 0.05)  # what was said last may still be on its way
        if delivery is None:
            if over:
                break
            continue
        ear.acknowledge(delivery)
        stamp, body = decode(Topic.parse(delivery.topic), delivery.payload)
        if isinstance(body, MeterTelemetry):
            energies.append((stamp.ts, body.energy_import_kwh))
            if not sent:
                ear.publish(str(SETPOINTS), setpoint("live", run=None))
                sent = True
        acks += isinstance(body, Ack)
    for thread in threads:
        thread.join(5.0)
        assert not thread.is_alive()
    for retained in ("meter/probe/birth", "meter/probe/state", "clock/clock/birth", "clock/clock/state"):
        ear.publish(f"twin/v2/{SITE}/{retained}", b"", retain=True)
    ear.publish(str(SESSION_TOPIC), b"", retain=True)
    assert ear.flush(5.0)
    ear.close()
    assert energies == [(at(900 * i), pytest.approx(1.5 * i)) for i in range(5)]  # 6 kW for a quarter: 1.5 kWh
    assert acks == 1
