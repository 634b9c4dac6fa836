"""The forwarder against a real server: nothing is lost, nothing is there twice, each refusal is taken as what it is."""

import logging
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.messages import Plan
from services.history import store as store_module
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore, to_us
from services.influx.forward import Forwarder
from services.influx.server import (
    ALL_TIME,
    InfluxAwayError,
    InfluxDeniedError,
    InfluxServer,
    InfluxSlowError,
    _retry_after_s,
    flux_text,
)
from services.influx.spool import Spool
from tests.history.tape import RUN, Tape, record
from tests.influx.lab import ORG, TOKEN, Answer, Influx, Proxy
from twinswarm.simulation.histories import open_history


def machine_time() -> datetime:
    return datetime.now(UTC)


@contextmanager
def forwarder(
    path: Path, server: InfluxServer, bucket: str, wait: Callable[[float], bool] = lambda _: True, **options: object
) -> Iterator[Forwarder]:
    with closing(HistoryStore(path, durable=False)) as store, closing(server):
        yield Forwarder(Spool(store), server, bucket, now=machine_time, wait=wait, **options)  # type: ignore[arg-type]


def same_history(path: Path, address: str) -> None:
    """Every message of every run exactly once, verbatim, and in the same order."""
    with closing(SqliteHistory(path)) as told, closing(open_history(address)) as found:
        assert found.runs() == told.runs()
        for info in told.runs():
            assert list(found.messages(info.run)) == list(told.messages(info.run))
            assert found.counts(info.run) == told.counts(info.run)
            assert found.dead_letters(info.run) == told.dead_letters(info.run)


def identities(server: InfluxServer, bucket: str) -> int:
    """How many points carry a sequence number: one a message."""
    flux = f'from(bucket: {flux_text(bucket)}) |> {ALL_TIME} |> filter(fn: (r) => r._field == "seq") |> count()'
    return sum(int(row["_value"]) for row in server.query(flux))


def messages_of_runs(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM message WHERE run IS NOT NULL").fetchone()[0])


def test_day_is_in_influxdb_exactly_once_after_its_server_was_killed_in_the_middle(
    lived: Path, own_influx: Influx, monkeypatch: pytest.MonkeyPatch
) -> None:
    influx = own_influx
    influx.start()
    influx.set_up()
    monkeypatch.setenv("TWINSWARM_INFLUX_TOKEN", TOKEN)
    with closing(influx.server()) as server:
        server.create_bucket("tw-simulated", 0, "a test's")

    class Watched(InfluxServer):
        """Tells when a write begins that the server is not to survive."""

        writes = 0

        def write(self, bucket: str, lines: Sequence[str]) -> None:
            self.writes += 1
            if self.writes in (7, 20):
                threading.Thread(target=influx.kill).start()
            super().write(bucket, lines)

    restarts = []

    def wait(seconds: float) -> bool:
        restarts.append(seconds)
        influx.start()
        return False

    with forwarder(lived, Watched(influx.url, ORG, TOKEN), "tw", wait, batch_lines=1000) as running:
        running.serve(until_empty=True)
    assert len(restarts) == 2
    same_history(lived, f"influxdb://127.0.0.1:{influx.port}/{ORG}/tw-simulated")
    with closing(influx.server()) as server:
        assert identities(server, "tw-simulated") == messages_of_runs(lived)


def test_forwarder_that_was_killed_goes_on_where_it_was(
    lived: Path, influx: Influx, bucket: str, address: str, token_file: Path
) -> None:
    history = f"sqlite:{lived}"
    command = [sys.executable, "-m", "twinswarm.cli", "forward", "--history", history, "--influx", influx.url]
    command += ["--org", ORG, "--bucket", bucket, "--token-file", str(token_file), "--once"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    patience = threading.Event()
    with closing(HistoryStore(lived)) as store:
        while not store.read("SELECT 1 FROM message WHERE forwarded = 1 LIMIT 1"):
            assert process.poll() is None
            patience.wait(0.01)
        process.kill()
        process.wait()
        assert Spool(store).waits()
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    same_history(lived, address)


def test_forwarding_begins_before_the_server_is_there(tmp_path: Path, own_influx: Influx) -> None:
    record(Tape(), tmp_path / "h.sqlite", last=2)
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return len(waited) == 8

    with forwarder(tmp_path / "h.sqlite", own_influx.server(), "tw", wait) as running:
        running.serve()
    assert waited == [1, 2, 4, 8, 16, 32, 60, 60]


def test_what_is_recorded_meanwhile_is_forwarded_too(tmp_path: Path, influx: Influx, bucket: str, address: str) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=1)
    recording = threading.Thread(target=record, args=(Tape(), path))
    recording.start()
    pause = threading.Event()

    def wait(_: float) -> bool:
        ending = not recording.is_alive()
        pause.wait(0.05)
        return ending

    with forwarder(path, influx.server(), bucket, wait) as running:
        running.serve()
        running.drain()
    recording.join()
    same_history(path, address)


def test_messages_of_one_time_become_points_of_their_own(
    tmp_path: Path, influx: Influx, bucket: str, address: str
) -> None:
    # Three lives of one load meter tell at the same time; a point of equal tags and time would replace another.
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=3)
    with closing(sqlite3.connect(path)) as connection, connection:
        for boot in ("load-2", "load-3"):
            connection.execute(
                "INSERT INTO message (site, kind, device, channel, topic, boot, seq, ts_us, stamped_run, payload, run, "
                "cycle) SELECT site, kind, device, channel, topic, ?, seq, ts_us, stamped_run, "
                "replace(payload, 'load-1', ?), run, cycle FROM message WHERE boot = 'load-1' AND run IS NOT NULL",
                (boot, boot),
            )
    with forwarder(path, influx.server(), bucket) as running:
        running.drain()
    same_history(path, address)
    with closing(sqlite3.connect(path)) as connection:
        times = connection.execute(
            "SELECT point_ns - ts_us * 1000 FROM message WHERE device = 'load' AND channel = 'telemetry' "
            "AND run IS NOT NULL ORDER BY ts_us, id"
        ).fetchall()
    assert times == [(0,), (1,), (2,)] * 3


def test_what_is_forwarded_again_is_the_same_points(lived: Path, influx: Influx, bucket: str, address: str) -> None:
    with forwarder(lived, influx.server(), bucket) as running:
        assert running.drain() > 0
        assert running.drain() == 0
    with closing(sqlite3.connect(lived)) as connection, connection:
        connection.execute("UPDATE message SET forwarded = 0")
        connection.execute("UPDATE run SET forwarded = NULL")
    with forwarder(lived, influx.server(), bucket) as running:
        assert running.drain() > 0
    same_history(lived, address)
    with closing(influx.server()) as server:
        assert identities(server, f"{bucket}-simulated") == messages_of_runs(lived)


def quarantine(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT point, reason FROM quarantine ORDER BY id").fetchall()


def test_point_of_another_type_is_quarantined_with_the_servers_reason_and_the_rest_goes_on(
    tmp_path: Path, influx: Influx, bucket: str
) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path)
    with closing(influx.server()) as server:
        # Somebody wrote text where the load meter's power belongs.
        server.write(f"{bucket}-simulated", [f'meter_telemetry,device=x power_kw="ten" {1_715_724_000 * 10**9}'])
    with forwarder(path, influx.server(), bucket) as running:
        running.drain()
    refused = quarantine(path)
    assert len(refused) == 97  # a day's telemetry of the load meter
    assert all(point.startswith("meter_telemetry,device=load,") for point, _ in refused)
    assert all("field type conflict" in reason for _, reason in refused)
    with closing(influx.server()) as server:
        assert identities(server, f"{bucket}-simulated") == messages_of_runs(path) - 97


def test_line_that_cannot_be_parsed_is_quarantined_and_the_rest_goes_on(
    tmp_path: Path, influx: Influx, bucket: str
) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=10)

    class Spoiling(InfluxServer):
        """Breaks the first set-point's line on its way."""

        def write(self, bucket: str, lines: Sequence[str]) -> None:
            super().write(bucket, [line.replace("epoch=1i", "epoch=one") for line in lines])

    before = messages_of_runs(path)
    with forwarder(path, Spoiling(influx.url, ORG, TOKEN), bucket) as running:
        running.drain()
    refused = quarantine(path)
    assert len(refused) == 20  # ten plans and ten set-points carry an epoch
    assert all("unable to parse" in reason for _, reason in refused)
    with closing(influx.server()) as server:
        assert identities(server, f"{bucket}-simulated") == before - 20


def test_point_older_than_the_retention_is_quarantined_as_such(tmp_path: Path, influx: Influx) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=5)
    with closing(influx.server()) as server:
        server.create_bucket("short-simulated", 7 * 86_400, "keeps a week")
    with forwarder(path, influx.server(), "short") as running:
        running.drain()
        assert not Spool(running._spool._store).waits()
    refused = quarantine(path)
    assert len({point.partition(" ")[0] for point, _ in refused}) > 5
    assert all("outside retention policy" in reason for _, reason in refused)
    with closing(influx.server()) as server:
        assert identities(server, "short-simulated") == 0


@pytest.mark.parametrize(
    ("token", "missing", "told"), [("wrong", False, "401"), (TOKEN, True, "404")], ids=["401", "404"]
)
def test_wrong_token_or_missing_bucket_stops_forwarding_with_one_alarm_and_loses_nothing(
    tmp_path: Path,
    influx: Influx,
    bucket: str,
    address: str,
    caplog: pytest.LogCaptureFixture,
    token: str,
    missing: bool,
    told: str,
) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=3)
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return len(waited) == 3

    with forwarder(path, influx.server(token), "nowhere" if missing else bucket, wait) as running:
        running.serve()
    assert waited == [60, 60, 60]
    (alarm,) = [entry for entry in caplog.records if entry.levelno == logging.CRITICAL]
    assert told in alarm.getMessage()
    assert token not in alarm.getMessage()
    assert quarantine(path) == []
    with forwarder(path, influx.server(), bucket) as running:
        running.drain()
    same_history(path, address)


def test_token_that_may_only_read_is_told_as_such(tmp_path: Path, influx: Influx, bucket: str) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=1)
    org = influx.ask("/api/v2/orgs")["orgs"][0]["id"]
    reads = [{"action": "read", "resource": {"type": "buckets", "orgID": org}}]
    reader = influx.ask("/api/v2/authorizations", {"orgID": org, "permissions": reads})["token"]
    with forwarder(path, influx.server(reader), bucket) as running:
        running.serve()
        assert running.trouble is not None
        assert isinstance(running.trouble.error, InfluxDeniedError)
        assert "403" in str(running.trouble.error)


def through_a_proxy(
    path: Path, influx: Influx, bucket: str, judge: Callable[[str, str, bytes], Answer | None], timeout_s: float = 30
) -> tuple[list[float], int]:
    """Forwards until all is sent; how long was waited each time, and how many requests there were."""
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return False

    proxy = Proxy(influx.url, judge)
    try:
        with forwarder(path, InfluxServer(proxy.url, ORG, TOKEN, timeout_s), bucket, wait) as running:
            running.serve(until_empty=True)
    finally:
        proxy.close()
    return waited, proxy.asked


def test_batch_that_is_too_large_is_halved_until_it_fits(
    lived: Path, influx: Influx, bucket: str, address: str
) -> None:
    def judge(method: str, path: str, body: bytes) -> Answer | None:
        return (413, {}) if len(body) > 50_000 else None

    waited, asked = through_a_proxy(lived, influx, bucket, judge)
    assert (waited, asked > 10) == ([], True)
    same_history(lived, address)


@pytest.mark.parametrize("status", [429, 503])
def test_busy_server_is_given_the_time_it_asks_for(
    tmp_path: Path, influx: Influx, bucket: str, address: str, status: int
) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=5)
    answers = [(status, {"Retry-After": "17"}), (status, {}), None]

    def judge(method: str, path: str, body: bytes) -> Answer | None:
        return answers.pop(0) if answers else None

    waited, _ = through_a_proxy(path, influx, bucket, judge)
    assert waited == [17, 2]
    same_history(path, address)


def test_server_that_does_not_answer_in_time_is_asked_again(
    tmp_path: Path, influx: Influx, bucket: str, address: str
) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=5)
    slow = [True]
    never = threading.Event()

    def judge(method: str, path: str, body: bytes) -> Answer | None:
        if slow:
            slow.pop()
            never.wait(4.0)
        return None

    waited, _ = through_a_proxy(path, influx, bucket, judge, timeout_s=2.0)
    assert waited == [1]
    same_history(path, address)


@pytest.mark.parametrize("status", [400, 422])
def test_answer_about_the_whole_request_judges_no_point(
    tmp_path: Path, influx: Influx, bucket: str, address: str, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    # As a server that expects TLS answers, or a proxy.
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=5)
    answers: list[Answer] = [(status, {})] * 3

    def judge(method: str, path: str, body: bytes) -> Answer | None:
        return answers.pop() if answers else None

    waited, _ = through_a_proxy(path, influx, bucket, judge)
    assert waited == [1, 2, 4]
    assert quarantine(path) == []
    (alarm,) = [entry for entry in caplog.records if entry.levelno == logging.CRITICAL]
    assert "the proxy's answer" in alarm.getMessage()
    same_history(path, address)


class Judging(InfluxServer):
    """Keeps the numbers of lines that it was given; ``judge`` may raise."""

    def __init__(self, influx: Influx, judge: Callable[[Sequence[str]], None]) -> None:
        super().__init__(influx.url, ORG, TOKEN)
        self.sizes: list[int] = []
        self._judge = judge

    def write(self, bucket: str, lines: Sequence[str]) -> None:
        self.sizes.append(len(lines))
        self._judge(lines)
        super().write(bucket, lines)


def test_batch_shrinks_while_the_server_is_slow_and_grows_again(
    lived: Path, influx: Influx, bucket: str, address: str
) -> None:
    waited: list[float] = []

    def judge(lines: Sequence[str]) -> None:
        if len(lines) > 300 and len(server.sizes) < 40:
            raise InfluxSlowError("no answer in time")

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return False

    server = Judging(influx, judge)
    with forwarder(lived, server, bucket, wait) as running:
        running.serve(until_empty=True)
    assert max(server.sizes[10:40]) <= 600
    assert max(server.sizes[-10:]) > 4000
    same_history(lived, address)


def test_back_off_begins_anew_after_every_batch_that_was_stored(
    lived: Path, influx: Influx, bucket: str, address: str
) -> None:
    waited: list[float] = []

    def judge(lines: Sequence[str]) -> None:
        if len(server.sizes) % 2:
            raise InfluxAwayError("gone for a moment")

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return False

    server = Judging(influx, judge)
    with forwarder(lived, server, bucket, wait) as running:
        running.serve(until_empty=True)
    assert set(waited) == {1}
    same_history(lived, address)


def test_drain_ends_though_messages_and_letters_keep_coming(tmp_path: Path, influx: Influx, bucket: str) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=3)
    with closing(HistoryStore(path, durable=False)) as other:
        with other.transaction() as connection:
            connection.execute(
                "INSERT INTO dead_letter (run, topic, digest, bytes, payload, reason, received_us, times) "
                "VALUES (?, 'x', 'd', 1, x'00', 'broken', 1, 1)",
                (RUN,),
            )

        def judge(_: Sequence[str]) -> None:
            assert len(server.sizes) < 20, "it goes on for ever"
            with other.transaction() as connection:
                connection.execute(
                    "INSERT INTO message (site, kind, device, channel, topic, boot, seq, ts_us, stamped_run, payload, "
                    "run, cycle) SELECT site, kind, device, channel, topic, boot, (SELECT max(seq) + 1 FROM message), "
                    "ts_us + 1000000, stamped_run, payload, run, cycle FROM message "
                    "WHERE channel = 'telemetry' AND run IS NOT NULL LIMIT 1"
                )
                connection.execute("UPDATE dead_letter SET times = times + 1")

        server = Judging(influx, judge)
        with forwarder(path, server, bucket) as running:
            assert running.drain() > 0


def test_forwarder_that_is_to_stop_leaves_the_rest_of_a_backlog(lived: Path, influx: Influx, bucket: str) -> None:
    with forwarder(lived, influx.server(), bucket, pause=lambda _: True) as running:
        running.drain()
        assert Spool(running._spool._store).waits()


def test_history_that_somebody_else_keeps_is_tried_again(
    tmp_path: Path, influx: Influx, bucket: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=3)
    monkeypatch.setattr(store_module, "_BUSY_S", 0.01)
    waited: list[float] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as other:

        def wait(seconds: float) -> bool:
            waited.append(seconds)
            if len(waited) == 2:
                other.execute("ROLLBACK")
            return False

        with forwarder(path, influx.server(), bucket, wait, keep=timedelta(days=10_000)) as running:
            other.execute("BEGIN IMMEDIATE")
            running.serve(until_empty=True)
    assert waited == [1, 2]
    same_history(path, address)


def test_token_is_read_anew_after_it_was_denied(tmp_path: Path, influx: Influx, bucket: str, address: str) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=3)
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return len(waited) == 3

    with forwarder(path, influx.server("withdrawn"), bucket, wait, token=lambda: TOKEN) as running:
        running.serve(until_empty=True)
    assert waited == [60]
    same_history(path, address)


def test_server_that_takes_a_request_and_does_not_answer_is_slow_and_none_is_away() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with closing(InfluxServer(url, ORG, TOKEN, 0.1)) as server, pytest.raises(InfluxSlowError):
            server.write("b", ["m a=1"])
    with closing(InfluxServer(url, ORG, TOKEN, 0.1)) as server, pytest.raises(InfluxAwayError) as away:
        server.write("b", ["m a=1"])
    assert not isinstance(away.value, InfluxSlowError)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17", 17.0),
        ("99999999", 3600.0),
        ("²", None),
        ("soon", None),
        ("Wed, 01 Jan 2200 00:00:00 GMT", 3600.0),
        ("Wed, 01 Jan 2020 00:00:00 GMT", 0.0),
    ],
)
def test_wish_of_a_busy_server_is_an_hour_at_most_and_what_is_no_wish_is_none(text: str, seconds: float | None) -> None:
    assert _retry_after_s({"Retry-After": text}) == seconds


class _Changing(Tape):
    """Every plan expects something else for all of its steps."""

    def _plan(self, t: datetime) -> Plan:
        plan = super()._plan(t)
        number = (t - self.course.t0) / timedelta(minutes=15)
        return plan.model_copy(update={"pcc_kw": (number,) * len(plan.pcc_kw or ())})


def test_later_plan_stands_after_what_was_refused_was_sent_as_documented(
    tmp_path: Path, influx: Influx, bucket: str
) -> None:
    path = tmp_path / "h.sqlite"
    record(_Changing(), path, last=5)
    where = 'r._measurement == "plan_step" and r._field == "pcc_kw"'
    flux = f"from(bucket: {flux_text(bucket + '-simulated')}) |> {ALL_TIME} |> filter(fn: (r) => {where})"

    def steps() -> list[float]:
        return [float(row["_value"]) for row in server.query(flux + ' |> sort(columns: ["_time"])')]

    with closing(influx.server()) as server:
        with forwarder(path, influx.server(), bucket) as running:
            running.drain()
        before = steps()
        assert before[:6] == [0, 1, 2, 3, 4, 4]
        page = (Path(__file__).parents[2] / "docs" / "history.md").read_text(encoding="utf-8")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "UPDATE message SET forwarded = 2 WHERE id = (SELECT min(id) FROM message "
                "WHERE channel = 'plan' AND run IS NOT NULL)"
            )
            connection.executescript(page.partition("```sql\n")[2].partition("```")[0])
        with forwarder(path, influx.server(), bucket) as running:
            running.drain()
        assert steps() == before


def test_only_what_is_in_influxdb_is_deleted_here_and_then_the_file_says_so(
    lived: Path, influx: Influx, bucket: str, address: str
) -> None:
    with closing(HistoryStore(lived)) as store:
        spool = Spool(store)
        later = machine_time() + timedelta(days=31)
        before = messages_of_runs(lived)
        assert sum(spool.prune(timedelta(days=30), later)) == 0
        with closing(influx.server()) as server:
            Forwarder(spool, server, bucket, now=machine_time, wait=lambda _: True).drain()
        assert sum(spool.prune(timedelta(days=30), machine_time())) == 0
        with store.transaction() as connection:
            connection.execute(
                "UPDATE message SET forwarded = 2 WHERE id IN (SELECT id FROM message "
                "WHERE channel = 'telemetry' AND run IS NOT NULL LIMIT 3)"
            )
        assert sum(spool.prune(timedelta(days=30), later)) > before / 2
        left = store.read("SELECT channel, count(*) FROM message WHERE run IS NOT NULL GROUP BY channel")
        assert dict(left)["telemetry"] == 3
        assert dict(left)["plan"] == 1
        assert {"birth", "series", "run"} <= dict(left).keys()
    with closing(SqliteHistory(lived)) as history, closing(open_history(address)) as found:
        run = history.latest().run
        with pytest.raises(Exception, match="read it from InfluxDB"):
            history.counts(run)
        assert found.counts(run).recorded > 1000


def test_of_a_live_session_only_the_days_before_are_deleted(tmp_path: Path, influx: Influx, bucket: str) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path)
    evening = Tape().course.t_end - timedelta(hours=6)
    with closing(HistoryStore(path, durable=False)) as store, closing(influx.server()) as server:
        # Without a session that says otherwise, wall time is live.
        with store.transaction() as connection:
            connection.execute("UPDATE run SET mode = 'wall'")
        server.create_bucket(bucket, 0, "a test's")
        Forwarder(Spool(store), server, bucket, now=machine_time, wait=lambda _: True).drain()
        pruned = sum(Spool(store).prune(timedelta(days=1), evening + timedelta(days=1)))
        oldest = store.read("SELECT min(ts_us), count(*) FROM message WHERE channel = 'telemetry'")
    # 18 hours of four telemetries and a set-point a quarter, and of plans.
    assert pruned == 72 * 6
    assert oldest == [(to_us(evening), 25 * 4)]
