"""The embedded history: one SQLite file in write-ahead mode, which others read while it is written.

A message is acknowledged to the broker only once it is on disk, so that every transaction ends in an fsync
(``synchronous=FULL``; with NORMAL a power cut could take acknowledged messages with it). Measured with the 588
transactions of a lock-step day on a virtual disk: 0.19 s, without the fsyncs 0.05 s. A run in memory has no broker to
acknowledge to and may do without (``durable=False``): a crash of the process loses nothing either way.
"""

import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from schemas.errors import Code, DiskFullError, InputError, LocalStateError, TwinswarmError

LOG = logging.getLogger(__name__)

APPLICATION_ID = 0x74776E73
"""Marks our files in the SQLite header: ``twns``."""
SCHEMA_VERSION = 2
"""2: what the forwarder to InfluxDB keeps. A file of version 1 becomes one of version 2 when it is opened to write."""

_BUSY_S = 10.0
"""How long SQLite itself waits for whoever writes."""
_BUSY_TRIES = 3
_SWITCH_TRIES, _SWITCH_S = 100, 0.05

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_TABLES = """
CREATE TABLE run (
    run TEXT PRIMARY KEY,
    site TEXT NOT NULL,
    site_json TEXT NOT NULL,      -- the site description as it was
    label TEXT NOT NULL,          -- main, reference, ...
    mode TEXT NOT NULL,           -- lockstep, wall
    step_s INTEGER NOT NULL,
    t0_us INTEGER NOT NULL,       -- session time, microseconds UTC, as all *_us
    t_end_us INTEGER,             -- NULL: without end
    cycle INTEGER,                -- the newest cycle that was committed
    up_to_us INTEGER,             -- its session time
    started_us INTEGER NOT NULL,  -- machine time
    ended_us INTEGER              -- machine time of the closing commit; NULL: it runs or was cut off
);
CREATE TABLE message (
    id INTEGER PRIMARY KEY,       -- in order of arrival
    site TEXT NOT NULL,
    kind TEXT NOT NULL,
    device TEXT NOT NULL,
    channel TEXT NOT NULL,
    topic TEXT NOT NULL,
    boot TEXT NOT NULL,
    seq INTEGER NOT NULL,
    ts_us INTEGER NOT NULL,
    stamped_run TEXT NOT NULL,    -- as the sender wrote it; empty: the live session
    payload TEXT NOT NULL,        -- verbatim
    run TEXT,                     -- whose history it is; NULL: staged, not (yet) part of any
    cycle INTEGER,
    UNIQUE (topic, boot, seq, stamped_run)
);
CREATE INDEX message_by_run ON message (run, channel, device, ts_us) WHERE run IS NOT NULL;
CREATE INDEX message_staged ON message (stamped_run) WHERE run IS NULL;
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL,            -- during which it came; empty: before the first
    topic TEXT NOT NULL,
    digest TEXT NOT NULL,         -- SHA-256 of the whole payload
    bytes INTEGER NOT NULL,       -- of the whole payload
    payload BLOB NOT NULL,        -- its beginning
    reason TEXT NOT NULL,
    received_us INTEGER NOT NULL, -- machine time of the first
    times INTEGER NOT NULL,       -- how often the same letter came
    UNIQUE (run, topic, digest)
);
"""


_FORWARDING = """
-- forwarded: the row as it stands in InfluxDB; NULL: it does not.
-- pruned: messages of the run before this time [µs] were deleted here; 0: none, 1: some, it is not known up to when.
ALTER TABLE run ADD COLUMN forwarded TEXT;
ALTER TABLE run ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
-- point_ns: time of its point, fixed before it is first sent. forwarded: 1 in InfluxDB, 2 (partly) in quarantine.
ALTER TABLE message ADD COLUMN point_ns INTEGER;
ALTER TABLE message ADD COLUMN forwarded INTEGER NOT NULL DEFAULT 0;
CREATE INDEX message_to_forward ON message (id) WHERE run IS NOT NULL AND forwarded = 0;
CREATE UNIQUE INDEX message_point ON message (run, topic, point_ns) WHERE point_ns IS NOT NULL;
CREATE INDEX message_birth ON message (site, ts_us) WHERE channel = 'birth';
CREATE TABLE letter_forwarded (
    letter INTEGER PRIMARY KEY,   -- dead_letter.id
    times INTEGER NOT NULL        -- as it stands in InfluxDB
);
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY,
    message INTEGER,              -- message.id; NULL: the point of a run or of a dead letter
    bucket TEXT NOT NULL,
    point TEXT NOT NULL,          -- line protocol, as it was refused
    reason TEXT NOT NULL,         -- the server's
    refused_us INTEGER NOT NULL,  -- machine time of the first
    UNIQUE (bucket, point)
);
"""
RUN_COLUMNS = (
    *("run", "site", "site_json", "label", "mode", "step_s"),
    *("t0_us", "t_end_us", "cycle", "up_to_us", "started_us", "ended_us"),
)
"""The spool's part of a run; the rest is the forwarder's."""
UNANNOUNCED = "run IS NULL AND seq > 0 AND channel != 'run'"
"""What a lock-step run's members numbered and no cycle announced. Last wills and goodbyes carry no number, and the
clock's word that the run has ended comes after the last commit: they belong to every run that goes as it should."""
ALL_PRUNED = 2**62
"""``pruned`` of a run of which any message may have been deleted."""
_STEPS = (_TABLES, _FORWARDING)
"""Statements that make a file of version n from one of version n - 1; an empty file is version 0."""


class HistoryBusyError(TwinswarmError):
    """Another process wrote to the file all the while. Nothing is wrong with it."""

    retryable = True
    usual_code = Code.IN_USE


def to_us(time: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exactly."""
    return (time - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


class HistoryStore:
    """A history file opened for writing; created if it is not there. Used by one thread at a time."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """Raises InputError naming the file when it cannot be opened, is not ours, or is of a newer program."""
        self.path = path
        self._closed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_S)
        except (sqlite3.Error, OSError) as error:
            raise InputError.one(str(path), f"cannot be opened as a history: {error}", code=Code.UNREADABLE) from None
        try:
            self._prepare(durable)
        except sqlite3.Error as error:
            self._connection.close()
            # Of SQLite's errors only those of operation speak of the disk; the others say that this is no database.
            code = Code.UNWRITABLE if isinstance(error, sqlite3.OperationalError) else Code.FORMAT
            raise InputError.one(str(path), f"cannot be written as a history: {error}", code=code) from None
        except InputError:
            self._connection.close()
            raise

    def _prepare(self, durable: bool) -> None:
        if not is_empty(self._connection):
            require_ours(self._connection, self.path)
        self._write_ahead()
        self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        with self.transaction() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            create(connection, version)

    def _write_ahead(self) -> None:
        """The switch needs the file for itself and waits for nobody: two processes may make a history together."""
        for last in (False,) * _SWITCH_TRIES + (True,):
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if last or not _is_busy(error):
                    raise
                time.sleep(_SWITCH_S)
            else:
                return

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Raises LocalStateError naming the file when the disk is full or refuses, and
        HistoryBusyError when others keep it too long."""
        try:
            self._begin()
            try:
                yield self._connection
            except BaseException:
                # A full disk has rolled the transaction back already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._error("written", error) from error

    def _begin(self) -> None:
        for _ in range(_BUSY_TRIES):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
                LOG.warning("%s: somebody else writes to the history; waiting for it", self.path)
            else:
                return
        raise HistoryBusyError(f"{self.path}: somebody else kept the history from being written")

    def read(self, sql: str, parameters: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, tuple(parameters)).fetchall()
        except sqlite3.Error as error:
            raise self._error("read", error) from error

    def _error(self, what: str, error: sqlite3.Error) -> TwinswarmError:
        text = f"{self.path}: the history cannot be {what}: {error}"
        if _takes_no_more(error):
            return DiskFullError(text, self.path.parent)
        return HistoryBusyError(text) if _is_busy(error) else LocalStateError(text)

    def close(self) -> None:
        """Folds the write-ahead log into the file, so that it can be copied by itself. Safe to call twice.

        While somebody reads, what he has not read yet stays in the log; nothing is lost by that.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError as error:
            LOG.warning("%s: the write-ahead log stays beside the file: %s", self.path, error)
        self._connection.close()


def _takes_no_more(error: sqlite3.Error) -> bool:
    """A full disk, a quota, or a disk that refuses to write: SQLite cannot tell them apart."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code == sqlite3.SQLITE_FULL or code in _WRITE_ERRORS


_WRITE_ERRORS = {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_SHMSIZE}


def _is_busy(error: sqlite3.Error) -> bool:
    """SQLite's error code: the lowest byte is the error, the rest is detail. Errors of the module have none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def create(connection: sqlite3.Connection, version: int = 0) -> None:
    """Brings a database of ``version`` (0: empty) to the schema of this program."""
    for step in _STEPS[version:]:
        for statement in filter(str.strip, step.split(";\n")):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether the file holds nothing yet."""
    return not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()


def require_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Raises InputError unless the file is a history that this program understands."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise InputError.one(str(path), "is an SQLite database of another program, not a history", code=Code.FOREIGN)
    if version > SCHEMA_VERSION:
        raise InputError.one(
            str(path),
            f"was written by a newer twinswarm: schema {version}, this one reads up to {SCHEMA_VERSION}",
            code=Code.FOREIGN,
        )
