"""The dead-man's alarm along a clock that the test sets: who is named, when, and who is not."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from broker.memory import MemoryTransport
from runtime.checkpoint import MemoryCheckpoint
from runtime.service_watch import SERVICE_SILENT
from runtime.wall import WallLoop
from schemas.messages import Alarm, Birth, Presence, Severity, Stamp, State, TimeMode
from schemas.messages.birth import ServiceNameplate
from schemas.participant import Outgoing, Received, Turn
from schemas.presence import HEARTBEAT_S, WATCHED, WATCHES, silent_service_s
from schemas.roles import read_filters
from schemas.topics import Channel, Kind, Topic, matches
from schemas.wire import decode, encode
from services.clock.wall import WallClock, WallTime
from tests.runtime.probe import RUN0, RUN1, SITE, Probe, at, machine, session
from tests.runtime.test_wall import Bench, Driven

LIMIT_S = silent_service_s(HEARTBEAT_S)


class Service(Probe):
    """A service with no work of its own; what its run loop does is looked at."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.device = str(kind)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return ()

    def birth(self) -> Birth:
        return Birth(nameplate=ServiceNameplate(), time_modes=(TimeMode.LOCKSTEP, TimeMode.WALL), software="test")

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        return []


@dataclass
class Site:
    """EMS and recorder on one broker, each along the same clock while it is not stopped."""

    bench: Bench
    ems: Driven
    recorder: Driven

    @classmethod
    def started(cls) -> "Site":
        bench = Bench()
        bench.announce(session(hours=None, simulated=False))
        return cls(bench, bench.loop(Service(Kind.EMS)).start(), bench.loop(Service(Kind.RECORDER)).start())

    def run(self, first_s: int, last_s: int, *alive: Driven) -> list[tuple[int, str, Alarm]]:
        """Alarms with their seconds and senders."""
        found = []
        for second in range(first_s, last_s + 1):
            for driven in alive:
                driven.at(second)
            found += [(second, *each) for each in alarms(self.bench)]
        return found


def alarms(bench: Bench) -> list[tuple[str, Alarm]]:
    found = []
    while (delivery := bench.ear.receive(0.0)) is not None:
        topic = Topic.parse(delivery.topic)
        if topic.channel is Channel.ALARM:
            body = decode(topic, delivery.payload)[1]
            assert isinstance(body, Alarm)
            found.append((topic.device, body))
    return found


def say(bench: Bench, topic: Topic, body: State | Birth, seq: int, run: str | None = RUN1) -> None:
    bench.clock.publish(str(topic), encode(Stamp(ts=at(0), run=run, boot="old", seq=seq), body), retain=True)


def test_nobody_is_named_while_everybody_beats() -> None:
    site = Site.started()
    assert site.run(1, 600, site.ems, site.recorder) == []


def test_who_is_watched_has_a_watcher_that_is_not_itself_and_may_read_its_heartbeat() -> None:
    assert {Kind.EMS, Kind.RECORDER, Kind.CLOCK} <= WATCHED
    for watcher, kinds in WATCHES.items():
        assert watcher not in kinds
        for kind in kinds:
            metric = str(Topic(SITE, kind, str(kind), Channel.METRIC))
            assert any(matches(pattern, metric) for pattern in read_filters(SITE, watcher, str(watcher)))


@pytest.mark.parametrize("stopped", ["ems", "recorder"])
def test_a_service_that_is_stopped_is_named_within_a_minute_though_its_connection_stands(stopped: str) -> None:
    site = Site.started()
    alive, still = (site.recorder, site.ems) if stopped == "ems" else (site.ems, site.recorder)
    assert site.run(1, 100, alive, still) == []
    ((second, sender, alarm),) = site.run(101, 300, alive)
    assert second <= 100 + 60
    assert (sender, alarm.code, alarm.device, alarm.active) == (
        alive.loop._participant.device,
        SERVICE_SILENT,
        stopped,
        True,
    )
    assert alarm.severity is Severity.CRITICAL
    assert alarm.limit == LIMIT_S < (alarm.value or 0) < LIMIT_S + 2
    assert "nothing has come for" in alarm.text and "heartbeat is 15 s" in alarm.text
    ((over_at, _, over),) = site.run(301, 400, alive, still)
    assert (over.code, over.device, over.active) == (SERVICE_SILENT, stopped, False)
    assert over_at <= 302


def test_a_service_that_dies_is_named_with_what_its_last_will_says() -> None:
    site = Site.started()
    assert site.run(1, 50, site.ems, site.recorder) == []
    site.ems.die()
    ((second, _, alarm),) = site.run(51, 200, site.recorder)
    assert second <= 50 + 60
    assert alarm.text.startswith("the ems ems is silent: it has been offline (connection lost) for ")


def test_a_restart_within_the_time_is_no_alarm() -> None:
    site = Site.started()
    assert site.run(1, 50, site.ems, site.recorder) == []
    site.ems.die()
    assert site.run(51, 80, site.recorder) == []
    again = site.bench.loop(Service(Kind.EMS)).start(80)
    assert site.run(81, 300, site.recorder, again) == []


def test_the_clock_beats_and_is_named_when_it_does_not() -> None:
    bench = Bench()
    transport = MemoryTransport(bench.broker, "clock-process")
    clock = WallClock(SITE, transport, WallTime(900, simulated=False), run=RUN1, boot="clock", resume=False)
    clock.start(machine(0))
    clock.run_due(machine(0))
    site = Site(bench, bench.loop(Service(Kind.EMS)).start(), bench.loop(Service(Kind.RECORDER)).start())
    for second in range(1, 200):
        clock.run_due(machine(second))
        assert site.run(second, second, site.ems, site.recorder) == []
    found = site.run(200, 400, site.ems, site.recorder)
    assert {(sender, alarm.device) for _, sender, alarm in found} == {("ems", "clock"), ("recorder", "clock")}
    assert all(second <= 199 + 60 and alarm.severity is Severity.WARNING for second, _, alarm in found)


def test_a_watcher_that_was_away_itself_blames_nobody() -> None:
    site = Site.started()
    assert site.run(1, 50, site.ems, site.recorder) == []
    assert site.run(500, 530, site.recorder, site.ems) == []


def test_a_watcher_without_a_connection_blames_nobody() -> None:
    site = Site.started()
    assert site.run(1, 50, site.ems, site.recorder) == []
    site.recorder.transport.drop()
    for second in range(51, 200):
        site.ems.at(second)
        assert site.recorder.loop._services.look(machine(second), connected=site.recorder.transport.connected) == []
    assert site.recorder.loop._services.look(machine(200), connected=True) == []
    (alarm,) = [a for s in range(201, 260) for a in site.recorder.loop._services.look(machine(s), connected=True)]
    assert alarm.device == "ems", "it counts from the moment at which something can arrive again"


def test_whoever_took_part_in_another_run_only_is_not_missed() -> None:
    bench = Bench()
    topic = Topic(SITE, Kind.TARIFF, "tariff", Channel.STATE)
    say(bench, topic, State(state=Presence.OFFLINE), 1, RUN0)
    say(bench, Topic(SITE, Kind.FORECAST, "forecast", Channel.STATE), State(state=Presence.OFFLINE), 1, None)
    bench.announce(session(hours=None))
    site = Site(bench, bench.loop(Service(Kind.EMS)).start(), bench.loop(Service(Kind.RECORDER)).start())
    assert site.run(1, 200, site.ems, site.recorder) == []


def test_a_service_without_a_heartbeat_counts_by_its_state_only() -> None:
    """An EMS of one's own, which knows only MQTT and JSON, need not send metrics."""
    bench = Bench()
    bench.announce(session(hours=None))
    recorder = bench.loop(Service(Kind.RECORDER)).start()
    birth = Birth(nameplate=ServiceNameplate(), time_modes=(TimeMode.WALL,), software="another")
    say(bench, Topic(SITE, Kind.EMS, "ems", Channel.BIRTH), birth, 1)
    say(bench, Topic(SITE, Kind.EMS, "ems", Channel.STATE), State(state=Presence.ONLINE), 1)
    site = Site(bench, recorder, recorder)
    assert site.run(1, 200, recorder) == []
    fault = State(state=Presence.FAULT, reason="ValueError: no")
    say(bench, Topic(SITE, Kind.EMS, "ems", Channel.STATE), fault, 2)
    ((_, _, alarm),) = site.run(201, 300, recorder)
    assert "it has been fault (ValueError: no) for" in alarm.text


def test_after_the_end_of_a_run_nobody_is_missed() -> None:
    site = Site.started()
    assert site.run(1, 50, site.ems, site.recorder) == []
    site.bench.announce(session(hours=None, simulated=False, ended_after_s=51))
    site.ems.die()
    assert site.run(51, 300, site.recorder) == []


def test_an_alarm_that_stands_when_its_watcher_is_started_again_is_ended_once_the_service_is_back() -> None:
    bench, store = Bench(), MemoryCheckpoint()
    bench.announce(session(hours=None))
    ems = bench.loop(Service(Kind.EMS)).start()
    recorder = bench.loop(Service(Kind.RECORDER), store).start()
    site = Site(bench, ems, recorder)
    assert site.run(1, 20, ems, recorder) == []
    assert len(site.run(21, 100, recorder)) == 1
    recorder.die()
    again = bench.loop(Service(Kind.RECORDER), store).start(101)
    assert site.run(102, 150, again) == [], "it stands, and is not raised twice"
    ((_, _, over),) = site.run(151, 200, again, ems)
    assert (over.device, over.active) == ("ems", False)


def test_in_lockstep_nobody_has_a_heartbeat() -> None:
    """The birth that a participant states itself promises none: the run loop of wall time adds it."""
    loop = WallLoop(Service(Kind.EMS), MemoryTransport(Bench().broker, "x"), new_boot=lambda: "one")
    assert loop._participant.birth().heartbeat_s is None
