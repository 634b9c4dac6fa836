"""A run against its own policy saves exactly 0 and has a peak-shaving factor of exactly 1, in every time mode."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.address import Credentials
from schemas.cycle import Course
from schemas.site import Site
from services.analysis.comparison import compare
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from sites.loader import builtin_sites, load_site
from tests.twins.builders import charger, pv, site, stay
from twinswarm.deploy.up import How, conduct_swarm
from twinswarm.simulation.baseline import is_its_own_reference, reference_of
from twinswarm.simulation.baseline_run import record_replay
from twinswarm.simulation.compose import Recording
from twinswarm.simulation.days import local_days, settle_day
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.pipeline import Order
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.variants import Reference, StorageChoice, as_reference

NOON = datetime(2024, 5, 17, 10, tzinfo=UTC)


def restless() -> Site:
    """A car that leaves amid a step and earlier than announced, two that come and go within one, PV by the minute."""
    sessions = [
        stay(vehicle="early", arrival=NOON, departure=NOON + timedelta(minutes=52), target_soc_frac=0.7,
             announced_departure=NOON + timedelta(hours=3)),
        stay(vehicle="brief", arrival=NOON + timedelta(minutes=61), departure=NOON + timedelta(minutes=64)),
        stay(vehicle="briefer", arrival=NOON + timedelta(minutes=66), departure=NOON + timedelta(minutes=67)),
        stay(vehicle="late", arrival=NOON + timedelta(minutes=70, seconds=13), departure=NOON + timedelta(hours=3)),
    ]  # fmt: skip
    devices: dict[str, Any] = {
        "ev": charger(sessions=sessions, fallback="uncontrolled"),
        "pv": pv(source={"type": "power", "profile": "minutes"}),
        "building": {"kind": "meter", "profile": "base"},
    }
    profiles = {
        "price": {"type": "day", "values": [0.3, 0.1, 0.2, 0.4] * 6},
        "base": {"type": "day", "values": [30.0 + 0.7 * (i % 11) for i in range(96)]},
        "minutes": {"type": "day", "values": [float(7 * i % 43) for i in range(1440)]},
        "sun": {"type": "day", "values": [20.0] * 96},
    }
    return site(devices, profiles=profiles)


def replayed(described: Site, course: Course, reference: Reference, folder: Path) -> tuple[float | None, float | None]:
    """Savings [€] and peak-shaving factor of a run under the policy against the replay of what was recorded."""
    path = folder / "h.sqlite"
    with closing(HistoryStore(path, durable=False)) as store:
        run = run_in_memory(as_reference(described, reference), course, Recording(store))
        with closing(SqliteHistory(path)) as history:
            again = record_replay(reference_of(history, run, reference), run, store)
            compared = compare(history, run, history, again)
    assert compared.run.settlement.unsettled == 0
    return compared.savings_eur, compared.shaving().psf


@pytest.mark.parametrize("reference", list(Reference))
def test_replay_of_a_restless_day_is_that_day(reference: Reference, tmp_path: Path) -> None:
    course = Course(NOON - timedelta(hours=1), NOON + timedelta(hours=4), 900)
    assert replayed(restless(), course, reference, tmp_path) == (0.0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("reference", list(Reference))
@pytest.mark.parametrize("name", builtin_sites())
def test_replay_of_every_sites_day_is_that_day(name: str, reference: Reference, tmp_path: Path) -> None:
    described = load_site(name)
    assert replayed(described, course_of(described), reference, tmp_path) == (0.0, 1.0)


def test_vehicles_that_come_and_go_between_two_telemetries_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    with closing(HistoryStore(path, durable=False)) as store:
        course = Course(NOON - timedelta(hours=1), NOON + timedelta(hours=4), 900)
        run = run_in_memory(as_reference(restless(), Reference.UNCONTROLLED), course, Recording(store))
    with closing(SqliteHistory(path)) as history:
        stays = history.sessions(run)
        (drawn,) = history.tracks(run)["ev"].within(course.t0, course.t_end).flows([course.t0, course.t_end])
    assert [(one.vehicle, one.departure) for one in stays] == [
        ("early", NOON + timedelta(minutes=52)),
        ("brief", NOON + timedelta(minutes=64)),
        ("briefer", NOON + timedelta(minutes=67)),
        ("late", NOON + timedelta(hours=3)),
    ]
    # At full power, 90 % of which reach the battery: all that was drawn is in one of the vehicles.
    assert drawn.import_kwh is not None
    assert sum(one.stored_kwh for one in stays) == pytest.approx(0.9 * drawn.import_kwh, abs=1e-9)
    assert stays[1].stored_kwh == pytest.approx(0.9 * 20 * 3 / 60, abs=1e-9)


def test_days_of_a_run_against_its_own_policy(tmp_path: Path) -> None:
    path, described = tmp_path / "h.sqlite", load_site("fit_g2v")
    course = course_of(described, length=timedelta(hours=30))
    with closing(HistoryStore(path, durable=False)) as store:
        run = run_in_memory(as_reference(described, Reference.SMART), course, Recording(store))
    with closing(SqliteHistory(path)) as history:
        for day in local_days(history.info(run), described.zone):
            result = settle_day(history, run, day, Reference.SMART)
            assert (result.savings_eur, result.psf, result.stored_energy_difference_kwh) == (0.0, 1.0, 0.0)
        assert not is_its_own_reference(history, run, Reference.UNCONTROLLED)


@pytest.mark.parametrize("speed", [None, 1800.0], ids=["lock-step", "1800 times real time"])
@pytest.mark.parametrize("reference", [Reference.SMART, Reference.UNCONTROLLED])
def test_over_mqtt_in_both_time_modes(speed: float | None, reference: Reference, tmp_path: Path) -> None:
    order = Order(
        restless(),
        Course(NOON - timedelta(hours=1), NOON + timedelta(hours=4), 900),
        StorageChoice.NONE,
        reference,
        tmp_path / "h.sqlite",
    )
    result = conduct_swarm(order, How("embedded", Credentials(), tmp_path, speed, one_process=True))
    assert (result.savings_eur, result.psf) == (0.0, 1.0)
    assert result.import_kwh > 50
