"""A history in InfluxDB is the history in the file, to the last bit."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import Code
from schemas.messages import Alarm, Metric, Phase, Run, Severity, Stamp, TimeMode
from schemas.participant import Received, Turn
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic
from schemas.wire import decode, encode
from services.analysis.result import analyse
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from services.influx.forward import Forwarder
from services.influx.reader import InfluxHistory
from services.influx.server import InfluxMissingError
from services.influx.spool import Spool
from services.recorder.recorder import Recorder
from tests.errors import raises
from tests.history.tape import RUN, SITE, Tape, at_noon, record, wanted_of
from tests.influx.lab import ORG, TOKEN, Influx
from twinswarm.cli import main
from twinswarm.simulation.histories import open_history
from twinswarm.simulation.load_result import review
from twinswarm.simulation.variants import Reference

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def forwarded(path: Path, influx: Influx, bucket: str) -> int:
    with closing(HistoryStore(path, durable=False)) as store, closing(influx.server()) as server:
        return Forwarder(Spool(store), server, bucket, now=at_noon, wait=lambda _: True).drain()


def test_result_of_a_day_is_the_same_to_the_last_bit(lived: Path, influx: Influx, bucket: str, address: str) -> None:
    forwarded(lived, influx, bucket)
    with closing(SqliteHistory(lived)) as told, closing(open_history(address)) as found:
        main_run, reference = (info.run for info in told.runs())
        assert found.latest() == told.latest()
        assert found.site(main_run) == told.site(main_run)
        results = [analyse(h, main_run, h, reference, "smart", 1.5) for h in (told, found)]
        assert repr(results[0]) == repr(results[1])
        assert results[0].savings_eur is not None
        assert found.dataset(main_run).identical(told.dataset(main_run))
        assert found.segments(main_run) == told.segments(main_run)
    by_replay = [review(url, main_run, Reference.UNCONTROLLED) for url in (f"sqlite:{lived}", address)]
    assert repr(by_replay[0]) == repr(by_replay[1])


def test_report_and_export_read_from_influxdb(
    lived: Path,
    influx: Influx,
    bucket: str,
    address: str,
    tmp_path: Path,
    token_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    forwarded(lived, influx, bucket)
    monkeypatch.delenv("TWINSWARM_INFLUX_TOKEN")
    url = f"{address}?token-file={token_file}"
    answers = []
    for history in (f"sqlite:{lived}", url):
        with pytest.raises(SystemExit) as end:
            main(["report", "--history", history, "--no-report", "--json", "-"])
        assert not end.value.code
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]
    with pytest.raises(SystemExit) as end:
        main(["export", "--history", url, "--out", str(tmp_path / "out")])
    assert not end.value.code
    assert (tmp_path / "out" / "messages.csv").stat().st_size > 100_000


def test_cost_by_the_documented_flux_query_is_the_reports(
    lived: Path, influx: Influx, bucket: str, address: str
) -> None:
    forwarded(lived, influx, bucket)
    with closing(SqliteHistory(lived)) as told:
        info = told.latest()
        cost_eur = analyse(told, info.run).cost_eur
    page = (Path(__file__).parents[2] / "docs" / "history.md").read_text(encoding="utf-8")
    _, _, query = page.partition("```flux\n")[2].partition("```")[0].partition("\n\n")
    bounds = {"bucket": f'"{bucket}-simulated"', "run": f'"{info.run}"'}
    bounds |= {"start": f"{info.t0:%Y-%m-%dT%H:%M:%SZ}", "stop": f"{info.t_end:%Y-%m-%dT%H:%M:%SZ}"}
    flux = "".join(f"{name} = {value}\n" for name, value in bounds.items()) + query
    with closing(influx.server()) as server:
        (row,) = server.query(flux)
    assert float(row["cost_eur"]) == pytest.approx(cost_eur, abs=1e-9)


def test_run_that_was_cut_off_reads_back_as_far_as_it_was_committed(
    tmp_path: Path, influx: Influx, bucket: str, address: str
) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path, last=10)
    forwarded(path, influx, bucket)
    with closing(open_history(address)) as found:
        assert (found.info(RUN).complete, found.info(RUN).cycle) == (False, 10)
        with closing(SqliteHistory(path)) as told:
            assert found.counts(RUN) == told.counts(RUN)
        assert len(found.grid(RUN)) == 10
    record(Tape(), path)
    forwarded(path, influx, bucket)
    with closing(open_history(address)) as found, closing(SqliteHistory(path)) as told:
        assert found.info(RUN) == told.info(RUN)
        assert found.site(RUN) == told.site(RUN)
        assert found.counts(RUN) == told.counts(RUN)
        assert repr(analyse(found, RUN)) == repr(analyse(told, RUN))


def _record_raw(path: Path, messages: Sequence[tuple[Topic, bytes]], letters: Sequence[bytes]) -> None:
    """Payloads as a foreign device writes them, in one cycle of a run."""
    with closing(HistoryStore(path, durable=False)) as store:
        recorder = Recorder(SITE, store, "main", at_noon)
        received = []
        for topic, payload in messages:
            received.append(Received(topic, *decode(topic, payload)))
            recorder.inbox.add(received[-1], payload)
        for payload in letters:
            recorder.inbox.reject("twin/v2/house/charger/x/telemetry", payload, f'broken\n"{payload[:3]!r}"\\')
        recorder.inbox.take(RUN, Tape().turn(0), wanted_of(received))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=20),
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    names=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=10, unique=True),
    letters=st.lists(st.binary(min_size=1, max_size=40), max_size=4, unique=True),
)
def test_any_text_number_and_name_comes_back_as_it_was_told(
    tmp_path_factory: pytest.TempPathFactory,
    influx: Influx,
    monkeypatch: pytest.MonkeyPatch,
    texts: list[str],
    values: list[float],
    names: list[str],
    letters: list[bytes],
) -> None:
    folder = tmp_path_factory.mktemp("any")
    bucket = f"any-{folder.name}"
    with closing(influx.server()) as server:
        server.create_bucket(f"{bucket}-simulated", 0, "a test's")
    monkeypatch.setenv("TWINSWARM_INFLUX_TOKEN", TOKEN)
    alarm, metric = Topic("house", Kind.EMS, "ems", Channel.ALARM), Topic("house", Kind.EMS, "ems", Channel.METRIC)
    messages = []
    for seq, text in enumerate(texts, 1):
        body = Alarm(code="x", severity=Severity.INFO, value=values[seq % len(values)], text=text)
        messages.append((alarm, encode(Stamp(ts=T0, run=RUN, boot="ems-1", seq=seq), body)))
    told_by = dict(zip(names, values, strict=False))
    pretty = json.dumps(json.loads(encode(Stamp(ts=T0, run=RUN, boot="e", seq=1), Metric(values=told_by))), indent=1)
    messages.append((metric, pretty.replace("\n", "\r\n").encode()))
    _record_raw(folder / "h.sqlite", messages, letters)
    forwarded(folder / "h.sqlite", influx, bucket)
    address = f"influxdb://127.0.0.1:{influx.port}/{ORG}/{bucket}-simulated"
    with closing(open_history(address)) as found, closing(SqliteHistory(folder / "h.sqlite")) as told:
        assert repr(list(found.messages(RUN))) == repr(list(told.messages(RUN)))
        assert found.counts(RUN) == told.counts(RUN)
        assert found.dead_letters(RUN) == told.dead_letters(RUN)


def test_message_of_the_greatest_size_comes_back_whole(
    tmp_path: Path, influx: Influx, bucket: str, address: str
) -> None:
    # 100 metrics are the most that are taken; white space is part of a payload's 512 KiB.
    topic = Topic("house", Kind.EMS, "ems", Channel.METRIC)
    text = encode(Stamp(ts=T0, run=RUN, boot="e", seq=1), Metric(values={"a": 0.1}))
    _record_raw(tmp_path / "h.sqlite", [(topic, text[:-1] + b" " * (512 * 1024 - len(text)) + b"}")], [])
    forwarded(tmp_path / "h.sqlite", influx, bucket)
    with closing(open_history(address)) as found:
        found.counts(RUN)
        ((size,),) = found._rows("SELECT length(payload) FROM message")
    assert size == 512 * 1024


def test_live_session_goes_to_the_live_bucket_and_knows_devices_that_were_born_before_it(
    tmp_path: Path, influx: Influx, bucket: str, address: str
) -> None:
    earlier = "20250601T000000.000000Z-0001"
    path, now = tmp_path / "h.sqlite", datetime.now(UTC).replace(microsecond=0)
    live = f"{now:%Y%m%dT%H%M%S}.000000Z-0001"
    with closing(influx.server()) as server:
        server.create_bucket(bucket, 7 * 86_400, "keeps a week")
    (_, first), (_, _), (_, second) = [cycle for cycle in Tape().cycles() if cycle[0] < 3]
    births = [m for m in first if m.topic.channel is Channel.BIRTH]
    telemetry = [m for m in second if m.topic.channel is Channel.TELEMETRY]
    session = Run(mode=TimeMode.WALL, step_s=900, t0=now, wall0=now, speed=1.0, simulated=False)
    with closing(HistoryStore(path, durable=False)) as store:
        recorder = Recorder(SITE, store, "main", at_noon)

        def add(topic: Topic, stamp: Stamp, message: Received) -> None:
            recorder.inbox.add(Received(topic, stamp, message.body), encode(stamp, message.body))

        born = now - timedelta(days=100)
        for m in births:
            add(m.topic, Stamp(ts=born, run=earlier, boot=m.stamp.boot, seq=1), m)
        clock = Topic("house", Kind.CLOCK, "clock", Channel.RUN)
        stamp = Stamp(ts=now, run=live, boot="clock-1", seq=1)
        add(clock, stamp, Received(clock, stamp, session))
        for seconds in range(3):
            at = now + timedelta(seconds=seconds)
            for m in telemetry:
                add(m.topic, Stamp(ts=at, run=live, boot=m.stamp.boot, seq=seconds + 1), m)
        recorder.inbox.take(live, Turn(Phase.COMMIT, now, now, None, 900, TimeMode.WALL, 1), [])
    forwarded(path, influx, bucket)
    url = address.replace("-simulated", "")
    with closing(open_history(url)) as found, closing(SqliteHistory(path)) as told:
        assert found.births(live).keys() == told.births(live).keys() >= {"load", "network", "bess"}
        assert found.tracks(live) == told.tracks(live)
        # The births' own points are older than the bucket's retention; they come with the run.
        assert found.counts(live) == told.counts(live)
    with closing(open_history(address)) as simulated:
        assert simulated.runs() == []


@pytest.mark.parametrize(
    "url",
    [
        "influxdb://",
        "influxdb://host",
        "influxdb://host/org",
        "influxdb://host:1/org/bucket/more",
        "influxdb://host:port/org/bucket",
        "influxdb://user:secret@host/org/bucket",
        "influxdb://[::1/org/b",
        "influxdb://host:0/org/bucket",
        "influxdb://host/org/bucket?tokenfile=t",
        "influxdb://host/org/bucket?token=secret",
        "influxdb://host/org/bucket?token-file=",
        "influxdb://host/org/bucket?token-file=a&token-file=b",
    ],
)
def test_address_that_is_none_is_refused_and_tells_no_secret(url: str) -> None:
    with raises(Code.FORMAT, "history") as refused:
        open_history(url)
    assert "secret" not in str(refused.value)


def test_token_is_asked_for_and_never_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TWINSWARM_INFLUX_TOKEN", "TWINSWARM_INFLUX_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    with raises(Code.MISSING, "TWINSWARM_INFLUX_TOKEN_FILE"):
        open_history("influxdb://127.0.0.1:1/org/bucket")
    empty = tmp_path / "empty"
    empty.touch()
    odd = tmp_path / "odd"
    odd.write_text("tök€n")
    codes = {empty: Code.MISSING, odd: Code.FORMAT, tmp_path / "nowhere": Code.UNREADABLE}
    for file, code in codes.items():
        with raises(code, file.name):
            open_history(f"influxdb://127.0.0.1:1/org/bucket?token-file={file}")


def test_history_is_named_as_it_was_addressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InfluxHistory, "_fetch_runs", lambda _: None)
    monkeypatch.setenv("TWINSWARM_INFLUX_TOKEN", TOKEN)
    for address in ("influxdb://127.0.0.1:1/org/bucket", "influxdb+https://127.0.0.1:1/org/bucket"):
        with closing(open_history(address)) as history:
            assert history.path == address


def test_bucket_that_is_not_there_is_named(influx: Influx, address: str) -> None:
    with pytest.raises(InfluxMissingError, match="nowhere"):
        open_history(address.replace("tw", "nowhere-tw"))


def test_unknown_run_is_an_input_error_that_names_the_runs(
    tmp_path: Path, influx: Influx, bucket: str, address: str
) -> None:
    record(Tape(), tmp_path / "h.sqlite", last=1)
    forwarded(tmp_path / "h.sqlite", influx, bucket)
    with closing(open_history(address)) as found, raises(Code.UNKNOWN, RUN):
        found.counts("20990101T000000.000000Z-0000")


def test_description_of_a_year_in_quarter_hours_reads_back_whole(
    tmp_path: Path, influx: Influx, bucket: str, address: str
) -> None:
    # Some 2.8 million characters; InfluxDB refuses a field of more than 1 MiB.
    path = tmp_path / "h.sqlite"
    record(Tape(), path)
    year = {
        "type": "time",
        "start": T0,
        "step_s": 900,
        "values": [10.0 + (i * 7919 % 1009) / 997 for i in range(35_040)],
    }
    wide = {f"year_{place}": year for place in range(4)}
    big = Site.model_validate({**SITE.model_dump(), "profiles": {**SITE.model_dump()["profiles"], **wide}})
    for described, least in ((big, 2_000_000), (SITE, 0)):
        text = described.model_dump_json()
        assert len(text) >= least
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE run SET site_json = ?", (text,))
        forwarded(path, influx, bucket)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM quarantine").fetchone() == (0,)
        with closing(open_history(address)) as found:
            # The second description is of the same instant and shorter: parts of the first do not stand in it.
            assert found.site(RUN) == described


def test_run_without_its_description_is_an_input_error_that_says_what_to_do(
    tmp_path: Path, influx: Influx, bucket: str, address: str
) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path)
    forwarded(path, influx, bucket)
    whole = next(iter(influx_rows(influx, bucket)))
    with closing(influx.server()) as server:
        server.write(f"{bucket}-simulated", [f'run,{whole} json_parts=3i,json="cut" 1715731200000000000'])
    with closing(open_history(address)) as found, raises(Code.MISSING, RUN):
        found.site(RUN)


def influx_rows(influx: Influx, bucket: str) -> list[str]:
    """Tags of the runs' points, as in the line protocol."""
    flux = (
        f'from(bucket: "{bucket}-simulated") |> range(start: 0) |> filter(fn: (r) => r._measurement == "run") |> last()'
    )
    with closing(influx.server()) as server:
        rows = list(server.query(flux))
    return [f"device={row['device']},kind={row['kind']},run={row['run']},site={row['site']}" for row in rows]
