"""Profiles over days of 23, 24 and 25 hours, and local midnights in zones that change their clocks there."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.site import (
    Charger,
    ChargingSession,
    DailyChargingSession,
    DayProfile,
    TimeProfile,
    day_start,
    next_midnight,
)

ROME = ZoneInfo("Europe/Rome")
QUARTERS = DayProfile(values=tuple(float(i) for i in range(96)))
HOURS = DayProfile(values=tuple(float(i) for i in range(24)))
SPRING = datetime(2024, 3, 30, 23, tzinfo=UTC)  # local midnight of 31 March, a day of 23 hours
AUTUMN = datetime(2024, 10, 26, 22, tzinfo=UTC)  # local midnight of 27 October, a day of 25 hours


@pytest.mark.parametrize(
    ("utc", "quarter"),
    [
        (SPRING, 0),
        (SPRING + timedelta(hours=2, seconds=-1), 7),
        (SPRING + timedelta(hours=2), 12),  # 02:00 does not exist: 03:00
        (AUTUMN + timedelta(hours=2), 8),  # 02:00, summer time
        (AUTUMN + timedelta(hours=3), 8),  # 02:00 again, winter time
        (AUTUMN + timedelta(hours=24, minutes=59), 95),
        (datetime(2024, 5, 17, 10, 14, 59, 999_999, tzinfo=UTC), 48),
    ],
)
def test_day_profile_follows_the_local_clock(utc: datetime, quarter: int) -> None:
    assert QUARTERS.at(utc, ROME) == quarter


@pytest.mark.parametrize("count", [1, 2, 3, 8, 24, 48, 72, 96, 144, 288, 1440, 86_400])
def test_day_profile_divides_a_day_into_hours_or_hours_into_steps(count: int) -> None:
    assert DayProfile(values=(0.0,) * count).step_s == 86_400 / count


@pytest.mark.parametrize("count", [5, 7, 10, 27, 32, 90, 92, 95, 97, 100, 86_399])
def test_day_profile_of_any_other_number_of_values_is_refused(count: int) -> None:
    with pytest.raises(ValidationError, match=f"{count} values do not divide a day"):
        DayProfile(values=(0.0,) * count)


ZONES = ["Europe/Rome", "UTC", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana",
         "Atlantic/Azores", "Africa/Cairo", "Pacific/Chatham", "America/St_Johns"]  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    count=st.sampled_from([1, 2, 4, 24, 48, 72, 96, 288]),
    instant=st.datetimes(datetime(2024, 1, 1), datetime(2024, 12, 31)),
)
def test_value_is_constant_until_the_next_change(zone: ZoneInfo, count: int, instant: datetime) -> None:
    profile = DayProfile(values=tuple(float(i) for i in range(count)))
    now = instant.replace(tzinfo=UTC)
    change = profile.next_change(now, zone)
    assert now < change <= now + timedelta(seconds=profile.step_s)
    span = (change - now) / 12
    assert {profile.at(now + i * span, zone) for i in range(12)} == {profile.at(now, zone)}
    assert profile.at(change - timedelta(microseconds=1), zone) == profile.at(now, zone)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("count", [24, 96])
def test_following_the_changes_through_a_year_meets_every_change_of_value(zone: str, count: int) -> None:
    profile, here = DayProfile(values=tuple(float(i) for i in range(count))), ZoneInfo(zone)
    # Round the changes of clocks of 2024 of all these zones, with their half hours and quarters.
    for start in (datetime(2024, m, 1, tzinfo=UTC) for m in (3, 4, 10, 11)):
        changes, now = set(), start
        while now < start + timedelta(days=31):
            now = profile.next_change(now, here)
            changes.add(now)
        before = profile.at(start, here)
        for minute in range(5, 31 * 24 * 60, 5):
            now = start + timedelta(minutes=minute)
            value = profile.at(now, here)
            assert value == before or now in changes
            before = value


def test_hourly_values_change_at_local_hours_where_zones_have_half_hours() -> None:
    kolkata = ZoneInfo("Asia/Kolkata")  # UTC+5:30
    noon = datetime(2024, 5, 17, 12, 0, tzinfo=kolkata).astimezone(UTC)
    assert HOURS.next_change(noon, kolkata) == noon + timedelta(hours=1)
    assert HOURS.next_change(noon - timedelta(seconds=1), kolkata) == noon


def test_time_profile_holds_each_value_for_its_step_and_the_ends_beyond() -> None:
    start = datetime(2024, 5, 17, tzinfo=UTC)
    profile = TimeProfile(start=start, step_s=1000, values=(1.0, 2.0, 3.0))
    seconds = [-5, 0, 999.999999, 1000, 2999, 3000, 9999]
    assert [profile.at(start + timedelta(seconds=s), ROME) for s in seconds] == [1, 1, 1, 2, 3, 3, 3]
    assert profile.end == start + timedelta(seconds=3000)
    assert profile.next_change(start, ROME) == start + timedelta(seconds=1000)
    assert profile.next_change(start + timedelta(seconds=999.5), ROME) == start + timedelta(seconds=1000)
    assert profile.next_change(start - timedelta(seconds=1), ROME) == start


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Rome", date(2024, 3, 31), 23),
        ("Europe/Rome", date(2024, 10, 27), 25),
        ("Europe/Rome", date(2024, 5, 17), 24),
        ("Africa/Cairo", date(2024, 4, 26), 23),  # begins at 01:00: there is no midnight
        ("America/Havana", date(2024, 11, 3), 25),  # its first hour comes twice
        ("Australia/Lord_Howe", date(2024, 4, 7), 24.5),
    ],
)
def test_local_days_begin_and_end_where_the_zone_says(zone: str, day: date, hours: float) -> None:
    here = ZoneInfo(zone)
    start = day_start(datetime.combine(day, time(12), here), here)
    end = next_midnight(start, here)
    assert end - start == timedelta(hours=hours)
    assert start.astimezone(here).date() == day
    assert (start - timedelta(microseconds=1)).astimezone(here).date() == day - timedelta(days=1)
    for instant in (start, start + timedelta(minutes=90), end - timedelta(microseconds=1)):
        assert (day_start(instant, here), next_midnight(instant, here)) == (start, end)


def _daily(arrival: time, departure: time, **more: object) -> DailyChargingSession:
    return DailyChargingSession.model_validate(
        {
            "vehicle": "v",
            "arrival": arrival,
            "departure": departure,
            "capacity_kwh": 50,
            "arrival_soc_frac": 0.5,
            "target_soc_frac": 0.8,
        }
        | more
    )


def test_daily_stay_within_the_hour_that_is_left_out_does_not_take_place() -> None:
    stay = _daily(time(2, 30), time(3, 0))
    assert stay.on(date(2024, 3, 31), ROME) is None
    assert stay.on(date(2024, 3, 30), ROME) is not None


def test_daily_stay_over_a_change_of_clocks_is_an_hour_shorter_or_longer() -> None:
    stay = _daily(time(0, 30), time(6, 0))
    lengths = []
    for day in (date(2024, 3, 31), date(2024, 5, 17), date(2024, 10, 27)):
        session = stay.on(day, ROME)
        assert session is not None
        lengths.append((session.departure - session.arrival) / timedelta(hours=1))
    assert lengths == [4.5, 5.5, 6.5]


def test_daily_stays_on_different_weekdays_do_not_overlap() -> None:
    week = {"weekdays": (0, 1, 2, 3, 4)}
    Charger(max_charge_kw=11, daily=(_daily(time(8), time(17), **week), _daily(time(9), time(12), weekdays=(5, 6))))
    with pytest.raises(ValidationError, match="daily sessions overlap"):
        Charger(max_charge_kw=11, daily=(_daily(time(8), time(17), **week), _daily(time(9), time(12), weekdays=(4, 5))))


def test_sessions_between_are_those_that_touch_the_interval() -> None:
    arrival = datetime(2024, 5, 17, 8, tzinfo=UTC)
    dated = ChargingSession(
        vehicle="d",
        arrival=arrival,
        departure=arrival + timedelta(hours=2),
        capacity_kwh=50,
        arrival_soc_frac=0.5,
        target_soc_frac=0.8,
    )
    charger = Charger(max_charge_kw=11, sessions=(dated,))
    assert charger.sessions_between(arrival + timedelta(hours=1), arrival + timedelta(hours=9), ROME) == (dated,)
    assert charger.sessions_between(arrival + timedelta(hours=2), arrival + timedelta(hours=9), ROME) == ()
    assert charger.sessions_between(arrival - timedelta(hours=2), arrival, ROME) == ()


def test_a_daily_stay_that_leaves_before_it_arrives_lasts_over_midnight() -> None:
    stay = _daily(time(21), time(5, 30), weekdays=(4,))
    night = stay.on(date(2024, 5, 17), ROME)
    assert night is not None
    assert (night.arrival, night.departure) == (
        datetime(2024, 5, 17, 19, tzinfo=UTC),
        datetime(2024, 5, 18, 3, 30, tzinfo=UTC),
    )
    assert stay.on(date(2024, 5, 18), ROME) is None
    charger = Charger(max_charge_kw=11, daily=(stay,))
    midnight = datetime(2024, 5, 17, 22, tzinfo=UTC)
    assert charger.sessions_between(midnight, midnight + timedelta(hours=24), ROME) == (night,)


def test_a_night_s_stay_overlaps_with_the_next_morning_s_also_from_sunday_to_monday() -> None:
    sunday = _daily(time(21), time(5, 30), weekdays=(6,))
    Charger(max_charge_kw=11, daily=(sunday, _daily(time(5, 30), time(8), weekdays=(0,))))
    with pytest.raises(ValidationError, match="daily sessions overlap"):
        Charger(max_charge_kw=11, daily=(sunday, _daily(time(5), time(8), weekdays=(0,))))
    with pytest.raises(ValidationError, match="daily sessions overlap"):
        Charger(max_charge_kw=11, daily=(_daily(time(21), time(5, 30)), _daily(time(20), time(21, 15))))
