"""The recorder's inbox: its database. What arrives is staged; what a cycle announced becomes history."""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache

from schemas.errors import LocalStateError
from schemas.messages import Phase, Receipt, Run, TimeMode
from schemas.participant import Received, Turn, Wanted
from schemas.presence import SKEW_S
from schemas.site import Site
from schemas.topics import BARRIER, PREFIX, Channel, Kind, Topic
from services.history.store import HistoryStore, from_us, to_us
from services.recorder.receipts import Receipts
from services.recorder.span import Span

KEPT_BYTES = 2048
"""Bytes kept of a dead letter's payload: enough to recognise it, too few to fill the disk."""
_KEPT_CHARACTERS = 500
USED_BEFORE = "used before"
"""Begins the reason of a dead letter whose identity another message has."""
_AHEAD_US = int(SKEW_S * 1e6)
_OF_ITSELF = frozenset({Channel.ALARM, Channel.METRIC, Channel.REJECT})
"""The recorder's own messages that it records: in wall time only, and rare. A receipt would announce the next one."""
_BIRTH = f"/{Channel.BIRTH}"
_NEVER = BARRIER | {Channel.RECEIPT}
_ANY_RUN = frozenset({Channel.BIRTH, Channel.STATE})
"""Channels whose messages of earlier runs count too: a device publishes its birth once in its life. Those of a later
run are that one's, whose commit asks for them."""

_INSERT = """INSERT OR IGNORE INTO message
             (site, kind, device, channel, topic, boot, seq, ts_us, stamped_run, payload, run, cycle)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_NEWEST = "SELECT coalesce(max(id), 0) FROM message"
_SINCE = "SELECT topic, boot, seq, ts_us FROM message WHERE id > ? AND run IS NOT NULL"
_KEPT = "SELECT payload FROM message WHERE topic = ? AND boot = ? AND seq = ?"
_NUMBERS = "SELECT DISTINCT seq FROM message WHERE topic = ? AND boot = ? AND run = ? AND seq > 0 ORDER BY seq"
_KEEPERS = """SELECT topic, boot FROM message
              WHERE run = ? AND channel = 'birth' AND json_extract(payload, '$.store_and_forward')"""
_BURY = """INSERT INTO dead_letter (run, topic, digest, bytes, payload, reason, received_us, times)
           VALUES (?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT (run, topic, digest) DO UPDATE SET times = times + 1"""
_ADOPT = """UPDATE message SET run = ?, cycle = ? WHERE topic = ? AND boot = ? AND seq BETWEEN ? AND ?
            AND run IS NULL AND stamped_run IN (?, '') RETURNING topic, boot, seq, ts_us"""
_ADOPT_ALL = """UPDATE message SET run = ?, cycle = ? WHERE run IS NULL AND site = ?
                AND (stamped_run IN (?, '') OR (channel IN ('birth', 'state') AND stamped_run < ?))
                RETURNING topic, boot, seq, ts_us"""

Row = tuple[str, str, str, str, str, str, int, int, str, str]
Identity = tuple[str, str, int, int]
"""topic, boot, seq, and the time it was sent [µs]"""


class RecorderInbox:
    """Keeps what arrives in the history file, ticks, dones and most of the recorder's own messages apart.

    Lock-step: ``take`` commits exactly what was announced. What was never announced (of a process outside the
    roster, a last will) stays staged and is no history. Wall time: all of the session that arrived is history.
    """

    def __init__(self, site: Site, store: HistoryStore, label: str, now: Callable[[], datetime]) -> None:
        self._site = site
        self._store = store
        self._label = label
        self._now = now
        self._own = f"{PREFIX}/{site.site}/{Kind.RECORDER}/recorder/"
        self.run: str | None = None
        self.ignored = 0
        """Messages of runs before this one."""
        self.live = False
        self._batch: list[Row] = []
        self._staged = True
        """Wall time: the file may hold messages that are not history yet and may belong to this run."""
        self._letters: list[tuple[object, ...]] = []
        self._waiting: set[tuple[str, str, int]] = set()
        self._spans: dict[tuple[str, str], Span] = {}
        self._stored = 0
        self._up_to_us: int | None = None
        self._newest_us: int | None = None
        """Wall time: the run's, with what clocks may differ by. What is dated later does not say how far it got."""
        self._ended: set[str] = set()
        self._receipts = Receipts()

    def enter(self, run: str, *, live: bool) -> None:
        """Continues ``run`` with what the file holds of it: nothing, or what a process before this one left."""
        self.run, self.live = run, live
        self._staged = True
        self._spans = {}
        self._stored = 0
        self._up_to_us = None
        committed = self._store.read(
            "SELECT topic, boot, min(nullif(seq, 0)), max(seq), count(DISTINCT nullif(seq, 0)), "
            "count(*), max(ts_us) FROM message "
            "WHERE run = ? GROUP BY topic, boot",
            [run],
        )
        for topic, boot, first, last, count, stored, newest_us in committed:
            if first is not None:
                self._spans[topic, boot] = self._span(run, topic, boot, Span([[first, last]]), count)
            self._stored += stored
            self._up_to_us = newest_us if self._up_to_us is None else max(self._up_to_us, newest_us)
        staged = self._store.read("SELECT topic, boot, seq FROM message WHERE run IS NULL AND stamped_run = ?", [run])
        self._waiting |= set(staged)
        self._receipts.learn(self._store.read(_KEEPERS, [run]))

    def _span(self, run: str, topic: str, boot: str, whole: Span, count: int) -> Span:
        """The numbers in the file: ``whole`` if there are as many."""
        if count == whole.count:
            return whole
        span = Span([])
        for (seq,) in self._store.read(_NUMBERS, [topic, boot, run]):
            span.add(seq)
        return span

    def add(self, received: Received, payload: bytes) -> None:
        topic, stamp = received.topic, received.stamp
        columns = _columns(topic)
        text = columns[-1]
        if not self._is_recorded(text):
            return
        older = self.run is not None and stamp.run is not None and stamp.run < self.run
        if older and topic.channel not in _ANY_RUN:
            self.ignored += 1
            return
        self._batch.append(
            (
                *columns,
                stamp.boot,
                stamp.seq,
                to_us(stamp.ts),
                stamp.run or "",
                payload.decode(),
            )
        )
        if isinstance(received.body, Run) and received.body.ended is not None and stamp.run is not None:
            self._ended.add(stamp.run)
        span = self._spans.get((text, stamp.boot))
        if not self.live and (span is None or stamp.seq > span.last):
            self._waiting.add((text, stamp.boot, stamp.seq))

    def reject(self, topic: str, payload: bytes, reason: str) -> None:
        letter = (
            topic.encode(errors="replace").decode()[:_KEPT_CHARACTERS],
            hashlib.sha256(payload).hexdigest(),
            len(payload),
            payload[:KEPT_BYTES],
            reason.encode(errors="replace").decode()[:_KEPT_CHARACTERS],
            to_us(self._now()),
        )
        self._letters.append(letter)

    def flush(self) -> None:
        """Everything added or rejected is on disk afterwards, in one transaction."""
        if not self._batch and not self._letters:
            return
        with self._store.transaction() as connection:
            adopted = self._write(connection, None)
        self._staged = self._staged and not self.live
        self._batch.clear()
        self._letters.clear()
        self._count(adopted)

    def missing(self, wanted: Sequence[Wanted]) -> bool:
        return any(
            (item.topic, item.boot, seq) not in self._waiting
            for item in wanted
            if self._is_recorded(item.topic)
            for seq in self._new(item)
        )

    def take(self, run: str, turn: Turn, wanted: Sequence[Wanted]) -> list[Received]:
        """At a commit: makes what was announced history of ``run``, in one transaction. Hands nothing over.

        Raises LocalStateError when something wanted is not there: then ``missing`` was not asked.
        """
        if run != self.run:
            self.enter(run, live=turn.mode is TimeMode.WALL)
        if turn.phase is not Phase.COMMIT:
            return []  # what a cycle announces grows with its phases; the commit has all of it
        self._newest_us = to_us(turn.t) + _AHEAD_US
        with self._store.transaction() as connection:
            self._begin(connection, run, turn)
            adopted = self._write(connection, turn.n)
            if not self.live:
                for item in wanted:
                    if self._is_recorded(item.topic) and (new := self._new(item)):
                        adopted += self._adopt(connection, run, turn.n, item, new)
            self._commit(connection, run, turn)
        self._staged = self._staged and not self.live
        self._batch.clear()
        self._letters.clear()
        self._count(adopted)
        return []

    def receipt(self) -> Receipt:
        """Counts of the run's messages on disk."""
        letters = self._store.read("SELECT count(*) FROM dead_letter WHERE run = ?", [self.run or ""])
        return Receipt(
            stored=self._stored,
            missing=sum(span.missing for span in self._spans.values()),
            dead_letters=letters[0][0],
            up_to=None if self._up_to_us is None else from_us(self._up_to_us),
        )

    def receipts(self) -> dict[Topic, Receipt]:
        """To those who keep what they send: what came of them since this was last asked, as far as it is on disk."""
        return self._receipts.take(self._spans)

    def _is_recorded(self, topic: str) -> bool:
        channel = topic.rpartition("/")[2]
        return channel in _OF_ITSELF if topic.startswith(self._own) else channel not in _NEVER

    def _new(self, item: Wanted) -> range:
        """The wanted seqs that are not history yet: a retained message is announced in every cycle."""
        span = self._spans.get((item.topic, item.boot))
        return range(item.first if span is None else max(item.first, span.last + 1), item.last + 1)

    def _write(self, connection: sqlite3.Connection, cycle: int | None) -> list[Identity]:
        """Puts what was added into the file. Returns what became history by that: in wall time only."""
        run = self.run if self.live else None
        (newest,) = connection.execute(_NEWEST).fetchone()
        before = connection.total_changes
        if run is None:
            connection.executemany(_INSERT, [(*row, None, None) for row in self._batch])
        else:
            connection.executemany(
                _INSERT, [(*row, run, cycle) if self._is_of(run, row) else (*row, None, None) for row in self._batch]
            )
        repeated = connection.total_changes - before < len(self._batch)
        if self.live and repeated:
            self._letters += self._used_before(connection)
            for row in self._batch:
                self._receipts.note(row[4], row[5], row[6])  # whoever repeats does not know that it is stored
        connection.executemany(_BURY, [(self.run or "", *letter) for letter in self._letters])
        if run is None:
            return []
        adopted: list[Identity] = []
        if self._staged:
            adopted = connection.execute(_ADOPT_ALL, (run, cycle, self._site.site, run, run)).fetchall()
        if repeated:
            return adopted + connection.execute(_SINCE, (newest,)).fetchall()
        return adopted + [(row[4], row[5], row[6], row[7]) for row in self._batch if self._is_of(run, row)]

    def _is_of(self, run: str, row: Row) -> bool:
        """Whether a message is history of this run as it comes: `_ADOPT_ALL` of a row that is not there yet."""
        stamped = row[8]
        return row[0] == self._site.site and (stamped in (run, "") or (row[3] in _ANY_RUN and stamped < run))

    def _used_before(self, connection: sqlite3.Connection) -> list[tuple[object, ...]]:
        """Dead letters for messages whose identity is on disk with other content; a repetition is none."""
        letters: list[tuple[object, ...]] = []
        for row in self._batch:
            topic, boot, seq, payload = row[4], row[5], row[6], row[9]
            kept = connection.execute(_KEPT, (topic, boot, seq)).fetchall()
            if seq > 0 and all(text != payload for (text,) in kept):
                raw = payload.encode()
                reason = f"{USED_BEFORE}: boot {boot}, number {seq} is on disk with other content"
                digest = hashlib.sha256(raw).hexdigest()
                letters.append((topic, digest, len(raw), raw[:KEPT_BYTES], reason, to_us(self._now())))
        return letters

    def _adopt(self, connection: sqlite3.Connection, run: str, cycle: int, item: Wanted, new: range) -> list[Identity]:
        adopted = connection.execute(_ADOPT, (run, cycle, item.topic, item.boot, new.start, item.last, run)).fetchall()
        if len(adopted) != len(new):
            raise LocalStateError(
                f"cycle {cycle} of {run}: of {item.topic} (boot {item.boot}, seq {new.start} to {item.last}) "
                f"{len(adopted)} of {len(new)} messages are there to be committed"
            )
        return adopted

    def _begin(self, connection: sqlite3.Connection, run: str, turn: Turn) -> None:
        connection.execute(
            "INSERT OR IGNORE INTO run (run, site, site_json, label, mode, step_s, t0_us, t_end_us, started_us) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                run,
                self._site.site,
                self._site.model_dump_json(),
                self._label,
                turn.mode,
                turn.step_s,
                to_us(turn.t0),
                _us(turn.t_end),
                to_us(self._now()),
            ),
        )
        # What was rejected before the first turn came while this run gathered.
        connection.execute("UPDATE OR IGNORE dead_letter SET run = ? WHERE run = ''", (run,))

    def _commit(self, connection: sqlite3.Connection, run: str, turn: Turn) -> None:
        """In lock-step only what was committed is history: a run that is cut off ends with a whole cycle.

        The end is the closing commit, or in wall time a session that says that it has ended.
        """
        ended = run in self._ended or (turn.t_end is not None and turn.t >= turn.t_end)
        connection.execute(
            "UPDATE run SET cycle = max(coalesce(cycle, 0), :n), up_to_us = max(coalesce(up_to_us, :t), :t), "
            "t_end_us = :t_end, ended_us = coalesce(ended_us, :ended) WHERE run = :run",
            {
                "n": turn.n,
                "t": to_us(turn.t),
                "t_end": _us(turn.t_end),
                "ended": to_us(self._now()) if ended else None,
                "run": run,
            },
        )

    def _count(self, adopted: Sequence[Identity]) -> None:
        for topic, boot, seq, ts_us in adopted:
            self._waiting.discard((topic, boot, seq))
            self._stored += 1
            if not self.live or self._newest_us is None or ts_us <= self._newest_us:
                self._up_to_us = ts_us if self._up_to_us is None else max(self._up_to_us, ts_us)
            if seq > 0:
                span = self._spans.get((topic, boot))
                if span is None:
                    span = self._spans[topic, boot] = Span([])
                span.add(seq)
                if self.live:
                    self._receipts.note(topic, boot, seq)
        if self.live and any(topic.endswith(_BIRTH) for topic, _, _, _ in adopted):
            self._receipts.learn(self._store.read(_KEEPERS, [self.run]))


@lru_cache(maxsize=8192)
def _columns(topic: Topic) -> tuple[str, str, str, str, str]:
    """The columns of a topic, as plain text: SQLite's module asks for an adapter of everything else."""
    return topic.site, topic.kind.value, topic.device, topic.channel.value, str(topic)


def _us(time: datetime | None) -> int | None:
    return None if time is None else to_us(time)
