"""The online forecast: what it learns, its bounds, bad hours and restarts."""

import json
import math
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pytest

from schemas.messages import MeterTelemetry, Phase, PvTelemetry, Quantity, Series, Stamp, TimeMode, ValueSeries
from schemas.participant import Received, Turn
from schemas.site import DayName, DayProfile, ForecastKind, ForecastOptions, PvSource, Site
from schemas.topics import Channel, Kind, Topic
from services.forecast.correction import CUT, Correction
from services.forecast.error_quantiles import ErrorQuantiles
from services.forecast.models import CLEAREST, LoadByWeekday, Measured, PvByClearSky
from services.forecast.online import OnlineForecast
from services.forecast.sources import forecast_of
from sites.loader import load_site

MONDAY = datetime(2018, 5, 13, 22, tzinfo=UTC)  # midnight in Rome
QUARTER = timedelta(minutes=15)


def clear_kw(time: datetime) -> float:
    """A sky of 60 kW at noon and nothing from 18 to 6 o'clock, local time in May."""
    hour = ((time - MONDAY).total_seconds() / 3600) % 24
    return 60.0 * max(0.0, math.sin(math.pi * (hour - 6) / 12))


def pv_power(site: Site, source: PvSource, rated_kw: float) -> Callable[[datetime], float]:
    del site, source, rated_kw
    return clear_kw


@pytest.fixture(scope="module")
def site() -> Site:
    options = ForecastOptions(kind=ForecastKind.ONLINE)
    return load_site("carpark").model_copy(update={"forecast": options})


def turn(time: datetime, phase: Phase = Phase.MEASURE) -> Turn:
    return Turn(phase, time, MONDAY, MONDAY + timedelta(days=60), 900, TimeMode.LOCKSTEP, 1)


def heard(time: datetime, load_kw: float | None = None, available_kw: float | None = None) -> list[Received]:
    found = []
    stamp = Stamp(ts=time, run="20180513T220000.000000Z-0000", boot="a" * 8, seq=1)
    if load_kw is not None:
        body = MeterTelemetry(power_kw=load_kw, energy_import_kwh=0.0, energy_export_kwh=0.0)
        found.append(Received(Topic("carpark", Kind.METER, "office", Channel.TELEMETRY), stamp, body))
    if available_kw is not None:
        sun = PvTelemetry(power_kw=0.0, energy_import_kwh=0.0, energy_export_kwh=0.0, available_kw=available_kw)
        found.append(Received(Topic("carpark", Kind.PV, "pv", Channel.TELEMETRY), stamp, sun))
    return found


def published(forecast: OnlineForecast, at: Turn, inbox: Iterable[Received] = ()) -> dict[Quantity, ValueSeries]:
    (message,) = forecast.act(at, list(inbox))
    assert isinstance(message.body, Series)
    return {series.quantity: series for series in message.body.series}


def lived(forecast: OnlineForecast, days: float, load: Callable[[datetime], float], clearness: float = 1.0) -> datetime:
    """Hears so many days, and returns when they end."""
    time = MONDAY
    for _ in range(round(days * 96)):
        forecast.act(turn(time, Phase.SENSE), heard(time, load(time), clearness * clear_kw(time)))
        time += QUARTER
    return time


def test_kind_of_the_site_chooses_the_participant_and_profile_is_the_default(site: Site) -> None:
    assert isinstance(forecast_of(site, pv_power), OnlineForecast)
    described = load_site("carpark")
    assert described.forecast.kind is ForecastKind.PROFILE
    assert type(forecast_of(described, pv_power)).__name__ == "Forecast"
    assert forecast_of(described, pv_power).subscriptions == ()


def test_before_anything_is_measured_profiles_and_the_clear_sky_hold(site: Site) -> None:
    found = published(OnlineForecast(site, pv_power), turn(MONDAY, Phase.ROLLCALL))
    profile = site.profiles["load_week_before"]
    assert found[Quantity.LOAD].values[:96] == pytest.approx(profile.values[:96], abs=1e-3)
    assert found[Quantity.PV].at(MONDAY + timedelta(hours=12)) == pytest.approx(60.0)


def test_it_listens_to_load_meters_and_inverters_and_publishes_every_step(site: Site) -> None:
    forecast = OnlineForecast(site, pv_power)
    assert sorted(forecast.subscriptions) == [
        "twin/v2/carpark/meter/office/telemetry",
        "twin/v2/carpark/pv/pv/telemetry",
    ]
    time = MONDAY + timedelta(hours=10)
    for phase in (Phase.SENSE, Phase.DECIDE, Phase.APPLY, Phase.COMMIT):
        assert forecast.act(turn(time, phase), []) == []
    series = published(forecast, turn(time), heard(time, 30.0, 40.0))[Quantity.LOAD]
    assert series.start == time
    assert series.quantiles is not None
    assert [each.level for each in series.quantiles] == [0.1, 0.5, 0.9]
    assert all(len(each.values) == len(series.values) for each in series.quantiles)
    assert forecast.act(turn(MONDAY + timedelta(days=60)), []) == []  # the run's end


def test_it_learns_that_saturday_is_not_friday(site: Site) -> None:
    forecast = OnlineForecast(site, pv_power)

    def load(time: datetime) -> float:
        return 8.0 if time.astimezone(site.zone).weekday() >= 5 else 40.0

    end = lived(forecast, 47, load)  # a Friday's end
    assert end.astimezone(site.zone).weekday() == 5
    series = published(forecast, turn(end - QUARTER), heard(end - QUARTER, 40.0))[Quantity.LOAD]
    # The profile expects up to 73 kW on Saturdays; a tenth of that error is left after six weeks.
    assert series.at(end + timedelta(hours=12)) == pytest.approx(8.0, abs=6.0)
    assert series.at(end + timedelta(days=1, hours=12)) == pytest.approx(8.0, abs=6.0)


def test_a_cloud_is_seen_within_the_hour_and_fades_by_the_stated_time(site: Site) -> None:
    forecast = OnlineForecast(site, pv_power)
    lived(forecast, 20, lambda _: 30.0)
    noon = MONDAY + timedelta(days=20, hours=10)
    for step in range(4):
        time = noon + step * QUARTER
        series = published(forecast, turn(time), heard(time, 30.0, 0.3 * clear_kw(time)))[Quantity.PV]
    shares = [series.at(time + h) / clear_kw(time + h) for h in (QUARTER, timedelta(hours=4))]  # type: ignore[operator]
    assert shares[0] == pytest.approx(0.4, abs=0.15)
    # e^-1 of the deviation is left after correction_decay_h = 4.
    assert 1 - shares[1] == pytest.approx((1 - shares[0]) * math.exp(-15 / 16), abs=0.05)
    assert series.at(time + timedelta(hours=24)) / clear_kw(time) == pytest.approx(1.0, abs=0.1)  # type: ignore[operator]


@pytest.mark.parametrize("nonsense", [5000.0, 0.0, -300.0])
def test_one_bad_hour_cannot_run_away(site: Site, nonsense: float) -> None:
    """An hour of nonsense moves what is expected by at most five times the usual deviation, and a day later by little.
    5000 kW are beyond what the connection can carry, and are not even believed."""
    forecast = OnlineForecast(site, pv_power)
    end = lived(forecast, 21, lambda time: 30.0 + 2.0 * math.sin(time.timestamp() / 5000))
    model = forecast.snapshot()["learned"]["office"]["model"]
    usual = model["correction"]["scale"]
    calm = published(forecast, turn(end, Phase.ROLLCALL))[Quantity.LOAD]
    for step in range(4):
        time = end + step * QUARTER
        forecast.act(turn(time, Phase.SENSE), heard(time, nonsense, abs(nonsense)))
    found = published(forecast, turn(end + 4 * QUARTER), heard(end + 4 * QUARTER, 30.0, clear_kw(end)))
    load, pv = found[Quantity.LOAD], found[Quantity.PV]
    moved = [abs(now - before) for now, before in zip(load.values[1:], calm.values[5:], strict=True)]
    assert usual < 6.0
    assert max(moved) < (2.0 if nonsense > 1000 else 1.2 * CUT * usual)
    assert max(moved[96:]) < 0.15 * CUT * usual
    assert min(load.values) >= 0.0
    assert all(0.0 <= value <= min(70.0, CLEAREST * 60.0) for value in pv.values)
    assert load.quantiles is not None
    assert all(0.0 <= value <= 70.0 for each in load.quantiles for value in each.values)


def test_pv_is_never_above_the_clear_sky_that_the_plant_has_shown_nor_its_rating_nor_below_zero() -> None:
    model = PvByClearSky(load_site("carpark").zone, clear_kw, lambda _: None, 70.0, 4 * 3600.0)
    times = [MONDAY + i * QUARTER for i in range(96 * 3)]
    for i, time in enumerate(times):
        model.observe(Measured(time, 900, 1e5 if i % 96 < 40 else 0.0))
        for value, at in zip(model.expected(times, None), times, strict=True):
            assert 0.0 <= value <= min(CLEAREST * clear_kw(at), 70.0)


def test_silence_fades_what_was_measured_last() -> None:
    correction = Correction(decay_s=4 * 3600.0, scale=1.0)
    correction.observe(MONDAY, 900, 2.0)
    first = correction.ahead(MONDAY)
    assert first == pytest.approx(1.0, rel=1e-3)  # half of the deviation in one quarter-hour
    later = correction.ahead(MONDAY + timedelta(hours=4))
    assert later == pytest.approx((first - correction.level) * math.exp(-1) + correction.level, rel=0.03)


def test_a_deviation_is_cut_at_five_times_the_usual_one() -> None:
    correction = Correction(decay_s=4 * 3600.0, scale=1.0)
    for step in range(4):
        correction.observe(MONDAY + step * QUARTER, 900, 1e9)
    assert abs(correction.fast) <= 5.0 * 1.2
    assert correction.scale < 1.2


def test_quantiles_learn_from_errors_how_wide_they_have_to_be() -> None:
    errors, chance = ErrorQuantiles((0.1, 0.9)), random.Random(7)
    below = [0, 0]
    for step in range(4000):
        time, error = MONDAY + step * QUARTER, chance.lognormvariate(0.0, 1.0) - 1.0
        if step >= 2000:
            below = [n + (error <= offset) for n, offset in zip(below, errors.offsets(2, 900)[1], strict=True)]
        errors.observe(time, 10.0 + error)
        errors.expect(time, 900, lambda _: (10.0, 1.0))
    assert below[0] / 2000 == pytest.approx(0.1, abs=0.02)
    assert below[1] / 2000 == pytest.approx(0.9, abs=0.02)


def test_a_meter_without_a_profile_is_learned_from_its_first_telemetry_on(site: Site) -> None:
    model = LoadByWeekday(site.zone, lambda _: None, 0.0, 4 * 3600.0)
    later = [MONDAY + QUARTER * i for i in range(1, 5)]
    assert model.expected(later, None) == [0.0] * 4
    assert model.expected(later, Measured(MONDAY, 900, 12.0)) == pytest.approx([12.0] * 4, rel=0.01)
    for step in range(96 * 8):
        model.observe(Measured(MONDAY + step * QUARTER, 900, 12.0))
    assert model.expected([MONDAY + timedelta(days=8)], None) == pytest.approx([12.0], rel=0.01)


def test_restored_it_continues_to_the_last_bit(site: Site) -> None:
    before = OnlineForecast(site, pv_power)
    end = lived(before, 8.3, lambda time: 20.0 + (time.timestamp() % 7000) / 500, 0.7)
    after = OnlineForecast(site, pv_power)
    after.restore(json.loads(json.dumps(before.snapshot())))
    assert after.snapshot() == before.snapshot()
    for step in range(12):
        time = end + step * QUARTER
        inbox = heard(time, 25.0 + step, 0.5 * clear_kw(time))
        assert after.act(turn(time), inbox) == before.act(turn(time), inbox)


def test_a_site_with_other_options_keeps_what_fits_of_an_old_state(site: Site) -> None:
    before = OnlineForecast(site, pv_power)
    lived(before, 1, lambda _: 30.0)
    options = ForecastOptions(kind=ForecastKind.ONLINE, correction_decay_h=2.0, quantiles=(0.5,), learned=("load",))
    after = OnlineForecast(site.model_copy(update={"forecast": options}), pv_power)
    after.restore(json.loads(json.dumps(before.snapshot())))
    series = published(after, turn(MONDAY + timedelta(days=1)))[Quantity.LOAD]
    assert series.quantiles is not None
    assert [each.level for each in series.quantiles] == [0.5]
    persistent = ForecastOptions(kind=ForecastKind.PERSISTENCE)
    other = OnlineForecast(site.model_copy(update={"forecast": persistent}), pv_power)
    other.restore(json.loads(json.dumps(before.snapshot())))  # of another kind: nothing is taken


def test_persistence_is_the_day_before(site: Site) -> None:
    options = ForecastOptions(kind=ForecastKind.PERSISTENCE)
    forecast = OnlineForecast(site.model_copy(update={"forecast": options}), pv_power)
    end = lived(forecast, 1, lambda time: 10.0 + ((time - MONDAY) / QUARTER) / 10, 0.5)
    found = published(forecast, turn(end), heard(end, 77.0, 0.0))
    assert found[Quantity.LOAD].values[:3] == (77.0, 10.1, 10.2)
    assert found[Quantity.LOAD].at(end + timedelta(hours=25)) == pytest.approx(10.4)
    assert found[Quantity.PV].at(end + timedelta(hours=12)) == pytest.approx(30.0)


def test_what_is_not_to_be_learned_stays_by_profile(site: Site) -> None:
    options = ForecastOptions(kind=ForecastKind.ONLINE, learned=("pv",))
    forecast = OnlineForecast(site.model_copy(update={"forecast": options}), pv_power)
    found = published(forecast, turn(MONDAY), heard(MONDAY, 500.0, 0.0))
    assert found[Quantity.LOAD].values[0] == site.profiles["load_week_before"].values[0]
    assert found[Quantity.LOAD].quantiles is None


@pytest.mark.parametrize(
    "options",
    [{"learned": ()}, {"quantiles": (0.9, 0.1)}, {"quantiles": (0.0,)}, {"correction_decay_h": 0}, {"kind": "magic"}],
)
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"learned|quantiles|correction_decay_h|kind"):
        ForecastOptions.model_validate(options, strict=False)


def test_wall_time_takes_in_telemetry_between_steps_and_learns_the_mean(site: Site) -> None:
    forecast = OnlineForecast(site, pv_power)
    wall = Turn(Phase.SENSE, MONDAY, MONDAY, None, 900, TimeMode.WALL)
    published(forecast, Turn(Phase.ROLLCALL, MONDAY, MONDAY, None, 900, TimeMode.WALL))
    inbox = [m for s in range(0, 900, 10) for m in heard(MONDAY + timedelta(seconds=s), 20.0 if s < 450 else 40.0)]
    assert forecast.act(wall, inbox) == []
    at = Turn(Phase.MEASURE, MONDAY + timedelta(seconds=901), MONDAY, None, 900, TimeMode.WALL)
    # Nothing was heard of the new step: the one that is over has ended all the same.
    series = published(forecast, at)[Quantity.LOAD]
    assert series.start == MONDAY + QUARTER
    profile = site.profiles["load_week_before"].values
    correction = forecast.snapshot()["learned"]["office"]["model"]["correction"]
    assert correction["fast"] == pytest.approx(0.5 * (30.0 - profile[0]), abs=0.01)


def test_renewed_profiles_keep_what_was_learned(site: Site) -> None:
    before = OnlineForecast(site, pv_power)
    lived(before, 3, lambda _: 30.0)
    after = OnlineForecast(site, pv_power)
    after.continue_from(before)
    assert after.snapshot()["learned"] == before.snapshot()["learned"]


def test_a_variant_of_the_typical_day_that_is_higher_is_no_bound(site: Site) -> None:
    typical = DayProfile(values=(10.0,) * 96, variants={DayName.SATURDAY: (50.0,) * 96})
    update = {"profiles": dict(site.profiles) | {"load_week_before": typical}}
    friday = MONDAY + timedelta(days=4)
    series = published(OnlineForecast(site.model_copy(update=update), pv_power), turn(friday))[Quantity.LOAD]
    assert series.at(friday + timedelta(days=1, hours=12)) == 50.0
