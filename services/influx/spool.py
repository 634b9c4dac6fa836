"""The history file as the spool of a forwarder: what is to be sent, what was, what the server refused.

All of it stands in the file itself, so that a forwarder that was killed goes on where it was; what it had sent and not
noted is sent again, and is the same points.
"""

import base64
import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from schemas.errors import Code, InputError, RemoteMessageError
from schemas.messages import TimeMode
from schemas.participant import Received
from schemas.topics import Channel, Topic
from schemas.wire import decode
from services.history.store import ALL_PRUNED, RUN_COLUMNS, UNANNOUNCED, HistoryStore, to_us
from services.influx.points import RUN_FIELDS, dead_letter_point, message_points, run_point

_DAY_US = 86_400_000_000
_BIRTHS = 1000
_IN_INFLUX, _QUARANTINED = 1, 2

_RUNS = f"""SELECT r.run, r.site, r.site_json, r.label, r.mode, r.step_s, r.t0_us, r.t_end_us, r.cycle, r.up_to_us,
                  r.started_us, r.ended_us, r.pruned, r.forwarded,
                  (SELECT count(*) FROM message WHERE {UNANNOUNCED} AND stamped_run = r.run)
           FROM run r ORDER BY r.started_us, r.run"""  # noqa: S608
_PENDING = """SELECT id, run, topic, boot, ts_us, cycle, payload FROM message
              WHERE run IS NOT NULL AND forwarded = 0 AND id <= ? ORDER BY id LIMIT ?"""
_SESSION = """SELECT payload FROM message WHERE run = ? AND channel = 'run'
              UNION ALL
              SELECT payload FROM message WHERE run IS NULL AND stamped_run = ? AND channel = 'run' LIMIT 1"""
_LETTERS = """SELECT l.id, l.run, r.site, l.topic, l.digest, l.bytes, l.payload, l.reason, l.received_us, l.times
              FROM dead_letter l JOIN run r ON r.run = l.run LEFT JOIN letter_forwarded f ON f.letter = l.id
              WHERE l.id > ? AND (f.times IS NULL OR f.times != l.times) ORDER BY l.id LIMIT ?"""
_SLICE = 1000
"""Rows that are deleted in one transaction: the recorder waits for it, and acknowledges nothing meanwhile."""
_RETAINED = frozenset({Channel.BIRTH, Channel.STATE, Channel.RUN, Channel.SERIES, Channel.LIMIT})
"""By the broker. So is a plan, of which only the last one counts."""
_LAST_PLANS = """SELECT json_group_array(id) FROM (SELECT max(m.id) AS id FROM run r
                 CROSS JOIN message m INDEXED BY message_by_run ON m.run = r.run AND m.channel = 'plan'
                 GROUP BY m.topic)"""
_OLD = """SELECT id FROM message INDEXED BY message_by_run WHERE run = ? AND channel = ? AND device = ? AND ts_us < ?
          AND forwarded = 1 AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY ts_us LIMIT ?"""
_OLD_STAGED = """SELECT id FROM message WHERE run IS NULL AND stamped_run = ? AND ts_us < ?
                 AND channel NOT IN ('birth', 'state', 'run', 'series', 'plan') LIMIT ?"""
_OLD_LETTERS = """SELECT l.id FROM dead_letter l JOIN letter_forwarded f ON f.letter = l.id AND f.times = l.times
                  WHERE l.run = ? AND l.received_us < ? LIMIT ?"""


@dataclass(frozen=True, slots=True)
class Item:
    """Something of the spool and its points, the own one first. ``message`` is None for a run or a dead letter."""

    run: str
    lines: tuple[str, ...]
    message: int | None = None
    letter: int | None = None
    times: int = 0
    """A dead letter."""
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
    """Counts of what waits in the spool, and of what was refused."""

    waiting: int
    """Messages."""
    quarantined: int
    """Points."""


@contextmanager
def only_forwarder(history: Path) -> Iterator[None]:
    """The only forwarder of this file, as long as the block lasts. Raises InputError when there is another one.

    Of two each would send what the other had, and delete under its feet.
    """
    path = history.with_name(f"{history.name}.forward-lock")
    try:
        with path.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError.one(
                    "--history", "another forwarder drains this file", str(history), code=Code.IN_USE
                ) from None
            yield
    except OSError as error:
        raise InputError.one(
            "--history", f"the lock beside it cannot be taken: {error}", str(path), code=Code.UNREADABLE
        ) from None


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
        for id_, run, topic, _, _, cycle, payload in rows:
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
        lies at the beginning of the day (UTC) up to which it goes: one a day, each within the bucket's retention. Its
        site and births are much and change rarely: they are sent when they did, and with the first point of a day.
        """
        items = []
        for *values, pruned, forwarded, staged in self._store.read(_RUNS):
            before = json.loads(forwarded or "{}")
            # Some of them may have been deleted here; no more come to a run that is over.
            stray = max(staged, before.get("stray", 0)) if pruned else staged
            row: dict[str, object] = {**dict(zip(RUN_COLUMNS, values, strict=True)), "stray": stray}
            run, site = str(row["run"]), str(row["site"])
            up_to_us = row["up_to_us"] if isinstance(row["up_to_us"], int) else values[RUN_COLUMNS.index("t0_us")]
            at_us = up_to_us - up_to_us % _DAY_US
            if row["mode"] == TimeMode.WALL:
                row["births"] = self._births(run, site, up_to_us)
            rarely = json.dumps([row["site_json"], row.get("births"), at_us])
            there = {name: row[name] for name in RUN_FIELDS} | {"whole": hashlib.sha256(rarely.encode()).hexdigest()}
            if there != before:
                point = run_point(run, site, row, at_us, whole=there["whole"] != before.get("whole"))
                items.append(Item(run, (point,), row=json.dumps(there, sort_keys=True)))
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
        """Values of the newest run."""
        found = self._store.read("SELECT site FROM run ORDER BY started_us DESC LIMIT 1")
        return str(found[0][0]) if found else None

    def prune(self, keep: timedelta, now: datetime) -> Iterator[int]:
        """Deletes what was forwarded and is older than ``keep``: messages, dead letters, and what was staged for a run
        and never became part of it. Tells after each slice how much it was; in between the file is free for others.

        In wall time by the message's time; of a run in lock-step, whose time is not the machine's, all at once when
        it ended (or was cut off, and a newer one began) so long ago. Kept are what is not in InfluxDB, and what
        the broker retains: it comes again when the recorder subscribes, and must be known then.
        """
        before_us = to_us(now.astimezone(UTC) - keep)
        ((last_plans,),) = self._store.read(_LAST_PLANS)
        runs = self._store.read(
            "SELECT run, mode FROM run WHERE forwarded IS NOT NULL AND (mode = 'wall' "
            "OR coalesce(ended_us, CASE WHEN run < (SELECT max(run) FROM run) THEN started_us END) < ?)",
            [before_us],
        )
        for run, mode in runs:
            bound = before_us if mode == TimeMode.WALL else ALL_PRUNED
            for channel in Channel:
                if channel not in _RETAINED:
                    for device in self._devices(run, channel):
                        yield from self._delete(run, bound, _OLD, run, channel, device, bound, last_plans)
            yield from self._delete(run, bound, _OLD_STAGED, run, bound)
            yield from self._delete(run, bound, _OLD_LETTERS, run, before_us, table="dead_letter")
        # Of no session: no other one has begun since.
        yield from self._delete("", 0, _OLD_STAGED, "", before_us)

    def _devices(self, run: str, channel: str) -> Iterator[str]:
        """Those that told something: a step in the index each, for the messages are too many to be looked through."""
        following = "SELECT min(device) FROM message WHERE run = ? AND channel = ? AND device > ?"
        device = ""
        while (found := self._store.read(following, [run, channel, device])[0][0]) is not None:
            device = found
            yield device

    def _delete(
        self, run: str, bound_us: int, select: str, *parameters: object, table: str = "message"
    ) -> Iterator[int]:
        while found := self._store.read(select, [*parameters, _SLICE]):
            with self._store.transaction() as connection:
                connection.executemany(f"DELETE FROM {table} WHERE id = ?", found)  # noqa: S608 - a name of ours
                if table == "dead_letter":
                    connection.executemany("DELETE FROM letter_forwarded WHERE letter = ?", found)
                connection.execute("UPDATE run SET pruned = max(pruned, ?) WHERE run = ?", (bound_us, run))
            yield len(found)

    def _fix_times(self, rows: Sequence[tuple[object, ...]]) -> dict[int, int]:
        """By message the time of its point [ns]: that of the message, or the next nanosecond that is free."""
        times: dict[int, int] = {}
        with self._store.transaction() as connection:
            for id_, run, topic, _, ts_us, _, _ in rows:
                assert isinstance(id_, int) and isinstance(ts_us, int)
                # What was read before this transaction may have been fixed by another one since.
                ((point_ns,),) = connection.execute("SELECT point_ns FROM message WHERE id = ?", (id_,)).fetchall()
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
