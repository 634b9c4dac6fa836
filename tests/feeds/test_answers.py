"""What the sources answer, as values of a profile: forms, days of 92 and 100 quarters, holes, and what is refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import TypeAdapter

from schemas.site import Feed, IntervalLabel, Location, next_midnight
from services.feeds.fetch import FetchError
from services.feeds.reading import BadAnswerError, Reading, reading_of
from services.feeds.source import ask
from tests.feeds import answers
from tests.feeds.server import Answer, Service, serving

BERLIN = ZoneInfo("Europe/Berlin")
PLACE = Location(latitude_deg=52.5, longitude_deg=13.4, time_zone="Europe/Berlin")
NOW = datetime(2026, 3, 28, 13, tzinfo=UTC)  # the next day has 92 quarter-hours
MIDNIGHT = datetime(2026, 3, 27, 23, tzinfo=UTC)
FEED: TypeAdapter[Any] = TypeAdapter(Feed)


def got(described: dict[str, Any], *given: Answer, now: datetime = NOW) -> tuple[Reading, Service]:
    with serving(*given) as service:
        feed = FEED.validate_python({"url": service.url, **described})
        return ask(feed, PLACE, now), service


def wave(count: int) -> list[float]:
    """€/MWh, negative ones among them."""
    return [round(80.0 - 1.7 * (i % 96), 2) for i in range(count)]


ENERGY_CHARTS = {"type": "energy_charts", "bidding_zone": "DE-LU"}


@pytest.mark.parametrize(("midnight", "quarters"), [("2026-03-29", 92), ("2026-10-25", 100), ("2026-11-29", 96)])
def test_energy_charts_in_quarter_hours_over_days_of_every_length(midnight: str, quarters: int) -> None:
    start = datetime.fromisoformat(midnight).replace(tzinfo=BERLIN).astimezone(UTC)
    count = int((next_midnight(start, BERLIN) - start).total_seconds()) // 900
    assert count == quarters
    reading, service = got(ENERGY_CHARTS, Answer(answers.energy_charts(start, 900, wave(count))), now=start)
    assert (reading.start, reading.step_s, reading.holes) == (start, 900, ())
    assert reading.values == pytest.approx([price / 1000 for price in wave(count)], abs=1e-15)
    profile, filled = reading.profile("x")
    assert (profile.begin, profile.end, filled) == (start, next_midnight(start, BERLIN), 0)
    assert "bzn=DE-LU" in service.asked[0].path


def test_co2_of_energy_charts_is_measured_and_then_forecast() -> None:
    measured, forecast = [400.5, 410.0, None, None], [None, 415.0, 420.0, 380.0]
    written = answers.energy_charts_co2(MIDNIGHT, 900, measured, forecast)
    reading, service = got({"type": "energy_charts_co2", "country": "de"}, Answer(written))
    assert reading.values == (400.5, 410.0, 420.0, 380.0)
    assert "country=de" in service.asked[0].path
    short = json.loads(written) | {"co2eq_forecast": [420.0]}
    with pytest.raises(BadAnswerError, match="co2eq gives 4 and co2eq_forecast 1 values"):
        got({"type": "energy_charts_co2", "country": "de"}, Answer(json.dumps(short)))


def test_awattar_in_hours() -> None:
    reading, service = got({"type": "awattar", "country": "at"}, Answer(answers.awattar(MIDNIGHT, 3600, wave(47))))
    assert (reading.start, reading.step_s, len(reading.values)) == (MIDNIGHT, 3600, 47)
    assert reading.values[3] == pytest.approx(0.0749)
    asked = int((MIDNIGHT - timedelta(days=1)).timestamp() * 1000)
    assert f"start={asked}" in service.asked[0].path


def test_tibber_before_and_after_it_has_tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIBBER_TOKEN", "secret")
    described = {"type": "tibber", "token_env": "TIBBER_TOKEN"}
    today = [price / 100 for price in wave(96)]
    reading, service = got(described, Answer(answers.tibber(MIDNIGHT, 900, today, [])))
    assert reading.values == tuple(today)
    assert service.asked[0].headers["Authorization"] == "Bearer secret"
    assert "QUARTER_HOURLY" in service.asked[0].body
    longer, _ = got(described, Answer(answers.tibber(MIDNIGHT, 900, today, today[:92])))
    assert longer.values == (*today, *today[:92])


def test_irradiance_of_open_meteo_is_of_the_hour_before() -> None:
    values = [0.0] * 6 + [100.0, 250.0, 400.0]
    reading, service = got(
        {"type": "open_meteo", "variable": "shortwave_radiation"},
        Answer(answers.open_meteo(MIDNIGHT, "shortwave_radiation", values)),
    )
    profile, _ = reading.profile("x")
    assert reading.interval_label is IntervalLabel.INTERVAL_END
    assert profile.at(MIDNIGHT + timedelta(hours=5, minutes=30), BERLIN) == 100.0
    assert "latitude=52.5&longitude=13.4" in service.asked[0].path


def test_entsoe_leaves_out_what_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTSOE_TOKEN", "secret")
    text = answers.entsoe(MIDNIGHT, 900, {1: 50.0, 2: 60.0, 5: 70.0}, 8)
    reading, service = got({"type": "entsoe", "bidding_zone": "DE_LU", "token_env": "ENTSOE_TOKEN"}, Answer(text))
    assert reading.values == pytest.approx([0.05, 0.06, 0.06, 0.06, 0.07, 0.07, 0.07, 0.07])
    assert "in_Domain=10Y1001A1001A82H" in service.asked[0].path
    assert "securityToken=secret" in service.asked[0].path


def test_any_json_by_a_mapping_with_local_times_and_a_header() -> None:
    body = '{"prices": [{"at": "2026-03-28T00:00:00", "ct": 31.5}, {"at": "2026-03-28T01:00:00", "ct": 29}]}'
    with serving(Answer(body)) as service:
        feed = FEED.validate_python(
            {
                "type": "json",
                "url": service.url + "?from={start}&lat={latitude}",
                "times": "prices[].at",
                "values": "prices[].ct",
                "factor": 0.01,
                "headers": {"X-Key": "k"},
            }
        )
        reading = ask(feed, PLACE, NOW)
    assert (reading.start, reading.values) == (MIDNIGHT, (0.315, 0.29))
    assert service.asked[0].path.endswith("?from=2026-03-26T23:00Z&lat=52.5")
    assert service.asked[0].headers["X-Key"] == "k"


def test_holes_are_known_and_filled_with_the_day_before() -> None:
    values: list[float | None] = [float(i) for i in range(48)]
    values[30] = None
    pairs = [(MIDNIGHT + timedelta(hours=i), value) for i, value in enumerate(values) if i not in (5, 6)]
    reading = reading_of(pairs, None, "it")
    assert reading.holes == tuple(MIDNIGHT + timedelta(hours=i) for i in (5, 6, 30))
    profile, filled = reading.profile("x")
    assert filled == 3
    # 5: of the day after, for there is none before; 6 and 30: both days have a hole, so the hour before.
    assert [profile.values[i] for i in (5, 6, 30)] == [29.0, 29.0, 29.0]


def test_hours_that_become_quarter_hours_hold_in_each_quarter() -> None:
    day = datetime(2026, 3, 28, tzinfo=UTC)
    hours = [(day + timedelta(hours=i), float(i)) for i in range(24)]
    quarters = [(day + timedelta(days=1, minutes=15 * i), 100.0 + i) for i in range(96)]
    reading = reading_of([*hours, *quarters], None, "it")
    assert (reading.step_s, len(reading.values), reading.holes) == (900, 192, ())
    assert reading.values[4:8] == (1.0,) * 4
    assert reading.values[96] == 100.0


QUARTERS = answers.energy_charts(MIDNIGHT, 900, wave(96))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(QUARTERS[:200]), "is no JSON"),
        (Answer("<html>maintenance</html>"), "is no JSON"),
        (Answer("[" * 100_000), "is no JSON"),
        (Answer("{}"), "unix_seconds leads to no list"),
        (Answer('{"unix_seconds": [1, 2], "price": [1]}'), "gives 2 times and price 1 values"),
        (Answer('{"unix_seconds": ["a", "b"], "price": [1, 2]}'), "a time that is not of the form unix_s: 'a'"),
        (Answer('{"unix_seconds": [1e30, 2], "price": [1, 2]}'), "a time that is not of the form unix_s"),
        (Answer('{"unix_seconds": [0, 900], "price": ["x", 2]}'), "a value that is no number: 'x'"),
        (Answer('{"unix_seconds": [0, 900], "price": [1e400, 2]}'), "has the value inf"),
        (Answer('{"unix_seconds": [], "price": []}'), "has 0 values"),
        (Answer('{"unix_seconds": [0, 900, 1000], "price": [1, 2, 3]}'), "off its steps"),
        (Answer('{"unix_seconds": [0, 1], "price": [1, 2]}'), "values every 1 s"),
    ],
)
def test_an_answer_that_cannot_be_used_says_why(answer: Answer, says: str) -> None:
    with pytest.raises(BadAnswerError) as raised:
        got(ENERGY_CHARTS, answer)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [(answers.ENTSOE_NOTHING, "No matching data found"), ("<x/>", "no prices"), ("no xml at all", "no prices")],
)
def test_entsoe_without_prices_says_why(text: str, says: str) -> None:
    with pytest.raises(BadAnswerError) as raised:
        got({"type": "entsoe", "bidding_zone": "DE_LU"}, Answer(text))
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer("{}", 401), "answers 401: the token is refused"),
        (Answer("{}", 404), "answers 404: there is nothing there"),
        (Answer(QUARTERS, cut_after=100), "broke off its answer"),
        (Answer("x" * (8 * 2**20 + 10)), "answers more than"),
    ],
)
def test_a_service_that_does_not_answer_is_named_without_the_query(answer: Answer, says: str) -> None:
    with pytest.raises(FetchError) as raised:
        got(ENERGY_CHARTS, answer)
    assert says in str(raised.value)
    assert "bzn" not in str(raised.value)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_request_is_repeated_where_that_may_help(status: int) -> None:
    refused = Answer("busy", status, {"Retry-After": "0"})
    reading, service = got(ENERGY_CHARTS, refused, Answer(QUARTERS))
    assert len(reading.values) == 96
    assert len(service.asked) == 2
    with pytest.raises(FetchError, match=f"answers {status}"):
        got(ENERGY_CHARTS, refused)


def test_nobody_there_and_no_token(tmp_path: Any) -> None:
    with pytest.raises(FetchError, match=r"127\.0\.0\.1 cannot be reached"):
        ask(FEED.validate_python({**ENERGY_CHARTS, "url": "http://127.0.0.1:9/x"}), PLACE, NOW)
    for described, says in (
        ({"token_env": "NOT_SET_HERE"}, "environment variable NOT_SET_HERE with the token is not set"),
        ({"token_file": str(tmp_path / "none")}, "with the token cannot be read"),
    ):
        with pytest.raises(BadAnswerError, match=says):
            ask(FEED.validate_python({"type": "tibber", **described}), PLACE, NOW)


def test_a_bidding_zone_that_nobody_knows() -> None:
    with pytest.raises(BadAnswerError, match="'NOWHERE' is neither an EIC code nor"):
        ask(FEED.validate_python({"type": "entsoe", "bidding_zone": "NOWHERE"}), PLACE, NOW)
