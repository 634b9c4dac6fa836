"""What a forecast is worth: its errors, regret whose parts sum to the whole, and what was learned before."""

from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from typer.testing import CliRunner

from schemas.cycle import Course
from schemas.errors import Code
from schemas.site import Charger, ForecastKind, ForecastOptions, Irradiance, Meter, Network, Pv, Site
from sites.loader import load_site
from tests.errors import raises
from twinswarm.cli.app import app
from twinswarm.study.forecast_errors import LEADS, ErrorSums, walked
from twinswarm.study.forecast_evaluation import span_of
from twinswarm.study.forecast_regret import CAUSES, Cause, regrets, without

MONDAY = datetime(2018, 5, 13, 22, tzinfo=UTC)  # midnight in Rome
ONLINE, PROFILE = ForecastKind.ONLINE, ForecastKind.PROFILE


@cache
def small() -> Site:
    """The office of the car park with PV, BESS and one charger."""
    site = load_site("carpark")
    kept = {name: site.devices[name] for name in ("office", "pv", "bess", "cp01")}
    ems = site.ems.model_copy(update={"cable_limits": ()})
    return site.model_copy(update={"devices": kept, "ems": ems})


def test_errors_are_those_of_a_hand_calculation() -> None:
    sums = ErrorSums()
    sums.add(10.0, 8.0, {0.1: 6.0, 0.9: 11.0})
    sums.add(6.0, 9.0, {0.1: 7.0, 0.9: 11.0})
    assert sums.mae_kw == 2.5
    assert sums.nrmse == pytest.approx(((4 + 9) / 2) ** 0.5 / 8)
    # Level 0.1: 0.1·4 and 0.9·1; level 0.9: 0.1·1 and 0.1·5.
    assert sums.pinball_kw == pytest.approx((0.4 + 0.9 + 0.1 + 0.5) / 2 / 2)
    assert sums.below == {0.1: 1, 0.9: 2}


def test_the_profiles_error_is_that_of_the_columns_and_the_online_one_is_less() -> None:
    site, count_from = small(), MONDAY + timedelta(days=5)
    course = Course(MONDAY, MONDAY + timedelta(days=6), 900)
    profile = walked(site, PROFILE, course, count_from)
    load, before = site.profiles["load"].values, site.profiles["load_week_before"].values
    day = range(5 * 96, 6 * 96)
    mae = sum(abs(load[i] - before[i]) for i in day) / 96
    assert [profile.errors["office", lead].mae_kw for lead in LEADS] == pytest.approx([mae] * 5)
    assert profile.errors["office", LEADS[0]].pinball_kw is None
    online = walked(site, ONLINE, course, count_from, keep_at=count_from)
    for device, part in (("office", 1.0), ("pv", 0.5)):  # five days say little of a week
        assert online.errors[device, LEADS[0]].mae_kw < part * profile.errors[device, LEADS[0]].mae_kw
    assert set(online.learned["learned"]) == {"office", "pv"}
    again = walked(site, ONLINE, Course(MONDAY, count_from, 900), count_from, keep_at=count_from)
    assert again.learned == online.learned


def test_the_parts_of_regret_sum_to_the_total_and_runs_alike_are_run_once() -> None:
    site = small()
    noon = MONDAY + timedelta(hours=10)
    counted: list[int] = []
    learned = walked(site, ONLINE, Course(MONDAY, noon, 900), noon, keep_at=noon).learned
    course = Course(noon, noon + timedelta(hours=2), 900)
    found = regrets(site, course, {PROFILE: None, ONLINE: learned}, 1, lambda: counted.append(1))
    for regret in found.values():
        parts = regret.parts_eur_per_day()
        assert list(parts) == list(CAUSES)
        assert sum(parts.values()) == pytest.approx(regret.total_eur_per_day, abs=1e-9)
        assert parts[Cause.CALM] == 0.0  # the site has none
        assert regret.energy_lost_eur_per_day > 0
        assert [day.losses_kwh for day in regret.chain][-1] == 0
        json = regret.to_json()
        assert json["regret_eur_per_day"] == pytest.approx(sum([*parts.values()][:3]))
    # Two runs each with load, or load and PV, unknown; what is known is the same for both. Calm changes nothing.
    assert len(counted) == 2 * 2 + 4
    assert found[PROFILE].chain[2] is found[ONLINE].chain[2]
    assert found[PROFILE].chain[0] != found[ONLINE].chain[0]


def test_each_cause_is_removed_from_the_site_and_nothing_else() -> None:
    site = small().model_copy(update={"forecast": ForecastOptions(kind=ONLINE)})
    load = without(site, [Cause.LOAD])
    meter, pv, charger = load.devices["office"], load.devices["pv"], load.devices["cp01"]
    assert isinstance(meter, Meter)
    assert isinstance(pv, Pv)
    assert isinstance(charger, Charger)
    assert meter.forecast_profile is None
    assert load.forecast.learned == ("pv",)
    assert not isinstance(pv.forecast, Irradiance)
    assert charger == site.devices["cp01"]
    both = without(site, [Cause.LOAD, Cause.PV])
    assert both.forecast.kind is PROFILE
    known = without(site, CAUSES)
    ev = known.devices["cp01"]
    assert isinstance(ev, Charger)
    assert all(session.announced_departure is None for session in ev.sessions)
    assert ev.dead_time_s == 0.0
    assert known.network == Network()
    Site.model_validate_json(known.model_dump_json())  # is still a site


def test_the_time_that_is_walked_is_what_the_data_carry() -> None:
    start, end, words = span_of(small())
    assert (start, end) == (MONDAY, MONDAY + timedelta(days=17))
    assert words == "17 days, 2018-05-14 to 2018-05-30"
    start, end, words = span_of(load_site("fit_g2v"))
    assert round((end - start) / timedelta(days=1)) == 56  # an hour less: summer time begins
    assert "typical days" in words
    site = small().model_copy(update={"devices": {"bess": small().devices["bess"]}})
    with raises(Code.EMPTY, "SITE"):
        span_of(site)


def test_a_kind_that_does_not_exist_is_refused_by_name() -> None:
    result = CliRunner().invoke(app, ["forecast", "evaluate", "carpark", "--kinds", "online,tea"])
    assert isinstance(result.exception, Exception)
    assert "profile,online,persistence are allowed" in str(result.exception)


def test_the_service_is_what_forecast_is_without_a_subcommand() -> None:
    result = CliRunner().invoke(app, ["forecast", "--site", "there_is_none"])
    assert "there is no such file" in str(result.exception)
