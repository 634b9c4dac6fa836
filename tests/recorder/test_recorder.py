"""What the recorder keeps, what it does not, and that nothing but what was announced becomes history."""

import json
import random
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import Code, LocalStateError, RemoteMessageError
from schemas.messages import (
    MeterRole,
    MeterTelemetry,
    Metric,
    Phase,
    Presence,
    Receipt,
    Reject,
    Run,
    Stamp,
    State,
    TimeMode,
)
from schemas.participant import Received, Wanted
from schemas.topics import Channel, Kind, Topic
from schemas.wire import decode, encode
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from services.recorder.inbox import KEPT_BYTES
from services.recorder.recorder import Recorder
from tests.errors import raises
from tests.history.tape import RUN, SITE, Tape, at_noon, record, wanted_of

LATER = "20250101T000000.000000Z-0001"


def _recorder(path: Path) -> tuple[Recorder, HistoryStore]:
    store = HistoryStore(path, durable=False)
    return Recorder(SITE, store, "main", at_noon), store


def _add(recorder: Recorder, received: Received) -> None:
    recorder.inbox.add(received, encode(received.stamp, received.body))


def _contents(path: Path) -> list[tuple[Any, ...]]:
    """The history but for the order of arrival."""
    connection = sqlite3.connect(path)
    return connection.execute(
        "SELECT topic, boot, seq, ts_us, payload, run, cycle FROM message ORDER BY topic, boot, seq"
    ).fetchall()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    path = tmp_path_factory.mktemp("plain") / "h.sqlite"
    record(Tape(), path, last=6)
    return _contents(path)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_order_duplication_and_restart_gives_the_same_history(
    seed: int, plain: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = random.Random(seed)
    path = tmp_path_factory.mktemp("shaken") / "h.sqlite"
    recorder, store = _recorder(path)
    tape, told = Tape(), []
    for n, messages in tape.cycles():
        if n > 6:
            break
        told += messages
        # Each at least once, some twice, some of earlier cycles again, in any order.
        deliveries = [*messages, *chance.sample(told, chance.randint(0, len(told)))]
        chance.shuffle(deliveries)
        for received in deliveries:
            if chance.random() < 0.1:
                recorder.inbox.flush()
            if chance.random() < 0.02:
                # The process dies: what was not flushed is gone, and is delivered again as it was not acknowledged.
                state = recorder.snapshot()
                store.close()
                recorder, store = _recorder(path)
                recorder.restore(json.loads(json.dumps(state)))
                for again in deliveries:
                    _add(recorder, again)
            _add(recorder, received)
        assert not recorder.inbox.missing(wanted_of(messages))
        for _ in range(chance.randint(1, 2)):
            recorder.inbox.take(RUN, tape.turn(n), wanted_of(messages))
            recorder.act(tape.turn(n), [])
    store.close()
    assert _contents(path) == plain


def test_what_was_not_announced_is_no_history(tmp_path: Path) -> None:
    recorder, store = _recorder(tmp_path / "h.sqlite")
    tape = Tape()
    n, messages = next(iter(tape.cycles()))
    ghost = Received(
        Topic("house", Kind.PV, "ghost", Channel.STATE),
        Stamp(ts=tape.course.t0, run=RUN, boot="ghost-1", seq=1),
        State(state=Presence.ONLINE),
    )
    will = Received(messages[0].topic, ghost.stamp.model_copy(update={"seq": 0}), messages[0].body)
    for received in [*messages, ghost, will]:
        _add(recorder, received)
    recorder.inbox.take(RUN, tape.turn(n), wanted_of(messages))
    (answer,) = recorder.act(tape.turn(n), [])
    store.close()
    assert isinstance(answer.body, Receipt)
    assert (answer.body.stored, answer.body.missing, answer.body.up_to) == (len(messages), 0, tape.course.t0)
    counts = SqliteHistory(tmp_path / "h.sqlite").counts(RUN)
    assert (counts.recorded, counts.stray) == (len(messages), 1), "a last will, which carries no number, is no stray"


def test_phases_before_the_commit_make_no_history(tmp_path: Path) -> None:
    recorder, store = _recorder(tmp_path / "h.sqlite")
    tape = Tape()
    n, messages = next(iter(tape.cycles()))
    for received in messages:
        _add(recorder, received)
    assert recorder.inbox.take(RUN, tape.turn(n, Phase.ROLLCALL), wanted_of(messages)) == []
    assert recorder.act(tape.turn(n, Phase.ROLLCALL), []) == []
    recorder.inbox.flush()
    assert SqliteHistory(tmp_path / "h.sqlite").runs() == []
    store.close()


def test_ticks_dones_and_its_own_receipts_are_neither_kept_nor_awaited(tmp_path: Path) -> None:
    recorder, store = _recorder(tmp_path / "h.sqlite")
    own = Received(
        Topic("house", Kind.RECORDER, "recorder", Channel.RECEIPT),
        Stamp(ts=at_noon(), run=RUN, boot="r-1", seq=1),
        Receipt(stored=0, missing=0, dead_letters=0),
    )
    _add(recorder, own)
    recorder.inbox.flush()
    assert _contents(tmp_path / "h.sqlite") == []
    topics = ["recorder/recorder/receipt", "charger/charger-1/done", "clock/clock/tick"]
    assert not recorder.inbox.missing([Wanted(f"twin/v2/house/{topic}", "x-1", 1, 3) for topic in topics])
    store.close()


def test_what_it_tells_of_its_work_in_wall_time_is_history_and_counts_once(tmp_path: Path) -> None:
    recorder, store = _recorder(tmp_path / "h.sqlite")
    tape = Tape(mode=TimeMode.WALL)
    recorder.inbox.take(RUN, tape.turn(0), [])
    recorder.inbox.reject("twin/v2/house/nonsense", b"?", "not a topic")
    disk = {name: value for name, value in recorder.metrics.items() if name.startswith("disk")}
    assert set(disk) == {"disk_free_mib", "disk_low_mib"}
    assert disk["disk_low_mib"] == 1024.0
    counts = ("stored", "missing", "dead_letters")
    assert [recorder.metrics[name] for name in counts] == [0.0, 0.0, 0.0]
    for channel, body in (
        (Channel.METRIC, Metric(values={"stored": 0.0})),
        (Channel.REJECT, Reject(topic="x", reason="y")),
    ):
        own = Topic("house", Kind.RECORDER, "recorder", channel)
        _add(recorder, Received(own, Stamp(ts=tape.course.t0, run=RUN, boot="r-1", seq=1), body))
    recorder.inbox.take(RUN, tape.turn(0), [])
    assert [recorder.metrics[name] for name in counts] == [2.0, 0.0, 1.0]
    store.close()


def test_missing_tells_what_has_not_arrived(tmp_path: Path) -> None:
    recorder, store = _recorder(tmp_path / "h.sqlite")
    _, messages = next(iter(Tape().cycles()))
    for received in messages[1:]:
        _add(recorder, received)
    assert recorder.inbox.missing(wanted_of(messages))
    with raises(Code.STATE, "0 of 1", kind=LocalStateError):
        recorder.inbox.take(RUN, Tape().turn(0), wanted_of(messages))
    _add(recorder, messages[0])
    assert not recorder.inbox.missing(wanted_of(messages))
    store.close()


def test_messages_of_an_older_run_are_ignored_and_counted_but_for_births_and_states(tmp_path: Path) -> None:
    recorder, store = _recorder(tmp_path / "h.sqlite")
    tape = Tape()
    n, messages = next(iter(tape.cycles()))
    for received in messages:
        _add(recorder, received)
    recorder.inbox.take(RUN, tape.turn(n), wanted_of(messages))
    old = Stamp(ts=at_noon(), run="20200101T000000.000000Z-0000", boot="old", seq=1)
    _add(recorder, Received(Topic("house", Kind.EMS, "ems", Channel.METRIC), old, Metric(values={})))
    _add(recorder, Received(Topic("house", Kind.EMS, "ems", Channel.STATE), old, State(state=Presence.OFFLINE)))
    assert recorder.inbox.ignored == 1
    store.close()


def test_runs_with_the_same_boots_stand_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=3)
    record(Tape(run="20240515T000000.000000Z-0002"), path, "reference", last=3)
    runs = SqliteHistory(path).runs()
    assert [info.label for info in runs] == ["main", "reference"]
    assert len({SqliteHistory(path).counts(info.run).recorded for info in runs}) == 1


def test_gap_in_the_numbering_is_counted_as_missing(tmp_path: Path) -> None:
    tape = Tape()
    recorder, store = _recorder(tmp_path / "h.sqlite")
    for n, messages in tape.cycles():
        if n > 4:
            break
        kept = [m for m in messages if not (n == 3 and m.topic.device == "load")]
        for received in kept:
            _add(recorder, received)
        recorder.inbox.take(RUN, tape.turn(n), wanted_of(kept))
    assert recorder.inbox.receipt().missing == 1
    assert SqliteHistory(tmp_path / "h.sqlite").counts(RUN).missing == 1
    store.close()


def test_live_session_records_all_that_arrives_and_answers_sparingly(tmp_path: Path) -> None:
    tape = Tape(mode=TimeMode.WALL)
    recorder, store = _recorder(tmp_path / "h.sqlite")
    answers = []
    for n, messages in tape.cycles():
        if n > 3:
            break
        for received in messages:
            # A device in wall time may leave the run out.
            stamp = received.stamp.model_copy(update={"run": None})
            recorder.inbox.add(Received(received.topic, stamp, received.body), encode(stamp, received.body))
        recorder.inbox.flush()
        for _ in range(2):
            recorder.inbox.take(RUN, tape.turn(n), [])
            answers += recorder.act(tape.turn(n), [])
    recorder.inbox.flush()
    store.close()
    # The roll call and the first step are at one instant; a receipt comes at most every ten seconds.
    assert len(answers) == 3
    history = SqliteHistory(tmp_path / "h.sqlite")
    assert (history.counts(RUN).recorded, history.counts(RUN).stray) == (6 + 3 * 6, 0)
    assert history.info(RUN).mode is TimeMode.WALL
    assert len(history.grid(RUN)) == 3


def _live(tmp_path: Path, run: str, ended: bool) -> None:
    """A session without end in which one meter, born before it, tells twice."""
    recorder, store = _recorder(tmp_path / "h.sqlite")
    t0 = Tape().course.t0
    turn = replace(Tape(mode=TimeMode.WALL).turn(1), t_end=None)
    session = Run(
        mode=TimeMode.WALL, step_s=900, t0=t0, wall0=t0, speed=1.0, simulated=False, ended=at_noon() if ended else None
    )
    birth = next(body for who, body in Tape().births() if who[1] == "load")
    told = [
        (Topic("house", Kind.METER, "load", Channel.BIRTH), None, 1, birth),
        (Topic("house", Kind.CLOCK, "clock", Channel.RUN), run, 1, session),
        (Topic("house", Kind.METER, "load", Channel.TELEMETRY), None, int(run[:8]), MeterTelemetry(power_kw=4.0)),
    ]
    recorder.inbox.take(run, turn, [])
    for topic, of_run, seq, body in told:
        _add(recorder, Received(topic, Stamp(ts=t0, run=of_run, boot="load-1", seq=seq), body))
    recorder.inbox.take(run, turn, [])
    store.close()


def test_live_session_that_says_it_has_ended_is_complete(tmp_path: Path) -> None:
    _live(tmp_path, RUN, ended=False)
    assert not SqliteHistory(tmp_path / "h.sqlite").info(RUN).complete
    _live(tmp_path, LATER, ended=True)
    assert SqliteHistory(tmp_path / "h.sqlite").info(LATER).complete


def test_birth_of_a_life_that_began_before_the_session_is_found(tmp_path: Path) -> None:
    _live(tmp_path, RUN, ended=True)
    _live(tmp_path, LATER, ended=False)
    history = SqliteHistory(tmp_path / "h.sqlite")
    assert list(history.births(LATER)) == ["load"]
    assert history.tracks(LATER)["load"].role is MeterRole.LOAD


@pytest.mark.parametrize("staged", [False, True], ids=["as they come", "staged before"])
def test_births_of_a_run_in_lockstep_are_not_taken_by_the_session_before_it(tmp_path: Path, staged: bool) -> None:
    """A recorder that is started anew takes up the session that it finds, while the next run gathers already."""
    recorder, store = _recorder(tmp_path / "h.sqlite")
    tape = Tape(run=LATER)
    n, messages = next(iter(tape.cycles()))
    session = replace(Tape(mode=TimeMode.WALL).turn(1), t_end=None)
    if staged:
        for received in messages:
            _add(recorder, received)
    recorder.inbox.take(RUN, session, [])
    if not staged:
        for received in messages:
            _add(recorder, received)
    recorder.inbox.take(RUN, session, [])
    recorder.inbox.take(LATER, tape.turn(n), wanted_of(messages))
    store.close()
    history = SqliteHistory(tmp_path / "h.sqlite")
    assert len(history.births(LATER)) == len(list(Tape().births()))
    assert not history.births(RUN)


NESTED = b'{"a":' * 10_000 + b"1" + b"}" * 10_000


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("twin/v2/house/meter/load/telemetry", b'{"ts":"2024-05-15T00:00:00Z","boot":"b","seq":1,"power_kw":NaN}'),
        ("twin/v2/house/meter/load/telemetry", b'{"ts":"2024-05-15T00:00:00Z","boot":"b","seq":1,"power_kw":1e999}'),
        ("twin/v2/house/meter/load/telemetry", b'{"ts":"2024-05-15T00:00:00Z","boot":"b","seq":1,"power_kw":"4"}'),
        (
            "twin/v2/house/meter/load/telemetry",
            b'{"contract":1,"ts":"2024-05-15T00:00:00Z","boot":"b","seq":1,"power_kw":4}',
        ),
        ("twin/v2/house/meter/load/telemetry", NESTED),
        ("twin/v2/house/meter/load/telemetry", b" " * 1_000_000),
        ("twin/v2/house/meter/load/telemetry", b"\xff\xfe\x00"),
        ("twin/v2/house/toaster/load/telemetry", b"{}"),
        ("twin/v2/house/" + "x" * 5000, b"{}"),
        ("twin/v2/house/meter/\udc80/telemetry", b"{}"),
    ],
    ids=["nan", "1e999", "type", "version", "nesting", "1 MB", "no text", "kind", "long topic", "surrogate"],
)
def test_message_that_is_not_of_the_contract_becomes_a_dead_letter(tmp_path: Path, topic: str, payload: bytes) -> None:
    recorder, store = _recorder(tmp_path / "h.sqlite")
    for _ in range(2):
        with pytest.raises(RemoteMessageError) as caught:
            decode(Topic.parse(topic), payload)
        recorder.inbox.reject(topic, payload, str(caught.value))
        recorder.inbox.flush()
    tape = Tape()
    n, messages = next(iter(tape.cycles()))
    for received in messages:
        _add(recorder, received)
    recorder.inbox.take(RUN, tape.turn(n), wanted_of(messages))
    assert recorder.inbox.receipt().dead_letters == 1
    recorder.inbox.reject(topic, payload, "again")
    recorder.inbox.flush()
    store.close()
    (letter,) = SqliteHistory(tmp_path / "h.sqlite").dead_letters(RUN)
    assert (letter.size_bytes, letter.payload, letter.times) == (len(payload), payload[:KEPT_BYTES], 3)
    assert letter.reason
    assert letter.received == at_noon()
    assert len(letter.topic) <= 500


def test_message_that_comes_with_its_run_and_without_is_no_gap_below_none(tmp_path: Path) -> None:
    # A live device may leave the run out; said both ways one number is there twice.
    recorder, store = _recorder(tmp_path / "h.sqlite")
    tape = Tape(mode=TimeMode.WALL)
    n, messages = next(tape.cycles())
    for received in messages:
        _add(recorder, received)
        _add(recorder, replace(received, stamp=received.stamp.model_copy(update={"run": None})))
    recorder.inbox.flush()
    recorder.inbox.take(RUN, tape.turn(n), wanted_of(messages))
    assert recorder.inbox.receipt().missing == 0
    store.close()
    again, store = _recorder(tmp_path / "h.sqlite")
    again.inbox.enter(RUN, live=True)
    assert again.inbox.receipt().missing == 0
    store.close()
    assert SqliteHistory(tmp_path / "h.sqlite").counts(RUN).missing == 0
