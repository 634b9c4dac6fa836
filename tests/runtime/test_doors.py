"""The two doors of the participant protocol in wall time: a wake-up at its own time, and input that is not MQTT."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from broker.address import BrokerAddress
from broker.memory import MemoryBroker, MemoryTransport
from broker.mqtt import MqttTransport
from broker.servers.embedded import EmbeddedBroker
from broker.transport import Transport
from runtime.admission import modes_of
from runtime.checkpoint import MemoryCheckpoint
from runtime.drive import drive
from runtime.in_memory import run_direct
from runtime.sources import KEPT_MOST, Inlet
from runtime.wall import WallLoop
from schemas.cycle import Course
from schemas.errors import LocalStateError
from schemas.messages import Birth, Phase, TimeMode
from schemas.participant import Cadence, Json, Outgoing, Received, Turn
from services.clock.lockstep import lockstep_run
from tests.runtime.probe import RUN1, SESSION_TOPIC, T0, WALL0, Probe, at, machine, session
from tests.runtime.test_wall import Bench, turns_of


class Waking(Probe):
    """Wants to be called at the instants of a list, one after the other."""

    def __init__(self, *instants: float, cadence: Mapping[Phase, Cadence] | None = None) -> None:
        super().__init__(cadence or {Phase.SENSE: Cadence(period_s=600.0), Phase.APPLY: Cadence(on_message=True)})
        self.wanted = [at(instant) for instant in instants]

    def wake_at(self, now: datetime) -> datetime | None:
        return next((instant for instant in self.wanted if instant > now), None)

    def snapshot(self) -> Json:
        return {**super().snapshot(), "wanted": [instant.isoformat() for instant in self.wanted]}

    def restore(self, state: Json) -> None:
        super().restore(state)
        self.wanted = [datetime.fromisoformat(instant) for instant in state["wanted"]]


# ---- wake-up


def test_a_participant_is_called_when_it_wants_to_be_and_not_at_its_next_period() -> None:
    bench = Bench()
    probe = Waking(60.0, 75.5)
    bench.announce(session())
    driven = bench.loop(probe).start()
    assert driven.loop.run_due(machine(1)) == machine(60)
    driven.at(60)
    assert driven.loop.run_due(machine(61)) == machine(75.5)
    driven.at(75.5)
    assert driven.loop.run_due(machine(76)) == machine(600)
    assert turns_of(probe, Phase.APPLY) == [60, 75.5]
    assert turns_of(probe, Phase.SENSE) == [0]


def test_in_scaled_time_a_wake_up_comes_at_its_run_time() -> None:
    bench = Bench()
    probe = Waking(60.0)
    bench.announce(session(speed=60.0))
    driven = bench.loop(probe).start()
    assert driven.loop.run_due(machine(0.5)) == machine(1.0)
    driven.at(1.0)
    assert turns_of(probe, Phase.APPLY) == [60]


def test_without_a_phase_that_comes_on_messages_the_first_of_the_cadence_is_called() -> None:
    bench = Bench()
    probe = Waking(7.0, cadence={Phase.DECIDE: Cadence(period_s=900.0), Phase.SENSE: Cadence(period_s=600.0)})
    bench.announce(session())
    bench.loop(probe).start().at(7)
    assert turns_of(probe, Phase.SENSE) == [0, 7]
    assert turns_of(probe, Phase.DECIDE) == [0]


def test_a_wish_to_be_called_in_the_past_does_not_occupy_the_machine() -> None:
    class Impatient(Probe):
        def wake_at(self, now: datetime) -> datetime | None:
            return now - timedelta(hours=1)

    bench = Bench()
    bench.announce(session())
    driven = bench.loop(Impatient()).start()
    assert driven.loop.run_due(machine(0)) == machine(0.01)


def test_no_wake_up_after_the_end_of_the_run() -> None:
    bench = Bench()
    probe = Waking(4000.0)
    bench.announce(session(ended_after_s=30))
    driven = bench.loop(probe).start()
    assert driven.loop.run_due(machine(20)) is None


def test_after_a_restart_a_wake_up_that_was_missed_comes_at_once() -> None:
    bench, checkpoint = Bench(), MemoryCheckpoint()
    bench.announce(session())
    bench.loop(Waking(60.0), checkpoint).start().at(30).die()
    again = Waking()
    bench.loop(again, checkpoint).start(300).at(301)
    assert turns_of(again, Phase.APPLY)[0] == pytest.approx(300, abs=1.1)


# ---- sources


class Gauge(BaseModel):
    model_config = ConfigDict(frozen=True)
    power_kw: float = Field(ge=-100, le=100)


class Feed:
    """A source that delivers when the test says so."""

    def __init__(self, name: str = "feed") -> None:
        self.name = name
        self.value_type: Any = Gauge
        self.put: Callable[[object], bool] = lambda value: False
        self.log: list[str] = []

    def open(self, put: Callable[[object], bool]) -> None:
        self.put = put
        self.log.append("open")

    def close(self) -> None:
        self.log.append("close")


class Fed(Probe):
    def __init__(self, *sources: Feed, cadence: Mapping[Phase, Cadence] | None = None) -> None:
        super().__init__(cadence or {Phase.SENSE: Cadence(period_s=600.0), Phase.APPLY: Cadence(on_message=True)})
        self.sources = sources
        self.received: list[tuple[Phase, str, object]] = []
        self.times: list[float] = []

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        self.received += [(turn.phase, value.source, value.value) for value in turn.inputs]
        self.times += [time.monotonic()] * len(turn.inputs)
        return super().act(turn, inbox)


def test_what_a_source_delivers_is_validated_and_handed_over_once_in_order() -> None:
    bench, feed, other = Bench(), Feed(), Feed("other")
    probe = Fed(feed, other)
    bench.announce(session())
    driven = bench.loop(probe).start()
    assert feed.put({"power_kw": 1.5})
    assert other.put(Gauge(power_kw=2.5))
    assert not feed.put({"power_kw": 1e9})
    assert not feed.put("watts")
    driven.at(5).at(6)
    assert probe.received == [
        (Phase.APPLY, "feed", Gauge(power_kw=1.5)),
        (Phase.APPLY, "other", Gauge(power_kw=2.5)),
    ]
    assert turns_of(probe, Phase.APPLY) == [5]


def test_what_comes_before_the_run_is_handed_over_at_its_start() -> None:
    bench, feed = Bench(), Feed()
    probe = Fed(feed)
    driven = bench.loop(probe).start(-20)
    feed.put({"power_kw": 1.0})
    driven.at(-10)
    assert probe.received == []
    bench.announce(session())
    driven.at(-5).at(0)
    assert [value for _, _, value in probe.received] == [Gauge(power_kw=1.0)]


def test_refused_values_are_logged_with_place_reason_and_value(caplog: pytest.LogCaptureFixture) -> None:
    inlet = Inlet(Feed("modbus"), lambda: None, lambda: WALL0)
    assert not inlet.put({"power_kw": 1e9})
    assert "source modbus: power_kw: Input should be less than or equal to 100, received 1000000000.0" in caplog.text
    assert inlet.refused == 1


def test_a_source_that_floods_loses_its_oldest_values_and_they_are_counted() -> None:
    inlet = Inlet(Feed(), lambda: None, lambda: WALL0)
    for number in range(KEPT_MOST + 5):
        inlet.put({"power_kw": number / 100})
    values = [value for _, value in inlet.take()]
    assert len(values) == KEPT_MOST
    assert values[0] == Gauge(power_kw=0.05)
    assert inlet.dropped == 5


def test_sources_are_closed_at_the_end_and_when_the_participant_fails() -> None:
    class Broken(Fed):
        def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
            raise ZeroDivisionError

    for make, raises in ((Fed, False), (Broken, True)):
        bench, feed = Bench(), Feed()
        bench.announce(session())
        driven = bench.loop(make(feed))
        stop = threading.Event()
        stop.set()
        if raises:
            stop.clear()
            with pytest.raises(ZeroDivisionError):
                drive(driven.loop, driven.transport, stop, now=lambda: machine(0))
        else:
            drive(driven.loop, driven.transport, stop, now=lambda: machine(0))
        assert feed.log == ["open", "close"]


def test_a_source_that_cannot_be_opened_closes_those_before_it_and_ends_the_loop() -> None:
    class Unreachable(Feed):
        def open(self, put: Callable[[object], bool]) -> None:
            raise ConnectionRefusedError("no charger answers at 10.0.0.7:502")

    bench, feed = Bench(), Feed()
    bench.announce(session())
    driven = bench.loop(Fed(feed, Unreachable("charger")))
    with pytest.raises(ConnectionRefusedError):
        drive(driven.loop, driven.transport, threading.Event(), now=lambda: machine(0))
    assert feed.log == ["open", "close"]


def test_lock_step_refuses_a_participant_with_a_live_source() -> None:
    probe = Fed(Feed("ocpp"))
    course = Course(T0, T0 + timedelta(hours=1), 900)
    with pytest.raises(LocalStateError, match="probe follows wall time only"):
        run_direct([probe], course, RUN1, (SESSION_TOPIC, lockstep_run(course, WALL0)))


def test_a_birth_that_promises_lock_step_with_a_live_source_is_refused_at_once() -> None:
    class Promising(Fed):
        def birth(self) -> Birth:
            return super().birth().model_copy(update={"time_modes": (TimeMode.LOCKSTEP, TimeMode.WALL)})

    with pytest.raises(LocalStateError, match=r"probe has live sources \(ocpp\) .* follows wall only"):
        modes_of(Promising(Feed("ocpp")))


# ---- promptness, over real transports and in real time


def prompt_after_put(transport: Transport, bench_announce: Callable[[], None]) -> float:
    """Seconds from putting a value, while the loop waits for messages, to the turn that hands it over."""
    feed = Feed()
    probe = Fed(feed)
    loop = WallLoop(probe, transport, new_boot=lambda: "one")
    stop = threading.Event()
    thread = threading.Thread(target=drive, args=(loop, transport, stop))
    bench_announce()
    thread.start()
    worst = 0.0
    try:
        deadline = time.monotonic() + 10.0
        while not turns_of(probe, Phase.SENSE):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for number in range(10):
            time.sleep(0.12)  # the loop is back in its wait
            began = time.monotonic()
            feed.put({"power_kw": float(number)})
            while len(probe.times) <= number:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            worst = max(worst, probe.times[number] - began)
    finally:
        stop.set()
        thread.join(5.0)
    return worst


def run_from_now() -> Any:
    now = datetime.now(WALL0.tzinfo)
    return session(hours=None).model_copy(update={"t0": now, "wall0": now})


def test_in_memory_a_source_wakes_the_loop_within_50_ms() -> None:
    bench = Bench()
    transport = MemoryTransport(bench.broker, "lab_probe")
    assert prompt_after_put(transport, lambda: bench.announce(run_from_now())) < 0.05


def test_over_mqtt_a_source_wakes_the_loop_within_50_ms(address: BrokerAddress) -> None:
    from schemas.messages import Stamp
    from schemas.wire import encode

    clock = MqttTransport(address, "lab_clock")
    clock.connect([])
    payload = encode(Stamp(ts=T0, run=RUN1, boot="clock", seq=1), run_from_now())

    def announce() -> None:
        clock.publish(str(SESSION_TOPIC), payload, retain=True)
        assert clock.flush(5.0)

    try:
        assert prompt_after_put(MqttTransport(address, "lab_probe"), announce) < 0.05
    finally:
        for topic in (str(SESSION_TOPIC), "twin/v2/lab/meter/probe/birth", "twin/v2/lab/meter/probe/state"):
            clock.publish(topic, b"", retain=True)
        clock.flush(5.0)
        clock.close()


def test_a_wake_up_is_noticed_while_the_connection_is_being_made_anew() -> None:
    with EmbeddedBroker() as broker:
        transport = MqttTransport(broker.address, "lab_probe")
        transport.connect([])
        wake = transport.waker()
    deadline = time.monotonic() + 5.0
    while transport.connected:
        transport.receive(0.05)
        assert time.monotonic() < deadline
    threading.Timer(0.1, wake).start()
    began = time.monotonic()
    assert transport.receive(3.0) is None
    assert time.monotonic() - began < 0.5
    transport.close()


def test_a_wake_up_before_the_wait_is_not_lost_and_ends_one_wait_only() -> None:
    transport = MemoryTransport(MemoryBroker(), "one")
    transport.connect([])
    transport.waker()()
    began = time.monotonic()
    assert transport.receive(5.0) is None
    assert time.monotonic() - began < 1.0
    began = time.monotonic()
    assert transport.receive(0.2) is None
    assert time.monotonic() - began >= 0.19
