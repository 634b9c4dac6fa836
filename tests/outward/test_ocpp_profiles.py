"""Charging profiles by purpose, stack level and time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.ocpp.clocks import PeerClock, parse
from services.ocpp.limits import to_kw, to_limit
from services.ocpp.profiles import Profile, ProfileError, Profiles
from services.ocpp.readings import Rated, read

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
RATED = Rated(11.0, 11.0, 3, 230.0)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def profile(number: int, purpose: str, *periods: tuple[int, float], stack: int = 0, **more: Any) -> Profile:
    schedule = {
        "charging_rate_unit": more.pop("unit", "W"),
        "charging_schedule_period": [{"start_period": start, "limit": limit} for start, limit in periods],
        **{name: more.pop(name) for name in ("duration", "start_schedule") if name in more},
    }
    said = {
        "charging_profile_id": number,
        "stack_level": stack,
        "charging_profile_purpose": purpose,
        "charging_profile_kind": more.pop("kind", "Absolute"),
        "charging_schedule": schedule,
        **more,
    }
    return Profile.of(said, NOON, lambda value, unit, phases: to_kw(value, unit, phases or 3, 230.0))


def allowed(*set_: Profile, seconds: float = 0, transaction: str | None = "7", begun: float = 0) -> float | None:
    found = Profiles()
    for each in set_:
        found.set(each)
    holding = found.allowed(at(seconds), transaction, at(begun))
    return None if holding is None else holding.power_kw


DEFAULT = profile(1, "TxDefaultProfile", (0, 4000))
OWN = profile(2, "TxProfile", (0, 7000), (60, 5000), duration=120, transaction_id=7)
MOST = profile(3, "ChargePointMaxProfile", (0, 6000))


def test_the_transactions_own_goes_before_the_default_and_the_stations_most_before_both() -> None:
    assert allowed() is None
    assert allowed(DEFAULT) == 4.0
    assert allowed(DEFAULT, OWN) == 7.0
    assert allowed(DEFAULT, OWN, seconds=60) == 5.0
    assert allowed(DEFAULT, OWN, seconds=120) == 4.0, "its duration is over, to the second"
    assert allowed(DEFAULT, OWN, MOST) == 6.0
    assert allowed(DEFAULT, OWN, transaction="8") == 4.0, "it is another transaction's"
    assert allowed(DEFAULT, OWN, transaction=None) == 4.0


def test_a_higher_stack_level_goes_before_as_long_as_it_holds() -> None:
    higher = profile(4, "TxDefaultProfile", (0, 2000), stack=1, duration=30)
    assert allowed(DEFAULT, higher, seconds=29) == 2.0
    assert allowed(DEFAULT, higher, seconds=30) == 4.0


def test_relative_and_recurring_ones_and_those_with_a_validity() -> None:
    relative = profile(5, "TxProfile", (0, 3000), (600, 1000), kind="Relative")
    assert [allowed(relative, seconds=each, begun=100) for each in (100, 699, 700)] == [3.0, 3.0, 1.0]
    daily = profile(
        6, "TxDefaultProfile", (0, 9000), (3600, 1000), kind="Recurring", recurrency_kind="Daily",
        start_schedule="2026-11-01T12:00:00Z",
    )  # fmt: skip
    assert [allowed(daily, seconds=each) for each in (0, 3599, 3600, 86_399, 86_400)] == [9.0, 9.0, 1.0, 1.0, 9.0]
    valid = profile(7, "TxDefaultProfile", (0, 2000), valid_from=at(10).isoformat(), valid_to=at(20).isoformat())
    assert [allowed(valid, seconds=each) for each in (9, 10, 19, 20)] == [None, 2.0, 2.0, None]


def test_one_without_sense_is_refused() -> None:
    with pytest.raises(ProfileError, match="purpose Nonsense is not known"):
        profile(8, "Nonsense", (0, 1))
    with pytest.raises(ProfileError, match="without a recurrency kind"):
        profile(8, "TxProfile", (0, 1), kind="Recurring")


def test_limits_are_rounded_toward_zero() -> None:
    assert to_limit(7.0, "A", RATED) == 10.1  # 10.145 A
    assert to_limit(6.9, "A", RATED) == 10.0
    assert to_limit(-7.0, "A", RATED) == -10.1
    assert to_limit(7.4004, "W", RATED) == 7400.0
    assert to_kw(10.0, "A", 3, 230.0) == pytest.approx(6.9)


def test_readings_of_both_versions() -> None:
    phases = [{"value": "1000", "measurand": "Power.Active.Import", "unit": "W", "phase": f"L{n}"} for n in (1, 2, 3)]
    assert read(phases, RATED).power_kw == 3.0
    out = {"value": 5, "measurand": "Power.Active.Export", "unit_of_measure": {"unit": "W", "multiplier": 3}}
    assert read([out], RATED).power_kw == -5.0
    energy = read(
        [{"value": "1500"}, {"value": "2", "measurand": "Energy.Active.Export.Register", "unit": "kWh"}], RATED
    )
    assert (energy.energy_import_kwh, energy.energy_export_kwh, energy.power_kw) == (1.5, 2.0, None)
    mixed = read([{"value": "NaN"}, {"value": "142", "measurand": "SoC"}, {"value": "77", "measurand": "SoC"}], RATED)
    assert (mixed.soc_frac, len(mixed.faults)) == (0.77, 1)
    forced = Rated(11.0, 0.0, 3, 230.0, power_unit="W")
    assert read([{"value": "7400", "measurand": "Power.Active.Import", "unit": "kW"}], forced).power_kw == 7.4


def test_a_queue_is_known_by_ages_that_shrink_and_a_wrong_clock_by_one_that_stays() -> None:
    queued, wrong = PeerClock(), PeerClock()
    for number in range(20):
        measured = at(60 * number)
        assert queued.is_now(measured, at(3600 + 0.2 * number)) is False
    assert queued.is_now(at(3604), at(3605)) is True
    assert [wrong.is_now(at(10 * n) - timedelta(hours=3), at(10 * n)) for n in range(3)] == [False, True, True]
    assert wrong.its_time(at(0)) == at(-3 * 3600)
    assert (parse("no time"), parse(5), parse("2026-11-28T12:00:00")) == (None, None, NOON)
