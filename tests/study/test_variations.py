"""Each variation changes what it says and nothing else."""

import statistics

import pytest

from schemas.errors import Code
from schemas.site import Bess, Charger
from sites.description import SiteDescription
from sites.loader import load_description
from tests.errors import raises
from twinswarm.simulation.variants import Reference, StorageChoice
from twinswarm.study.orders import TIES, Key, check_cases, site_of, table_days, tie_days
from twinswarm.study.variations import (
    sweeps,
    with_bess_of,
    with_cars,
    with_cloud_of,
    with_dead_time,
    with_forecast_error,
    with_other_noise,
    without_noise,
)


@pytest.fixture(scope="module")
def site() -> SiteDescription:
    return load_description("fit_g2v")


def measured(site: SiteDescription) -> tuple[float, ...]:
    return site.profiles["load_measured"].values


def test_a_study_is_24_days_and_12_with_other_ties() -> None:
    assert len(table_days(["1", "2", "3", "4", "5", "6"])) == 24
    assert len(tie_days(["1", "6"])) == 3 * len(TIES)
    assert tie_days(["1"]) == []


def test_a_tie_break_changes_the_weights_only(site: SiteDescription) -> None:
    key = Key("6", StorageChoice.BOTH, "least throughput only")
    own, other = site_of(site, Key("6", StorageChoice.BOTH), Reference.SMART), site_of(site, key, Reference.SMART)
    assert (other.ems.tie_throughput_eur_per_kwh, other.ems.tie_flat_eur_per_kwh) == (1e-4, 0.0)
    assert other.model_copy(update={"ems": own.ems}) == own


def test_cases_that_the_site_lacks_are_named(site: SiteDescription) -> None:
    with raises(Code.UNKNOWN, "1, 2, 3, 4, 5, 6", "'7'"):
        check_cases(site, ["1", "7"])


def test_without_noise_the_load_is_what_was_forecast(site: SiteDescription) -> None:
    assert measured(without_noise(site)) == site.profiles["load_forecast"].values


def test_other_noise_is_of_three_percent_and_the_same_for_the_same_seed(site: SiteDescription) -> None:
    forecast = site.profiles["load_forecast"].values
    deviations = [
        found / expected - 1
        for seed in range(1, 41)
        for found, expected in zip(measured(with_other_noise(site, seed)), forecast, strict=True)
    ]
    assert statistics.pstdev(deviations) == pytest.approx(0.03, rel=0.1)
    assert statistics.mean(deviations) == pytest.approx(0.0, abs=0.003)
    assert measured(with_other_noise(site, 3)) == measured(with_other_noise(site, 3))
    assert measured(with_other_noise(site, 3)) != measured(with_other_noise(site, 4))


def test_the_fitted_cloud_lies_between_one_of_a_quarter_hour_and_one_of_two(site: SiteDescription) -> None:
    def lost(values: tuple[float, ...]) -> float:
        return sum(site.profiles["pv_clear"].values) - sum(values)

    by_length = [lost(with_cloud_of(site, hours).profiles["pv_cloud"].values) for hours in (0.0, 0.25, 0.5, 1.0, 2.0)]
    assert by_length[0] == 0
    assert by_length == sorted(by_length)
    assert by_length[1] <= lost(site.profiles["pv_cloud"].values) <= by_length[2]


def test_dead_time_is_that_of_chargers_and_battery(site: SiteDescription) -> None:
    found = [d.dead_time_s for d in with_dead_time(site, 120.0).devices.values() if isinstance(d, Bess | Charger)]
    assert found == [120.0] * 5


def test_a_larger_battery_has_more_power(site: SiteDescription) -> None:
    bess = with_bess_of(site, 80.0).devices["bess"]
    assert isinstance(bess, Bess)
    assert (bess.capacity_kwh, bess.max_charge_kw) == (80.0, pytest.approx(2 * 17.5))


def test_cars_beyond_the_chargers_of_the_site_hang_at_the_main_busbar(site: SiteDescription) -> None:
    chargers = [d for d in with_cars(site, 6).devices.values() if isinstance(d, Charger)]
    assert [charger.node for charger in chargers] == ["EV01", "EV02", "EV03", "EV04", None, None]
    assert len({charger.daily[0].vehicle for charger in chargers}) == 6


def test_an_error_of_one_is_the_sites_own_and_of_none_the_forecast(site: SiteDescription) -> None:
    assert measured(with_forecast_error(site, 1.0)) == pytest.approx(measured(site), rel=1e-12)
    assert measured(with_forecast_error(site, 0.0)) == site.profiles["load_forecast"].values


def test_every_varied_site_is_a_valid_one(site: SiteDescription) -> None:
    for sweep in sweeps():
        for value in sweep.values:
            assert SiteDescription.model_validate_json(sweep.site_at(site, value).model_dump_json()) is not None
