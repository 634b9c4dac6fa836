"""Plans with announced, learned and known departures beside one another."""

from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from schemas.cycle import Course
from schemas.errors import Code
from schemas.site import LearnedDepartures
from sites.loader import load_site
from tests.errors import raises
from twinswarm.cli.app import app
from twinswarm.study.departures import ANNOUNCED, KNOWN, compare_departures, departure_table


def test_each_way_is_lived_through_and_known_departures_leave_nobody_short() -> None:
    whole = load_site("carpark")
    devices = {name: whole.devices[name] for name in ("office", "cp01", "cp05")}
    learning = LearnedDepartures(least_sessions=10)
    ems = whole.ems.model_copy(update={"cable_limits": (), "learned_departures": learning})
    site = whole.model_copy(update={"devices": devices, "ems": ems})
    morning = datetime(2018, 5, 22, 3, tzinfo=UTC)
    found = compare_departures(site, Course(morning, morning + timedelta(hours=4), 900), [0.1], processes=1)
    assert list(found.days) == [ANNOUNCED, "learned 0.1", KNOWN]
    assert found.days[ANNOUNCED] != found.days["learned 0.1"]
    assert found.above_known_frac(KNOWN) == 0.0
    day = found.days[ANNOUNCED]
    price = sum(day.purchase_eur_per_kwh) / len(day.purchase_eur_per_kwh)
    assert found.value_eur(ANNOUNCED) == pytest.approx(day.cost_eur - day.stored_kwh * price)
    assert departure_table(found).row_count == 3
    assert [plan["departures"] for plan in found.to_json()["plans"]] == list(found.days)


def test_a_site_without_sessions_has_nothing_to_compare() -> None:
    whole = load_site("carpark")
    site = whole.model_copy(update={"devices": {"office": whole.devices["office"]}})
    morning = datetime(2018, 5, 22, 3, tzinfo=UTC)
    with raises(Code.EMPTY, "SITE"):
        compare_departures(site, Course(morning, morning + timedelta(hours=1), 900), [0.1])


@pytest.mark.parametrize("chances", ["0", "1", "a", "", "0.2,2"])
def test_a_chance_that_is_none_is_refused(chances: str) -> None:
    result = CliRunner().invoke(app, ["forecast", "departures", "carpark", "--leave-frac", chances])
    assert "numbers between 0 and 1" in str(result.exception)
