"""What a participant in wall time tells of itself: metric and reject, along a clock that the test sets."""

from collections.abc import Mapping, Sequence

import pytest

from broker.memory import MemoryTransport
from runtime.diagnostics import REJECTS_MOST
from runtime.wall import WallLoop
from schemas.messages import Body, MeterTelemetry, Metric, Phase, Reject, Stamp
from schemas.participant import Cadence, Outgoing, Received, Turn
from schemas.topics import Channel, Kind, Topic, everything, topic_filter
from schemas.wire import decode, encode
from tests.runtime.probe import RUN0, RUN1, SETPOINTS, SITE, Probe, at, session, setpoint
from tests.runtime.test_wall import Bench, Driven, Keeper

METER = Topic(SITE, Kind.METER, "main", Channel.TELEMETRY)


class Audience(Bench):
    """Hears what the probe and the recorder tell of themselves, not what others send to confuse them."""

    def __init__(self) -> None:
        super().__init__()
        self.ear = MemoryTransport(self.broker, "ear")
        senders = ((Kind.METER, "probe"), (Kind.RECORDER, "recorder"))
        channels = (Channel.METRIC, Channel.REJECT)
        self.ear.connect(
            [topic_filter(SITE, kind, device, channel) for kind, device in senders for channel in channels]
        )
        self._bodies: list[Body] = []

    def _listen(self) -> list[Body]:
        while (delivery := self.ear.receive(0.0)) is not None:
            self._bodies.append(decode(Topic.parse(delivery.topic), delivery.payload)[1])
        return self._bodies

    @property
    def values(self) -> list[Mapping[str, float]]:
        """Of the metrics so far."""
        return [body.values for body in self._listen() if isinstance(body, Metric)]

    @property
    def rejects(self) -> list[tuple[str, str]]:
        """Topic and reason of the rejects so far."""
        return [(body.topic, body.reason) for body in self._listen() if isinstance(body, Reject)]


def telemetry(seq: int, ts_s: float) -> bytes:
    body = MeterTelemetry(power_kw=1.0, energy_import_kwh=0.0, energy_export_kwh=0.0)
    return encode(Stamp(ts=at(ts_s), run=RUN1, boot="main", seq=seq), body)


class Listener(Probe):
    """Reads the telemetry of meters."""

    def __init__(self) -> None:
        super().__init__({Phase.MEASURE: Cadence(on_message=True)})

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return (topic_filter(SITE, Kind.METER, channel=Channel.TELEMETRY),)

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        self.turns.append(turn)
        return []


class Gauged(Probe):
    metrics: Mapping[str, float] = {"level": 3.0}


def loop_with_stopwatch(bench: Bench, participant: Probe, *readings_s: float) -> Driven:
    transport = MemoryTransport(bench.broker, f"{SITE}_{participant.device}")
    readings = iter(readings_s)
    loop = WallLoop(participant, transport, new_boot=lambda: "one", stopwatch=lambda: next(readings))
    return Driven(loop, transport)


def test_a_metric_comes_once_a_minute_of_the_machine_however_fast_the_session_goes() -> None:
    bench = Audience()
    bench.announce(session(speed=10.0))
    driven = bench.loop(Probe()).start()
    for second in range(1, 185):
        driven.at(second)
    assert len(bench.values) == 3


def test_it_counts_since_the_start_what_was_ignored_and_what_was_skipped() -> None:
    bench = Audience()
    bench.announce(session())
    driven = bench.loop(Probe()).start()
    bench.clock.publish(str(SETPOINTS), b"{")
    bench.clock.publish(str(SETPOINTS), b"[")
    bench.clock.publish(str(SETPOINTS), setpoint("old", run=RUN0))
    driven.at(1)
    driven.at(200)  # due at 60, 120 and 180: one instant is left of three
    driven.at(201)
    (first,) = bench.values
    assert (first["rejected"], first["other_runs"], first["skipped"]) == (2.0, 1.0, 2.0)


def test_lag_is_the_longest_of_the_minute_in_machine_time_from_the_instant_told_to_the_arrival() -> None:
    bench = Audience()
    bench.announce(session(speed=10.0))
    driven = bench.loop(Listener()).start()
    for second, (seq, ts_s) in enumerate([(1, 5.0), (2, -10.0), (3, 29.0)], start=1):
        bench.clock.publish(str(METER), telemetry(seq, ts_s))
        driven.at(second)
    driven.at(60)
    driven.at(121)
    first, second_minute = bench.values
    assert first["lag_s"] == pytest.approx(3.0)  # at machine second 2 it is 20 in the session: 30 s after -10, by 10
    assert "lag_s" not in second_minute


def test_turn_is_the_longest_of_the_minute() -> None:
    bench = Audience()
    bench.announce(session())
    # Roll call and the instants 0 and 60, each begun and ended.
    driven = loop_with_stopwatch(bench, Probe({Phase.SENSE: Cadence(period_s=60.0)}), 0.0, 0.1, 1.0, 1.4, 2.0, 2.2)
    driven.start()
    driven.at(60)
    (first,) = bench.values
    assert first["turn_s"] == pytest.approx(0.4)
    assert "lag_s" not in first


def test_numbers_of_the_participants_own_go_with_those_of_its_run_loop() -> None:
    bench = Audience()
    bench.announce(session())
    bench.loop(Gauged()).start().at(60)
    (first,) = bench.values
    assert first["level"] == 3.0
    assert first["rejected"] == 0.0


def test_nothing_is_told_outside_a_session() -> None:
    bench = Audience()
    driven = bench.loop(Probe()).start().at(2)
    bench.clock.publish(str(SETPOINTS), b"{")
    driven.at(100)
    bench.announce(session(hours=0.01))
    driven.at(101)
    bench.clock.publish(str(SETPOINTS), b"{")
    driven.at(200)
    assert driven.loop.rejected == 2
    assert bench.rejects == []
    assert bench.values == []


def test_what_is_not_of_the_contract_is_rejected_with_its_topic_and_the_reason() -> None:
    bench = Audience()
    bench.announce(session())
    driven = bench.loop(Probe()).start()
    bench.clock.publish(str(SETPOINTS), setpoint("x").replace(b'"power_kw":1.0', b'"power_kw":"much"'))
    driven.at(1)
    ((topic, reason),) = bench.rejects
    assert topic == str(SETPOINTS)
    assert "power_kw" in reason
    assert "much" in reason


def test_a_message_of_an_earlier_run_is_rejected_unless_the_broker_kept_it_from_then() -> None:
    bench = Audience()
    bench.clock.publish(str(SETPOINTS), setpoint("kept", run=RUN0), retain=True)
    bench.announce(session())
    driven = bench.loop(Probe()).start()
    assert driven.loop.other_runs == 2  # handed over on both connections: the second has the last will of the run
    assert bench.rejects == []
    bench.clock.publish(str(SETPOINTS), setpoint("late", run=RUN0))
    driven.at(1)
    assert bench.rejects == [(str(SETPOINTS), f"of run {RUN0}; this participant's is {RUN1}")]


def test_a_message_that_comes_twice_is_no_reason_for_a_reject() -> None:
    bench = Audience()
    bench.announce(session())
    driven = bench.loop(Probe()).start()
    for _ in range(2):
        bench.clock.publish(str(SETPOINTS), setpoint("again", seq=950))
    driven.at(1)
    assert bench.rejects == []


def test_a_flood_is_answered_once_a_topic_and_minute_and_counted_whole() -> None:
    bench = Audience()
    bench.announce(session())
    driven = bench.loop(Probe()).start()
    for _ in range(500):
        bench.clock.publish(str(SETPOINTS), b"garbage")
    driven.at(1)
    assert len(bench.rejects) == 1
    driven.at(61)
    bench.clock.publish(str(SETPOINTS), b"garbage")
    driven.at(62)
    assert len(bench.rejects) == 2
    assert driven.loop.rejected == 501


def test_a_flood_over_many_topics_is_answered_ten_times_a_minute_and_never_by_its_own_answers() -> None:
    bench = Audience()
    bench.announce(session())
    driven = bench.loop(Keeper()).start()
    for i in range(200):
        bench.clock.publish(f"twin/v2/{SITE}/nobody/{i}", b"?")
        bench.clock.publish(f"twin/v2/{SITE}/meter/m{i}/reject", b"?")
    driven.at(1)
    assert len(bench.rejects) == REJECTS_MOST
    assert not any(topic.endswith("/reject") for topic, _ in bench.rejects)
    assert driven.loop.rejected == 400


@pytest.mark.parametrize("name", ["x" * 5000, "\N{SNOWMAN}" * 300])
def test_a_reject_is_of_the_contract_whatever_topic_it_names(name: str) -> None:
    bench = Audience()
    bench.announce(session())
    driven = bench.loop(Keeper()).start()
    bench.clock.publish(f"twin/v2/{SITE}/{name}", b"?")
    driven.at(1)
    ((topic, reason),) = bench.rejects
    assert len(topic) == 200
    assert len(reason) <= 500
    assert everything(SITE)[:-1] in topic
