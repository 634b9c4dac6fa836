"""A history in InfluxDB, read with the same result to the last bit as from the file that was forwarded to it.

InfluxDB holds every message whole (field ``json``), and every run's row. What is asked for is fetched once and put into
an SQLite database of its own, in the schema of the file, on which the same reads work. So there is one set of them.
"""

import base64
import json
import os
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from schemas.errors import Code, Fault, InputError, shorten
from schemas.messages import TimeMode
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic
from services.history.reader import NEIGHBOUR, STANDING, RunInfo, Window
from services.history.sqlite import INFLUX_SCHEMES
from services.history.store import RUN_COLUMNS, create, to_us
from services.history.tables import TableHistory
from services.influx.points import DEAD_LETTER, RUN, part_name
from services.influx.server import ALL_TIME, InfluxServer, flux_text

TOKEN, TOKEN_FILE = "TWINSWARM_INFLUX_TOKEN", "TWINSWARM_INFLUX_TOKEN_FILE"
_PARAMETER = "token-file"
"""The one that an address has."""

_CHANNELS = {f"{kind}_{channel}": (kind, channel) for kind in Kind for channel in Channel}
_MESSAGE = """INSERT OR IGNORE INTO message (site, kind, device, channel, topic, boot, seq, ts_us, stamped_run, payload,
              run, point_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


@dataclass(frozen=True, slots=True)
class InfluxAddress:
    """Where a history is: a bucket of an organisation of a server. ``token_file`` None: the environment has it."""

    url: str
    org: str
    bucket: str
    token_file: Path | None

    def server(self) -> InfluxServer:
        """Raises InputError when there is no token."""
        return InfluxServer(self.url, self.org, read_token(self.token_file))

    def options(self) -> list[str]:
        """As the command line takes them."""
        told = ["--influx", self.url, "--org", self.org, "--bucket", self.bucket]
        return [*told, "--token-file", str(self.token_file)] if self.token_file is not None else told


def influx_address(url: str) -> InfluxAddress:
    """``influxdb://host:port/org/bucket``, with TLS ``influxdb+https://…``.

    The token is the first line of the file named by ``?token-file=PATH`` or the variable TWINSWARM_INFLUX_TOKEN_FILE,
    or the value of TWINSWARM_INFLUX_TOKEN. Raises InputError.
    """
    try:
        parts = urlsplit(url)
        port = 8086 if parts.port is None else parts.port
    except ValueError:  # brackets without an end, a port that is none
        parts, port = urlsplit(""), 0
    names = parts.path.strip("/").split("/")
    if f"{parts.scheme}://" not in INFLUX_SCHEMES or not parts.hostname or not port or len(names) != 2 or "" in names:
        raise InputError.one(
            "history", "is to be influxdb://host:port/org/bucket", without_secrets(url), code=Code.FORMAT
        )
    if parts.username is not None or parts.password is not None:
        raise InputError.one(
            "history", "a token is given by a file, never in the address", without_secrets(url), code=Code.FORMAT
        )
    asked = parse_qs(parts.query, keep_blank_values=True)
    if unknown := asked.keys() - {_PARAMETER}:
        faults = [
            Fault("history", f"the address has one parameter, {_PARAMETER}", shorten(name), code=Code.FORMAT)
            for name in unknown
        ]
        raise InputError(sorted(faults, key=str))
    told = asked.get(_PARAMETER)
    if told is not None and (len(told) > 1 or not told[0]):
        raise InputError.one("history", f"{_PARAMETER} is to be one path", told, code=Code.FORMAT)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    scheme = "https" if parts.scheme.endswith("https") else "http"
    return InfluxAddress(f"{scheme}://{host}:{port}", names[0], names[1], Path(told[0]) if told else None)


def open_influx_history(url: str) -> "InfluxHistory":
    """See `influx_address`. Raises InputError, and InfluxError when the server does not answer."""
    address = influx_address(url)
    return InfluxHistory(address.server(), address.bucket)


def token_path(file: Path | None) -> Path | None:
    """The file, or else the one that the environment names; None: there is none."""
    named = os.environ.get(TOKEN_FILE)
    return Path(named) if file is None and named else file


def read_token(file: Path | None) -> str:
    """From the file, or else from the environment. Raises InputError; never tells the token."""
    file = token_path(file)
    if file is None:
        token = os.environ.get(TOKEN, "").strip()
        if not token:
            raise InputError.one("InfluxDB", f"needs a token: a file, or {TOKEN_FILE}, or {TOKEN}", code=Code.MISSING)
        return _of_a_header(token, TOKEN)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError.one(str(file), f"the token cannot be read: {error}", code=Code.UNREADABLE) from None
    if not lines or not lines[0].strip():
        raise InputError.one(str(file), "is to hold InfluxDB's token in its first line", code=Code.MISSING)
    return _of_a_header(lines[0].strip(), str(file))


def _of_a_header(token: str, where: str) -> str:
    """The token, if it can stand in a request. Raises InputError."""
    if not (token.isascii() and token.isprintable()):
        raise InputError.one(where, "is no token of InfluxDB: that is of printable ASCII characters", code=Code.FORMAT)
    return token


class InfluxHistory(TableHistory):
    """One bucket. The runs are those that there were when it was opened; what is read of one is fetched once."""

    def __init__(self, server: InfluxServer, bucket: str, window: Window | None = None, *, owner: bool = True) -> None:
        """``owner``: closing it closes the server's client. Raises InfluxError, InputError: there is no such bucket."""
        scheme, _, host = server.url.partition("://")
        self.path = f"influxdb{'+https' * (scheme == 'https')}://{host}/{server.org}/{bucket}"
        self.window = window
        self._server = server
        self._bucket = bucket
        self._owner = owner
        # A database without a name lives in memory and, as it grows, in a temporary file.
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        create(self._connection)
        self._fetched: set[tuple[str, Channel]] = set()
        self._letters_of: set[str] = set()
        self._rows_of_runs: dict[str, dict[str, Any]] = {}
        self._fetch_runs()

    def close(self) -> None:
        super().close()
        if self._owner:
            self._server.close()

    def within(self, start: datetime, end: datetime) -> "InfluxHistory":
        return InfluxHistory(self._server, self._bucket, Window(start, end), owner=False)

    def site(self, run: str) -> Site:
        self.info(run)
        self._row(run)
        return super().site(run)

    def _stray(self, info: RunInfo) -> int:
        # What is no history was not forwarded, only how much of it there was.
        return self._strays[info.run]

    def _fetch_runs(self) -> None:
        """All runs without their sites, which `_row` adds: with them a list of many would be megabytes."""
        told: dict[str, dict[str, str]] = {}
        of_run = f'r._measurement == "{RUN}" and r._field !~ /^json/'
        for row in self._query(of_run, then="|> last() |> toString()"):
            told.setdefault(row["run"], {"run": row["run"], "site": row["site"]})[row["_field"]] = row["_value"]
        self._strays = {run: int(values["stray"]) for run, values in told.items()}
        columns, places = ", ".join(RUN_COLUMNS), ", ".join("?" * len(RUN_COLUMNS))
        self._connection.executemany(
            f"INSERT INTO run ({columns}) VALUES ({places})",  # noqa: S608 - names only
            [
                [values.get(column, "" if column == "site_json" else None) for column in RUN_COLUMNS]
                for values in told.values()
            ],
        )

    def _row(self, run: str) -> dict[str, Any]:
        """A run as the file has it, with its site and, in wall time, the births."""
        if run not in self._rows_of_runs:
            row = self._rows_of_runs[run] = json.loads(self._description(run))
            self._connection.execute("UPDATE run SET site_json = ? WHERE run = ?", (row["site_json"], run))
        return self._rows_of_runs[run]

    def _description(self, run: str) -> str:
        """The newest whole row of a run as JSON text, put together from its parts. Raises InputError."""
        of_run = f'r._measurement == "{RUN}" and r.run == {flux_text(run)} and r._field =~ /^json/'
        told = {row["_field"]: row for row in self._query(of_run, then="|> last() |> toString()")}
        if "json" not in told:
            raise self._incomplete(run)
        newest = told["json"]["_time"]
        # Before there were parts a description was one field.
        alone = "json_parts" not in told or told["json_parts"]["_time"] != newest
        count = 1 if alone else int(told["json_parts"]["_value"])
        parts = [told.get(part_name(number)) for number in range(1, count + 1)]
        if not all(part is not None and part["_time"] == newest for part in parts):
            raise self._incomplete(run)
        return "".join(part["_value"] for part in parts if part is not None)

    def _incomplete(self, run: str) -> InputError:
        what = "the description of this run is not in InfluxDB, or not all of it: forward its history again"
        return InputError.one(str(self.path), what, run, code=Code.MISSING)

    def _need(self, run: str, channel: Channel | None = None) -> None:
        wanted = [c for c in (Channel if channel is None else [channel]) if (run, c) not in self._fetched]
        self._fetched |= {(run, c) for c in wanted}
        standing = [c for c in wanted if c in STANDING]
        self._connection.execute("BEGIN")
        # Those that hold until the next one are there from the run's beginning; in a window the rest is not.
        for channels in (wanted,) if self.window is None else (standing, [c for c in wanted if c not in standing]):
            if channels:
                self._fetch(run, channels)
        if channel is None and run not in self._letters_of:
            self._letters_of.add(run)
            self._fetch_letters(run)
        self._connection.execute("COMMIT")

    def _fetch(self, run: str, channels: Collection[Channel]) -> None:
        measurements = "r._measurement =~ /_(" + "|".join(channels) + ")$/"
        of_run = f'r.run == "{run}" and {measurements}'
        span = ALL_TIME if set(channels) & set(STANDING) else self._range()
        lockstep = self._row(run)["mode"] == TimeMode.LOCKSTEP
        if lockstep:
            # It stays: SQLite drops no table while the messages of another channel are being read.
            self._connection.execute("CREATE TEMP TABLE IF NOT EXISTS told (topic TEXT, point TEXT, cycle INTEGER)")
            self._connection.execute("CREATE INDEX IF NOT EXISTS temp.told_of ON told (topic, point)")
            for row in self._query(f'{of_run} and r._field == "cycle"', span):
                if row["_measurement"] in _CHANNELS:
                    self._connection.execute(
                        "INSERT INTO told VALUES (?, ?, ?)", (str(_topic(row)), row["_time"], int(row["_value"]))
                    )
        for row in self._query(f'{of_run} and r._field == "json"', span):
            if row["_measurement"] in _CHANNELS:
                self._insert(_topic(row), row["_value"], run, row["_time"])
        if lockstep:
            # point_ns holds the server's text of the time here; all it is for is to find the cycle.
            self._connection.execute(
                "UPDATE message SET cycle = (SELECT cycle FROM told WHERE told.topic = message.topic "
                "AND told.point = message.point_ns) WHERE run = ? AND cycle IS NULL",
                (run,),
            )
            self._connection.execute("DELETE FROM told")
        if Channel.BIRTH in channels:
            for topic, payload, mine in self._row(run).get("births", ()):
                self._insert(Topic.parse(topic), payload, run if mine else None, None)

    def _range(self) -> str:
        """Range of a Flux query, beyond the window as far as is read."""
        if self.window is None:
            return ALL_TIME
        start, stop = self.window.start - NEIGHBOUR, self.window.end + NEIGHBOUR + timedelta(seconds=1)
        return f"range(start: {start.isoformat()}, stop: {stop.isoformat()})"

    def _insert(self, topic: Topic, payload: str, run: str | None, point: str | None) -> None:
        stamp = json.loads(payload)
        self._connection.execute(
            _MESSAGE,
            (
                topic.site,
                topic.kind,
                topic.device,
                topic.channel,
                str(topic),
                stamp["boot"],
                stamp["seq"],
                to_us(datetime.fromisoformat(stamp["ts"])),
                stamp.get("run") or "",
                payload,
                run,
                point,
            ),
        )

    def _fetch_letters(self, run: str) -> None:
        for row in self._query(f'r._measurement == "{DEAD_LETTER}" and r.run == "{run}" and r._field == "json"'):
            letter = json.loads(row["_value"])
            self._connection.execute(
                "INSERT INTO dead_letter (run, topic, digest, bytes, payload, reason, received_us, times) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run,
                    letter["topic"],
                    letter["digest"],
                    letter["bytes"],
                    base64.b64decode(letter["payload_base64"]),
                    letter["reason"],
                    letter["received_us"],
                    letter["times"],
                ),
            )

    def _query(self, predicate: str, span: str = ALL_TIME, *, then: str = "") -> Iterator[dict[str, str]]:
        source = f"from(bucket: {flux_text(self._bucket)}) |> {span}"
        return self._server.query(f"{source} |> filter(fn: (r) => {predicate}) {then}")


def _topic(row: dict[str, str]) -> Topic:
    kind, channel = _CHANNELS[row["_measurement"]]
    return Topic(row["site"], kind, row["device"], channel)


def without_secrets(url: str) -> str:
    """An address, to be told."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
