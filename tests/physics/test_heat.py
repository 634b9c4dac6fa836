"""The buffer's closed forms against numerical integration and hand calculation."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from twin_devices.physics.heat import heat_after, hours_until, losses_kwh

LOSSES = st.sampled_from([0.0, 1e-12, 0.01, 0.2, 1.0])
HEATS = st.floats(0, 100)
FLOWS = st.floats(-30, 30)


def test_without_losses_heat_is_the_sum_of_what_flowed() -> None:
    assert heat_after(20.0, 6.0, 0.0, 1.5) == 29.0
    assert losses_kwh(20.0, 6.0, 0.0, 1.5) == 0.0
    assert hours_until(20.0, 6.0, 0.0, 29.0) == 1.5


def test_a_buffer_left_alone_loses_half_in_the_half_life() -> None:
    loss = math.log(2) / 10
    assert heat_after(40.0, 0.0, loss, 10.0) == approx(20.0, abs=1e-12)
    assert losses_kwh(40.0, 0.0, loss, 10.0) == approx(20.0, abs=1e-12)
    assert hours_until(40.0, 0.0, loss, 20.0) == approx(10.0, abs=1e-12)


def test_heat_comes_to_rest_where_inflow_equals_losses() -> None:
    """2 kW at 5 %/h: at rest at 40 kWh, half the way there after ln 2 / 0.05 h."""
    assert heat_after(0.0, 2.0, 0.05, 1e4) == approx(40.0)
    assert hours_until(0.0, 2.0, 0.05, 20.0) == approx(13.862943611198906)
    assert hours_until(0.0, 2.0, 0.05, 40.0) == math.inf
    assert hours_until(0.0, 2.0, 0.05, 41.0) == math.inf


@pytest.mark.parametrize(("net", "level"), [(5.0, 10.0), (-5.0, 30.0), (0.0, 25.0)])
def test_a_level_that_the_heat_moves_away_from_is_never_met(net: float, level: float) -> None:
    assert hours_until(20.0, net, 0.01, level) == math.inf


@given(HEATS, FLOWS, LOSSES, st.floats(0, 48))
def test_the_closed_form_solves_the_differential_equation(heat: float, net: float, loss: float, hours: float) -> None:
    steps = 2_000
    numeric, h = heat, hours / steps
    for _ in range(steps):  # The classical Runge-Kutta method.
        k1 = net - loss * numeric
        k2 = net - loss * (numeric + h / 2 * k1)
        k3 = net - loss * (numeric + h / 2 * k2)
        k4 = net - loss * (numeric + h * k3)
        numeric += h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    assert heat_after(heat, net, loss, hours) == approx(numeric, abs=1e-7)


@given(HEATS, FLOWS, LOSSES, st.floats(0, 48), st.floats(0, 48))
def test_two_stretches_are_one(heat: float, net: float, loss: float, first: float, second: float) -> None:
    between = heat_after(heat, net, loss, first)
    assert heat_after(between, net, loss, second) == approx(heat_after(heat, net, loss, first + second), abs=1e-8)
    lost = losses_kwh(heat, net, loss, first) + losses_kwh(between, net, loss, second)
    assert lost == approx(losses_kwh(heat, net, loss, first + second), abs=1e-8)


@given(HEATS, FLOWS, LOSSES, st.floats(0, 48))
def test_what_flowed_is_stored_or_lost(heat: float, net: float, loss: float, hours: float) -> None:
    stored = heat_after(heat, net, loss, hours) - heat
    assert net * hours == approx(stored + losses_kwh(heat, net, loss, hours), abs=1e-8)


@given(HEATS, FLOWS, LOSSES, HEATS)
def test_a_level_is_met_when_it_is_said_to_be(heat: float, net: float, loss: float, level: float) -> None:
    hours = hours_until(heat, net, loss, level)
    if hours < 1e4:
        assert heat_after(heat, net, loss, hours) == approx(level, abs=1e-6)
