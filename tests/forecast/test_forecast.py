"""The forecast and the tariff: what they publish, when, and on days of 23 and 25 hours."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.errors import Code
from schemas.messages import Phase, Quantity, Series, Stamp, TimeMode, ValueSeries
from schemas.participant import Turn
from schemas.site import Horizon, Meter, PowerProfile, PvSource, Site, TimeProfile
from schemas.wire import MAX_PAYLOAD_BYTES, encode
from services.forecast import Forecast, Tariff
from services.forecast.daily import DailySeries
from sites.loader import load_site
from tests.errors import raises

MIDNIGHT = datetime(2024, 5, 16, 22, tzinfo=UTC)  # of 17 May in Rome


def pv_power(site: Site, source: PvSource, rated_kw: float) -> Callable[[datetime], float]:
    """PV of a power profile, as the plant computes it."""
    assert isinstance(source, PowerProfile)
    profile = site.profiles[source.profile]
    return lambda time: min(profile.at(time, site.zone), rated_kw)


@pytest.fixture(scope="module")
def study() -> Site:
    return load_site("fit_g2v")


def rows_of(file: str) -> list[list[str]]:
    text = (Path(__file__).parents[2] / "sites" / "data" / file).read_text(encoding="utf-8")
    return [line.split(",") for line in text.splitlines()]


def turn(time: datetime, phase: Phase = Phase.ROLLCALL, *, step_s: int = 900, hours: int | None = 24) -> Turn:
    t_end = None if hours is None else MIDNIGHT + timedelta(hours=hours)
    mode = TimeMode.WALL if hours is None else TimeMode.LOCKSTEP
    return Turn(phase=phase, t=time, t0=MIDNIGHT, t_end=t_end, step_s=step_s, mode=mode)


def published(participant: DailySeries, at: Turn) -> Series:
    (message,) = participant.act(at, [])
    assert isinstance(message.body, Series)
    return message.body


def of(series: Series, quantity: Quantity) -> ValueSeries:
    (found,) = [s for s in series.series if s.quantity is quantity]
    return found


def test_forecast_holds_the_typical_day_and_the_clear_sky_and_never_the_cloud(study: Site) -> None:
    under_the_cloud = load_site("fit_g2v", "1")
    assert under_the_cloud.devices["pv"] != study.devices["pv"]
    series = published(Forecast(under_the_cloud, pv_power), turn(MIDNIGHT))
    noon = MIDNIGHT + timedelta(hours=12, minutes=45)
    # Rows 00:00 and 12:45 of sites/data/fit_g2v/profiles.csv.
    rows = rows_of("fit_g2v/profiles.csv")
    (first,) = [row for row in rows if row[0] == "00:00"]
    assert of(series, Quantity.LOAD).at(MIDNIGHT) == float(first[1]) == 50.21
    (row,) = [row for row in rows if row[0] == "12:45"]
    assert of(series, Quantity.PV).at(noon) == float(row[3])
    assert float(row[3]) > float(row[4])


def test_tariff_purchase_price_is_sale_price_plus_spread(study: Site) -> None:
    series = published(Tariff(study), turn(MIDNIGHT))
    sale, purchase = of(series, Quantity.SALE_PRICE), of(series, Quantity.PURCHASE_PRICE)
    assert sale.at(MIDNIGHT) == 0.08
    assert purchase.values == tuple(value + 0.20 for value in sale.values)


def test_tariff_takes_the_purchase_profile_where_there_is_one(study: Site) -> None:
    tariff = {"sale": "price_italian", "purchase": "price_volatile"}
    site = Site.model_validate_json(json.dumps(json.loads(study.model_dump_json()) | {"tariff": tariff}))
    series = published(Tariff(site), turn(MIDNIGHT))
    assert of(series, Quantity.PURCHASE_PRICE).at(MIDNIGHT) == 0.1151


def test_topics_are_retained_series_of_the_services_identifiers(study: Site) -> None:
    (forecast,) = Forecast(study, pv_power).act(turn(MIDNIGHT), [])
    (tariff,) = Tariff(study).act(turn(MIDNIGHT), [])
    assert str(forecast.topic) == "twin/v2/fit-g2v/forecast/forecast/series"
    assert str(tariff.topic) == "twin/v2/fit-g2v/tariff/tariff/series"
    assert forecast.topic.retained


@pytest.mark.parametrize(
    ("day", "quarters"),
    [
        # Clocks of the European Union change at 01:00 UTC of these Sundays (directive 2000/84/EC).
        (datetime(2024, 3, 30, 23, tzinfo=UTC), [92, 96, 96]),
        (datetime(2024, 3, 29, 23, tzinfo=UTC), [96, 92, 96]),
        (datetime(2024, 10, 26, 22, tzinfo=UTC), [100, 96, 96]),
        (datetime(2024, 5, 16, 22, tzinfo=UTC), [96, 96, 96]),
    ],
)
def test_window_is_three_local_days_of_92_96_or_100_quarters(study: Site, day: datetime, quarters: list[int]) -> None:
    series = published(Forecast(study, pv_power), turn(day + timedelta(hours=5)))
    load = of(series, Quantity.LOAD)
    assert load.start == day
    assert len(load.values) == sum(quarters)


def test_a_day_that_begins_summer_time_skips_the_values_of_the_missing_hour(study: Site) -> None:
    values = published(Tariff(study), turn(datetime(2024, 3, 30, 23, tzinfo=UTC))).series[0].values
    profile = study.profiles["price_italian"].values
    assert values[:92] == profile[:8] + profile[12:]
    assert values[92 : 92 + 96] == profile


def test_a_day_that_ends_summer_time_repeats_the_values_of_the_hour_that_comes_twice(study: Site) -> None:
    values = published(Tariff(study), turn(datetime(2024, 10, 26, 22, tzinfo=UTC))).series[0].values
    profile = study.profiles["price_italian"].values
    assert values[:100] == profile[:12] + profile[8:12] + profile[12:]


@pytest.mark.parametrize(("midnight", "hours"), [(datetime(2024, 3, 30, 23, tzinfo=UTC), 23),
                                                 (datetime(2024, 10, 26, 22, tzinfo=UTC), 25)])  # fmt: skip
def test_sessions_keep_their_local_hours_when_clocks_change(study: Site, midnight: datetime, hours: int) -> None:
    sessions = published(Forecast(study, pv_power), turn(midnight)).charging_sessions
    first = next(s for s in sessions if s.charger == "ev1")
    # 9:00 and 18:00 by a clock that was put forward or back in the night.
    assert first.arrival == midnight + timedelta(hours=9 + hours - 24)
    assert first.departure == midnight + timedelta(hours=18 + hours - 24)
    assert len(sessions) == 4 * 3


def test_series_are_renewed_at_the_first_sense_of_each_local_day_and_only_then(study: Site) -> None:
    forecast = Forecast(study, pv_power)
    assert forecast.act(turn(MIDNIGHT, hours=72), [])
    times = [MIDNIGHT + timedelta(minutes=15 * i) for i in range(3 * 96 + 1)]
    renewed = [
        (time, phase)
        for time in times
        for phase in (Phase.SENSE, Phase.MEASURE, Phase.DECIDE, Phase.APPLY, Phase.COMMIT)
        if forecast.act(turn(time, phase, hours=72), [])
    ]
    assert renewed == [(MIDNIGHT + timedelta(days=d), Phase.SENSE) for d in (1, 2)]


def test_renewal_begins_with_the_new_day(study: Site) -> None:
    tariff = Tariff(study)
    tariff.act(turn(MIDNIGHT, hours=None), [])
    tomorrow = MIDNIGHT + timedelta(days=1)
    assert (
        published(tariff, turn(tomorrow + timedelta(seconds=40), Phase.SENSE, hours=None)).series[0].start == tomorrow
    )


def test_a_live_session_that_never_ends_gets_its_first_series_at_the_first_look(study: Site) -> None:
    assert Tariff(study).act(turn(MIDNIGHT + timedelta(hours=3), Phase.SENSE, hours=None), [])


def test_what_is_published_for_a_day_does_not_depend_on_the_runs_length(study: Site) -> None:
    short, long = (published(Forecast(study, pv_power), turn(MIDNIGHT, hours=h)) for h in (24, 240))
    assert short == long


def test_restored_forecast_does_not_repeat_itself_within_the_day(study: Site) -> None:
    before, after = Forecast(study, pv_power), Forecast(study, pv_power)
    before.act(turn(MIDNIGHT), [])
    after.restore(json.loads(json.dumps(before.snapshot())))
    assert after.act(turn(MIDNIGHT + timedelta(hours=1), Phase.SENSE), []) == []
    assert after.snapshot() == before.snapshot()


def test_long_steps_carry_the_mean_of_their_quarters(study: Site) -> None:
    series = published(Forecast(study, pv_power), turn(MIDNIGHT, step_s=3600))
    load, pv = of(series, Quantity.LOAD), of(series, Quantity.PV)
    profile = study.profiles["load_forecast"].values
    assert load.values[:24] == pytest.approx([sum(profile[4 * h : 4 * h + 4]) / 4 for h in range(24)], rel=1e-15)
    clear = study.profiles["pv_clear"].values
    assert pv.values[:24] == pytest.approx([sum(clear[4 * h : 4 * h + 4]) / 4 for h in range(24)], rel=1e-15)


def test_short_steps_carry_the_value_of_their_quarter(study: Site) -> None:
    load = of(published(Forecast(study, pv_power), turn(MIDNIGHT, step_s=300)), Quantity.LOAD)
    assert load.values[:288] == tuple(v for v in study.profiles["load_forecast"].values for _ in range(3))


def test_prices_are_published_as_far_as_they_are_known() -> None:
    site = load_site("carpark")
    profile = site.profiles["price_nord"]
    assert isinstance(profile, TimeProfile)
    last_midnight = datetime(2018, 5, 29, 22, tzinfo=UTC)
    series = published(Tariff(site), turn(last_midnight))
    assert series.series[0].end == profile.end == last_midnight + timedelta(days=1)
    assert series.series[0].values == profile.values[-96:]
    assert published(Tariff(site), turn(last_midnight + timedelta(days=1))).series == ()


def test_forecast_of_the_car_park_announces_what_drivers_say_and_not_when_they_leave() -> None:
    site = load_site("carpark")
    without_pv = site.model_copy(update={"devices": {k: d for k, d in site.devices.items() if k != "pv"}})
    midnight = datetime(2018, 5, 15, 22, tzinfo=UTC)
    sessions = published(Forecast(without_pv, pv_power), turn(midnight)).charging_sessions
    rows = rows_of("carpark/sessions.csv")[1:]
    row = next(row for row in rows if row[0] == "CP01" and row[2] > "2018-05-15T22")
    (found,) = [s for s in sessions if s.vehicle == row[1]]
    assert found.arrival == datetime.fromisoformat(row[2])
    assert found.departure == datetime.fromisoformat(row[4]) != datetime.fromisoformat(row[3])


def test_rolling_horizon_is_covered_from_the_last_step_of_the_day(study: Site) -> None:
    ems = study.ems.model_copy(update={"horizon": Horizon.ROLLING, "rolling_h": 96.0})
    series = published(Tariff(study.model_copy(update={"ems": ems})), turn(MIDNIGHT)).series[0]
    assert series.end >= MIDNIGHT + timedelta(days=1, hours=96)


def _with_meters(site: Site, count: int) -> Site:
    meters = {f"m{i}": Meter(profile="load_forecast") for i in range(count)}
    return site.model_copy(update={"devices": dict(site.devices) | meters})


def test_a_message_that_would_be_too_large_covers_fewer_days(study: Site) -> None:
    site = _with_meters(study, 320)
    (message,) = Forecast(site, pv_power).act(turn(MIDNIGHT), [])
    assert isinstance(message.body, Series)
    assert len(message.body.series[0].values) == 2 * 96
    stamp = Stamp(ts=MIDNIGHT, run="20240516T220000.000000Z-0000", boot="a" * 32, seq=2**53)
    assert len(encode(stamp, message.body)) <= MAX_PAYLOAD_BYTES


def test_a_day_that_fits_no_message_is_an_error_that_says_so(study: Site) -> None:
    with raises(Code.RANGE, "forecast/forecast"):
        Forecast(_with_meters(study, 1000), pv_power).act(turn(MIDNIGHT), [])
