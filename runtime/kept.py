"""Store and forward: what a participant sent in wall time stays on its disk until the recorder has it on its own.

A broker's acknowledgement is no promise of a disk: what waits there for a recorder that is away dies with a broker that
is killed. So a message is kept here before it is published, and is forgotten once a `receipt` names it as stored.

**What is lost** follows from the order: everything of one participant comes to the recorder in the order in which it
was sent, so what was sent before the newest message that a receipt names, and was named by none, is lost on the way. It
is published again, byte for byte, on a topic that only the recorder reads (`schemas.topics.FORWARD_PREFIX`), and takes
its place at the end of the order, so that it is not sent a third time while it is under way. Nothing else is
remembered: a restart of anybody, in any order, ends in the next receipt.

**Bounded.** When there is more than ``most_bytes``, metrics and rejects go first, the older half of them each time;
then every second telemetry of the older half, again and again, so that the oldest is thinned most. Nothing else is ever
given up: no ack, alarm, set-point, plan, decision, series, birth or state, and no telemetry that says which vehicle
departed. By these alone the file may exceed its bound.

It survives the process's death, not the machine's, as the checkpoint does (SQLite in write-ahead mode without an fsync
for each message; after a power cut the file is whole and lacks the newest).
"""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runtime.keep import Keep
from runtime.life import Sent
from schemas.errors import LocalStateError
from schemas.messages import Alarm, BootId, Receipt, RunId, Severity

LOG = logging.getLogger(__name__)

MOST_BYTES = 64 * 1024 * 1024
"""Of messages: two days of telemetry of 350 bytes every second."""
ROW_BYTES = 64
"""What a message takes on disk beside its payload."""
AGAIN_MOST, AGAIN_MOST_BYTES = 200, 1024 * 1024
"""Messages sent again upon one receipt. The next one asks for the others: a recorder that is behind is not flooded."""
THINNED, NOT_KEPT = "sent_thinned", "sent_not_kept"
"""Codes of alarms: messages were given up; the disk refuses to keep what is sent."""

_TABLES = """
CREATE TABLE IF NOT EXISTS life (boot TEXT PRIMARY KEY, run TEXT);
CREATE TABLE IF NOT EXISTS stream (id INTEGER PRIMARY KEY, boot TEXT, topic TEXT, UNIQUE (boot, topic));
CREATE TABLE IF NOT EXISTS sent (n INTEGER PRIMARY KEY, stream INTEGER, seq INTEGER, keep INTEGER, payload BLOB);
CREATE UNIQUE INDEX IF NOT EXISTS sent_by_number ON sent (stream, seq);
"""
_OVER = """DELETE FROM sent
           WHERE stream IN (SELECT stream.id FROM stream JOIN life USING (boot) WHERE life.run != ?)"""
_STORED = "DELETE FROM sent WHERE stream = ? AND seq BETWEEN ? AND ? RETURNING n, length(payload)"
_LOST = """SELECT n, topic, seq, payload FROM sent JOIN stream ON stream.id = sent.stream
           WHERE n < ? ORDER BY n LIMIT ?"""
_LAST = """SELECT topic, max(seq) FROM sent JOIN stream ON stream.id = sent.stream
           WHERE boot = ? GROUP BY topic"""
_MIDDLE = "SELECT n FROM sent WHERE keep = ? ORDER BY n LIMIT 1 OFFSET (SELECT count(*) FROM sent WHERE keep = ?) / 2"
_DROP = "DELETE FROM sent WHERE keep = ? AND n <= ? RETURNING length(payload)"
_HALVE = """DELETE FROM sent WHERE n IN (
                SELECT n FROM (SELECT n, row_number() OVER (PARTITION BY stream ORDER BY seq) AS place
                               FROM sent WHERE keep = ? AND n <= ?) WHERE place % 2 = 0)
            RETURNING length(payload)"""


class KeptMessages:
    """`runtime.keep.Kept` as a SQLite file.

    Attributes: ``count`` and ``size_bytes`` of what is kept; ``thinned``, how many messages were given up since this
    process began; ``sent_again``, how many were lost on the way and sent again.
    """

    keeps = True

    def __init__(self, path: Path, most_bytes: int | None = None) -> None:
        """``most_bytes`` None: `MOST_BYTES`. Raises LocalStateError naming the file when it cannot be opened or is of
        something else."""
        self._path = path
        self._most_bytes = self._thin_at = MOST_BYTES if most_bytes is None else most_bytes
        self.thinned = self.sent_again = 0
        self._said_thinned = 0
        self._refused: str | None = None
        self._standing: set[str] = set()
        """Codes of the alarms that stand."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_TABLES)
            self._next = 1
            self._load()
        except (sqlite3.Error, OSError) as error:
            raise LocalStateError(f"{path} cannot be opened to keep what is sent: {error}") from None

    def _load(self) -> None:
        """Counts what the file holds. The order goes on behind the newest."""
        rows = self._connection.execute("SELECT id, boot, topic FROM stream")
        self._streams = {(boot, topic): number for number, boot, topic in rows}
        newest, self.count, payloads = self._connection.execute(
            "SELECT coalesce(max(n), 0), count(*), coalesce(sum(length(payload)), 0) FROM sent"
        ).fetchone()
        self._next = max(self._next, newest + 1)
        self.size_bytes = payloads + self.count * ROW_BYTES

    def begin(self, boot: BootId, run: RunId) -> None:
        with self._writing("forgets an earlier run") as connection:
            connection.execute("INSERT OR REPLACE INTO life VALUES (?, ?)", (boot, run))
            gone = connection.execute(_OVER, (run,)).rowcount
            connection.execute("DELETE FROM stream WHERE boot IN (SELECT boot FROM life WHERE run != ?)", (run,))
            connection.execute("DELETE FROM life WHERE run != ?", (run,))
            self._load()
            if gone:
                LOG.info("%s: %d messages of an earlier run are on no receipt", self._path, gone)

    def last_numbers(self, boot: BootId) -> dict[str, int]:
        """Raises LocalStateError naming the file when it cannot be read."""
        try:
            return dict(self._connection.execute(_LAST, (boot,)).fetchall())
        except sqlite3.Error as error:
            raise LocalStateError(f"{self._path} cannot be read: {error}") from None

    def add(self, boot: BootId, messages: Sequence[tuple[Sent, Keep]]) -> None:
        if not messages:
            return
        with self._writing("keeps what is sent") as connection:
            for sent, keep in messages:
                row = (self._next, self._stream(connection, boot, sent.topic), sent.seq, keep, sent.payload)
                connection.execute("INSERT INTO sent VALUES (?, ?, ?, ?, ?)", row)
                self._next += 1
                self.count += 1
                self.size_bytes += len(sent.payload) + ROW_BYTES
        if self.size_bytes > self._thin_at:
            self._thin()

    def _stream(self, connection: sqlite3.Connection, boot: BootId, topic: str) -> int:
        number = self._streams.get((boot, topic))
        if number is None:
            cursor = connection.execute("INSERT INTO stream (boot, topic) VALUES (?, ?)", (boot, topic))
            assert cursor.lastrowid is not None
            number = self._streams[boot, topic] = cursor.lastrowid
        return number

    def on_receipt(self, receipt: Receipt) -> list[Sent]:
        """At most `AGAIN_MOST` are returned."""
        again: list[Sent] = []
        with self._writing("forgets what is stored") as connection:
            stored = [
                row for key, first, last in self._named(receipt) for row in self._take(connection, key, first, last)
            ]
            self._forget([(size,) for _, size in stored])
            lost = self._lost(connection, before=max((n for n, _ in stored), default=0))
            for n, sent in lost:
                connection.execute("UPDATE sent SET n = ? WHERE n = ?", (self._next, n))
                self._next += 1
                again.append(sent)
        self.sent_again += len(again)
        return again

    def _named(self, receipt: Receipt) -> Iterator[tuple[int, int, int]]:
        for boot, topics in (receipt.ranges or {}).items():
            for topic, ranges in topics.items():
                if (number := self._streams.get((boot, topic))) is not None:
                    yield from ((number, first, last) for first, last in ranges)

    @staticmethod
    def _take(connection: sqlite3.Connection, stream: int, first: int, last: int) -> list[tuple[int, int]]:
        return connection.execute(_STORED, (stream, first, last)).fetchall()

    @staticmethod
    def _lost(connection: sqlite3.Connection, before: int) -> list[tuple[int, Sent]]:
        found: list[tuple[int, Sent]] = []
        size = 0
        for n, topic, seq, payload in connection.execute(_LOST, (before, AGAIN_MOST)):
            size += len(payload)
            if found and size > AGAIN_MOST_BYTES:
                break
            found.append((n, Sent(topic, seq, payload, retain=False)))
        return found

    def _forget(self, payloads: Sequence[tuple[int]]) -> None:
        self.count -= len(payloads)
        self.size_bytes -= sum(size + ROW_BYTES for (size,) in payloads)
        if self.size_bytes <= self._most_bytes:
            self._thin_at = self._most_bytes

    def _thin(self) -> None:
        with self._writing("gives up the oldest") as connection:
            for keep, statement in ((Keep.DROPPED, _DROP), (Keep.THINNED, _HALVE)):
                while self.size_bytes > self._most_bytes:
                    middle = connection.execute(_MIDDLE, (keep, keep)).fetchone()
                    gone = [] if middle is None else connection.execute(statement, (keep, middle[0])).fetchall()
                    if not gone:
                        break
                    self._forget(gone)
                    self.thinned += len(gone)
        # What is left is never given up: it is not searched again for each message.
        self._thin_at = max(self._most_bytes, self.size_bytes + self.size_bytes // 10)

    @property
    def metrics(self) -> dict[str, float]:
        return {"kept": float(self.count), "thinned": float(self.thinned), "sent_again": float(self.sent_again)}

    def news(self) -> list[Alarm]:
        begun = self.thinned > self._said_thinned
        thinned = begun or (THINNED in self._standing and self.size_bytes > self._most_bytes // 2)
        self._said_thinned = self.thinned
        limit = self._most_bytes / 1024 / 1024
        return [
            *self._alarm(
                THINNED,
                thinned,
                f"{self._path.name}: {self.count} messages are on no receipt of the recorder; above {limit:g} MiB the "
                f"oldest telemetry is thinned: {self.thinned} messages were given up",
            ),
            *self._alarm(NOT_KEPT, self._refused is not None, f"{self._path}: the disk refuses: {self._refused}"),
        ]

    def _alarm(self, code: str, active: bool, text: str) -> list[Alarm]:
        if active == (code in self._standing):
            return []
        self._standing ^= {code}
        return [Alarm(code=code, severity=Severity.WARNING, active=active, text=text[:500] if active else "it is over")]

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        """One transaction. A disk that refuses it is noted, and the file stays as it was."""
        try:
            self._connection.execute("BEGIN")
            yield self._connection
            self._connection.execute("COMMIT")
            self._refused = None
        except sqlite3.Error as error:
            if self._refused is None:
                LOG.warning("%s: %s failed: %s", self._path, doing, error)
            self._refused = str(error)
            self._undo()

    def _undo(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._load()
        except sqlite3.Error as error:
            LOG.warning("%s cannot be read: %s", self._path, error)
