"""The example charger in wall time: a retained session, set-points with validity, its own clock."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from broker.address import BrokerAddress
from schemas.messages import Ack, ChargerTelemetry, Fallback, Presence, Run, Setpoint, State, TimeMode
from schemas.topics import Channel, Kind, Topic
from tests.examples.conftest import StartCharger
from tests.examples.site_bus import SITE, Said, SiteBus, own, utc_now

T0 = datetime(2024, 5, 17, 8, 0, tzinfo=UTC)
"""10:00 in Turin: the car is there."""
SESSION = Topic(SITE, Kind.CLOCK, "clock", Channel.RUN)


@pytest.fixture
def bus(address: BrokerAddress) -> Iterator[SiteBus]:
    bus = SiteBus(address)
    yield bus
    bus.close()


def open_session(bus: SiteBus) -> Run:
    session = Run(mode=TimeMode.WALL, step_s=900, t0=T0, wall0=utc_now(), speed=60.0)
    bus.send(SESSION, session, ts=T0, seq=1)
    return session


def telemetry(message: Said) -> ChargerTelemetry | None:
    return message.body if isinstance(message.body, ChargerTelemetry) else None


def test_a_set_point_holds_until_it_expires_and_then_its_fallback(
    address: BrokerAddress, bus: SiteBus, start_charger: StartCharger
) -> None:
    session = open_session(bus)
    start_charger(address)
    bus.until(lambda news: telemetry(news[-1]) is not None if news else False)
    now = session.time_at(utc_now())
    order = Setpoint(
        id="one",
        epoch=3,
        valid_from=now,
        valid_until=now + timedelta(seconds=60),
        power_kw=-10.0,
        fallback=Fallback.IDLE,
    )
    bus.send(own(Channel.SETPOINT), order, ts=now, seq=1)
    news = bus.until(lambda news: any((b := telemetry(m)) is not None and b.power_kw == -10.0 for m in news))
    acks = [m.body for m in news if isinstance(m.body, Ack)]
    assert [(ack.id, ack.accepted, ack.applied_kw) for ack in acks] == [("one", True, -10.0)]
    last = bus.until(lambda news: any((b := telemetry(m)) is not None and b.power_kw == 0.0 for m in news))[-1]
    assert last.stamp.ts >= order.valid_until
    told = [(m.stamp.ts, body) for m in bus.said if (body := telemetry(m)) is not None]
    assert all(body.segments is None for _, body in told)
    periods = [ts.timestamp() // 10 for ts, _ in told]
    assert len(set(periods)) == len(periods), "one telemetry in each period"
    stale = order.model_copy(update={"id": "two", "epoch": 2, "valid_until": last.stamp.ts + timedelta(hours=1)})
    bus.send(own(Channel.SETPOINT), stale, ts=now, seq=2)
    refused = bus.until(lambda news: any(isinstance(m.body, Ack) for m in news))
    (ack,) = [m.body for m in refused if isinstance(m.body, Ack)]
    assert not ack.accepted


def test_telemetry_ends_with_the_session(address: BrokerAddress, bus: SiteBus, start_charger: StartCharger) -> None:
    session = open_session(bus)
    process = start_charger(address)
    bus.until(lambda news: sum(telemetry(m) is not None for m in news) >= 2)
    bus.send(SESSION, session.model_copy(update={"ended": utc_now()}), ts=T0, seq=2)
    process_said = len(bus.said)
    while bus.listen(1.0):  # six telemetry periods of silence
        pass
    assert sum(telemetry(m) is not None for m in bus.said[process_said:]) <= 2
    process.kill()
    bus.until(lambda news: any(isinstance(m.body, State) and m.body.state is Presence.OFFLINE for m in news))
    will = bus.of(Channel.STATE)[-1]
    assert will.stamp.seq == 0
    assert will.stamp.boot == bus.boot_after(), "the last will is of the life that spoke"


def test_what_is_not_of_the_contract_stops_nothing(
    address: BrokerAddress, bus: SiteBus, start_charger: StartCharger
) -> None:
    start_charger(address)
    bus.boot_after()
    for payload in (b"", b"{", b"[]", b'{"run": 7}', b"\xff", b'{"id": "x"}'):
        bus.transport.publish(str(own(Channel.SETPOINT)), payload)
        bus.transport.publish(str(SESSION), payload)
    open_session(bus)
    bus.until(lambda news: any(telemetry(m) is not None for m in news))
