"""Spoilt messages on every topic of the contract, at EMS, recorder, twin, clock and monitor: each goes on working.

Whose topics are written by whom is a matter of access lists (`tests/provision`); here everybody may write everywhere. A
message that is sound after all is acted on, so of the clock's and the EMS' plans only spoilt ones are sent: a sound run
or plan would lead, as it should.
"""

import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from broker.servers.mosquitto import LocalMosquitto
from schemas.errors import RemoteMessageError
from schemas.examples import examples
from schemas.messages import Ack, ChargerTelemetry, MeterTelemetry, Metric, Plan, Presence, Run, State
from schemas.topics import Channel, Kind, Topic
from schemas.wire import body_type, decode, encode
from services.monitor.health import diagnose
from tests.faults.fuzz import MONSTERS, bent, spoilt
from tests.faults.live import PATIENCE_S, RATED_KW, RUN, Live

DEVICES = {
    **{Kind.CHARGER: "ev1", Kind.BESS: "store", Kind.HEATPUMP: "hp", Kind.PV: "roof", Kind.METER: "load"},
    **{kind: str(kind) for kind in (Kind.NETWORK, Kind.EMS, Kind.CLOCK, Kind.RECORDER, Kind.FORECAST, Kind.TARIFF)},
    Kind.LIMITER: "box",
    Kind.OPERATOR: "homeassistant",
}
LEADING = {Channel.RUN, Channel.TICK, Channel.PLAN, Channel.EVENT}
"""Sound messages of these change who leads, which run it is, or what happens in it."""
SPEED = 60.0
"""A settlement period takes 15 s: the EMS plans with what it was told."""
MONSTER_EVERY = 400
MARK_EVERY = 200
MOST_GROWTH_MB = 100.0
"""Of each process, births of devices that do not exist and dead letters that are remembered included."""


@pytest.fixture
def everybody(tmp_path: Path, forgetful: LocalMosquitto) -> Iterator[Live]:
    live = Live(tmp_path, forgetful.address)
    live.connect()
    try:
        live.start("recorder", "--history", str(tmp_path / "history.sqlite"))
        for name in ("ems", "network", "ev1"):
            live.start(name)
        live.start_clock(SPEED)
        live.until("everybody", State, lambda _: online(live) >= {"recorder", "ems", "network", "ev1", "clock"})
        yield live
    finally:
        live.close()


def online(live: Live) -> set[str]:
    states = [(topic.device, stamp.run, body) for topic, stamp, body in live.heard if isinstance(body, State)]
    return {device for device, run, body in states if run == RUN and body.state is Presence.ONLINE}


def topics(site: str) -> list[Topic]:
    """Every channel of every kind that has a content there."""
    found = []
    for kind, device in DEVICES.items():
        for channel in Channel:
            with suppress(RemoteMessageError):
                body_type(kind, channel)
                found.append(Topic(site, kind, device, channel))
    return found


def sound() -> dict[tuple[Kind, Channel] | Channel, dict[str, Any]]:
    """A sound message of each content: telemetry and births by kind, the others by channel."""
    found: dict[tuple[Kind, Channel] | Channel, dict[str, Any]] = {}
    for topic, stamp, body in examples():
        message = json.loads(encode(stamp, body)) | {"run": RUN, "boot": "fuzz"}
        found[topic.kind, topic.channel] = message
        found.setdefault(topic.channel, message)
    return found


def fuzzed(site: str, number: int, seed: int, clock: Callable[[], datetime]) -> Iterator[tuple[str, bytes]]:
    """Half of them are spoilt in form, half have other values of the same types."""
    chance, messages, places = random.Random(seed), sound(), topics(site)
    for index in range(number):
        topic = chance.choice(places)
        if index % MONSTER_EVERY == 0:
            yield str(topic), chance.choice(MONSTERS)
            continue
        base = messages.get((topic.kind, topic.channel)) or messages[topic.channel]
        now = clock()
        message = base | {"ts": now.isoformat().replace("+00:00", "Z"), "seq": index + 1}
        payload = bent(message, chance, now) if chance.random() < 0.5 else spoilt(message, chance)
        if not (topic.channel in LEADING and is_sound(topic, payload)):
            yield str(topic), payload


def is_sound(topic: Topic, payload: bytes) -> bool:
    try:
        decode(topic, payload)
    except RemoteMessageError:
        return False
    return True


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(1_500, id="1500"),
        pytest.param(100_000, id="100000", marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
def test_nobody_is_stopped_by_what_comes_on_any_topic(everybody: Live, number: int) -> None:
    live = everybody
    history = live.folder / "history.sqlite"
    watched = {name: psutil.Process(process.pid) for name, process in live.processes.items()}
    before = {name: process.memory_info().rss / 1e6 for name, process in watched.items()}
    (run,) = {body for _, _, body in live.heard if isinstance(body, Run)}

    def clock() -> datetime:
        return run.time_at(datetime.now(UTC))

    marks = sent = 0
    began = time.monotonic()
    for index, (topic, payload) in enumerate(fuzzed(live.site.site, number, seed=20261128, clock=clock)):
        live.raw(topic, payload)
        sent += 1
        if index % MARK_EVERY == MARK_EVERY - 1:
            marks += 1
            mark(live, marks)
    took_s = time.monotonic() - began

    assert {name: process.poll() for name, process in live.processes.items()} == dict.fromkeys(live.processes)
    now = clock()
    command = live.command("sound", 3.0, 0.0, epoch=1_000_000, valid_from=now, valid_until=now + timedelta(hours=24))
    assert live.until_acked(command).accepted, "what was fuzzed locks nobody out"
    live.until("its power", ChargerTelemetry, lambda body: body.power_kw == 3.0 and is_of(live, Kind.CHARGER))
    live.until("a plan", Plan, lambda _: is_of(live, Kind.EMS))
    for kind in (Kind.CLOCK, Kind.EMS, Kind.RECORDER):
        live.until(f"a heartbeat of the {kind}", Metric, lambda body, kind=kind: is_of(live, kind))
    assert all(-RATED_KW <= kw <= RATED_KW for kw in powers_of_the_twin(live))
    stored, letters = stored_of(history, marks)
    assert stored == marks, "each sound message once"
    assert number / 4 < letters < 0.95 * number, "some are spoilt, some are sound in form"
    assert diagnose(live.roster, datetime.now(UTC), PATIENCE_S), "the monitor has its findings"
    growth = {name: process.memory_info().rss / 1e6 - before[name] for name, process in watched.items()}
    print(f"\n{sent} spoilt payloads on {len(topics(live.site.site))} topics in {took_s:.0f} s, {letters} dead letters")
    print("memory grew by", ", ".join(f"{name} {mb:.1f} MB" for name, mb in growth.items()))
    assert max(growth.values()) < MOST_GROWTH_MB


def mark(live: Live, seq: int) -> None:
    """A sound message among the others, which the ear waits for: nobody's queue at the broker grows without end."""
    topic = live.topic(Channel.TELEMETRY, Kind.METER, "mark")
    live.send(topic, MeterTelemetry(power_kw=1.0, energy_import_kwh=float(seq), energy_export_kwh=0.0))
    live.until("the mark", MeterTelemetry, lambda body: body.energy_import_kwh == seq and live.heard[-1][0] == topic)


def is_of(live: Live, kind: Kind) -> bool:
    topic, stamp, _ = live.heard[-1]
    return topic.kind is kind and stamp.boot not in ("fuzz", "test")


def powers_of_the_twin(live: Live) -> set[float]:
    """What it says itself: its telemetry and its acks."""
    own = [body for topic, stamp, body in live.heard if topic.device == "ev1" and stamp.boot not in ("fuzz", "test")]
    powers = {body.power_kw for body in own if isinstance(body, ChargerTelemetry)}
    return powers | {body.applied_kw for body in own if isinstance(body, Ack) and body.applied_kw is not None}


def stored_of(history: Path, marks: int) -> tuple[int, int]:
    """Marks that are stored, each once, and dead letters; waits until the recorder has come so far."""
    deadline = time.monotonic() + 4 * PATIENCE_S
    with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True, timeout=30.0)) as file:
        sql = "SELECT count(*), count(DISTINCT seq) FROM message WHERE device = 'mark' AND boot = 'test' AND run = ?"
        while True:
            rows, distinct = file.execute(sql, [RUN]).fetchone()
            if distinct >= marks or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        (letters,) = file.execute("SELECT coalesce(sum(times), 0) FROM dead_letter").fetchone()
    assert rows == distinct
    return int(distinct), int(letters)
