"""The same attack on a real site: twins, network twin, the EMS with its solver, the recorder with its database."""

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtime.in_memory import run_direct
from schemas.cycle import Course
from schemas.site import ForecastKind, ForecastOptions, LearnedDepartures, OnSilence, Site, TimeOptions
from schemas.topics import Channel, Kind, Topic
from services.clock.lockstep import lockstep_run
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from sites.loader import load_site
from tests.lockstep.attack import RUN, Attack
from tests.lockstep.bus import ChaosBus, Faults
from tests.system.days import contents
from twinswarm.simulation.compose import Recording, maker, members, required

SEEDS = int(os.environ.get("TWINSWARM_ATTACK_SEEDS", "40")) // 2
MORNING = datetime(2024, 5, 17, 6, 30, tzinfo=UTC)
"""Half an hour before the cars come."""
COURSE = Course(MORNING, MORNING + timedelta(hours=1.5), 900)
SESSION = lockstep_run(COURSE, datetime(2026, 1, 1, tzinfo=UTC))
AWAITING = TimeOptions(on_silence=OnSilence.AWAIT, rollcall_timeout_s=3600)


@pytest.fixture(scope="module")
def site() -> Site:
    return load_site("fit_g2v")


@pytest.fixture(scope="module")
def learning(site: Site) -> Site:
    """A site whose forecast learns from telemetry and whose EMS learns departures."""
    ems = site.ems.model_copy(update={"learned_departures": LearnedDepartures(least_sessions=5)})
    return site.model_copy(update={"ems": ems, "forecast": ForecastOptions(kind=ForecastKind.ONLINE)})


@pytest.fixture(scope="module")
def loss_free(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], str]:
    return _without_loss(site, tmp_path_factory)


def _without_loss(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], str]:
    file = tmp_path_factory.mktemp("loss-free") / "history.sqlite"
    with closing(HistoryStore(file, durable=False)) as store:
        participants = [maker(site, device, Recording(store))() for device in members(site)]
        run_direct(participants, COURSE, RUN, (Topic(site.site, Kind.CLOCK, "clock", Channel.RUN), SESSION))
    return contents(file, RUN)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HistoryStore]:
    with closing(HistoryStore(tmp_path / "history.sqlite", durable=False)) as opened:
        yield opened


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_real_site_under_attack_has_the_history_of_the_loss_free_run(
    seed: int, site: Site, loss_free: dict[tuple[str, int], str], store: HistoryStore, tmp_path: Path
) -> None:
    _attack(seed, site, loss_free, store, tmp_path)


@pytest.mark.parametrize("seed", [1001, 1002])
def test_what_is_learned_survives_an_attack(
    seed: int, learning: Site, store: HistoryStore, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _attack(seed, learning, _without_loss(learning, tmp_path_factory), store, tmp_path)


def _attack(seed: int, site: Site, loss_free: dict[tuple[str, int], str], store: HistoryStore, tmp_path: Path) -> None:
    faults = Faults(loss=0.1, repeat=0.1, delay=0.1, disconnect=0.003, kill=0.01, kills_left=40)
    bus = ChaosBus(seed, faults)
    attack = Attack(site.site, COURSE, bus, AWAITING, required(site))
    for device in members(site):
        attack.add(device, maker(site, device, Recording(store)), starts_at=bus.random.uniform(0, 2))
    attack.run()
    assert sum(process.deaths for process in attack.processes) > 5
    assert contents(tmp_path / "history.sqlite", RUN) == loss_free
    with closing(SqliteHistory(tmp_path / "history.sqlite")) as history:
        assert history.latest().complete
        assert history.counts(RUN).missing == 0
