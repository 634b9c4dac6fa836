"""One protocol, three implementations: a run reads the same from its file, from memory and from InfluxDB."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.errors import Code, InputError
from schemas.messages import TimeMode
from schemas.participant import Received
from schemas.topics import Channel, Kind
from schemas.wire import decode, encode
from services.analysis.comparison import compare
from services.history.memory import MemoryHistory
from services.history.reader import History, RunInfo
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from services.influx.forward import Forwarder
from services.influx.spool import Spool
from tests.history.tape import RUN, SITE, Tape, at_noon, record
from tests.influx.conftest import address, bucket, influx  # noqa: F401 - fixtures
from tests.influx.lab import Influx
from twinswarm.simulation.histories import open_history

T0 = datetime(2024, 5, 14, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Both:
    """The same run in an implementation and in the file."""

    found: History
    told: History


def as_on_the_wire(received: Received) -> Received:
    stamp, body = decode(received.topic, encode(received.stamp, received.body))
    return Received(received.topic, stamp, body)


@pytest.fixture(params=list(TimeMode))
def mode(request: pytest.FixtureRequest) -> TimeMode:
    found: TimeMode = request.param
    return found


@pytest.fixture(params=["sqlite", "memory", "influx"])
def both(request: pytest.FixtureRequest, mode: TimeMode, tmp_path: Path) -> Iterator[Both]:
    path, tape = tmp_path / "h.sqlite", Tape()
    record(tape, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE run SET mode = ?", (mode,))
    with closing(SqliteHistory(path)) as told:
        if request.param == "sqlite":
            found: History = SqliteHistory(path)
        elif request.param == "memory":
            messages = [as_on_the_wire(received) for _, in_cycle in tape.cycles() for received in in_cycle]
            found = MemoryHistory(told.info(RUN), SITE, reversed(messages))
        else:
            server: Influx = request.getfixturevalue("influx")
            name: str = request.getfixturevalue("bucket")
            with closing(HistoryStore(path, durable=False)) as store, closing(server.server()) as client:
                client.create_bucket(name, 0, "a test's, of a live site")
                Forwarder(Spool(store), client, name, now=at_noon, wait=lambda _: True).drain()
            where: str = request.getfixturevalue("address")
            found = open_history(where if mode is TimeMode.LOCKSTEP else where.removesuffix("-simulated"))
        with closing(found):
            yield Both(found, told)


def test_runs_and_site(both: Both) -> None:
    found: RunInfo = both.found.latest()
    assert found == both.told.latest()
    assert both.found.info(RUN) == found
    assert both.found.site(RUN) == SITE
    assert both.found.span(RUN) == both.told.span(RUN) == (T0, T0 + 24 * HOUR)
    assert both.found.simulated(RUN) == both.told.simulated(RUN)


def test_a_run_that_is_not_there_is_an_input_error(both: Both) -> None:
    for read in (both.found.info, both.found.site, both.found.births, both.found.tracks, both.found.grid):
        with pytest.raises(InputError) as error:
            read("20990101T000000.000000Z-0000")
        assert error.value.faults[0].code == Code.UNKNOWN
    with pytest.raises(InputError):
        both.found.latest("another label")


def test_messages_are_the_same_in_the_same_order(both: Both) -> None:
    assert list(both.found.messages(RUN)) == list(both.told.messages(RUN))
    for channel in (Channel.TELEMETRY, Channel.PLAN, Channel.SETPOINT, Channel.BIRTH, Channel.ALARM):
        assert list(both.found.messages(RUN, channel)) == list(both.told.messages(RUN, channel))
    of_bess = list(both.found.messages(RUN, Channel.TELEMETRY, Kind.BESS, "bess"))
    assert len(of_bess) == 97
    assert [received.stamp.ts for received in of_bess] == [T0 + index * HOUR / 4 for index in range(97)]


def test_what_the_messages_tell(both: Both) -> None:
    for read in ("births", "setpoints", "acks", "plans", "alarms", "series", "dead_letters", "counts"):
        assert getattr(both.found, read)(RUN) == getattr(both.told, read)(RUN), read
    for read in ("tracks", "grid", "prices", "sessions", "segments"):
        assert getattr(both.found, read)(RUN) == getattr(both.told, read)(RUN), read
    assert both.found.counts(RUN).recorded == 6 + 97 * 4 + 96 * 2
    assert both.found.dataset(RUN).identical(both.told.dataset(RUN))


@pytest.mark.parametrize(("start", "end"), [(0, 6), (5.5, 12.25), (9, 18), (23.5, 30)])
def test_a_window_is_the_same_window(both: Both, start: float, end: float) -> None:
    bounds = (T0 + start * HOUR, T0 + end * HOUR)
    with closing(both.found.within(*bounds)) as found, closing(both.told.within(*bounds)) as told:
        for read in ("span", "tracks", "grid", "sessions", "counts", "births", "plans"):
            assert getattr(found, read)(RUN) == getattr(told, read)(RUN), read
        assert repr(compare(found, RUN)) == repr(compare(told, RUN))
    # By hand: 10 kW load and 0.5 kW losses all day, and the tape's BESS and car.
    with closing(both.found.within(T0 + 12 * HOUR, T0 + 18 * HOUR)) as afternoon:
        assert compare(afternoon, RUN).run.settlement.import_kwh == pytest.approx(6 * 10.5, abs=1e-9)
