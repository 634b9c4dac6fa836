"""The rules of lock-step under attack: the product's clock, members and pumps on a bus that does its worst.

Invariants (lockstep.md): energies of a run in which nobody was dropped equal the loss-free run's to the last bit; every
message of a member that was not dropped is recorded exactly once; no deadlock; nobody steps twice or skips; a set-point
applies in its step or not at all.
"""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from runtime.checkpoint import MemoryCheckpoint
from runtime.in_memory import run_direct
from schemas.cycle import Course
from schemas.messages import Done, Phase, Stamp
from schemas.participant import Participant, own_topic
from schemas.site import OnSilence, TimeOptions
from schemas.topics import BARRIER, Channel, Kind, Topic
from schemas.wire import encode
from services.clock.lockstep import LockstepClock, lockstep_run
from tests.lockstep.attack import RUN, Attack
from tests.lockstep.bus import ChaosBus, Faults
from tests.lockstep.tiny import SITE, Archive, Chaotic, Pcc, Prices, Recorder, Store

T0 = datetime(2024, 5, 17, tzinfo=UTC)
COURSE = Course(T0, T0 + timedelta(hours=1.5), 900)
STORES = ("b1", "b2", "b3")
SEEDS = int(os.environ.get("TWINSWARM_ATTACK_SEEDS", "40"))

Makers = dict[str, Callable[[], Participant]]


def makers(archive: Archive) -> Makers:
    found: Makers = {name: (lambda name=name: Store(name)) for name in STORES}  # type: ignore[misc]
    found |= {
        "ems": lambda: Chaotic("ems"),
        "network": lambda: Pcc("network"),
        "tariff": lambda: Prices("tariff"),
        "recorder": lambda: Recorder("recorder", archive),
    }
    return found


def content(payload: bytes) -> str:
    """A message without what differs between two runs of one day: run, boot, and the clock's machine time."""
    fields = json.loads(payload)
    for name in ("run", "boot", "wall0"):
        fields.pop(name, None)
    return json.dumps(fields, sort_keys=True)


def history(archive: Archive) -> dict[tuple[str, int], tuple[int, str]]:
    """(topic, seq) to (cycle of the commit, content); fails if one seq of a topic was recorded of two boots."""
    found: dict[tuple[str, int], tuple[int, str]] = {}
    for (topic, _, seq), (n, payload) in archive.committed.items():
        assert (topic, seq) not in found, f"{topic} {seq} was recorded of two boots"
        found[topic, seq] = (n, content(payload))
    return found


@pytest.fixture(scope="module")
def loss_free() -> dict[tuple[str, int], tuple[int, str]]:
    archive = Archive()
    session = lockstep_run(COURSE, datetime(2026, 1, 1, tzinfo=UTC))
    run_direct(
        [make() for make in makers(archive).values()],
        COURSE,
        RUN,
        (Topic(SITE, Kind.CLOCK, "clock", Channel.RUN), session),
    )
    return history(archive)


def attack(seed: int, faults: Faults, options: TimeOptions, archive: Archive) -> Attack:
    bus = ChaosBus(seed, faults)
    found = Attack(SITE, COURSE, bus, options, frozenset(makers(archive)))
    for name, make in makers(archive).items():
        found.add(name, make, starts_at=bus.random.uniform(0, 2))
    return found


def awaiting(silent_attempts: int = 20) -> TimeOptions:
    return TimeOptions(on_silence=OnSilence.AWAIT, silent_attempts=silent_attempts, rollcall_timeout_s=3600)


def test_the_loss_free_run_over_the_bus_equals_the_run_in_memory(loss_free: dict) -> None:
    archive = Archive()
    attack(0, Faults(), awaiting(), archive).run()
    assert history(archive) == loss_free


@pytest.mark.parametrize("seed", range(SEEDS))
def test_lost_repeated_and_late_messages_change_nothing(seed: int, loss_free: dict) -> None:
    archive = Archive()
    attack(seed, Faults(loss=0.1, repeat=0.1, delay=0.1, disconnect=0.005), awaiting(), archive).run()
    assert history(archive) == loss_free


@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_before_and_after_each_effect_and_started_again_changes_nothing(seed: int, loss_free: dict) -> None:
    archive = Archive()
    faults = Faults(loss=0.1, repeat=0.1, delay=0.1, disconnect=0.005, kill=0.01, kills_left=40)
    found = attack(seed, faults, awaiting(), archive)
    found.run()
    assert history(archive) == loss_free
    assert found.clock_deaths + sum(process.deaths for process in found.processes) > 0


@pytest.mark.parametrize("seed", range(SEEDS))
def test_leftovers_of_an_earlier_run_and_a_second_process_of_one_name_change_nothing(
    seed: int, loss_free: dict
) -> None:
    archive = Archive()
    faults = Faults(loss=0.1, repeat=0.1, delay=0.1, kill=0.005, kills_left=10)
    found = attack(seed, faults, awaiting(), archive)
    found.leave_lying_around(_earlier_run())
    found.add("b2", lambda: Store("b2"), starts_at=found.bus.random.uniform(5.0, 20.0))
    for topic, payload in _rival():
        found.bus.publish_at(found.bus.random.uniform(4.0, 25.0), topic, payload)
    found.run()
    assert history(archive) == loss_free


def _rival() -> list[tuple[str, bytes]]:
    """What a second process of ``b2`` says that knows no manners: its birth, and answers to every phase."""
    rival = Store("b2")
    sent = [(own_topic(rival, Channel.BIRTH), encode(Stamp(ts=T0, run=RUN, boot="rival", seq=1), rival.birth()))]
    for n, phase in COURSE:
        done = Done(n=n, phase=phase, announced=())
        sent.append(
            (
                own_topic(rival, Channel.DONE),
                encode(Stamp(ts=T0, run=RUN, boot="rival", seq=10 * n + phase.order), done),
            )
        )
    return [(str(topic), payload) for topic, payload in sent for _ in range(3)]


def _earlier_run() -> list[tuple[str, bytes, bool]]:
    """All that an earlier run of the same site sent, ticks and answers included."""
    archive = Archive()
    bus = ChaosBus(7, Faults())
    sent: list[tuple[str, bytes, bool]] = []
    publish = bus.publish
    earlier = RUN.replace("20240517", "20240516")

    def logged(topic: str, payload: bytes, *, retain: bool) -> None:
        sent.append((topic, payload.replace(RUN.encode(), earlier.encode()), retain))
        publish(topic, payload, retain=retain)

    bus.publish = logged  # type: ignore[method-assign]
    found = Attack(SITE, COURSE, bus, awaiting(), frozenset(makers(archive)), boot_prefix="old")
    for name, make in makers(archive).items():
        found.add(name, make)
    found.run()
    return sent


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_dropped_device_comes_back_and_no_energy_is_created(seed: int) -> None:
    archive = Archive()
    options = TimeOptions(on_silence=OnSilence.DROP, silent_attempts=6, rollcall_timeout_s=3600)
    found = attack(seed, Faults(loss=0.05, repeat=0.05, delay=0.05), options, archive)
    victim = found.processes[0]
    found.bus.publish_at(found.bus.random.uniform(4.0, 8.0), "twin/v2/tiny/kill", b"")
    away_s = found.bus.random.uniform(10.0, 40.0)
    killed: list[float] = []

    release = found.bus.release_strays

    def release_and_kill() -> None:
        before = found.bus.stray_times()
        release()
        if before and not found.bus.stray_times() and victim.member is not None and not killed:
            killed.append(found.bus.now)
            found._bury(victim)
            victim.starts_at = found.bus.now + away_s

    found.bus.release_strays = release_and_kill  # type: ignore[method-assign]
    clock = found.run()
    assert killed
    assert _largest_step_kwh(archive) <= 10.0 * 0.25, "hours of energy in one step, at a power that nobody set"
    registers = _last_registers(archive)
    devices_kwh = sum(kwh for (topic, _), kwh in registers.items() if "/bess/" in topic)
    pcc_kwh = sum(kwh for (topic, _), kwh in registers.items() if "/network/" in topic)
    if all(drop.phase is Phase.SENSE for drop in clock.dropped):
        # Dropped before it was measured: what the PCC booked is what is in the record.
        assert pcc_kwh == pytest.approx(devices_kwh, abs=1e-9)
    assert pcc_kwh >= devices_kwh - 1e-9


def _largest_step_kwh(archive: Archive) -> float:
    """The most that a device's register grew between two of its telemetries."""
    registers: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for (topic, boot, seq), (_, payload) in archive.committed.items():
        if topic.endswith("/telemetry") and "/bess/" in topic:
            registers.setdefault((topic, boot), []).append((seq, json.loads(payload)["energy_import_kwh"]))
    return max(after[1] - before[1] for r in registers.values() for before, after in pairwise(sorted(r)))


def _last_registers(archive: Archive) -> dict[tuple[str, str], float]:
    newest: dict[tuple[str, str], tuple[int, float]] = {}
    for (topic, boot, seq), (_, payload) in archive.committed.items():
        if topic.endswith("/telemetry"):
            key, kwh = (topic, boot), json.loads(payload)["energy_import_kwh"]
            if newest.get(key, (0, 0.0))[0] < seq:
                newest[key] = (seq, kwh)
    return {key: kwh for key, (_, kwh) in newest.items()}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_late_and_ghost_joiners_do_not_stop_the_run(seed: int) -> None:
    archive = Archive()
    found = attack(seed, Faults(loss=0.1, repeat=0.1, delay=0.1, kill=0.003, kills_left=5), awaiting(6), archive)
    found.add("b9", lambda: Store("b9"), starts_at=found.bus.random.uniform(4.0, 15.0))
    ghost = Store("b7")
    birth = encode(Stamp(ts=T0, run=RUN, boot="ghost", seq=1), ghost.birth())
    for _ in range(3):
        found.bus.publish_at(
            found.bus.random.uniform(0.0, 20.0), str(Topic(SITE, Kind.BESS, "b7", Channel.BIRTH)), birth
        )
    clock = found.run()
    assert "b7" not in clock.roster
    registers = _last_registers(archive)
    devices_kwh = sum(kwh for (topic, _), kwh in registers.items() if "/bess/" in topic)
    pcc_kwh = sum(kwh for (topic, _), kwh in registers.items() if "/network/" in topic)
    assert pcc_kwh == pytest.approx(devices_kwh, abs=1e-9)


def test_nothing_of_the_barrier_itself_is_recorded(loss_free: dict) -> None:
    assert not [topic for topic, _ in loss_free if Topic.parse(topic).channel in BARRIER]


def test_the_clock_restarts_where_it_was() -> None:
    """Unit test of rule 4: a restart is one more attempt of the same phase, with the same roster."""
    sent: list[tuple[str, bytes]] = []
    store = MemoryCheckpoint()

    def clock() -> LockstepClock:
        return LockstepClock(
            SITE,
            COURSE,
            RUN,
            "c",
            lockstep_run(COURSE, T0),
            {"b1"},
            TimeOptions(),
            store,
            lambda topic, payload, *, retain: sent.append((topic, payload)),
            lambda: T0,
        )

    clock().start(0.0)
    again = clock()
    again.start(1.0)
    ticks = [json.loads(payload) for topic, payload in sent if topic.endswith("/tick")]
    assert [tick["attempt"] for tick in ticks] == [1, 2]
    assert again.phase is Phase.ROLLCALL
