"""Messages that come twice, out of order or with a wrong time, and a device whose clock is wrong by an hour."""

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.servers.mosquitto import LocalMosquitto
from schemas.messages import Ack, Alarm, Birth, Fallback, MeterTelemetry, Setpoint, Stamp
from schemas.topics import Channel, Kind
from schemas.wire import encode
from services.ems.device_watch import CLOCK_SKEW
from tests.faults.live import FALLBACK_KW, PATIENCE_S, RUN, Live

WRONG_CLOCK = """
import sys
from datetime import timedelta
from runtime.steady_clock import SteadyClock
right = SteadyClock._read_both
def wrong(self):
    elapsed_s, machine = right(self)
    return elapsed_s, machine + timedelta(hours={hours})
SteadyClock._read_both = wrong
from twinswarm.deploy.process import main
sys.exit(main(sys.argv[1:]))
"""
OFF = [timedelta(), timedelta(hours=-1), timedelta(hours=1), timedelta(days=-3650), timedelta(days=3650)]
MESSAGES = 300


def test_messages_that_are_repeated_and_out_of_order_are_each_stored_once(live: Live) -> None:
    """As a network does it on which some messages take another way: each is up to 20 places from its own."""
    chance = random.Random(14)
    began = datetime.now(UTC)
    copies = [
        (place + chance.uniform(0.0, 20.0), encode_telemetry(place, began + timedelta(milliseconds=10 * place)))
        for place in range(1, MESSAGES + 1)
        for _ in range(chance.randint(1, 3))
    ]
    check_stored_once(live, [payload for _, payload in sorted(copies)])


def test_messages_of_old_and_of_future_times_are_each_stored_once(live: Live) -> None:
    """The sender's clock jumps to and fro between each two of its messages, and some of them come twice."""
    chance = random.Random(15)
    payloads: list[bytes] = []
    for seq in range(1, MESSAGES + 1):
        payloads += [encode_telemetry(seq, datetime.now(UTC) + chance.choice(OFF))] * chance.randint(1, 2)
    check_stored_once(live, payloads)


def encode_telemetry(seq: int, ts: datetime) -> bytes:
    body = MeterTelemetry(power_kw=1.0, energy_import_kwh=float(seq), energy_export_kwh=0.0)
    return encode(Stamp(ts=ts, run=RUN, boot="outside", seq=seq), body)


def check_stored_once(live: Live, payloads: list[bytes]) -> None:
    """A device from outside sends this to a recorder."""
    history = live.folder / "history.sqlite"
    recorder = live.start("recorder", "--history", str(history))
    live.until("the recorder", Birth, lambda _: live.heard[-1][0].device == "recorder")
    topic = live.topic(Channel.TELEMETRY, Kind.METER, "load")
    for payload in payloads:
        live.mouth.publish(str(topic), payload)
    assert live.mouth.flush(PATIENCE_S)
    stored: list[int] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(stored) < MESSAGES and time.monotonic() < deadline:
        live.mouth.receive(0.1)
        with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True, timeout=30.0)) as file:
            stored = [seq for (seq,) in file.execute("SELECT seq FROM message WHERE device = 'load' ORDER BY seq")]
    assert stored == list(range(1, MESSAGES + 1))
    assert recorder.poll() is None


def test_set_points_that_are_repeated_and_come_late_are_not_followed_again(live: Live) -> None:
    live.start()
    live.until_power(FALLBACK_KW)
    now = datetime.now(UTC)
    payloads: dict[str, bytes] = {}
    for seq, (name, kw) in enumerate((("older", 9.0), ("newer", 6.0)), start=1_000):
        body = Setpoint(
            id=name,
            epoch=1,
            valid_from=now,
            valid_until=now + timedelta(minutes=10),
            power_kw=kw,
            fallback=Fallback.UNCONTROLLED,
        )
        payloads[name] = encode(Stamp(ts=now + timedelta(seconds=seq - 1_000), run=RUN, boot="test", seq=seq), body)
        live.mouth.publish(str(live.set_topic), payloads[name])
        live.until_power(kw)
    first = len(live.heard)
    for name in ("older", "newer", "older", "older"):
        live.mouth.publish(str(live.set_topic), payloads[name])
    for _ in range(6):
        live.until_power(6.0, live.heard[-1][1].ts)
    assert live.powers(first) == {6.0}


@pytest.fixture
def planned(tmp_path: Path, mosquitto: LocalMosquitto) -> Iterator[Live]:
    """A run that began three hours ago, and prices."""
    live = Live(tmp_path, mosquitto.address)
    live.listen(begun=timedelta(hours=3))
    live.send_prices()
    try:
        yield live
    finally:
        live.close()


def start_with_clock_ahead(live: Live, hours: int) -> None:
    usual, live.program = live.program, ("-c", WRONG_CLOCK.format(hours=hours))
    live.start()
    live.program = usual
    live.until_power(FALLBACK_KW)
    live.start("ems")


def test_a_device_whose_clock_is_an_hour_ahead_is_named_and_stays_on_its_fallback(planned: Live) -> None:
    """To it each set-point has expired."""
    start_with_clock_ahead(planned, 1)
    assert planned.until("the alarm", Alarm, lambda body: body.code == CLOCK_SKEW and body.device == "ev1").active
    acks = [body for _, _, body in planned.heard if isinstance(body, Ack)] or [planned.until("its ack", Ack)]
    assert not any(ack.accepted for ack in acks)
    planned.until_power(FALLBACK_KW)
    assert planned.powers() == {FALLBACK_KW}


def test_a_device_whose_clock_is_an_hour_behind_takes_the_time_of_the_run_and_follows_the_ems(planned: Live) -> None:
    start_with_clock_ahead(planned, -1)
    ack = planned.until("its ack", Ack)
    assert ack.accepted, ack.reason
    assert ack.applied_kw is not None
    planned.until_power(ack.applied_kw)
    assert abs(datetime.now(UTC) - planned.heard[-1][1].ts) < timedelta(minutes=1)
