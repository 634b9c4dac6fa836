"""The clock as its supervisor meets it: stopped, killed, started again, left without its broker."""

import contextlib
import json
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from broker.mqtt import MqttTransport
from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from schemas.messages import Birth, Body, MeterNameplate, MeterRole, Presence, Run, Stamp, State, Tick, TimeMode
from schemas.topics import Channel, Kind, Topic, topic_filter
from schemas.wire import decode, encode
from services.history.sqlite import SqliteHistory
from tests.cli.calling import COMMAND, call, plain_environment
from tests.cli.test_services import MEMBERS, SITE_OPTION
from tests.parts import skip_without
from twinswarm.deploy.process import utc_now

SITE = "fit-g2v"
PATIENCE_S = 30.0


@pytest.fixture
def broker() -> Iterator[LocalMosquitto]:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with LocalMosquitto() as running:
        yield running


class Ear:
    """Hears a site's clock."""

    def __init__(self, broker: LocalMosquitto) -> None:
        self._transport = MqttTransport(broker.address, "ear")
        channels = (Channel.RUN, Channel.TICK, Channel.STATE)
        self._transport.connect([topic_filter(SITE, Kind.CLOCK, channel=channel) for channel in channels])

    def until(self, wanted: Callable[[Stamp, Body], bool]) -> tuple[Stamp, Body]:
        """The first message from now on that is wanted."""
        for _ in range(100_000):
            delivery = self._transport.receive(PATIENCE_S)
            assert delivery is not None, "it does not come"
            self._transport.acknowledge(delivery)
            stamp, body = decode(Topic.parse(delivery.topic), delivery.payload)
            if wanted(stamp, body):
                return stamp, body
        raise AssertionError("it is not among what comes")

    def session(self) -> tuple[Stamp, Run]:
        stamp, body = self.until(lambda _, body: isinstance(body, Run))
        assert isinstance(body, Run)
        return stamp, body

    def close(self) -> None:
        self._transport.close()


@contextlib.contextmanager
def ear(broker: LocalMosquitto) -> Iterator[Ear]:
    """Opened anew it hears what is retained."""
    with closing(Ear(broker)) as opened:
        yield opened


@contextlib.contextmanager
def started(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=plain_environment(), stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def members(broker: LocalMosquitto, folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for member in MEMBERS:
            stack.enter_context(
                started(folder, *member, *SITE_OPTION, "--broker", str(broker.address), "--checkpoints", "state")
            )
        yield


def clock(broker: LocalMosquitto, *more: str) -> tuple[str, ...]:
    return ("clock", *SITE_OPTION, "--broker", str(broker.address), *more)


def runs(folder: Path) -> list[tuple[str, bool, int]]:
    with closing(SqliteHistory(folder / "alone.sqlite")) as history:
        return [(info.run, info.complete, history.counts(info.run).missing) for info in history.runs()]


def told(folder: Path, run: str) -> list[tuple[str, int, dict[str, Any]]]:
    """Topic, time and content of all telemetry and set-points of a run, without what names the run and the life.

    Registers, which go on from run to run, from the first that was told in the run on.
    """
    with contextlib.closing(sqlite3.connect(folder / "alone.sqlite")) as history:
        rows = history.execute(
            "SELECT topic, ts_us, payload FROM message WHERE run = ? AND channel IN ('telemetry', 'setpoint', 'plan') "
            "ORDER BY topic, ts_us",
            (run,),
        ).fetchall()
    assert rows
    named = {"run", "boot", "id", "epoch", "seq"}
    first: dict[tuple[str, str], float] = {}
    found = []
    for topic, at, payload in rows:
        fields = {name: value for name, value in json.loads(payload).items() if name not in named}
        for name in {"energy_import_kwh", "energy_export_kwh", "losses_kwh"} & fields.keys():
            fields[name] = round(fields[name] - first.setdefault((topic, name), fields[name]), 9)
        if "residual_kwh" in fields:
            fields["residual_kwh"] = round(fields["residual_kwh"], 9)
        found.append((topic, at, fields))
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_in_lockstep_the_same_command_goes_on_with_its_run_and_after_its_end_begins_a_new_one(
    how: signal.Signals, broker: LocalMosquitto, tmp_path: Path
) -> None:
    command = clock(broker, "--for", "12h", "--checkpoints", "state")
    with members(broker, tmp_path), ear(broker) as heard:
        with started(tmp_path, *command) as first:
            stamp, _ = heard.until(lambda _, body: isinstance(body, Tick) and body.n == 10)
            first.send_signal(how)
            assert first.wait(PATIENCE_S) == (1 if how is signal.SIGTERM else -how)
        again = call(*command, cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert runs(tmp_path) == [(stamp.run, True, 0)]
        following = call(*command, cwd=tmp_path)
        assert following.returncode == 0, following.stderr
        both = runs(tmp_path)
        assert [facts[1:] for facts in both] == [(True, 0), (True, 0)]
        assert told(tmp_path, both[0][0]) == told(tmp_path, both[1][0])


def test_stopped_without_checkpoints_it_ends_its_session(broker: LocalMosquitto, tmp_path: Path) -> None:
    with members(broker, tmp_path), ear(broker) as heard, started(tmp_path, *clock(broker, "--for", "24h")) as process:
        heard.until(lambda _, body: isinstance(body, Tick) and body.n == 5)
        process.terminate()
        heard.until(lambda _, body: isinstance(body, Run) and body.ended is not None)
        assert process.wait(PATIENCE_S) == 1


def test_another_order_does_not_go_on_with_the_run_of_the_one_before(broker: LocalMosquitto, tmp_path: Path) -> None:
    with members(broker, tmp_path), ear(broker) as heard:
        with started(tmp_path, *clock(broker, "--for", "24h", "--checkpoints", "state")) as first:
            stamp, _ = heard.until(lambda _, body: isinstance(body, Tick) and body.n == 5)
            first.kill()
        other = call(*clock(broker, "--for", "1h", "--checkpoints", "state"), cwd=tmp_path)
        assert other.returncode == 0, other.stderr
        finished = [run for run, complete, _ in runs(tmp_path) if complete]
        assert len(finished) == 1
        assert finished != [stamp.run]


def test_one_that_stays_lives_on_after_the_end_until_it_is_stopped(broker: LocalMosquitto, tmp_path: Path) -> None:
    command = clock(broker, "--for", "1h", "--checkpoints", "state", "--stay", "--heartbeat", "alive")
    with members(broker, tmp_path), ear(broker) as heard, started(tmp_path, *command) as process:
        heard.until(lambda _, body: isinstance(body, Run) and body.ended is not None)
        (tmp_path / "alive").unlink()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(6.0)
        assert (tmp_path / "alive").exists()
        broker.stop()
        broker.start()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3.0)
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert len(runs(tmp_path)) == 1


def test_in_wall_time_the_same_command_goes_on_with_its_run_though_the_site_lives(
    broker: LocalMosquitto, tmp_path: Path
) -> None:
    command = clock(broker, "--speed", "60", "--now", "--checkpoints", "state")
    with members(broker, tmp_path):
        with started(tmp_path, *command) as first, ear(broker) as heard:
            stamp, opened = heard.session()
            assert (opened.speed, opened.simulated, opened.t_end) == (60.0, True, None)
            assert opened.t0 == opened.wall0
            with closing(MqttTransport(broker.address, "listener")) as listener:
                listener.connect([topic_filter(SITE, Kind.PV, channel=Channel.TELEMETRY)])
                assert listener.receive(PATIENCE_S) is not None
            first.kill()
            heard.until(lambda _, body: isinstance(body, State) and body.state is Presence.OFFLINE)
        with started(tmp_path, *command) as second, ear(broker) as heard:
            heard.until(lambda _, body: isinstance(body, State) and body.state is Presence.ONLINE)
            second.terminate()
            assert second.wait(PATIENCE_S) == 0
        with ear(broker) as heard:
            assert heard.session()[0].run == stamp.run
        stranger = call(*clock(broker, "--speed", "60", "--now"), cwd=tmp_path)
        assert (stranger.returncode, "is open" in stranger.stderr) == (1, True), stranger.stderr


def test_a_live_session_stays_open_when_its_clock_stops_and_is_gone_on_with(
    broker: LocalMosquitto, tmp_path: Path
) -> None:
    command = ("clock", "--live", "--broker", str(broker.address))
    with started(tmp_path, *command) as first, ear(broker) as heard:
        stamp, opened = heard.session()
        assert (opened.mode, opened.simulated, opened.speed, opened.t_end) == (TimeMode.WALL, False, 1.0, None)
        assert opened.t0 == opened.wall0
        first.terminate()
        assert first.wait(PATIENCE_S) == 0
    with ear(broker) as heard:
        assert heard.session()[1].ended is None
    with started(tmp_path, *command) as second:
        with ear(broker) as heard:
            heard.until(lambda _, body: isinstance(body, State) and body.state is Presence.ONLINE)
        with ear(broker) as heard:
            resumed, session = heard.session()
        assert (resumed.run, session.t0, session.ended) == (stamp.run, opened.t0, None)
        third = call(*command, cwd=tmp_path)
        assert (third.returncode, "this clock's name is connected" in third.stderr) == (1, True), third.stderr
        second.kill()
    simulated = call("clock", "--broker", str(broker.address), cwd=tmp_path)
    assert (simulated.returncode, "commands real devices" in simulated.stderr) == (1, True), simulated.stderr


def test_a_live_clock_whose_broker_comes_back_empty_tells_the_session_again(
    broker: LocalMosquitto, tmp_path: Path
) -> None:
    with started(tmp_path, "clock", "--live", "--broker", str(broker.address)):
        with ear(broker) as heard:
            stamp, opened = heard.session()
        broker.stop()
        broker.start()
        with ear(broker) as heard:
            again, session = heard.session()
            assert (again.run, again.boot, session) == (stamp.run, stamp.boot, opened)
        with ear(broker) as heard:
            heard.until(lambda _, body: isinstance(body, State) and body.state is Presence.ONLINE)


def test_with_checkpoints_a_live_session_outlives_both_its_clock_and_what_its_broker_retains(
    broker: LocalMosquitto, tmp_path: Path
) -> None:
    command = ("clock", "--live", "--broker", str(broker.address), "--checkpoints", "state")
    with started(tmp_path, *command) as first, ear(broker) as heard:
        stamp, opened = heard.session()
        first.kill()
    broker.stop()
    broker.start()
    with started(tmp_path, *command), ear(broker) as heard:
        again, session = heard.session()
        assert (again.run, session.t0, session.wall0) == (stamp.run, opened.t0, opened.wall0)


def test_real_devices_are_no_obstacle_to_a_live_session_but_a_simulation_is(
    broker: LocalMosquitto, tmp_path: Path
) -> None:
    live = ("clock", "--live", "--broker", str(broker.address))
    with closing(MqttTransport(broker.address, "device")) as device:
        device.connect(())
        birth = Birth(nameplate=MeterNameplate(role=MeterRole.LOAD), time_modes=(TimeMode.WALL,), software="x")
        for channel, body in ((Channel.BIRTH, birth), (Channel.STATE, State(state=Presence.ONLINE))):
            topic = Topic(SITE, Kind.METER, "real-meter", channel)
            device.publish(str(topic), encode(Stamp(ts=utc_now(), boot="b", seq=1), body), retain=True)
        assert device.flush(PATIENCE_S)
        with started(tmp_path, *live), ear(broker) as heard:
            assert not heard.session()[1].simulated
    broker.stop()
    broker.start()
    with started(tmp_path, *clock(broker, "--speed", "1", "--now")), ear(broker) as heard:
        assert heard.session()[1].simulated
        refused = call(*live, cwd=tmp_path)
        assert (refused.returncode, "this clock's name is connected" in refused.stderr) == (1, True), refused.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--live", "--date", "2024-05-17", "--for", "24h", "--now"),
            ("--date", "--for", "--now"),
        ),
        (("--live", "--speed", "2"), ("--speed",)),
        (("--now",), ("--speed", "lock-step knows no machine time")),
        (("--now", "--speed", "1", "--date", "2024-05-17"), ("--date", "beside --now")),
        (("--now", "--speed", "1", "--for", "24"), ("--for",)),
    ],
)
def test_what_cannot_stand_together_is_told(arguments: tuple[str, ...], told: tuple[str, ...], tmp_path: Path) -> None:
    done = call("clock", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert all(text in done.stderr for text in told), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"course": {}, "clock": {}}'])
def test_a_checkpoint_that_is_none_is_told_by_its_place(content: str, broker: LocalMosquitto, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "clock.json").write_text(content)
    done = call(*clock(broker, "--checkpoints", "state"), cwd=tmp_path)
    assert done.returncode == 1
    assert "checkpoint" in done.stderr
    assert "Traceback" not in done.stderr
