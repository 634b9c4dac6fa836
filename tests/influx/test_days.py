"""Local days settled from InfluxDB and written back to it."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.heartbeat import Heartbeat
from schemas.errors import Code
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from services.influx.day_results import written_days
from services.influx.downsample import init_history
from services.influx.forward import Forwarder
from services.influx.reader import InfluxAddress
from services.influx.server import InfluxServer
from services.influx.spool import Spool
from sites.loader import load_site
from tests.errors import raises
from tests.history.tape import RUN, Tape, at_noon, record
from tests.influx.lab import ORG, Influx
from twinswarm.deploy.daily_settlement import LOOK_S, MARGIN, QUIET_S, Follower
from twinswarm.simulation.compose import Recording
from twinswarm.simulation.days import local_days, settle_day
from twinswarm.simulation.histories import open_history
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference


def forwarded(path: Path, influx: Influx, bucket: str) -> None:
    with closing(HistoryStore(path, durable=False)) as store, closing(influx.server()) as server:
        Forwarder(Spool(store), server, bucket, now=at_noon, wait=lambda _: True).drain()


def points(server: InfluxServer, bucket: str, measurement: str) -> list[dict[str, str]]:
    return list(
        server.query(
            f'from(bucket: "{bucket}-quarters") |> range(start: 2000-01-01T00:00:00Z, stop: 2100-01-01T00:00:00Z)'
            f' |> filter(fn: (r) => r._measurement == "{measurement}")'
        )
    )


def days_of(address: str) -> list[dict[str, object]]:
    with closing(open_history(address)) as history:
        info = history.latest()
        zone = history.site(info.run).zone
        return [asdict(settle_day(history, info.run, day, Reference.UNCONTROLLED)) for day in local_days(info, zone)]


def test_days_of_a_run_are_the_same_from_influxdb_to_the_last_bit(
    tmp_path: Path, influx: Influx, bucket: str, address: str
) -> None:
    path, site = tmp_path / "h.sqlite", load_site("fit_g2v")
    with closing(HistoryStore(path, durable=False)) as store:
        run_in_memory(site, course_of(site, length=timedelta(hours=40)), Recording(store))
    forwarded(path, influx, bucket)
    told = days_of(f"sqlite:{path}")
    assert [day["hours"] for day in told] == [24.0, 16.0]
    assert repr(days_of(address)) == repr(told)


def test_window_fetches_its_own_telemetry_only(lived: Path, influx: Influx, bucket: str, address: str) -> None:
    forwarded(lived, influx, bucket)
    with closing(open_history(address)) as history:
        info = history.latest()
        with closing(history.within(info.t0, info.t0 + timedelta(hours=2))) as window:
            assert len(window.tracks(info.run)["bess"].samples) == 9
            fetched = window._rows("SELECT channel, count(*), max(ts_us) - min(ts_us) FROM message GROUP BY channel")
        by_channel = {channel: (count, length_us) for channel, count, length_us in fetched}
    # Two hours and the one beside them, and nothing of what was not asked for.
    assert by_channel.keys() == {"birth", "telemetry"}
    assert by_channel["telemetry"][1] == 3 * 3_600_000_000


# ---- written, and followed


@pytest.fixture
def token(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINSWARM_INFLUX_TOKEN_FILE", str(token_file))
    monkeypatch.delenv("TWINSWARM_INFLUX_TOKEN", raising=False)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "twinswarm.cli", "savings", *arguments]


class Following:
    """``twinswarm savings --follow`` as a process, and what it logs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.log = ""
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line

    def wait_for(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        patience = threading.Event()
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            patience.wait(0.05)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self._thread.join()


@contextmanager
def following(address: str, *options: str) -> Iterator[Following]:
    with subprocess.Popen(
        command("--history", address, "--reference", "no-cars", "--follow", *options),
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    ) as process:
        follower = Following(process)
        try:
            yield follower
        finally:
            follower.end()


def test_written_days_are_one_point_each_however_often_they_are_written(
    lived: Path, influx: Influx, bucket: str, address: str, token: None
) -> None:
    with closing(influx.server()) as server:
        init_history(server, bucket, 0)
        forwarded(lived, influx, bucket)
        for _ in range(2):
            subprocess.run(
                command("--history", address, "--write", "--reference", "uncontrolled"), check=True, timeout=120
            )
        rows = points(server, bucket, "day_result")
        with closing(SqliteHistory(lived)) as history:
            info = history.latest()
            (day,) = local_days(info, history.site(info.run).zone)
            result = settle_day(history, info.run, day, Reference.UNCONTROLLED)
        assert written_days(server, bucket, "uncontrolled") == {(info.run, day.start): 24.0}
    told = {row["_field"]: float(row["_value"]) for row in rows}
    assert len(rows) == len(told)
    assert told == {
        name: float(value) for name, value in result.to_json().items() if isinstance(value, bool | int | float)
    }
    named = (rows[0]["_time"], rows[0]["device"], rows[0]["kind"], rows[0]["run"], rows[0]["site"])
    assert named == ("2024-05-16T22:00:00Z", "uncontrolled", "analysis", info.run, "fit-g2v")


def test_follower_settles_what_is_over_once_whatever_comes_when(
    lived: Path, own_influx: Influx, tmp_path: Path, token: None
) -> None:
    address = f"influxdb://127.0.0.1:{own_influx.port}/{ORG}/site"
    heartbeat = tmp_path / "alive"
    with following(address, "--heartbeat", str(heartbeat)) as follower:
        follower.wait_for(lambda: "waiting" in follower.log)
        follower.wait_for(heartbeat.exists)
        own_influx.start()
        own_influx.set_up()
        with closing(own_influx.server()) as server:
            init_history(server, "site", 0)
        forwarded(lived, own_influx, "site")
        follower.wait_for(lambda: "settled 2024-05-17" in follower.log)
        own_influx.kill()
        before = len(follower.log)
        follower.wait_for(lambda: "waiting" in follower.log[before:])
        own_influx.start()
        follower.wait_for(lambda: "InfluxDB are there" in follower.log[before:])
        # Meanwhile another run was recorded; it has ended, too.
        record(Tape(), tmp_path / "other.sqlite")
        forwarded(tmp_path / "other.sqlite", own_influx, "site")
        follower.wait_for(lambda: "settled 2024-05-15" in follower.log)
        assert follower.log.count("settled 2024-05-17") == 1
    with closing(own_influx.server()) as server:
        assert len(written_days(server, "site", "no-cars")) == 2
        # Quarter-hours of simulated days are made by nobody else.
        assert {row["_field"] for row in points(server, "site", "bess_quarter")} >= {"power_kw", "import_kwh"}
    third = "20240515T000000.000000Z-0007"
    record(Tape(run=third), tmp_path / "third.sqlite")
    forwarded(tmp_path / "third.sqlite", own_influx, "site")
    with following(f"{address}-simulated") as again:
        again.wait_for(lambda: third in again.log)
        assert again.log.count("settled") == 1


def live_session(path: Path, recorded_until: datetime) -> None:
    """The tape's day as a session in wall time without an end."""
    record(Tape(), path)
    with closing(sqlite3.connect(path)) as connection, connection:
        micros = (recorded_until - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        connection.execute("UPDATE run SET mode = 'wall', t_end_us = NULL, ended_us = NULL, up_to_us = ?", (micros,))


@pytest.mark.parametrize("later", [MARGIN - timedelta(seconds=1), MARGIN])
def test_day_of_a_live_session_is_settled_when_it_was_recorded_beyond_midnight(
    later: timedelta, tmp_path: Path, influx: Influx, bucket: str, token: None
) -> None:
    path = tmp_path / "h.sqlite"
    live_session(path, Tape().course.t_end + later)
    with closing(influx.server()) as server:
        init_history(server, bucket, 0)
    live = f"influxdb://127.0.0.1:{influx.port}/{ORG}/{bucket}"
    forwarded(path, influx, bucket)
    # A second, simulated run tells when the follower has looked at everything.
    record(Tape(run="20240515T000000.000000Z-0008"), tmp_path / "marker.sqlite")
    forwarded(tmp_path / "marker.sqlite", influx, bucket)
    with following(live) as follower:
        follower.wait_for(lambda: "-0008" in follower.log)
    with closing(influx.server()) as server:
        runs = {run for run, _ in written_days(server, bucket, "no-cars")}
    assert (RUN in runs) == (later >= MARGIN)


def due_days(follower: Follower) -> list[tuple[str, timedelta]]:
    return [(due.run, due.day.recorded) for due in follower._due()]


def test_run_in_lockstep_beside_another_is_over_only_when_it_stands_still_and_its_day_again_when_it_grew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, second, clock_s = tmp_path / "h.sqlite", "20240515T000000.000000Z-0002", [0.0]
    record(Tape(), path, last=9)
    record(Tape(run=second), path, last=5)
    nowhere = InfluxAddress("http://127.0.0.1:9", "org", "bucket", None)
    follower = Follower(
        [f"sqlite:{path}"], nowhere, Reference.NO_CARS, threading.Event(), Heartbeat(None), now=lambda: clock_s[0]
    )
    follower._settled = {}
    first = min(RUN, second)
    assert due_days(follower) == []
    clock_s[0] = QUIET_S - 1
    assert due_days(follower) == []
    record(Tape(), path, last=20)  # it goes on
    clock_s[0] = QUIET_S + 1
    assert due_days(follower) == []
    clock_s[0] = 2 * QUIET_S + 1
    assert due_days(follower) == [(first, timedelta(hours=4.75))]
    monkeypatch.setattr(follower, "_run_savings", lambda _: 0)
    assert follower._turn() == LOOK_S
    assert due_days(follower) == []
    record(Tape(), path)
    assert due_days(follower) == [(first, timedelta(hours=24))]
    follower._turn()
    assert due_days(follower) == []


def test_follower_that_is_to_stop_begins_no_other_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for run in (RUN, "20240515T000000.000000Z-0002"):
        record(Tape(run=run), tmp_path / "h.sqlite")
    stop, begun = threading.Event(), []
    nowhere = InfluxAddress("http://127.0.0.1:9", "org", "bucket", None)
    follower = Follower([f"sqlite:{tmp_path / 'h.sqlite'}"], nowhere, Reference.NO_CARS, stop, Heartbeat(None))
    follower._settled = {}
    assert len(due_days(follower)) == 2

    def savings(due: object) -> int:
        begun.append(due)
        stop.set()
        return 0

    monkeypatch.setattr(follower, "_run_savings", savings)
    follower._turn()
    assert len(begun) == 1


def test_quarter_hours_of_a_live_day_are_there_after_an_outage_once_it_is_settled(
    tmp_path: Path, influx: Influx, bucket: str, token: None
) -> None:
    # All of the day is forwarded long after it: the server's task has looked at its own last hour alone.
    path = tmp_path / "h.sqlite"
    live_session(path, Tape().course.t_end + MARGIN)
    with closing(influx.server()) as server:
        init_history(server, bucket, 0)
        forwarded(path, influx, bucket)
        assert points(server, bucket, "bess_quarter") == []
        with following(f"influxdb://127.0.0.1:{influx.port}/{ORG}/{bucket}") as follower:
            follower.wait_for(lambda: "settled 2024-05-15" in follower.log)
        energies = [row for row in points(server, bucket, "bess_quarter") if row["_field"] == "import_kwh"]
    assert len(energies) == 96


def test_day_that_cannot_be_settled_is_left_out_and_stops_no_other(
    tmp_path: Path, influx: Influx, bucket: str, token: None
) -> None:
    with closing(influx.server()) as server:
        init_history(server, bucket, 0)
    record(Tape(away={"network": range(200)}), tmp_path / "blind.sqlite")
    record(Tape(run="20240515T000000.000000Z-0008"), tmp_path / "good.sqlite")
    for path in ("blind.sqlite", "good.sqlite"):
        forwarded(tmp_path / path, influx, bucket)
    with following(f"influxdb://127.0.0.1:{influx.port}/{ORG}/{bucket}") as follower:
        follower.wait_for(lambda: "settled" in follower.log)
        follower.wait_for(lambda: f"of run {RUN} cannot be settled" in follower.log)
        assert "measured at the PCC" in follower.log


def test_days_of_a_file_are_followed_too_and_written_where_it_is_told(
    lived: Path, influx: Influx, bucket: str, token: None
) -> None:
    with closing(influx.server()) as server:
        init_history(server, bucket, 0)
        with following(f"sqlite:{lived}", "--influx", influx.url, "--org", ORG, "--bucket", bucket) as follower:
            follower.wait_for(lambda: "settled 2024-05-17" in follower.log)
        assert len(written_days(server, bucket, "no-cars")) == 1


# ---- what was deleted from the file


def test_of_a_file_only_days_that_are_whole_are_settled(tmp_path: Path, influx: Influx, bucket: str) -> None:
    path = tmp_path / "h.sqlite"
    live_session(path, Tape().course.t_end + timedelta(days=1))
    with closing(influx.server()) as server:
        server.create_bucket(bucket, 0, "a test's")
    forwarded(path, influx, bucket)
    copy = Path(shutil.copy(path, tmp_path / "copy.sqlite"))
    start, end = Tape().course.t0, Tape().course.t_end
    with closing(HistoryStore(path, durable=False)) as store:
        assert sum(Spool(store).prune(timedelta(days=1), start + timedelta(days=1, hours=12))) > 0
    with closing(SqliteHistory(path)) as history, closing(SqliteHistory(copy)) as whole:
        evening = start + timedelta(hours=14)
        with closing(history.within(evening, end)) as left, closing(whole.within(evening, end)) as before:
            assert repr(left.tracks(RUN)) == repr(before.tracks(RUN))
        (day, *_) = local_days(history.info(RUN), history.site(RUN).zone)
        with raises(Code.EMPTY):
            settle_day(history, RUN, day, Reference.NO_CARS)


def test_run_whose_description_is_missing_is_said_once_and_stops_no_other(
    tmp_path: Path, influx: Influx, bucket: str, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE run SET site_json = ''")
    results = InfluxAddress(influx.url, ORG, bucket, None)
    follower = Follower([f"sqlite:{path}"], results, Reference.NO_CARS, threading.Event(), Heartbeat(None))
    follower._settled = {}
    assert [list(follower._due()) for _ in range(3)] == [[], [], []]
    assert len([record for record in caplog.records if RUN in record.getMessage()]) == 1
