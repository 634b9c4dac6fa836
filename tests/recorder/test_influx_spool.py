"""The history file as a spool, without a server."""

import sqlite3
from contextlib import closing
from pathlib import Path

from services.recorder.spool import Refusal, Spool
from services.recorder.store import HistoryStore, from_us
from tests.recorder.tape import RUN, Tape, at_noon, record


def test_row_of_a_run_that_is_over_is_not_sent_again_when_a_device_is_born(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path)
    with closing(HistoryStore(path, durable=False)) as store:
        spool = Spool(store)
        with store.transaction() as connection:
            connection.execute("UPDATE run SET mode = 'wall'")
        (row,) = spool.runs()
        assert '"births"' in (row.row or "")
        spool.note([row], [], at_noon())
        assert spool.runs() == []
        with store.transaction() as connection:
            connection.execute(
                "INSERT INTO message (site, kind, device, channel, topic, boot, seq, ts_us, stamped_run, payload) "
                "SELECT site, kind, device, channel, topic, 'next', seq, ts_us + 86400000001, 'later', payload "
                "FROM message WHERE channel = 'birth'"
            )
        assert spool.runs() == []


def test_message_that_cannot_be_read_any_more_goes_to_quarantine_and_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=2)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE message SET payload = '{}' WHERE id = (SELECT min(id) FROM message)")
    with closing(HistoryStore(path, durable=False)) as store:
        spool = Spool(store)
        waiting = spool.depth().waiting
        items = spool.messages(1000, at_noon())
        assert len(items) == waiting - 1
        assert (spool.depth().waiting, spool.depth().quarantined) == (waiting - 1, 1)
        ((reason,),) = store.read("SELECT reason FROM quarantine")
        assert "Field required" in reason


def test_what_was_refused_is_noted_once_with_its_reason_and_message(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=1)
    with closing(HistoryStore(path, durable=False)) as store:
        spool = Spool(store)
        items = spool.messages(1000, at_noon())
        refused = [Refusal(items[0].lines[0], "b", "because")]
        for _ in range(2):
            spool.note(items, refused, at_noon())
        assert store.read("SELECT message, bucket, point, reason FROM quarantine") == [
            (items[0].message, "b", items[0].lines[0], "because")
        ]
        assert not spool.waits()
        assert from_us(store.read("SELECT refused_us FROM quarantine")[0][0]) == at_noon()
        assert store.read("SELECT count(*) FROM message WHERE forwarded = 2") == [(1,)]


def test_spool_notices_what_others_write(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=1)
    with closing(HistoryStore(path, durable=False)) as store:
        spool = Spool(store)
        assert spool.changed()
        assert not spool.changed()
        with closing(HistoryStore(path, durable=False)) as other, other.transaction() as connection:
            connection.execute("UPDATE run SET label = 'x' WHERE run = ?", (RUN,))
        assert spool.changed()
        assert not spool.changed()
