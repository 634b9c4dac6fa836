"""In wall time a message becomes history as it is inserted: the rows are those of the rule, whatever came when."""

import random
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.messages import Body, MeterTelemetry, Presence, Stamp, State, TimeMode
from schemas.participant import Received
from schemas.topics import Channel, Kind, Topic
from schemas.wire import encode
from services.history.store import HistoryStore
from services.recorder.inbox import RecorderInbox
from tests.history.tape import RUN, SITE, Tape
from tests.recorder.test_recorder import at_noon

EARLIER, LATER = "20240514T000000.000000Z-0001", "20240516T000000.000000Z-0001"
METERS = ("load", "pv-1", "car-1")


def _messages(chance: random.Random, count: int) -> list[tuple[Received, bytes]]:
    """Numbers that come twice, with other content, with and without their run, and of other runs."""
    made = []
    for _ in range(count):
        device, boot, seq = chance.choice(METERS), chance.choice("ab"), chance.randint(0, 30)
        run = chance.choice([RUN, RUN, RUN, None, EARLIER, LATER])
        body: Body = MeterTelemetry(power_kw=float(chance.randint(0, 1)), energy_import_kwh=1.0, energy_export_kwh=0.0)
        channel = Channel.TELEMETRY
        if chance.random() < 0.2:
            body, channel = State(state=chance.choice(list(Presence))), Channel.STATE
        stamp = Stamp(ts=at_noon() + timedelta(seconds=seq), run=run, boot=boot, seq=seq)
        topic = Topic(SITE.site, Kind.METER, device, channel)
        made.append((Received(topic, stamp, body), encode(stamp, body)))
    return made


def _expected(messages: Sequence[tuple[Received, bytes]], known_from: int) -> list[tuple[object, ...]]:
    """The rule: the first content of an identity stays; history is what is of this run, or without one.

    Of an earlier run so are states, of a later one nothing."""
    rows: dict[tuple[object, ...], tuple[object, ...]] = {}
    for place, (received, payload) in enumerate(messages):
        topic, stamp = received.topic, received.stamp
        lasting = topic.channel is Channel.STATE
        if place >= known_from and stamp.run == EARLIER and not lasting:
            continue  # of a run before this one
        identity = (str(topic), stamp.boot, stamp.seq, stamp.run or "")
        of_this = stamp.run in (RUN, None) or (lasting and stamp.run == EARLIER)
        rows.setdefault(identity, (*identity, payload.decode(), RUN if of_this else None))
    return sorted(rows.values(), key=str)


@pytest.mark.parametrize("seed", range(6))
def test_the_rows_are_the_same_in_whatever_batches_they_came(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    messages = _messages(chance, 400)
    known_from = chance.choice([0, 50])
    store = HistoryStore(tmp_path / "h.sqlite", durable=False)
    inbox, tape = RecorderInbox(SITE, store, "main", at_noon), Tape(mode=TimeMode.WALL)
    for place, (received, payload) in enumerate(messages):
        if place == known_from:
            inbox.take(RUN, tape.turn(0), [])
        inbox.add(received, payload)
        if chance.random() < 0.1:
            inbox.flush()
        if place > known_from and chance.random() < 0.05:
            inbox.take(RUN, tape.turn(0), [])
    inbox.flush()
    found = sqlite3.connect(tmp_path / "h.sqlite").execute(
        "SELECT topic, boot, seq, stamped_run, payload, run FROM message"
    )
    expected = _expected(messages, known_from)
    assert sorted(found.fetchall(), key=str) == expected
    assert inbox.receipt().stored == sum(row[-1] == RUN for row in expected)
    again = RecorderInbox(SITE, store, "main", at_noon)
    again.enter(RUN, live=True)
    assert again.receipt().stored == inbox.receipt().stored
    assert again.receipt().missing == inbox.receipt().missing
    store.close()


def test_what_a_full_disk_rolled_back_is_history_at_the_next_attempt(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path / "h.sqlite", durable=False)
    inbox = RecorderInbox(SITE, store, "main", at_noon)
    messages = _messages(random.Random(1), 40)
    for received, payload in messages:
        inbox.add(received, payload)
    inbox.flush()  # staged, before the run is known
    inbox.enter(RUN, live=True)
    store._connection.execute("CREATE TRIGGER full BEFORE UPDATE ON message BEGIN SELECT RAISE(ABORT, 'full'); END")
    inbox.add(*messages[0])
    with pytest.raises(Exception, match="full"):
        inbox.flush()
    store._connection.execute("DROP TRIGGER full")
    inbox.flush()
    found = sqlite3.connect(tmp_path / "h.sqlite").execute(
        "SELECT topic, boot, seq, stamped_run, payload, run FROM message"
    )
    assert sorted(found.fetchall(), key=str) == _expected(messages, 40)
    store.close()
