"""Equations (3) and (14): SOC from AC power, and the time until a bound."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from twin_devices.physics.storage import Store, hours_to_bound, soc_after, soc_rate_per_h

BATTERY = Store(capacity_kwh=40.0, charge_efficiency=0.9, discharge_efficiency=0.8, soc_min_frac=0.1, soc_max_frac=0.9)

stores = st.builds(
    Store,
    capacity_kwh=st.floats(1, 1000),
    charge_efficiency=st.floats(0.5, 1),
    discharge_efficiency=st.floats(0.5, 1),
    soc_min_frac=st.floats(0, 0.4),
    soc_max_frac=st.floats(0.6, 1),
)


def test_charging_stores_the_energy_times_the_charging_efficiency() -> None:
    # 10 kW · 0.25 h · 0.9 / 40 kWh = 0.05625
    assert soc_after(BATTERY, 0.5, 10.0, 0.25) == approx(0.55625, abs=1e-15)


def test_discharging_takes_the_energy_divided_by_the_discharging_efficiency() -> None:
    # 8 kW · 0.25 h / 0.8 / 40 kWh = 0.0625
    assert soc_after(BATTERY, 0.5, -8.0, 0.25) == approx(0.4375, abs=1e-15)


def test_time_to_a_bound_by_hand() -> None:
    # (0.9 - 0.5) · 40 kWh / (16 kW · 0.9); (0.5 - 0.1) · 40 kWh / (16 kW / 0.8)
    assert hours_to_bound(BATTERY, 0.5, 16.0) == approx(16 / 14.4)
    assert hours_to_bound(BATTERY, 0.5, -16.0) == approx(0.8)
    assert hours_to_bound(BATTERY, 0.5, 0.0) == math.inf


def test_a_store_below_its_minimum_charges_but_does_not_discharge() -> None:
    assert hours_to_bound(BATTERY, 0.05, -1.0) == 0.0
    assert hours_to_bound(BATTERY, 0.05, 1.0) > 0


@settings(deadline=None, max_examples=200)
@given(stores, st.floats(0.4, 0.6), st.floats(-50, 50), st.floats(0, 1))
def test_energy_in_minus_losses_is_energy_stored(store: Store, soc: float, power: float, part: float) -> None:
    hours = min(hours_to_bound(store, soc, power), 24.0) * part
    stored = (soc_after(store, soc, power, hours) - soc) * store.capacity_kwh
    moved = power * hours
    losses = moved * (1 - store.charge_efficiency) if power > 0 else -moved * (1 / store.discharge_efficiency - 1)
    assert stored == approx(moved - losses, abs=1e-9)
    assert losses >= 0


@settings(deadline=None, max_examples=200)
@given(stores, st.floats(0.4, 0.6), st.floats(-50, 50))
def test_no_power_carries_the_soc_past_a_bound(store: Store, soc: float, power: float) -> None:
    hours = min(hours_to_bound(store, soc, power), 1e5)
    assert store.soc_min_frac <= soc_after(store, soc, power, hours) <= store.soc_max_frac


def test_the_rate_is_that_of_both_equations() -> None:
    assert soc_rate_per_h(BATTERY, 4.0) == approx(4 * 0.9 / 40)
    assert soc_rate_per_h(BATTERY, -4.0) == approx(-4 / 0.8 / 40)
