"""The history file as the spool of a forwarder: what is to be sent, what was, what the server refused.

All of it stands in the file itself, so that a forwarder that was killed goes on where it was; what it had sent and not
noted is sent again, and is the same points.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from schemas.errors import RemoteMessageError
from schemas.messages import TimeMode
from schemas.participant import Received
from schemas.topics import Topic
from schemas.wire import decode
from services.recorder.points import dead_letter_point, message_points, run_point
from services.recorder.store import ALL_PRUNED, RUN_COLUMNS, HistoryStore, to_us

_DAY_US = 86_400_000_000
_BIRTHS = 1000
_IN_INFLUX, _QUARANTINED = 1, 2

_RUNS = """SELECT r.run, r.site, r.site_json, r.label, r.mode, r.step_s, r.t0_us, r.t_end_us, r.cycle, r.up_to_us,
                  r.started_us, r.ended_us, r.forwarded,
                  (SELECT count(*) FROM message m
                   WHERE m.run IS NULL AND m.stamped_run = r.run AND m.channel != 'session')
           FROM run r ORDER BY r.started_us, r.run"""
_PENDING = """SELECT id, run, topic, boot, ts_us, cycle, payload, point_ns FROM message
              WHERE run IS NOT NULL AND forwarded = 0 AND id <= ? ORDER BY id LIMIT ?"""
_SESSION = """SELECT payload FROM message WHERE run = ? AND channel = 'session'
              UNION ALL
              SELECT payload FROM message WHERE run IS NULL AND stamped_run = ? AND channel = 'session' LIMIT 1"""
_LETTERS = """SELECT l.id, l.run, r.site, l.topic, l.digest, l.bytes, l.payload, l.reason, l.received_us, l.times
              FROM dead_letter l JOIN run r ON r.run = l.run LEFT JOIN letter_forwarded f ON f.letter = l.id
              WHERE l.id > ? AND (f.times IS NULL OR f.times != l.times) ORDER BY l.id LIMIT ?"""
_PRUNE = """DELETE FROM message WHERE forwarded = 1 AND run = :run AND (:before_us IS NULL OR ts_us < :before_us)
            AND channel NOT IN ('birth', 'state', 'session', 'series')
            AND (channel != 'plan' OR id NOT IN (SELECT max(id) FROM message WHERE channel = 'plan' GROUP BY topic))"""


@dataclass(frozen=True, slots=True)
class Item:
    """Something of the spool and its points, the own one first. ``message`` is None for a run or a dead letter."""

    run: str
    lines: tuple[str, ...]
    message: int | None = None
    letter: int | None = None
    times: int = 0
    """Of a dead letter."""
    row: str | None = None
    """Of a run."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A point that the server does not take, and why."""

    line: str
    bucket: str
    reason: str


@dataclass(frozen=True, slots=True)
class Depth:
    """What waits in the spool, and what was refused."""

    waiting: int
    """Messages."""
    quarantined: int
    """Points."""


class Spool:
    """Used by one forwarder at a time, beside the recorder that writes the file."""

    def __init__(self, store: HistoryStore) -> None:
        self._store = store
        self._simulated: dict[str, bool] = {}
        self._version: int | None = None

    def changed(self) -> bool:
        """Whether somebody else wrote to the file since this was last asked."""
        ((version,),) = self._store.read("PRAGMA data_version")
        before, self._version = self._version, version
        return bool(version != before)

    def newest(self) -> int:
        """Number of the message that came last; 0: none did."""
        ((newest,),) = self._store.read("SELECT coalesce(max(id), 0) FROM message")
        return int(newest)

    def waits(self, up_to: int | None = None) -> bool:
        """Whether there is a message that was not forwarded, of those up to this one."""
        waiting = "SELECT 1 FROM message WHERE run IS NOT NULL AND forwarded = 0 AND id <= ? LIMIT 1"
        return bool(self._store.read(waiting, [self.newest() if up_to is None else up_to]))

    def messages(self, limit: int, now: datetime, up_to: int | None = None) -> list[Item]:
        """The oldest that were not forwarded, at most ``limit``. Their points' times are on disk afterwards.

        A message that this program cannot read any more is put into quarantine with the reason.
        """
        rows = self._store.read(_PENDING, [self.newest() if up_to is None else up_to, limit])
        times = self._fix_times(rows)
        items = []
        for id_, run, topic, _, _, cycle, payload, _ in rows:
            try:
                parsed = Topic.parse(topic)
                received = Received(parsed, *decode(parsed, payload.encode()))
            except RemoteMessageError as error:
                self.note([Item(run, (payload,), message=id_)], [Refusal(payload, "", str(error))], now)
                continue
            items.append(Item(run, tuple(message_points(received, payload, run, cycle, times[id_])), message=id_))
        return items

    def letters(self, limit: int, after: int = 0) -> list[Item]:
        """Dead letters that are not in InfluxDB as often as they came, those after this one."""
        items = []
        for id_, run, site, topic, digest, size, payload, reason, received_us, times in self._store.read(
            _LETTERS, [after, limit]
        ):
            fields: dict[str, bool | int | float | str] = {
                "topic": topic,
                "digest": digest,
                "bytes": size,
                "payload_base64": base64.b64encode(payload).decode(),
                "reason": reason,
                "times": times,
                "received_us": received_us,
            }
            # Two letters of one microsecond get two nanoseconds, the same ones every time.
            point = dead_letter_point(run, site, fields, received_us * 1000 + id_ % 1000)
            items.append(Item(run, (point,), letter=id_, times=times))
        return items

    def runs(self) -> list[Item]:
        """Runs that stand in InfluxDB otherwise than here, as they are now.

        To be sent once what was in the spool at this time has been: only then is it true there. The point of a run
        lies at the beginning of the day (UTC) up to which it goes: one a day, each within the bucket's retention.
        """
        items = []
        for *values, before, stray in self._store.read(_RUNS):
            row: dict[str, object] = {**dict(zip(RUN_COLUMNS, values, strict=True)), "stray": stray}
            run, site = str(row["run"]), str(row["site"])
            up_to_us = row["up_to_us"] if isinstance(row["up_to_us"], int) else values[RUN_COLUMNS.index("t0_us")]
            if row["mode"] == TimeMode.WALL:
                row["births"] = self._births(run, site, up_to_us)
            text = json.dumps(row, sort_keys=True)
            if text != before:
                items.append(Item(run, (run_point(run, site, row, up_to_us - up_to_us % _DAY_US),), row=text))
        return items

    def simulated(self, run: str) -> bool:
        """Whether no real device took part. A session in wall time says it of itself; lock-step always is."""
        if run not in self._simulated:
            ((mode,),) = self._store.read("SELECT mode FROM run WHERE run = ?", [run])
            told = self._store.read(_SESSION, [run, run])
            if mode == TimeMode.WALL and not told:
                return False
            self._simulated[run] = mode == TimeMode.LOCKSTEP or json.loads(told[0][0]).get("simulated", True)
        return self._simulated[run]

    def note(self, items: Iterable[Item], refused: Sequence[Refusal], now: datetime) -> None:
        """These were sent; of their points the server refused some. In one transaction."""
        reasons = {refusal.line: refusal for refusal in refused}
        with self._store.transaction() as connection:
            for item in items:
                bad = [reasons[line] for line in item.lines if line in reasons]
                for refusal in bad:
                    connection.execute(
                        "INSERT OR IGNORE INTO quarantine (message, bucket, point, reason, refused_us) "
                        "VALUES (?, ?, ?, ?, ?)",
                        (item.message, refusal.bucket, refusal.line, refusal.reason, to_us(now)),
                    )
                if item.message is not None:
                    state = _QUARANTINED if bad else _IN_INFLUX
                    connection.execute("UPDATE message SET forwarded = ? WHERE id = ?", (state, item.message))
                elif item.letter is not None:
                    connection.execute(
                        "INSERT OR REPLACE INTO letter_forwarded (letter, times) VALUES (?, ?)",
                        (item.letter, item.times),
                    )
                else:
                    connection.execute("UPDATE run SET forwarded = ? WHERE run = ?", (item.row, item.run))

    def depth(self) -> Depth:
        ((waiting,),) = self._store.read("SELECT count(*) FROM message WHERE run IS NOT NULL AND forwarded = 0")
        ((quarantined,),) = self._store.read("SELECT count(*) FROM quarantine")
        return Depth(waiting, quarantined)

    def site(self) -> str | None:
        """Of the newest run."""
        found = self._store.read("SELECT site FROM run ORDER BY started_us DESC LIMIT 1")
        return str(found[0][0]) if found else None

    def prune(self, keep: timedelta, now: datetime) -> int:
        """Deletes forwarded messages older than ``keep``; returns how many.

        In wall time by the message's time; of a run in lock-step, whose time is not the machine's, all at once when
        it ended (or was cut off, and a newer one began) so long ago. Kept are what is not in InfluxDB, and what
        the broker retains: it comes again when the recorder subscribes, and must be known then.
        """
        before_us = to_us(now.astimezone(UTC) - keep)
        pruned = 0
        with self._store.transaction() as connection:
            runs = connection.execute(
                "SELECT run, mode FROM run WHERE forwarded IS NOT NULL AND (mode = 'wall' "
                "OR coalesce(ended_us, CASE WHEN run < (SELECT max(run) FROM run) THEN started_us END) < ?)",
                (before_us,),
            ).fetchall()
            for run, mode in runs:
                bound = before_us if mode == TimeMode.WALL else None
                found = connection.execute(_PRUNE, {"run": run, "before_us": bound}).rowcount
                if found:
                    connection.execute(
                        "UPDATE run SET pruned = max(pruned, ?) WHERE run = ?", (bound or ALL_PRUNED, run)
                    )
                pruned += found
        return pruned

    def _fix_times(self, rows: Sequence[tuple[object, ...]]) -> dict[int, int]:
        """By message the time of its point [ns]: that of the message, or the next nanosecond that is free."""
        times: dict[int, int] = {}
        with self._store.transaction() as connection:
            for id_, run, topic, _, ts_us, _, _, point_ns in rows:
                assert isinstance(id_, int) and isinstance(ts_us, int)
                if isinstance(point_ns, int):
                    times[id_] = point_ns
                    continue
                time = ts_us * 1000
                taken = "SELECT 1 FROM message WHERE run = ? AND topic = ? AND point_ns = ?"
                while connection.execute(taken, (run, topic, time)).fetchone():
                    time += 1
                connection.execute("UPDATE message SET point_ns = ? WHERE id = ?", (time, id_))
                times[id_] = time
        return times

    def _births(self, run: str, site: str, up_to_us: int) -> list[list[object]]:
        """Topic and payload of the site's newest births, and whether they are of this run's history: a life in wall
        time tells of itself once, perhaps before the run, and outlasts what a bucket keeps.

        Of the time up to which the run goes, so that the row of a run that is over stays as it is.
        """
        found = self._store.read(
            "SELECT topic, payload, coalesce(run = ?, 0) FROM message "
            "WHERE site = ? AND channel = 'birth' AND ts_us <= ? ORDER BY ts_us DESC, id DESC LIMIT ?",
            [run, site, up_to_us, _BIRTHS],
        )
        return [list(row) for row in found]
