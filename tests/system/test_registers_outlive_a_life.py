"""Registers of the twins go on in the next run, as those of meters do; money and balances do not notice."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from broker.servers.embedded import EmbeddedBroker
from runtime.checkpoint import FileCheckpoint, MemoryCheckpoint
from runtime.host import Host
from runtime.in_memory import run_direct
from schemas.messages import Telemetry
from schemas.participant import Participant, continue_registers, lasting_registers
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, client_id
from services.analysis.result import RunResult, analyse
from services.clock.lockstep import lockstep_run
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from sites.loader import load_site
from tests.system.days import contents
from twinswarm.deploy.clock_order import ClockOrder
from twinswarm.deploy.clock_process import drive_clock
from twinswarm.deploy.process import utc_now
from twinswarm.simulation.compose import Recording, maker, members
from twinswarm.simulation.runs import course_of, new_run_id

REGISTERS = ("energy_import_kwh", "energy_export_kwh", "losses_kwh")
METERS = ("bess", "building", "ev1", "network", "pv")


@pytest.fixture(scope="module")
def site() -> Site:
    return load_site("fit_g2v")


@pytest.fixture(scope="module")
def broker() -> Iterator[BrokerAddress]:
    with EmbeddedBroker() as running:
        yield running.address


def in_memory(
    site: Site, file: Path, registers: dict[str, dict[str, float]], length: timedelta | None = None
) -> tuple[str, dict[str, Participant]]:
    """A run in this process in which every participant begins with the registers given for it."""
    course = course_of(site, length=length)
    run = new_run_id(utc_now())
    with closing(HistoryStore(file, durable=False)) as store:
        participants = {name: maker(site, name, Recording(store))() for name in members(site)}
        for name, participant in participants.items():
            continue_registers(participant, registers.get(name, {}))
        clock = Topic(site.site, Kind.CLOCK, "clock", Channel.RUN)
        run_direct(list(participants.values()), course, run, (clock, lockstep_run(course, utc_now())))
    return run, participants


def result_of(file: Path, run: str) -> RunResult:
    with closing(SqliteHistory(file)) as history:
        return analyse(history, run, history, run, "itself", 0.0)


@pytest.mark.parametrize("begun_kwh", [1234.567, 7.7e6], ids=["a year", "a power station's"])
def test_a_day_with_registers_that_begin_anywhere_is_the_same_day(site: Site, tmp_path: Path, begun_kwh: float) -> None:
    plain, _ = in_memory(site, tmp_path / "plain", {})
    registers = {name: dict.fromkeys(REGISTERS, begun_kwh + place) for place, name in enumerate(members(site))}
    begun, participants = in_memory(site, tmp_path / "begun", registers)

    def without_registers(history: Path, run: str) -> dict[tuple[str, int], object]:
        found = {}
        for key, text in contents(history, run).items():
            message = json.loads(text)
            for name in (*REGISTERS, "residual_kwh"):
                message.pop(name, None)
            found[key] = message
        return found

    assert without_registers(tmp_path / "begun", begun) == without_registers(tmp_path / "plain", plain)
    one, other = result_of(tmp_path / "plain", plain), result_of(tmp_path / "begun", begun)
    # Two differences of floats of this size in each of 96 quarters and in both directions, priced below 1 EUR/kWh.
    rounding = 2 * 2 * 96 * begun_kwh * 2.0**-52
    assert other.cost_eur == pytest.approx(one.cost_eur, abs=rounding, rel=0)
    assert other.import_kwh == pytest.approx(one.import_kwh, abs=rounding, rel=0)
    assert other.energy_residual_kwh_max <= 1e-9 + rounding
    for name in METERS:
        register = lasting_registers(participants[name])
        assert all(register[each] >= begun_kwh for each in register)
    assert lasting_registers(participants["building"])["energy_import_kwh"] > begun_kwh + 100


def _over(broker: BrokerAddress, site: Site, folder: Path, order: ClockOrder) -> None:
    """A run with participants that begin and end with it: of those before only the checkpoints are left."""
    stop = threading.Event()
    opened: list[FileCheckpoint] = []

    def kept(name: str) -> FileCheckpoint:
        opened.append(FileCheckpoint(folder / f"{name}.json"))
        return opened[-1]

    with closing(HistoryStore(folder / "history.sqlite", durable=False)) as store:
        hosts = [
            Host(
                make=maker(site, name, Recording(store)),
                transport=lambda mode, name=name: MqttTransport(broker, client_id(site.site, name)),  # type: ignore[misc]
                lockstep_store=kept(name),
                wall_store=kept(f"{name}-wall"),
                zone=site.zone,
                stop=stop,
                now=utc_now,
            )
            for name in members(site)
        ]
        threads = [threading.Thread(target=host.serve, daemon=True) for host in hosts]
        for thread in threads:
            thread.start()
        transport = MqttTransport(broker, client_id(site.site, "clock"))
        try:
            drive_clock(site, order, transport, MemoryCheckpoint(), stop)
            stop.wait(3.0 if order.speed else 0.5)
        finally:
            # Before the store is closed, whatever happened: SQLite does not bear a connection closed in its use.
            stop.set()
            for thread in threads:
                thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
    for checkpoint in opened:
        checkpoint.close()


def _registers(history: Path, run: str) -> dict[str, list[dict[str, float]]]:
    """Per device every telemetry's registers, by time."""
    with closing(SqliteHistory(history)) as opened:
        return {
            name: [_of(sample.body) for sample in track.samples]
            for name, track in opened.tracks(run).items()
            if name in METERS
        }


def _of(body: Telemetry) -> dict[str, float]:
    return {name: value for name in REGISTERS if isinstance(value := getattr(body, name, None), float)}


def test_registers_go_on_from_run_to_run_in_lockstep_and_in_wall_time(
    broker: BrokerAddress, site: Site, tmp_path: Path
) -> None:
    course = course_of(site, length=timedelta(hours=1))

    def order(speed: float | None = None) -> ClockOrder:
        return ClockOrder(run=new_run_id(utc_now()), t0=course.t0, length=timedelta(hours=1), speed=speed, allowed=None)

    orders = [order(), order(), order(speed=900.0), order()]
    for each in orders:
        _over(broker, site, tmp_path, each)
    found = [_registers(tmp_path / "history.sqlite", each.run) for each in orders]
    assert [set(registers) for registers in found] == [set(METERS)] * len(orders)
    assert found[0]["building"][0] == {"energy_import_kwh": 0.0, "energy_export_kwh": 0.0}
    for name in METERS:
        assert found[1][name][0] == found[0][name][-1], name
        for before, after in pairwise(found):
            for register, value in before[name][-1].items():
                # In wall time energy flows before the first telemetry and after the last one.
                assert value <= after[name][0][register] <= value + 10.0, (name, register)
    assert found[-1]["building"][-1]["energy_import_kwh"] > 3.9 * found[0]["building"][-1]["energy_import_kwh"] > 0

    # The second run is the same to the last bit in memory when both begin with the same registers.
    begun = {name: found[0][name][-1] for name in METERS}
    begun["network"] |= {"losses_kwh": found[0]["network"][-1]["losses_kwh"]}
    run, _ = in_memory(site, tmp_path / "memory.sqlite", begun, length=timedelta(hours=1))
    assert contents(tmp_path / "memory.sqlite", run) == contents(tmp_path / "history.sqlite", orders[1].run)


def test_without_a_checkpoint_a_process_begins_at_zero(site: Site) -> None:
    assert lasting_registers(maker(site, "building")()) == {"energy_import_kwh": 0.0, "energy_export_kwh": 0.0}
