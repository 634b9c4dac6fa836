"""A device that restarts under the same boot counts anew: it is said, and it is heard at once, as another life."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.memory import MemoryBroker, MemoryTransport
from runtime.checkpoint import MemoryCheckpoint
from runtime.sender_lives import REMEMBERED, Seen, SenderLives
from runtime.wall import WallLoop
from schemas.messages import (
    Alarm,
    BessNameplate,
    BessTelemetry,
    Birth,
    Body,
    Fallback,
    Presence,
    Run,
    Setpoint,
    Stamp,
    State,
    TimeMode,
)
from schemas.participant import Participant, Received
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import decode, encode
from services.ems.participant import Ems
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from services.recorder.inbox import USED_BEFORE
from services.recorder.recorder import Recorder
from tests.ems.small_site import site
from twin_devices.build import build_network

SITE = "small"
WALL0 = datetime(2026, 11, 1, 12, tzinfo=UTC)
T0 = datetime(2024, 5, 16, 22, tzinfo=UTC)
RUN = "20261101T120000.000000Z-0001"
BESS = BessNameplate(
    capacity_kwh=40.0,
    max_charge_kw=10.0,
    max_discharge_kw=10.0,
    charge_efficiency=0.9,
    discharge_efficiency=0.9,
    soc_min_frac=0.1,
    soc_max_frac=0.9,
)


def telemetry(soc_frac: float, imported: float = 0.0) -> BessTelemetry:
    return BessTelemetry(power_kw=0.0, soc_frac=soc_frac, energy_import_kwh=imported, energy_export_kwh=0.0)


def message(body: Body, seq: int, seconds: float, boot: str = "fixed") -> tuple[Topic, bytes]:
    channels = {
        Birth: Channel.BIRTH,
        State: Channel.STATE,
        BessTelemetry: Channel.TELEMETRY,
        Setpoint: Channel.SETPOINT,
    }
    stamp = Stamp(ts=T0 + timedelta(seconds=seconds), run=RUN, boot=boot, seq=seq)
    return Topic(SITE, Kind.BESS, "bess", channels[type(body)]), encode(stamp, body)


def judged(lives: SenderLives, body: Body, seq: int, seconds: float, boot: str = "fixed") -> tuple[Seen, str]:
    topic, payload = message(body, seq, seconds, boot)
    found = lives.judge(Received(topic, *decode(topic, payload)), payload)
    return found.seen, found.received.stamp.boot


# ---- what is a repetition, and what another life


def test_repetitions_are_none_whatever_comes_between() -> None:
    lives = SenderLives()
    for seq in range(1, 300):
        assert judged(lives, telemetry(0.5), seq, seq) == (Seen.NEW, "fixed")
        for again in {seq, max(seq - REMEMBERED + 1, 1), max(seq - 200, 1)}:
            assert judged(lives, telemetry(0.5), again, again) == (Seen.REPEATED, "fixed")


def test_a_clock_that_was_set_back_makes_no_new_life_of_what_a_broker_repeats() -> None:
    lives = SenderLives()
    for seq in range(1, 21):
        judged(lives, telemetry(0.5), seq, 3600 + seq)
    assert judged(lives, telemetry(0.5), 21, 21) == (Seen.NEW, "fixed")
    assert judged(lives, telemetry(0.5), 20, 3620) == (Seen.REPEATED, "fixed")


@pytest.mark.parametrize(("seq", "seconds"), [(1, 600), (60, 600), (100, 600), (100, 100), (37, 20)])
def test_other_bytes_under_a_number_that_was_used_are_another_life_with_all_topics(seq: int, seconds: float) -> None:
    lives = SenderLives()
    judged(lives, State(state=Presence.ONLINE), 1, 0)
    for number in range(1, 101):
        judged(lives, telemetry(0.5), number, number)
    assert judged(lives, telemetry(0.25), seq, seconds) == (Seen.NEW_LIFE, "fixed-again1")
    assert judged(lives, telemetry(0.25), seq + 1, seconds + 10) == (Seen.NEW, "fixed-again1")
    assert judged(lives, State(state=Presence.ONLINE), 1, 610) == (Seen.NEW, "fixed-again1")
    assert judged(lives, telemetry(0.5), 1, 0, boot="other") == (Seen.NEW, "other")
    assert judged(lives, telemetry(0.75), 1, 2000) == (Seen.NEW_LIFE, "fixed-again2")
    assert judged(lives, telemetry(0.75), 1, 2000) == (Seen.REPEATED, "fixed-again2")


def test_a_set_point_is_of_the_ems_and_not_of_the_device_on_whose_topic_it_is() -> None:
    lives = SenderLives()
    validity = {"valid_from": T0, "valid_until": T0 + timedelta(minutes=15)}
    for seq in (1, 2):
        body = Setpoint(id=f"s{seq}", epoch=1, power_kw=1.0, fallback=Fallback.IDLE, **validity)
        assert judged(lives, body, seq, seq) == (Seen.NEW, "fixed")
    judged(lives, telemetry(0.5), 5, 50)
    assert judged(lives, telemetry(0.5), 1, 60)[0] is Seen.NEW_LIFE
    body = Setpoint(id="s3", epoch=1, power_kw=1.0, fallback=Fallback.IDLE, **validity)
    assert judged(lives, body, 3, 70) == (Seen.NEW, "fixed"), "the EMS has not begun anew"


def test_what_was_lost_and_is_sent_again_is_no_other_life_whatever_its_time() -> None:
    lives = SenderLives()
    judged(lives, telemetry(0.5), 1, 10)
    judged(lives, telemetry(0.5), 3, 29)
    topic, payload = message(telemetry(0.5), 2, 30)
    found = lives.judge(Received(topic, *decode(topic, payload)), payload, late=True)
    assert found.received.stamp.boot == "fixed"
    assert judged(lives, telemetry(0.5), 4, 31) == (Seen.NEW, "fixed")


# ---- participants


class Bench:
    """One participant in a run in wall time, and a device that the test speaks for."""

    def __init__(self, participant: Participant, store: MemoryCheckpoint | None = None) -> None:
        self.broker = MemoryBroker()
        self.hand = MemoryTransport(self.broker, "hand")
        self.hand.connect([])
        self.ear = MemoryTransport(self.broker, "ear")
        self.ear.connect([everything(SITE)])
        self.seconds = 0.0
        run = Run(mode=TimeMode.WALL, step_s=900, t0=T0, wall0=WALL0, speed=1.0)
        topic = Topic(SITE, Kind.CLOCK, "clock", Channel.RUN)
        self.hand.publish(str(topic), encode(Stamp(ts=T0, run=RUN, boot="c", seq=1), run), retain=True)
        self.store = store or MemoryCheckpoint()
        self.join(participant)

    def join(self, participant: Participant) -> None:
        self.transport = MemoryTransport(self.broker, f"{SITE}_{participant.device}", persistent=True)
        self.loop = WallLoop(participant, self.transport, self.store, new_boot=lambda: "one")
        self.loop.start(self.now)
        self.look()

    @property
    def now(self) -> datetime:
        return WALL0 + timedelta(seconds=self.seconds)

    def look(self) -> None:
        while (delivery := self.transport.receive(0.0)) is not None:
            self.loop.handle(delivery, self.now)
        self.loop.run_due(self.now)

    def say(self, body: Body, seq: int, seconds: float) -> None:
        self.seconds = seconds
        topic, payload = message(body, seq, seconds)
        self.hand.publish(str(topic), payload, retain=topic.retained)
        self.look()

    def live(self, first: float, count: int, soc_frac: float, *, births: bool = True) -> None:
        """A life of the device: birth, online and a telemetry every 10 s."""
        birth = Birth(nameplate=BESS, telemetry_period_s=10.0, time_modes=(TimeMode.WALL,), software="test")
        if births:
            self.say(birth, 1, first)
            self.say(State(state=Presence.ONLINE), 1, first)
        for seq in range(1, count + 1):
            self.say(telemetry(soc_frac, imported=seq / 100), seq, first + 10 * (seq - 1))

    def alarms(self) -> list[tuple[str, str | None]]:
        found = []
        while (delivery := self.ear.receive(0.0)) is not None:
            self.ear.acknowledge(delivery)
            topic = Topic.parse(delivery.topic)
            body = decode(topic, delivery.payload)[1] if topic.channel is Channel.ALARM else None
            if isinstance(body, Alarm) and body.code == "identity_reused":
                found.append((topic.device, body.device))
        return found


@pytest.mark.parametrize("births", [True, False])
def test_the_ems_plans_with_a_device_that_restarted_under_the_same_boot(births: bool) -> None:
    ems = Ems(site())
    bench = Bench(ems)
    bench.live(10, 60, 0.5)
    assert bench.alarms() == []
    bench.live(700, 30, 0.25, births=births)
    assert bench.alarms() == [("ems", "bess")]
    bench.seconds = 1000.0
    bench.look()
    known = ems._state.devices["bess"]
    assert known.boot == "fixed-again1"
    assert known.telemetry is not None and known.telemetry.stored_frac == 0.25
    assert known.heard is not None and known.heard >= T0 + timedelta(seconds=900)


def test_the_network_twin_counts_it_as_another_life() -> None:
    described = site()
    bench = Bench(build_network(described))
    bench.live(10, 30, 0.5)
    before = bench.loop.registers["energy_import_kwh"]
    bench.live(400, 30, 0.25)
    assert bench.alarms() == [("network", "bess")]
    after = bench.loop.registers["energy_import_kwh"]
    assert after - before == pytest.approx(0.29 + 1.0 * 400 / 3600, abs=0.15), "what it drew, and the iron's losses"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "history.sqlite"


def socs(file: Path) -> list[float]:
    history = SqliteHistory(file)
    try:
        told = list(history.messages(RUN, Channel.TELEMETRY))
        return [each.body.soc_frac for each in told if isinstance(each.body, BessTelemetry)]
    finally:
        history.close()


def test_the_recorder_keeps_both_lives_across_its_own_restart(file: Path) -> None:
    store = HistoryStore(file, durable=False)
    bench = Bench(Recorder(site(), store))
    bench.live(10, 20, 0.5)
    bench.live(400, 5, 0.25)
    assert bench.alarms() == [("recorder", "bess")]
    bench.seconds += 5
    bench.look()
    bench.transport.drop()
    bench.join(Recorder(site(), store))
    for seq in range(6, 16):
        bench.say(telemetry(0.25, imported=seq / 100), seq, 400 + 10 * seq)
    bench.loop.finish(bench.now)
    store.close()
    assert socs(file) == [0.5] * 20 + [0.25] * 15


def test_what_the_recorder_cannot_tell_apart_after_a_restart_is_a_dead_letter(file: Path) -> None:
    store = HistoryStore(file, durable=False)
    bench = Bench(Recorder(site(), store))
    bench.live(10, 20, 0.5)
    bench.seconds += 5
    bench.look()
    bench.transport.drop()
    bench.join(Recorder(site(), store))
    bench.say(telemetry(0.25), 3, 400)  # the first that it hears: nothing to compare with but the file
    bench.say(telemetry(0.5, imported=0.04), 4, 40)  # a repetition
    bench.loop.finish(bench.now)
    store.close()
    history = SqliteHistory(file)
    try:
        (letter,) = history.dead_letters(RUN)
    finally:
        history.close()
    assert letter.reason.startswith(USED_BEFORE)
    assert letter.topic.endswith("/bess/telemetry")
