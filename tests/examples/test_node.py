"""The example battery in JavaScript in wall time, by real node: what it says is of the contract, and adds up."""

import itertools
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.address import BrokerAddress, Credentials
from schemas.errors import Code, SiteBusyError
from schemas.messages import (
    Ack,
    BessTelemetry,
    Fallback,
    Presence,
    Reject,
    Run,
    Setpoint,
    State,
    TimeMode,
)
from schemas.topics import Channel, Kind, Topic
from sites.loader import load_site
from tests.errors import raises
from tests.examples.conftest import LOG, StartProgram
from tests.examples.node import SOURCE, lay_out
from tests.examples.site_bus import PATIENCE_S, RUN, SITE, Said, SiteBus, utc_now
from twinswarm.deploy.up import How, conduct_swarm
from twinswarm.simulation.pipeline import Order
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference, StorageChoice

T0 = datetime(2024, 5, 17, 8, 0, tzinfo=UTC)
SPEED = 60.0
PERIOD = timedelta(seconds=10)
MAX_KW, EFFICIENCY, CAPACITY_KWH = 12.0, 0.95, 30.0
SESSION = Topic(SITE, Kind.CLOCK, "clock", Channel.RUN)
SETPOINT = Topic(SITE, Kind.BESS, "bess", Channel.SETPOINT)


@pytest.fixture
def bus(address: BrokerAddress) -> Iterator[SiteBus]:
    bus = SiteBus(address, Kind.BESS, "bess")
    yield bus
    bus.close()


class Battery:
    """The script, started as often as the test wants; its memory is in the test's folder."""

    def __init__(self, address: BrokerAddress, start: StartProgram, folder: Path) -> None:
        self._start, self._command = start, ("node", str(lay_out(folder)), "--broker", str(address))

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        return self._start(*self._command, *options)


class Way:
    """To the broker, over a port of its own; it can be cut."""

    def __init__(self, to: BrokerAddress) -> None:
        self._to, self._open = to, True
        self._sockets: list[socket.socket] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.address = BrokerAddress("127.0.0.1", self._door.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._open = False
        for end in self._sockets:
            with suppress(OSError):  # ended already
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._open = True

    def close(self) -> None:
        self.cut()
        for end in (self._door, *self._sockets):
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._door.accept()
            except OSError:
                return  # closed
            if not self._open:
                here.close()
                continue
            there = socket.create_connection((self._to.host, self._to.port))
            self._sockets += [here, there]
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):  # cut
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def way(address: BrokerAddress) -> Iterator[Way]:
    way = Way(address)
    yield way
    way.close()


@pytest.fixture
def battery(address: BrokerAddress, start_program: StartProgram, tmp_path: Path) -> Battery:
    return Battery(address, start_program, tmp_path)


def open_session(bus: SiteBus, run: str = RUN) -> Run:
    session = Run(mode=TimeMode.WALL, step_s=900, t0=T0, wall0=utc_now(), speed=SPEED)
    bus.send(SESSION, session, ts=T0, run=run, seq=1)
    return session


def order(now: datetime, name: str, power_kw: float | None, lasts: timedelta, **changes: object) -> Setpoint:
    fields = {"epoch": 3, "fallback": Fallback.IDLE, "valid_from": now, "valid_until": now + lasts} | changes
    return Setpoint.model_validate({"id": name, "power_kw": power_kw, **fields})


def telemetry(message: Said) -> BessTelemetry | None:
    return message.body if isinstance(message.body, BessTelemetry) else None


def told(bus: SiteBus) -> list[tuple[Said, BessTelemetry]]:
    return [(message, body) for message in bus.said if (body := telemetry(message)) is not None]


def until_power(bus: SiteBus, kw: float) -> list[Said]:
    return bus.until(lambda news: any((body := telemetry(m)) is not None and body.power_kw == kw for m in news))


def until_ack(bus: SiteBus, name: str) -> Ack:
    news = bus.until(lambda news: any(isinstance(m.body, Ack) and m.body.id == name for m in news))
    return next(m.body for m in news if isinstance(m.body, Ack) and m.body.id == name)


def assert_registers_and_soc_agree(bus: SiteBus) -> None:
    """What was drawn arrives in the cells less the loss, what was given left them with the loss (by hand)."""
    for (_, before), (_, after) in itertools.pairwise(told(bus)):
        assert before.energy_import_kwh is not None and before.energy_export_kwh is not None
        assert after.energy_import_kwh is not None and after.energy_export_kwh is not None
        drawn = after.energy_import_kwh - before.energy_import_kwh
        given = after.energy_export_kwh - before.energy_export_kwh
        assert drawn >= 0
        assert given >= 0
        stored = (after.soc_frac - before.soc_frac) * CAPACITY_KWH
        assert stored == pytest.approx(drawn * EFFICIENCY - given / EFFICIENCY, abs=1e-9)


def test_a_set_point_holds_until_it_expires_and_then_its_fallback(bus: SiteBus, battery: Battery) -> None:
    session = open_session(bus)
    battery.start()
    bus.until(lambda news: bool(news) and telemetry(news[-1]) is not None)

    now = session.time_at(utc_now())
    first = order(now, "one", -6.0, timedelta(seconds=90))
    bus.send(SETPOINT, first, ts=now, seq=1)
    ack = until_ack(bus, "one")
    assert (ack.accepted, ack.applied_kw, ack.reason) == (True, -6.0, None)
    until_power(bus, -6.0)
    last = until_power(bus, 0.0)[-1]
    assert last.stamp.ts >= first.valid_until

    # The order flowed from its ack on, and not a moment longer than it was valid; its clock counts milliseconds.
    (ack_ts,) = [m.stamp.ts for m in bus.of(Channel.ACK)]
    exported = told(bus)[-1][1].energy_export_kwh
    assert exported == pytest.approx(6.0 * ((first.valid_until - ack_ts) / timedelta(hours=1)), abs=6.0 / 3.6e6)

    now = session.time_at(utc_now())
    bus.send(SETPOINT, order(now, "two", 50.0, timedelta(seconds=60), fallback=Fallback.HOLD), ts=now, seq=2)
    limited = until_ack(bus, "two")
    assert (limited.accepted, limited.applied_kw, limited.reason) == (True, MAX_KW, "its limits")
    over = now + timedelta(seconds=80)
    bus.until(lambda news: any(telemetry(m) is not None and m.stamp.ts > over for m in news))
    assert told(bus)[-1][1].power_kw == MAX_KW, "its fallback is to hold"

    now = session.time_at(utc_now())
    for seq, refused in enumerate(
        (
            order(now, "of an old epoch", 1.0, timedelta(hours=1), epoch=2),
            order(now - timedelta(hours=1), "of the past", 1.0, timedelta(minutes=59)),
            order(now, "for an inverter", None, timedelta(hours=1), limit_kw=1.0),
        ),
        start=3,
    ):
        bus.send(SETPOINT, refused, ts=now, seq=seq)
        assert not until_ack(bus, refused.id).accepted
    assert_registers_and_soc_agree(bus)
    periods = [m.stamp.ts.timestamp() // PERIOD.total_seconds() for m, _ in told(bus)]
    assert len(set(periods)) == len(periods), "one telemetry in each period"


def test_a_killed_battery_goes_on_with_its_numbers_and_registers(bus: SiteBus, battery: Battery) -> None:
    session = open_session(bus)
    process = battery.start()
    bus.until(lambda news: bool(news) and telemetry(news[-1]) is not None)
    now = session.time_at(utc_now())
    bus.send(SETPOINT, order(now, "one", 9.0, timedelta(hours=1)), ts=now, seq=1)
    until_power(bus, 9.0)
    bus.until(lambda news: sum(telemetry(m) is not None for m in news) >= 3)

    process.kill()
    will = bus.until(lambda news: bool(news) and isinstance(news[-1].body, State))[-1]
    assert isinstance(will.body, State)
    assert (will.body.state, will.stamp.seq) == (Presence.OFFLINE, 0)
    away = session.time_at(utc_now())
    (_, before) = told(bus)[-1]
    battery.start()
    bus.until(lambda news: sum(telemetry(m) is not None and m.stamp.ts > away for m in news) >= 2)

    assert {m.stamp.boot for m in bus.said} == {will.stamp.boot}, "the same life"
    (back_ts, after) = next((m.stamp.ts, body) for m, body in told(bus) if m.stamp.ts > away)
    assert before.energy_import_kwh is not None and after.energy_import_kwh is not None
    drawn = after.energy_import_kwh - before.energy_import_kwh
    assert 0 <= drawn <= 9.0 * ((back_ts - away) / timedelta(hours=1)), "nothing flowed while it was away"
    assert after.power_kw == 9.0, "the set-point is still valid"
    assert_registers_and_soc_agree(bus)
    for channel in (Channel.TELEMETRY, Channel.ACK, Channel.BIRTH):
        said = {m.stamp.seq: m.payload for m in bus.of(channel)}
        assert sorted(said) == list(range(1, len(said) + 1)), "no number is left out"
        assert all(said[m.stamp.seq] == m.payload for m in bus.of(channel)), "and none is used twice"


def test_what_waits_for_the_broker_is_written_once_and_none_of_it_is_lost(
    bus: SiteBus, way: Way, start_program: StartProgram, tmp_path: Path
) -> None:
    memory = tmp_path / "bess.json"

    def until(there: Callable[[list[str]], bool]) -> None:
        """Until the lines of the memory are so."""
        deadline = time.monotonic() + PATIENCE_S
        while not there(memory.read_text().splitlines()):
            assert time.monotonic() < deadline, memory.read_text()
            bus.listen(0.02)

    def confirmed(lines: list[str]) -> bool:
        return len(lines) == 1 and json.loads(lines[0])["unconfirmed"] == []

    open_session(bus)
    battery = Battery(way.address, start_program, tmp_path)
    process = battery.start()
    bus.until(lambda news: sum(telemetry(m) is not None for m in news) >= 3)
    until(confirmed)

    way.cut()
    until(lambda lines: len(lines) > 3)
    file = memory.stat().st_ino
    until(lambda lines: len(lines) > 20)
    assert memory.stat().st_ino == file, "lines are added, the file is not written anew"
    process.kill()
    process.wait()
    with memory.open("a") as cut_off:
        cut_off.write('{"said": {"topic": "tw')
    battery.start()
    until(lambda lines: len(lines) == 1)
    waiting = json.loads(memory.read_text().splitlines()[0])["unconfirmed"]
    assert len(waiting) > 15

    way.mend()
    last = json.loads(waiting[-1]["text"])["seq"]
    bus.until(lambda news: any(telemetry(m) is not None and m.stamp.seq > last + 3 for m in news))
    until(confirmed)
    said = {m.stamp.seq: m.payload for m in bus.of(Channel.TELEMETRY)}
    assert sorted(said) == list(range(1, len(said) + 1)), "no number is left out"
    assert all(said[m.stamp.seq] == m.payload for m in bus.of(Channel.TELEMETRY)), "and none is used twice"


def test_a_newer_run_is_a_new_life_with_the_same_meter(bus: SiteBus, battery: Battery) -> None:
    session = open_session(bus)
    battery.start()
    bus.until(lambda news: bool(news) and telemetry(news[-1]) is not None)
    now = session.time_at(utc_now())
    bus.send(SETPOINT, order(now, "one", 9.0, timedelta(hours=1), epoch=7), ts=now, seq=1)
    until_power(bus, 9.0)
    boot, drawn = bus.said[-1].stamp.boot, told(bus)[-1][1].energy_import_kwh

    newer = RUN.replace("20240516", "20240517")
    open_session(bus, RUN.replace("20240516", "20240515"))
    session = open_session(bus, newer)
    news = bus.until(lambda news: bool(news) and telemetry(news[-1]) is not None and news[-1].stamp.run == newer)
    assert {m.stamp.run for m in bus.said} <= {None, RUN, newer}
    body = telemetry(news[-1])
    assert body is not None and body.energy_import_kwh is not None and drawn is not None
    assert news[-1].stamp.boot != boot
    assert (body.power_kw, body.energy_import_kwh >= drawn) == (0.0, True)
    now = session.time_at(utc_now())
    bus.send(SETPOINT, order(now, "two", 1.0, timedelta(hours=1), epoch=1), ts=now, run=newer, boot="its-ems", seq=1)
    assert until_ack(bus, "two").accepted, "epochs count within a run"


def test_what_is_not_of_the_contract_is_rejected_once_a_minute_and_stops_nothing(
    bus: SiteBus, battery: Battery
) -> None:
    session = open_session(bus)
    battery.start()
    bus.until(lambda news: any(telemetry(m) is not None for m in news))
    now = session.time_at(utc_now())
    right = order(now, "right", 1.0, timedelta(hours=1))
    stamp = {"contract": 2, "ts": now.isoformat(), "boot": "test", "seq": 1}
    unknown = stamp | right.model_dump(mode="json", exclude_none=True) | {"unless": "it rains"}
    for payload in (json.dumps(unknown).encode(), b"{", b"[]", b'{"run": 7}', b"\xff", b'{"id": "x"}'):
        bus.transport.publish(str(SETPOINT), payload)
    for payload in (b"", b"{}"):
        bus.transport.publish(str(SESSION), payload)
    bus.send(SETPOINT, right, ts=now, seq=2)
    assert until_ack(bus, "right").accepted
    rejects = [m.body for m in bus.said if isinstance(m.body, Reject)]
    assert [reject.topic for reject in rejects] == [str(SETPOINT), str(SESSION)]
    assert "must NOT have additional properties" in rejects[0].reason
    assert [m.body.id for m in bus.said if isinstance(m.body, Ack)] == ["right"]


def test_it_says_that_it_cannot_be_hurried_and_a_lock_step_run_refuses_it(
    amqtt_address: BrokerAddress, start_program: StartProgram, tmp_path: Path
) -> None:
    bus = SiteBus(amqtt_address, Kind.BESS, "bess")
    Battery(amqtt_address, start_program, tmp_path).start()
    bus.boot_after()
    bus.close()
    site = load_site("fit_g2v")
    day = Order(site, course_of(site), StorageChoice.BOTH, Reference.SMART, tmp_path / "history.sqlite")
    how = How(str(amqtt_address), Credentials(), tmp_path, attach=frozenset({"bess"}), one_process=True)
    with raises(Code.SITE_BUSY, "bess/bess", "lockstep", kind=SiteBusyError):
        conduct_swarm(day, how)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--broker", "amqp://127.0.0.1"), "--broker: allowed is mqtt://host:port or mqtts://host:port"),
        (("--cafile", "ca.crt"), "is not encrypted; use mqtts://"),
        (("--broker", "mqtts://127.0.0.1", "--cafile", "none.crt"), "no such file or directory, open 'none.crt'"),
        (("--broker", "mqtts://127.0.0.1", "--cert", "x.crt"), "given together"),
        (("--username", "x"), "given together"),
        (("--frob", "x"), "Unknown option '--frob'"),
    ],
)
def test_a_wrong_command_line_is_told(
    options: tuple[str, ...], message: str, start_program: StartProgram, tmp_path: Path
) -> None:
    assert start_program("node", str(lay_out(tmp_path)), *options).wait(20) == 2
    assert message in (tmp_path / LOG).read_text()


def test_the_lock_file_pins_contents_and_names_no_place_to_fetch_them_from() -> None:
    """Whoever runs `npm ci` gets the same packages, from the registry of their own configuration."""
    packages = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    dependencies = {name: package for name, package in packages.items() if name}
    assert all("integrity" in package and "resolved" not in package for package in dependencies.values())
    asked = json.loads((SOURCE / "package.json").read_text())["dependencies"]
    assert {name: dependencies[f"node_modules/{name}"]["version"] for name in asked} == asked
