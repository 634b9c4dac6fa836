"""The example charger in lock-step: the product's clock and an EMS of the test, over real brokers."""

import itertools
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from runtime.checkpoint import MemoryCheckpoint, NoCheckpoint
from runtime.lockstep import Member
from runtime.pump import ClockPump, Pump
from schemas.cycle import Course
from schemas.messages import (
    Ack,
    Birth,
    ChargerTelemetry,
    Done,
    Fallback,
    Phase,
    ServiceNameplate,
    Setpoint,
    Tick,
    TimeMode,
)
from schemas.participant import Cadence, Json, Outgoing, Received, Turn
from schemas.site import OnSilence, TimeOptions
from schemas.topics import Channel, Kind, Topic
from services.clock.lockstep import LockstepClock, lockstep_run
from tests.examples.conftest import StartCharger
from tests.examples.site_bus import RUN, SITE, SiteBus, own, utc_now

T0 = datetime(2024, 5, 17, 6, 30, tzinfo=UTC)
"""08:30 in Turin: the car comes in the third step."""
QUARTER = timedelta(minutes=15)
RATED_KW, EFFICIENCY, CAPACITY_KWH = 22.5, 0.902, 55.5
ASKED_KW = (0.0, 0.0, 8.0, -20.0, -20.0, 100.0, 20.0, 0.0)


@dataclass
class Commander:
    """An EMS that asks one charger for what the test says, step by step."""

    asked_kw: Sequence[float]
    site: str = SITE
    kind: Kind = Kind.EMS
    device: str = "ems"
    subscriptions: tuple[str, ...] = (str(own(Channel.TELEMETRY)),)
    cadence: Mapping[Phase, Cadence] = field(default_factory=dict)

    def birth(self) -> Birth:
        return Birth(nameplate=ServiceNameplate(), time_modes=(TimeMode.LOCKSTEP,), software="test")

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        del inbox
        if turn.phase is not Phase.DECIDE:
            return []
        setpoint = Setpoint(
            id=f"s{turn.n}",
            epoch=1,
            valid_from=turn.t,
            valid_until=turn.t + timedelta(seconds=turn.step_s),
            power_kw=self.asked_kw[turn.n - 1],
            fallback=Fallback.IDLE,
        )
        return [Outgoing(own(Channel.SETPOINT), setpoint)]

    def snapshot(self) -> Json:
        return None

    def restore(self, state: Json) -> None:
        pass


@contextmanager
def commanding(address: BrokerAddress, asked_kw: Sequence[float]) -> Iterator[None]:
    """The EMS under the product's run loop, in a thread with a connection of its own."""
    stop = threading.Event()

    def serve() -> None:
        transport = MqttTransport(address, f"{SITE}_ems")
        member = Member(lambda: Commander(asked_kw), MemoryCheckpoint(), transport.publish, lambda: "ems-1")
        transport.connect(member.subscriptions)
        pump = Pump(transport, member)
        while not stop.is_set():
            pump.poll(0.05)
        transport.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def clock_of(address: BrokerAddress, steps: int, options: TimeOptions) -> Iterator[tuple[LockstepClock, ClockPump]]:
    transport = MqttTransport(address, f"{SITE}_clock")
    course = Course(T0, T0 + steps * QUARTER, 900)
    session = lockstep_run(course, utc_now())
    clock = LockstepClock(
        SITE, course, RUN, "clock-1", session, {"ev1", "ems"}, options, NoCheckpoint(), transport.publish, utc_now
    )
    transport.connect(ClockPump.subscriptions(SITE))
    try:
        yield clock, ClockPump(transport, clock, time.monotonic)
    finally:
        transport.close()


@pytest.fixture
def bus(address: BrokerAddress) -> Iterator[SiteBus]:
    bus = SiteBus(address)
    yield bus
    bus.close()


def vehicle_soc(telemetry: ChargerTelemetry) -> float | None:
    return None if telemetry.vehicle is None else telemetry.vehicle.soc_frac


def energies(said: ChargerTelemetry, ts: datetime) -> tuple[float, float]:
    """Import and export [kWh] by the segments."""
    assert said.segments is not None
    ends = [*(segment.start for segment in said.segments[1:]), ts]
    kwh = [s.power_kw * ((end - s.start) / timedelta(hours=1)) for s, end in zip(said.segments, ends, strict=True)]
    return sum(e for e in kwh if e > 0), -sum(e for e in kwh if e < 0)


def test_the_charger_follows_the_set_points_of_a_run(
    address: BrokerAddress, bus: SiteBus, start_charger: StartCharger
) -> None:
    start_charger(address)
    bus.boot_after()
    with commanding(address, ASKED_KW), clock_of(address, len(ASKED_KW), TimeOptions()) as (clock, pump):
        clock.start(time.monotonic())
        while not clock.finished:
            pump.poll()
            bus.listen()
    last = T0 + len(ASKED_KW) * QUARTER
    bus.until(lambda _: any(m.stamp.ts == last and m.channel is Channel.TELEMETRY for m in bus.said))
    told = {m.stamp.ts: m.body for m in bus.of(Channel.TELEMETRY) if isinstance(m.body, ChargerTelemetry)}
    assert list(told) == [T0 + step * QUARTER for step in range(len(ASKED_KW) + 1)]
    bodies = list(told.values())
    # By hand: 2 kWh x 0.902 go in, 5 kWh / 0.902 come out; then charging ends at the upper bound of the SOC.
    socs = [vehicle_soc(body) for body in bodies]
    assert socs[:2] == [None, None]
    after_8_kw = 0.705 + 2 * EFFICIENCY / CAPACITY_KWH
    after_20_kw = after_8_kw - 5 / EFFICIENCY / CAPACITY_KWH
    lowest = max(after_20_kw - 5 / EFFICIENCY / CAPACITY_KWH, 0.561)
    after_full_power = lowest + RATED_KW / 4 * EFFICIENCY / CAPACITY_KWH
    expected = [0.705, after_8_kw, after_20_kw, lowest, after_full_power]
    assert socs[2:7] == pytest.approx(expected, abs=1e-12)
    assert socs[7] == pytest.approx(min(after_full_power + 20 / 4 * EFFICIENCY / CAPACITY_KWH, 0.801), abs=1e-12)
    assert all(0.561 - 1e-9 <= soc <= 0.801 + 1e-9 for soc in socs if soc is not None)
    assert all(abs(segment.power_kw) <= RATED_KW for body in bodies for segment in body.segments or ())
    for before, (ts, after) in zip(bodies, list(told.items())[1:], strict=False):
        drawn, given = energies(after, ts)
        assert after.energy_import_kwh == pytest.approx((before.energy_import_kwh or 0) + drawn, abs=1e-12)
        assert after.energy_export_kwh == pytest.approx((before.energy_export_kwh or 0) + given, abs=1e-12)
    acks = [m.body for m in bus.of(Channel.ACK) if isinstance(m.body, Ack)]
    assert [ack.id for ack in acks] == [f"s{n + 1}" for n in range(len(ASKED_KW))]
    assert all(ack.accepted for ack in acks)
    assert acks[5].applied_kw == RATED_KW


def test_a_killed_charger_comes_back_as_a_new_life_without_making_energy(
    address: BrokerAddress, bus: SiteBus, start_charger: StartCharger
) -> None:
    first = start_charger(address)
    boots = [bus.boot_after()]
    asked = [10.0] * 12
    options = TimeOptions(tick_timeout_s=0.3, silent_attempts=3, on_silence=OnSilence.DROP)
    with commanding(address, asked), clock_of(address, len(asked), options) as (clock, pump):
        clock.start(time.monotonic())
        while not clock.finished:
            pump.poll()
            bus.listen()
            if clock.n == 5 and first.poll() is None:
                first.kill()
                first.wait()
            if clock.n == 6 and len(boots) == 1:
                start_charger(address)
                while len(boots) == 1:  # the clock waits no longer for it than it must
                    bus.listen(0.05)
                    boots += [m.stamp.boot for m in bus.said if m.stamp.boot not in boots][:1]
        assert [drop.device for drop in clock.dropped] == ["ev1"]
        assert clock.roster["ev1"] == boots[1]
    bus.until(lambda _: any(m.stamp.ts == T0 + 12 * QUARTER and m.channel is Channel.TELEMETRY for m in bus.said))
    for boot in boots:
        told = [m for m in bus.of(Channel.TELEMETRY) if m.stamp.boot == boot and isinstance(m.body, ChargerTelemetry)]
        assert told
        drawn = 0.0
        for message in told:
            assert isinstance(message.body, ChargerTelemetry)
            drawn += energies(message.body, message.stamp.ts)[0]
            assert message.body.energy_import_kwh == pytest.approx(drawn, abs=1e-12)
    second = [m.body for m in bus.of(Channel.TELEMETRY) if m.stamp.boot == boots[1]]
    assert isinstance(second[0], ChargerTelemetry)
    assert second[0].energy_import_kwh == 0.0, "nothing flows before the first set-point of the new life"


CLOCK_TICK = Topic(SITE, Kind.CLOCK, "clock", Channel.TICK)


def tick(n: int, phase: Phase, attempt: int, boot: str | None, *, orders: int = 0) -> Tick:
    return Tick(
        n=n,
        phase=phase,
        t=T0 + max(n - 1, 0) * QUARTER,
        attempt=attempt,
        t0=T0,
        t_end=T0 + 96 * QUARTER,
        step_s=900,
        roster={"ems": "test"} | ({} if boot is None else {"ev1": boot}),
        announced={"ems": ((str(own(Channel.SETPOINT)), 1, orders),)} if orders else {},
    )


def introduced(bus: SiteBus, run: str = RUN) -> tuple[str, int]:
    """Ticks an empty roll call, as often as a clock would, until birth and state of this run are there.

    Returns the boot and the last attempt. A broker may take a moment to serve a subscription that it has accepted.
    """
    for attempt in range(1, 100):
        body = tick(0, Phase.ROLLCALL, attempt, None)
        bus.send(CLOCK_TICK, body, ts=body.t, run=run, seq=attempt)
        while bus.listen(0.3):
            shown = {m.channel: m.stamp.boot for m in bus.said if m.stamp.run == run}
            if {Channel.BIRTH, Channel.STATE} <= shown.keys():
                return shown[Channel.BIRTH], attempt
    raise AssertionError(f"the charger said no more than {bus.said}")


def test_a_repeated_tick_is_answered_with_the_same_bytes(
    address: BrokerAddress, bus: SiteBus, start_charger: StartCharger
) -> None:
    start_charger(address)
    first_boot = bus.boot_after()
    boot, attempt = introduced(bus)
    assert boot == first_boot, "its first run is of the life that it began with"
    ticks = itertools.count(1000)

    def open_phase(body: Tick) -> None:
        bus.send(CLOCK_TICK, body, ts=body.t, seq=next(ticks))

    for phase in (Phase.ROLLCALL, Phase.COMMIT):
        open_phase(tick(0, phase, attempt + 1, boot))
        bus.answer()
    open_phase(tick(1, Phase.SENSE, 1, boot))
    bus.answer()
    order = Setpoint(id="one", epoch=1, valid_from=T0, valid_until=T0 + QUARTER, power_kw=5.0, fallback=Fallback.IDLE)
    open_phase(tick(1, Phase.APPLY, 1, boot, orders=1))
    bus.send(own(Channel.SETPOINT), order, ts=T0, seq=1)
    once = bus.answer()
    assert [m.channel for m in once] == [Channel.ACK, Channel.DONE], "it waited for what was announced"
    open_phase(tick(1, Phase.APPLY, 2, boot, orders=1))
    again = bus.answer()
    done = json.loads(once[-1].payload)
    assert isinstance(once[-1].body, Done)
    assert again[-1].payload == once[-1].payload
    announced = {(topic, seq) for topic, first, last in done["announced"] for seq in range(first, last + 1)}
    assert announced == {(str(own(m.channel)), m.stamp.seq) for m in again[:-1]}, "the whole cycle, once more"
    everything_said: dict[tuple[Channel, int], bytes] = {
        (m.channel, m.stamp.seq): m.payload for m in bus.said[: -len(again)] if m.channel is not Channel.DONE
    }
    assert all(everything_said[m.channel, m.stamp.seq] == m.payload for m in again[:-1])
    open_phase(tick(1, Phase.SENSE, 9, boot))  # an earlier phase, late
    open_phase(tick(1, Phase.COMMIT, 1, boot, orders=1))
    assert [m.channel for m in bus.answer()] == [Channel.DONE]


def test_a_newer_run_is_a_new_life_and_an_older_one_is_ignored(
    address: BrokerAddress, bus: SiteBus, start_charger: StartCharger
) -> None:
    start_charger(address)
    bus.boot_after()
    older, newer = RUN.replace("20240516", "20240515"), RUN.replace("20240516", "20240517")
    boot, _ = introduced(bus)
    bus.send(CLOCK_TICK, tick(0, Phase.ROLLCALL, 1, None), ts=T0, seq=1, run=older)
    another, _ = introduced(bus, newer)
    assert another != boot
    assert older not in {m.stamp.run for m in bus.said}
