"""The rules of plausibility: what cannot be is doubted, and what a sound device reports never is."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.messages import (
    BessNameplate,
    ChargerNameplate,
    ExpectedChargingSession,
    HeatPumpNameplate,
    MeterNameplate,
    MeterRole,
    Nameplate,
    PvNameplate,
    Quantity,
    ValueSeries,
)
from schemas.plausibility import (
    bounds_of,
    price_doubt,
    series_age_doubt,
    series_doubt,
    session_is_past,
    soc_doubt,
    standing_since,
    step_doubt,
)
from schemas.site import Site
from sites.loader import builtin_sites, load_site
from tests.ems.small_site import site as small_site

NOW = datetime(2025, 3, 4, 11, 15, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
BATTERY = BessNameplate(
    capacity_kwh=13.5,
    max_charge_kw=5.0,
    max_discharge_kw=4.6,
    charge_efficiency=0.95,
    discharge_efficiency=0.9,
    soc_min_frac=0.1,
    soc_max_frac=1.0,
)
EVSE = ChargerNameplate(max_charge_kw=11.0, charge_efficiency=0.9, discharge_efficiency=0.9)
INVERTER = PvNameplate(rated_kw=30.0, curtailable=True)
PUMP = HeatPumpNameplate(max_power_kw=3.2, buffer_kwh=20, soc_min_frac=0.2, soc_max_frac=0.9)
METER = MeterNameplate(role=MeterRole.LOAD)


def bounds(plate: Nameplate) -> Any:
    found = bounds_of(plate, small_site())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("plate", "power_kw"),
    [
        (BATTERY, 2_300.0),  # W
        (BATTERY, -4_600.0),
        (EVSE, 7_400.0),
        (EVSE, -7.4),  # the wrong sign: it is no V2G charger
        (INVERTER, 21.0),  # the wrong sign
        (INVERTER, -21_000.0),
        (PUMP, 1_800.0),
        (METER, 8_500.0),  # connection 500 kW
        (METER, -8_500.0),
    ],
)
def test_power_in_watts_or_with_the_wrong_sign_is_doubted(plate: Nameplate, power_kw: float) -> None:
    assert f"{power_kw:.6g} kW" in (bounds(plate).doubt(power_kw) or "")


@given(st.sampled_from([BATTERY, EVSE, INVERTER, PUMP]), st.floats(-1.25, 1.25))
def test_a_device_at_up_to_five_quarters_of_its_rating_is_never_doubted(plate: Nameplate, share: float) -> None:
    power_kw = share * (plate.draws_kw if share > 0 else plate.gives_kw)
    assert bounds(plate).doubt(power_kw) is None


@pytest.mark.parametrize("name", builtin_sites())
def test_a_meter_may_show_all_that_its_site_describes(name: str) -> None:
    described: Site = load_site(name)
    found = bounds_of(METER, described)
    ratings = sum(d.nameplate.draws_kw + d.nameplate.gives_kw for d in described.devices.values())
    assert found is not None
    assert found.allow(described.connection.import_limit_kw + ratings)


def test_without_a_site_a_meter_is_not_judged() -> None:
    assert bounds_of(METER, None) is None
    assert step_doubt(1e9, 0.0, MINUTE, None) is None


def test_a_register_that_fell_or_leapt_is_doubted() -> None:
    assert step_doubt(-0.001, 0.0, MINUTE, None) == "a register went back"
    assert step_doubt(0.0, -7.0, HOUR, bounds(BATTERY)) == "a register went back"
    assert "83112 kWh" in (step_doubt(83_112.0, 0.0, MINUTE, bounds(METER)) or "")
    # 9 kW for an hour, counted in Wh by a charger of 11 kW.
    assert step_doubt(9_000.0, 0.0, HOUR, bounds(EVSE)) is not None
    assert step_doubt(9.0, 0.0, HOUR, bounds(EVSE)) is None


@given(
    st.lists(st.tuples(st.floats(0, 11), st.integers(1, 120)), min_size=1, max_size=80),
    st.sampled_from([1e-6, 0.01, 0.1, 1.0]),
    st.integers(1, 30),
)
def test_no_register_of_a_sound_charger_is_ever_doubted(
    pieces: list[tuple[float, int]], resolution_kwh: float, updated_every: int
) -> None:
    """Whatever it draws, however coarsely it counts, and however seldom it updates what it publishes."""
    energy, shown, time, since = 0.0, 0.0, NOW, NOW
    for index, (power_kw, seconds) in enumerate(pieces):
        energy += power_kw * seconds / 3600
        later = time + timedelta(seconds=seconds)
        now = energy // resolution_kwh * resolution_kwh if index % updated_every == 0 else shown
        assert step_doubt(now - shown, 0.0, later - since, bounds(EVSE)) is None
        since = standing_since((shown, 0.0), since, (now, 0.0), later)
        shown, time = now, later


def test_a_battery_cannot_empty_in_a_minute_and_may_correct_its_soc() -> None:
    assert soc_doubt(0.83, 0.02, MINUTE, BATTERY) is not None
    assert soc_doubt(0.02, 0.83, MINUTE, BATTERY) is not None
    assert soc_doubt(0.83, 0.76, MINUTE, BATTERY) is None
    assert soc_doubt(0.83, 0.30, 2 * HOUR, BATTERY) is None


def test_a_buffer_fills_no_faster_than_the_pump_heats_and_empties_at_any_rate() -> None:
    # 2 x 3.2 kW + 1 kW at a COP of 6 are 44.4 kW of heat: a buffer of 20 kWh gains 0.037 a minute beside the jump.
    assert soc_doubt(0.30, 0.53, MINUTE, PUMP) is None
    assert soc_doubt(0.30, 0.55, MINUTE, PUMP) is not None
    assert soc_doubt(0.30, 0.55, 10 * MINUTE, PUMP) is None
    assert soc_doubt(0.90, 0.02, MINUTE, PUMP) is None
    assert soc_doubt(0.90, 0.02, timedelta(), PUMP) is None


@given(st.floats(0, 1), st.floats(-4.6, 5.0), st.integers(1, 86_400))
def test_no_soc_that_follows_the_power_is_ever_doubted(soc: float, power_kw: float, seconds: int) -> None:
    stored = power_kw * BATTERY.charge_efficiency if power_kw > 0 else power_kw / BATTERY.discharge_efficiency
    later = min(max(soc + stored * seconds / 3600 / BATTERY.capacity_kwh, 0.0), 1.0)
    assert soc_doubt(soc, later, timedelta(seconds=seconds), BATTERY) is None


def test_prices_beyond_any_market_are_doubted_and_negative_ones_are_not() -> None:
    assert price_doubt([0.31, -0.5, 4.9, -4.9]) is None
    assert price_doubt([0.31, 87.4]) == 87.4
    assert price_doubt([-61.0]) == -61.0


def series(quantity: Quantity, *values: float, device: str | None = None, start: datetime = NOW) -> ValueSeries:
    return ValueSeries(quantity=quantity, device=device, start=start, step_s=900, values=values)


def test_a_series_in_another_unit_is_doubted() -> None:
    site = small_site()
    assert series_doubt(series(Quantity.PURCHASE_PRICE, 0.2, 112.0), None, site) is not None
    assert series_doubt(series(Quantity.LOAD, 12_400.0, device="m"), METER, site) is not None
    assert series_doubt(series(Quantity.PV, 27_000.0, device="p"), INVERTER, site) is not None
    assert series_doubt(series(Quantity.TEMP_OUTDOOR, 281.0, device="h"), PUMP, site) is not None
    assert series_doubt(series(Quantity.HEAT_DEMAND, 6_100.0, device="h"), PUMP, site) is not None
    assert series_doubt(series(Quantity.LOAD, 48.0, device="m"), METER, site) is None
    assert series_doubt(series(Quantity.PV, 33.0, device="p"), INVERTER, site) is None
    assert series_doubt(series(Quantity.TEMP_OUTDOOR, -24.0, device="h"), PUMP, site) is None


def test_a_forecast_is_continued_for_two_days_and_not_longer() -> None:
    ended = series(Quantity.LOAD, 5.0, device="m", start=NOW - timedelta(hours=48, minutes=15))
    assert series_age_doubt(ended, NOW) is None
    assert series_age_doubt(ended, NOW + MINUTE) == "it ended 48 h ago, and is continued for at most 48 h"
    fields: dict[str, Any] = {"charger": "ev", "arrival": NOW, "departure": NOW + 8 * HOUR}
    session = ExpectedChargingSession(**fields)
    assert not session_is_past(session, NOW + 56 * HOUR)
    assert session_is_past(session, NOW + 57 * HOUR)
