"""A history file that is not one, is newer, full or read-only ends in an error that names it."""

import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from schemas.errors import Code, LocalStateError
from services.history import store as store_module
from services.history.sqlite import SqliteHistory
from services.history.store import SCHEMA_VERSION, HistoryBusyError, HistoryStore, from_us, to_us
from tests.errors import raises
from tests.history.tape import RUN, Tape, at_noon, record
from twinswarm.deploy.process import FAILED, guarded


def test_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 100)
    with raises(Code.FORMAT, "notes.txt"):
        HistoryStore(path)
    with raises(Code.FORMAT, "notes.txt"):
        SqliteHistory(path)
    assert path.read_text().startswith("Dear diary")


def test_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE message (x)")
    connection.close()
    with raises(Code.FOREIGN):
        HistoryStore(path)
    with raises(Code.FOREIGN):
        SqliteHistory(path)


def test_history_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    HistoryStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    with raises(Code.FOREIGN, str(SCHEMA_VERSION + 1)):
        HistoryStore(path)
    with raises(Code.FOREIGN, str(SCHEMA_VERSION + 1)):
        SqliteHistory(path)


@pytest.mark.parametrize("path", ["", "/proc/h.sqlite"])
def test_place_that_cannot_hold_a_file_is_refused(tmp_path: Path, path: str) -> None:
    with raises(Code.UNREADABLE):
        HistoryStore(Path(path) if path else tmp_path)


def test_history_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with raises(Code.NOT_FOUND):
        SqliteHistory(tmp_path / "nowhere.sqlite")


def test_empty_file_becomes_a_history_but_is_none_yet(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    path.touch()
    with raises(Code.NOT_FOUND):
        SqliteHistory(path)
    HistoryStore(path).close()
    assert SqliteHistory(path).runs() == []


@pytest.mark.parametrize(
    ("pragma", "message"), [("max_page_count=1", "full"), ("query_only=ON", "readonly")], ids=["full", "read-only"]
)
def test_disk_that_refuses_ends_in_a_clear_error_and_keeps_what_was_there(
    tmp_path: Path, pragma: str, message: str
) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=2)
    store = HistoryStore(path)
    with store.transaction() as connection:
        connection.execute("PRAGMA user_version")
    store.read(f"PRAGMA {pragma}")
    text = "x" * 100_000
    with pytest.raises(LocalStateError, match=rf"h\.sqlite.*{message}"), store.transaction() as connection:
        connection.execute("INSERT INTO dead_letter VALUES (NULL, '', ?, '', 1, '', '', 1, 1)", (text,))
    store.close()
    assert SqliteHistory(path).info(RUN).cycle == 2


def test_file_that_somebody_else_writes_to_is_waited_for_longer_than_sqlite_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_BUSY_S", 0.05)
    monkeypatch.setattr(store_module, "_BUSY_TRIES", 100)
    path = tmp_path / "h.sqlite"
    with closing(HistoryStore(path)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waited = []

        def on_warning(record: logging.LogRecord) -> bool:
            waited.append(record)
            if len(waited) == 2:
                other.execute("COMMIT")
            return True

        store_module.LOG.addFilter(on_warning)
        try:
            with store.transaction() as connection:
                connection.execute("PRAGMA user_version")
        finally:
            store_module.LOG.removeFilter(on_warning)
        assert len(waited) == 2


def test_file_that_is_kept_by_somebody_else_is_an_error_that_may_be_over_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_BUSY_S", 0.01)
    path = tmp_path / "h.sqlite"
    with closing(HistoryStore(path)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def write() -> None:
            with store.transaction():
                pass

        assert guarded(write) == FAILED  # and so started again
        with pytest.raises(HistoryBusyError) as busy:
            write()
        assert busy.value.retryable


def test_two_processes_make_a_history_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_BUSY_S", 0.0)
    path = tmp_path / "h.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as first:
        first.execute("BEGIN IMMEDIATE")
        first.execute("CREATE TABLE x (y)")
        first.execute("ROLLBACK")
        first.execute("BEGIN IMMEDIATE")
        later = threading.Timer(0.2, lambda: first.execute("ROLLBACK"))
        later.start()
        HistoryStore(path).close()
        later.join()
    assert SqliteHistory(path).runs() == []


def test_history_is_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=3)
    failures: list[BaseException] = []
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        history = SqliteHistory(path)
        try:
            while True:
                ending = done.is_set()
                seen.append(history.info(RUN).cycle or 0)
                history.dataset(RUN)
                if ending:
                    return
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    record(Tape(), path)
    done.set()
    reader.join()
    assert not failures
    assert seen == sorted(seen)
    assert seen[-1] == 97


def test_history_on_a_medium_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=2)
    assert sorted(tmp_path.iterdir()) == [path]
    tmp_path.chmod(0o500)
    assert SqliteHistory(path).info(RUN).cycle == 2
    tmp_path.chmod(0o700)


def test_closed_history_is_one_file_even_while_somebody_has_it_open(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=2)
    history = SqliteHistory(path)
    assert history.info(RUN).cycle == 2
    store = HistoryStore(path)
    with store.transaction() as connection:
        connection.execute("UPDATE run SET label = 'renamed'")
    store.close()
    store.close()
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(path.read_bytes())
    assert SqliteHistory(copy).latest("renamed").run == RUN
    history.close()


def test_times_are_kept_to_the_microsecond() -> None:
    time = at_noon().replace(microsecond=123457)
    assert from_us(to_us(time)) == time


def _as_version_1(path: Path) -> None:
    """What a history was before it could be forwarded."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in (
            "DROP TABLE quarantine",
            "DROP TABLE letter_forwarded",
            "DROP INDEX message_point",
            "DROP INDEX message_to_forward",
            "DROP INDEX message_birth",
            "ALTER TABLE message DROP COLUMN point_ns",
            "ALTER TABLE message DROP COLUMN forwarded",
            "ALTER TABLE run DROP COLUMN forwarded",
            "ALTER TABLE run DROP COLUMN pruned",
            "PRAGMA user_version=1",
        ):
            connection.execute(statement)


def test_history_of_version_1_is_read_as_it_is_and_goes_on_when_it_is_written(tmp_path: Path) -> None:
    path, fresh = tmp_path / "h.sqlite", tmp_path / "fresh.sqlite"
    record(Tape(), path, last=3)
    _as_version_1(path)
    assert SqliteHistory(path).info(RUN).cycle == 3
    record(Tape(), path)
    record(Tape(), fresh)
    assert list(SqliteHistory(path).messages(RUN)) == list(SqliteHistory(fresh).messages(RUN))
    with closing(sqlite3.connect(path)) as connection, closing(sqlite3.connect(fresh)) as new:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        tables = "SELECT name FROM sqlite_schema ORDER BY name"
        assert connection.execute(tables).fetchall() == new.execute(tables).fetchall()
