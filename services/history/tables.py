"""A history in tables of the file's schema, whoever filled them: the reads in SQL."""

import sqlite3
from abc import abstractmethod
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from schemas.errors import Code, InputError
from schemas.messages import TimeMode
from schemas.participant import Received
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic
from schemas.wire import decode
from services.history.reader import NEIGHBOUR, STANDING, DeadLetter, History, RunInfo, Tally
from services.history.store import UNANNOUNCED, from_us, to_us

_HISTORY = "run = :run AND (:up_to IS NULL OR cycle <= :up_to)"
"""Lock-step: whole cycles. Wall time: all."""
_ORDER = "ORDER BY ts_us, topic, boot, seq"
_TOLD_WITHIN = f"(channel IN {tuple(map(str, STANDING))} OR ts_us BETWEEN :start_us AND :end_us)"
_MEASURED_AROUND = "ts_us BETWEEN :from_us AND :until_us"
_DEVICE_BY_DEVICE = """device IN (
    WITH RECURSIVE teller(device) AS (
        SELECT min(device) FROM message WHERE run = :run AND channel = :channel
        UNION ALL
        SELECT (SELECT min(device) FROM message WHERE run = :run AND channel = :channel AND device > teller.device)
        FROM teller WHERE teller.device IS NOT NULL)
    SELECT device FROM teller WHERE device IS NOT NULL)"""
"""Always true; it has a day of a long run found by the index (run, channel, device, ts_us)."""


class TableHistory(History):
    """Reads an SQLite database. Nothing is kept between calls, so that each sees what is there by then."""

    _connection: sqlite3.Connection

    @abstractmethod
    def _need(self, run: str, channel: Channel | None = None) -> None:
        """To be called before messages of that channel (None: of all) are read: fetches them, or raises InputError."""

    def close(self) -> None:
        self._connection.close()

    def runs(self) -> list[RunInfo]:
        """All runs, oldest first."""
        rows = self._rows(
            "SELECT run, site, label, mode, step_s, t0_us, t_end_us, cycle, up_to_us, started_us, ended_us "
            "FROM run ORDER BY started_us, run"
        )
        return [
            RunInfo(
                run=row[0],
                site=row[1],
                label=row[2],
                mode=TimeMode(row[3]),
                step_s=row[4],
                t0=from_us(row[5]),
                t_end=_time(row[6]),
                cycle=row[7],
                up_to=_time(row[8]),
                started=from_us(row[9]),
                ended=_time(row[10]),
            )
            for row in rows
        ]

    def site(self, run: str) -> Site:
        """The site description with which the run was made."""
        self.info(run)
        ((text,),) = self._rows("SELECT site_json FROM run WHERE run = :run", run=run)
        try:
            return Site.model_validate_json(text)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"])) or "the whole"
            what = f"the site description of this run cannot be read ({where}: {fault['msg']})"
            raise InputError.one(str(self.path), what, run, code=Code.FORMAT) from None

    def messages(
        self, run: str, channel: Channel | None = None, kind: Kind | None = None, device: str | None = None
    ) -> Iterator[Received]:
        """Messages of a run by time, topic, boot and seq, whatever the order in which they arrived."""
        info = self.info(run)
        self._need(run, channel)
        parts = [_HISTORY, *self._bounds(channel)]
        for column, value in (("channel", channel), ("kind", kind), ("device", device)):
            if value is not None:
                parts.append(f"{column} = :{column}")
        cursor = self._connection.execute(
            f"SELECT topic, payload FROM message WHERE {' AND '.join(parts)} {_ORDER}",  # noqa: S608 - names only
            {**self._scope(info), "channel": channel, "kind": kind, "device": device},
        )
        for topic, payload in cursor:
            yield _received(topic, payload)

    def earlier_births(self, info: RunInfo) -> list[Received]:
        self._need(info.run, Channel.TELEMETRY)
        lives = self._rows(
            "SELECT DISTINCT kind, device, boot FROM message WHERE "  # noqa: S608 - names only
            + " AND ".join([_HISTORY, "channel = :channel", *self._bounds(Channel.TELEMETRY)]),
            **self._scope(info),
            channel=Channel.TELEMETRY,
        )
        told = {(birth.topic.device, birth.stamp.boot) for birth in self.messages(info.run, Channel.BIRTH)}
        return [
            _received(topic, payload)
            for kind, device, boot in lives
            if (device, boot) not in told
            for topic, payload in self._rows(
                f"SELECT topic, payload FROM message WHERE topic = :topic AND boot = :boot {_ORDER}",  # noqa: S608
                topic=str(Topic(info.site, Kind(kind), device, Channel.BIRTH)),
                boot=boot,
            )
        ]

    def newest_telemetry(self, info: RunInfo) -> datetime | None:
        self._need(info.run, Channel.TELEMETRY)
        ((newest_us,),) = self._rows(
            f"SELECT max(ts_us) FROM message WHERE {_HISTORY} AND channel = 'telemetry'",  # noqa: S608
            **self._scope(info),
        )
        return _time(newest_us)

    def dead_letters(self, run: str) -> list[DeadLetter]:
        self.info(run)
        self._need(run)
        rows = self._rows(
            "SELECT topic, reason, payload, bytes, times, received_us FROM dead_letter WHERE run = :run "
            "ORDER BY topic, digest",
            run=run,
        )
        return [
            DeadLetter(topic, reason, payload, size, times, from_us(received_us))
            for topic, reason, payload, size, times, received_us in rows
        ]

    def tally(self, info: RunInfo) -> Tally:
        self._need(info.run)
        spans = self._rows(
            "SELECT min(nullif(seq, 0)), max(seq), count(DISTINCT nullif(seq, 0)), count(*) FROM message "  # noqa: S608
            f"WHERE {' AND '.join([_HISTORY, *self._bounds()])} GROUP BY topic, boot",
            **self._scope(info),
        )
        ((letters,),) = self._rows("SELECT count(*) FROM dead_letter WHERE run = :run", run=info.run)
        return Tally(
            recorded=sum(count for *_, count in spans),
            missing=sum(last - first + 1 - numbered for first, last, numbered, _ in spans if first is not None),
            dead_letters=letters,
            stray=self._stray(info),
        )

    def _stray(self, info: RunInfo) -> int:
        ((stray,),) = self._rows(
            f"SELECT count(*) FROM message WHERE ({UNANNOUNCED} AND stamped_run = :run) "  # noqa: S608
            "OR (run = :run AND :up_to IS NOT NULL AND cycle > :up_to)",
            **self._scope(info),
        )
        return int(stray)

    def _bounds(self, channel: Channel | None = None) -> list[str]:
        if self.window is None or channel in STANDING:
            return []
        return [_MEASURED_AROUND, _DEVICE_BY_DEVICE] if channel is Channel.TELEMETRY else [_TOLD_WITHIN]

    def _scope(self, info: RunInfo) -> dict[str, object]:
        scope: dict[str, object] = {"run": info.run, "up_to": None}
        if info.mode is TimeMode.LOCKSTEP:
            scope["up_to"] = -1 if info.cycle is None else info.cycle
        if self.window is not None:
            start, end = self.window.start, self.window.end
            scope |= {"start_us": to_us(start), "from_us": to_us(start - NEIGHBOUR)}
            scope |= {"end_us": to_us(end), "until_us": to_us(end + NEIGHBOUR)}
        return scope

    def _rows(self, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters).fetchall()


def _received(topic: str, payload: str) -> Received:
    parsed = Topic.parse(topic)
    stamp, body = decode(parsed, payload.encode())
    return Received(parsed, stamp, body)


def _time(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)
