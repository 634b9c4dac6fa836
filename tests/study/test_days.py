"""A study's days are those of ``twinswarm run``, in this process or in others."""

from pathlib import Path

import pytest

from sites.description import SiteDescription
from sites.loader import load_description
from twinswarm.simulation.pipeline import Order, conduct_in_memory
from twinswarm.simulation.variants import Reference, StorageChoice
from twinswarm.study.day import Day, live_through
from twinswarm.study.orders import Key, site_of
from twinswarm.study.pool import Pool
from twinswarm.study.study import StudyOrder

CASE = "1"


@pytest.fixture(scope="module")
def site() -> SiteDescription:
    return load_description("fit_g2v")


@pytest.fixture(scope="module")
def days(site: SiteDescription) -> dict[StorageChoice, Day]:
    order = StudyOrder.of(site, Reference.SMART, [CASE])
    return {
        storage: live_through(site_of(site, Key(CASE, storage), Reference.SMART), order.course)
        for storage in (StorageChoice.NONE, StorageChoice.BOTH)
    }


def test_a_day_of_the_study_equals_the_recorded_run_to_the_last_bit(
    site: SiteDescription, days: dict[StorageChoice, Day], tmp_path: Path
) -> None:
    course = StudyOrder.of(site, Reference.SMART, [CASE]).course
    order = Order(site.under(CASE), course, StorageChoice.BOTH, Reference.SMART, tmp_path / "history.sqlite")
    run = conduct_in_memory(order)
    both, reference = days[StorageChoice.BOTH], days[StorageChoice.NONE]
    assert both.cost_eur == run.cost_eur
    assert reference.cost_eur == run.reference_cost_eur
    assert list(both.pcc_kw) == [quarter.pcc_kw for quarter in run.quarters]
    assert list(reference.pcc_kw) == [quarter.reference_pcc_kw for quarter in run.quarters]
    assert both.statuses == run.plan_statuses
    assert both.departure_shortfall_kwh == run.departure_shortfall_kwh
    assert both.stored_kwh - reference.stored_kwh == run.stored_energy_difference_kwh


def test_other_processes_find_the_same_bits(site: SiteDescription, days: dict[StorageChoice, Day]) -> None:
    order = StudyOrder.of(site, Reference.SMART, [CASE])
    sites = {storage: site_of(site, Key(CASE, storage), Reference.SMART) for storage in days}
    told: list[StorageChoice] = []
    with Pool(order.course, processes=2) as pool:
        found = pool.run(sites, told.append)
    assert {name: timed.day for name, timed in found.items()} == days
    assert sorted(told) == sorted(sites)


def test_energy_at_the_meter_is_what_devices_took_and_the_network_lost(days: dict[StorageChoice, Day]) -> None:
    for day in days.values():
        parts = zip(day.load_kw, day.pv_kw, day.bess_kw, day.cars_kw, day.losses_kw, day.pcc_kw, strict=True)
        for load, pv, bess, cars, losses, pcc in parts:
            assert pcc == pytest.approx(load - pv + bess + cars + losses, abs=1e-9)
