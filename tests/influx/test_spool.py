"""The history file as a spool, without a server."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.errors import Code
from services.history.store import HistoryStore, from_us
from services.influx import spool as spool_module
from services.influx.spool import _PENDING, Refusal, Spool, only_forwarder
from tests.errors import raises
from tests.history.tape import RUN, Tape, at_noon, record
from twinswarm.cli import main


def test_row_of_a_run_that_is_over_is_not_sent_again_when_a_device_is_born(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path)
    with closing(HistoryStore(path, durable=False)) as store:
        spool = Spool(store)
        with store.transaction() as connection:
            connection.execute("UPDATE run SET mode = 'wall'")
        (row,) = spool.runs()
        assert "births" in row.lines[0]
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


def test_of_a_run_its_site_and_births_are_sent_when_they_changed_and_once_a_day(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path)

    def told() -> str:
        (item,) = spool.runs()
        spool.note([item], [], at_noon())
        return item.lines[0]

    with closing(HistoryStore(path, durable=False)) as store:
        spool = Spool(store)
        with store.transaction() as connection:
            connection.execute("UPDATE run SET mode = 'wall', ended_us = NULL, up_to_us = up_to_us - 7200000000")
        assert ",json=" in told()
        for change, whole in (
            ("UPDATE run SET up_to_us = up_to_us + 1000000", False),
            ("UPDATE message SET payload = payload || ' ' WHERE channel = 'birth'", True),
            ("UPDATE run SET up_to_us = up_to_us + 1000000", False),
            ("UPDATE run SET up_to_us = up_to_us + 86400000000", True),
            ("UPDATE run SET ended_us = 1", False),
        ):
            with store.transaction() as connection:
                connection.execute(change)
            assert (",json=" in told()) == whole, change
        assert spool.runs() == []


def everything_was_forwarded(store: HistoryStore) -> None:
    spool = Spool(store)
    spool.note([*spool.messages(10_000, at_noon()), *spool.letters(1000), *spool.runs()], [], at_noon())


def test_while_old_messages_are_deleted_others_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path)
    monkeypatch.setattr(spool_module, "_SLICE", 20)
    with (
        closing(HistoryStore(path, durable=False)) as store,
        closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as recorder,
    ):
        everything_was_forwarded(store)
        slices = []
        for deleted in Spool(store).prune(timedelta(days=30), at_noon() + timedelta(days=1000)):
            slices.append(deleted)
            recorder.execute("BEGIN IMMEDIATE")
            recorder.execute("UPDATE run SET label = 'x'")
            recorder.execute("COMMIT")
        assert max(slices) == 20
        assert sum(slices) > 400
        # In the same transaction the file says that it is no longer whole.
        assert store.read("SELECT pruned > 0 FROM run") == [(1,)]


def test_what_was_staged_and_dead_letters_are_deleted_too_and_stay_counted_in_the_runs_row(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path)
    with closing(HistoryStore(path, durable=False)) as store:
        with store.transaction() as connection:
            for run in (RUN, "", "20300101T000000.000000Z-0001"):
                connection.execute(
                    "INSERT INTO message (site, kind, device, channel, topic, boot, seq, ts_us, stamped_run, payload) "
                    "SELECT site, kind, device, channel, topic, 'stray', seq, ts_us, ?, payload FROM message "
                    "WHERE channel = 'telemetry' AND device = 'load' AND run IS NOT NULL LIMIT 3",
                    (run,),
                )
            connection.executemany(
                "INSERT INTO dead_letter (run, topic, digest, bytes, payload, reason, received_us, times) "
                "VALUES (?, 'x', ?, 1, x'00', 'broken', 1, 1)",
                [(RUN, "sent"), (RUN, "again"), ("", "before any run")],
            )
        everything_was_forwarded(store)
        with store.transaction() as connection:
            connection.execute("UPDATE dead_letter SET times = 2 WHERE digest = 'again'")
        spool = Spool(store)
        sum(spool.prune(timedelta(days=30), at_noon() + timedelta(days=1000)))
        # A letter that came again waits; what was staged for a run that is not here may yet become part of it.
        assert store.read("SELECT digest FROM dead_letter ORDER BY id") == [("again",), ("before any run",)]
        assert store.read("SELECT count(*) FROM letter_forwarded") == [(1,)]
        assert store.read("SELECT stamped_run, count(*) FROM message WHERE boot = 'stray' GROUP BY stamped_run") == [
            ("20300101T000000.000000Z-0001", 3)
        ]
        assert spool.runs() == []


def test_time_of_a_point_that_another_forwarder_fixed_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=1)
    with closing(HistoryStore(path, durable=False)) as store:
        spool = Spool(store)
        rows = store.read(_PENDING, [spool.newest(), 3])
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE message SET point_ns = ts_us * 1000 + 7")
        assert spool._fix_times(rows) == {row[0]: row[4] * 1000 + 7 for row in rows}


def test_second_forwarder_of_one_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=1)
    monkeypatch.setenv("TWINSWARM_INFLUX_TOKEN", "any")
    with only_forwarder(path), pytest.raises(SystemExit) as end:
        main(["forward", "--history", f"sqlite:{path}", "--once"])
    assert end.value.code == 2
    assert "another forwarder drains this file" in capsys.readouterr().err
    with only_forwarder(path):  # the lock ends with its holder
        pass
    with raises(Code.UNREADABLE), only_forwarder(tmp_path / "nowhere" / "h.sqlite"):
        pass
