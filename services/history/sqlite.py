"""Reading a recorded history: a run at a time, also while it is written and when it was cut off."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from schemas.errors import Code, InputError
from schemas.messages import (
    Ack,
    Alarm,
    Birth,
    Body,
    MeterRole,
    Plan,
    Run,
    Series,
    Setpoint,
    Telemetry,
    TimeMode,
)
from schemas.participant import Received
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic
from schemas.wire import decode
from services.history.prices import Prices, prices_of
from services.history.sessions import RecordedChargingSession, sessions_of
from services.history.store import from_us, is_empty, require_ours, to_us
from services.history.tracks import Sample, Track

if TYPE_CHECKING:
    import xarray as xr

_SCHEME = "sqlite:"
INFLUX_SCHEMES = ("influxdb://", "influxdb+https://")
_BodyT = TypeVar("_BodyT", bound=Body)

_HISTORY = "run = :run AND (:up_to IS NULL OR cycle <= :up_to)"
"""Lock-step: whole cycles. Wall time: all."""
_ORDER = "ORDER BY ts_us, topic, boot, seq"
STANDING = (Channel.BIRTH, Channel.RUN, Channel.SERIES)
"""What they tell holds until the next message: a window has them from the run's beginning."""
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
NEIGHBOUR = timedelta(hours=1)
"""How far beyond a window the telemetry next to it is looked for, so that what flowed across its bounds is shared."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run in the history. Times are session time, but for ``started`` and ``ended``, the machine's."""

    run: str
    site: str
    label: str
    mode: TimeMode
    step_s: int
    t0: datetime
    t_end: datetime | None
    cycle: int | None
    """The newest that was committed."""
    up_to: datetime | None
    """Its time."""
    started: datetime
    ended: datetime | None
    """None: it still runs, or was cut off."""

    @property
    def complete(self) -> bool:
        """Whether its closing cycle was committed."""
        return self.ended is not None

    @property
    def step(self) -> timedelta:
        return timedelta(seconds=self.step_s)


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a run, from ``start`` to ``end``."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """How much of a run was recorded."""

    recorded: int
    """Messages, ticks, dones and the recorder's own apart."""
    missing: int
    """Gaps in the sequence numbers of what was recorded; last wills carry none."""
    dead_letters: int
    """Different ones."""
    stray: int
    """Of this run on disk, but never announced: last wills, processes outside the roster, a cycle that was cut off.

    The clock's word that the session has ended comes after the last commit, and is not counted.
    """
    setpoints_sent: int
    setpoints_changed: int
    """Whose value differs from the one before at the same device; the first of a device counts."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was not of the contract."""

    topic: str
    reason: str
    payload: bytes
    """Its beginning."""
    size_bytes: int
    times: int
    received: datetime


def history_path(url: str) -> Path:
    """The file of ``sqlite:PATH``. Raises InputError for anything else."""
    if not url.startswith(_SCHEME) or not url.removeprefix(_SCHEME):
        raise InputError.one(
            "history", f"is to be {_SCHEME}PATH or influxdb://host:port/org/bucket", url, code=Code.FORMAT
        )
    return Path(url.removeprefix(_SCHEME))


def open_history(url: str) -> "History":
    """A history for reading, ``sqlite:PATH`` or ``influxdb://host:port/org/bucket`` (see `influx_history`).

    Raises InputError when there is none, or the file is something else, InfluxError when the server does not answer.
    """
    if is_influx(url):
        from services.history.influx import open_influx_history

        return open_influx_history(url)
    return History(history_path(url))


def is_influx(url: str) -> bool:
    return url.startswith(INFLUX_SCHEMES)


class History:
    """Reads one file. Nothing is kept between calls, so that each sees what is on disk by then."""

    path: Path | str
    """Where it is, for whoever reads an error."""

    def __init__(self, path: Path, window: Window | None = None) -> None:
        """Raises InputError naming the file."""
        self.path = path
        self.window = window
        self._file = path
        if not path.is_file():
            raise InputError.one(str(path), "there is no history here", code=Code.NOT_FOUND)
        try:
            self._connection = self._open()
        except sqlite3.Error as error:
            raise InputError.one(str(path), f"cannot be read as a history: {error}", code=Code.FORMAT) from None

    def _open(self) -> sqlite3.Connection:
        name = f"file:{quote(str(self._file.absolute()))}?mode=ro"
        connection = sqlite3.connect(name, uri=True, isolation_level=None, check_same_thread=False, timeout=10.0)
        try:
            self._check(connection)
        except sqlite3.OperationalError:
            # On a medium that cannot be written there is no place for the index of the write-ahead log.
            connection.close()
            connection = sqlite3.connect(f"{name}&immutable=1", uri=True, isolation_level=None, check_same_thread=False)
            self._check(connection)
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        try:
            if is_empty(connection):
                raise InputError.one(str(self.path), "holds no history yet", code=Code.NOT_FOUND)
            require_ours(connection, self._file)
        except InputError:
            connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def within(self, start: datetime, end: datetime) -> "History":
        """The same history as if only ``start`` to ``end`` of every run had been recorded; to be closed, too.

        Of a run of months a day is read without the rest. Births, sessions and series are there from the run's
        beginning, for they hold until the next one, and each device's telemetry next to the bounds if it is at most
        `NEIGHBOUR` beyond: energies of windows that touch sum to that of the whole.
        """
        return History(self._file, Window(start, end))

    # -- runs

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

    def latest(self, label: str | None = "main") -> RunInfo:
        """The newest run of that label (None: of any). Raises InputError when there is none."""
        found = [info for info in self.runs() if label is None or info.label == label]
        if not found:
            raise InputError.one(
                str(self.path), f"holds no run{'' if label is None else f' labelled {label}'}", code=Code.UNKNOWN
            )
        return found[-1]

    def info(self, run: str) -> RunInfo:
        """Raises InputError naming the runs that there are."""
        runs = {info.run: info for info in self.runs()}
        if run not in runs:
            raise InputError.one(
                str(self.path), f"there is no such run; there are {', '.join(runs) or 'none'}", run, code=Code.UNKNOWN
            )
        return runs[run]

    def span(self, run: str) -> tuple[datetime, datetime]:
        """From where to where the run was recorded; of a window the part within it, in wall time whole steps."""
        info = self.info(run)
        if self.window is None:
            return info.t0, info.up_to or info.t0
        start, end = recorded_steps(info)
        return max(start, self.window.start), min(end, self.window.end)

    def site(self, run: str) -> Site:
        """The site description with which the run was made."""
        self.info(run)
        ((text,),) = self._rows("SELECT site_json FROM run WHERE run = :run", run=run)
        return Site.model_validate_json(text)

    # -- messages

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

    def births(self, run: str) -> dict[str, Received]:
        """The last birth of each participant, by id.

        In wall time also that of a life that began before the run: it is told once.
        """
        info = self.info(run)
        births = list(self.messages(run, Channel.BIRTH))
        if info.mode is TimeMode.WALL:
            self._need(run, Channel.TELEMETRY)
            lives = self._rows(
                "SELECT DISTINCT kind, device, boot FROM message WHERE "  # noqa: S608 - names only
                + " AND ".join([_HISTORY, "channel = :channel", *self._bounds(Channel.TELEMETRY)]),
                **self._scope(info),
                channel=Channel.TELEMETRY,
            )
            told = {(received.topic.device, received.stamp.boot) for received in births}
            births += [
                _received(topic, payload)
                for kind, device, boot in lives
                if (device, boot) not in told
                for topic, payload in self._rows(
                    f"SELECT topic, payload FROM message WHERE topic = :topic AND boot = :boot {_ORDER}",  # noqa: S608
                    topic=str(Topic(info.site, Kind(kind), device, Channel.BIRTH)),
                    boot=boot,
                )
            ]
            births.sort(key=lambda received: (received.stamp.ts, received.stamp.boot, received.stamp.seq))
        return {received.topic.device: received for received in births}

    def setpoints(self, run: str, device: str | None = None) -> list[tuple[Received, Setpoint]]:
        return self._bodies(run, Channel.SETPOINT, Setpoint, device)

    def acks(self, run: str, device: str | None = None) -> list[tuple[Received, Ack]]:
        return self._bodies(run, Channel.ACK, Ack, device)

    def plans(self, run: str) -> list[tuple[Received, Plan]]:
        return self._bodies(run, Channel.PLAN, Plan)

    def alarms(self, run: str) -> list[tuple[Received, Alarm]]:
        return self._bodies(run, Channel.ALARM, Alarm)

    def series(self, run: str) -> list[tuple[Received, Series]]:
        return self._bodies(run, Channel.SERIES, Series)

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

    # -- what the messages tell

    def tracks(self, run: str) -> dict[str, Track]:
        """Telemetry by device id, the PCC's too."""
        info = self.info(run)
        births = self.births(run)
        samples: dict[tuple[str, Kind], list[Sample]] = {}
        for received in self.messages(run, Channel.TELEMETRY):
            assert isinstance(received.body, Telemetry)
            of_device = samples.setdefault((received.topic.device, received.topic.kind), [])
            of_device.append(Sample(received.stamp.ts, received.stamp.boot, received.body))
        nameplates = {id_: birth.body.nameplate for id_, birth in births.items() if isinstance(birth.body, Birth)}
        lockstep = info.mode is TimeMode.LOCKSTEP
        tracks = {
            device: Track(device, kind, nameplates.get(device), tuple(found), lockstep)
            for (device, kind), found in sorted(samples.items())
        }
        if self.window is None:
            return tracks
        start, end = self.window.start, self.window.end
        cut = {device: track.around(start, end) for device, track in tracks.items()}
        return {device: track for device, track in cut.items() if track.samples}

    def grid(self, run: str) -> tuple[datetime, ...]:
        """The instants between which a run is accounted for.

        Lock-step: ``t0`` and every step's end up to the newest that was committed. Wall time: ``t0``, the whole
        steps of the clock, and the newest telemetry, so that the first and last interval may be shorter. A window:
        the steps of its `span`.
        """
        info = self.info(run)
        if self.window is not None:
            start, end = self.span(run)
            return tuple(start + index * info.step for index in range((end - start) // info.step + 1))
        self._need(run, Channel.TELEMETRY)
        ((newest_us,),) = self._rows(
            f"SELECT max(ts_us) FROM message WHERE {_HISTORY} AND channel = 'telemetry'",  # noqa: S608
            **self._scope(info),
        )
        if newest_us is None:
            return ()
        newest = from_us(newest_us)
        if info.mode is TimeMode.LOCKSTEP:
            return tuple(info.t0 + index * info.step for index in range((newest - info.t0) // info.step + 1))
        first = _next_step(info.t0, info.step)
        inner = [first + index * info.step for index in range(max(0, -((first - newest) // info.step)))]
        return tuple(dict.fromkeys([info.t0, *(time for time in inner if time < newest), newest]))

    def prices(self, run: str) -> Prices:
        """The tariff's, as announced."""
        told = self.messages(run, Channel.SERIES, Kind.TARIFF)
        return prices_of([s for received in told if isinstance(received.body, Series) for s in received.body.series])

    def simulated(self, run: str) -> bool:
        """Whether no real device took part: in lock-step always, in wall time as the session says."""
        if self.info(run).mode is TimeMode.LOCKSTEP:
            return True
        sessions = self._bodies(run, Channel.RUN, Run)
        return sessions[-1][1].simulated if sessions else False

    def sessions(self, run: str) -> list[RecordedChargingSession]:
        """Stays of vehicles, by charger and arrival."""
        return [s for track in self.tracks(run).values() for s in sessions_of(track)]

    def segments(self, run: str) -> dict[str, list[tuple[datetime, datetime, float]]]:
        """By device the pieces (start, end, kW) of constant power that its telemetry told of (lock-step)."""
        found: dict[str, list[tuple[datetime, datetime, float]]] = {}
        for device, track in self.tracks(run).items():
            pieces = found.setdefault(device, [])
            for sample in track.samples:
                segments = sample.body.segments or ()
                ends = [segment.start for segment in segments[1:]] + [sample.ts]
                pieces += [(s.start, end, s.power_kw) for s, end in zip(segments, ends, strict=bool(segments))]
        return found

    def counts(self, run: str) -> Counts:
        info = self.info(run)
        self._need(run)
        spans = self._rows(
            "SELECT min(nullif(seq, 0)), max(seq), sum(seq > 0), count(*) FROM message "  # noqa: S608
            f"WHERE {' AND '.join([_HISTORY, *self._bounds()])} GROUP BY topic, boot",
            **self._scope(info),
        )
        stray = self._stray(info)
        ((letters,),) = self._rows("SELECT count(*) FROM dead_letter WHERE run = :run", run=run)
        sent, changed = 0, 0
        last: dict[str, tuple[float | None, float | None]] = {}
        for received, setpoint in self.setpoints(run):
            value = (setpoint.power_kw, setpoint.limit_kw)
            sent += 1
            changed += last.get(received.topic.device) != value
            last[received.topic.device] = value
        return Counts(
            recorded=sum(count for *_, count in spans),
            missing=sum(last - first + 1 - numbered for first, last, numbered, _ in spans if first is not None),
            dead_letters=letters,
            stray=stray,
            setpoints_sent=sent,
            setpoints_changed=changed,
        )

    def _stray(self, info: RunInfo) -> int:
        ((stray,),) = self._rows(
            "SELECT count(*) FROM message WHERE (run IS NULL AND stamped_run = :run AND channel != 'run') "
            "OR (run = :run AND :up_to IS NOT NULL AND cycle > :up_to)",
            **self._scope(info),
        )
        return int(stray)

    def dataset(self, run: str) -> "xr.Dataset":
        """The run as an xarray Dataset; see `services.history.dataset` for its variables."""
        from services.history.dataset import dataset_of

        return dataset_of(self, run)

    # --

    def _need(self, run: str, channel: Channel | None = None) -> None:
        """To be called before messages of that channel (None: of all) are read.

        Raises InputError when some of them are in InfluxDB alone.
        """
        if channel not in STANDING and self._is_pruned(run):
            what = "of this run older messages were deleted here after they had been forwarded: read it from InfluxDB"
            raise InputError.one(str(self.path), what, run, code=Code.EMPTY)

    def _is_pruned(self, run: str) -> bool:
        ((version,),) = self._rows("PRAGMA user_version")
        if version < 2:
            return False
        ((before_us,),) = self._rows("SELECT pruned FROM run WHERE run = :run", run=run)
        if before_us <= 1 or self.window is None:
            return bool(before_us)
        return to_us(self.window.start - NEIGHBOUR) < int(before_us)

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

    def _bodies(
        self, run: str, channel: Channel, body: type[_BodyT], device: str | None = None
    ) -> list[tuple[Received, _BodyT]]:
        found = self.messages(run, channel, device=device)
        return [(received, received.body) for received in found if isinstance(received.body, body)]

    def _rows(self, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters).fetchall()


def pcc_of(tracks: dict[str, Track]) -> Track | None:
    """The meter at the point of common coupling; None when none told of itself."""
    return next((track for track in tracks.values() if track.role is MeterRole.PCC), None)


def recorded_steps(info: RunInfo) -> tuple[datetime, datetime]:
    """From where to where whole steps were recorded; in wall time those of the clock, in lock-step from ``t0``."""
    start, end = info.t0, info.up_to or info.t0
    if info.mode is TimeMode.LOCKSTEP:
        return start, end
    return start + (from_us(0) - start) % info.step, end - (end - from_us(0)) % info.step


def _next_step(time: datetime, step: timedelta) -> datetime:
    """The first whole step of the clock after ``time``."""
    return from_us(0) + ((time - from_us(0)) // step + 1) * step


def _received(topic: str, payload: str) -> Received:
    parsed = Topic.parse(topic)
    stamp, body = decode(parsed, payload.encode())
    return Received(parsed, stamp, body)


def _time(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)
