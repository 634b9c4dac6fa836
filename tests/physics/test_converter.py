"""Limits, smallest power, taper near full, ramps."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from twin_devices.physics.converter import feasible_power_kw, taper_limit_kw
from twin_devices.physics.inverter import pv_output_kw
from twin_devices.physics.load import reactive_kvar
from twin_devices.physics.ramp import ramp_duration_s, ramp_mean_kw


def test_power_is_held_within_the_limits_of_both_directions() -> None:
    assert feasible_power_kw(30, 20, 10, 0) == 20
    assert feasible_power_kw(-30, 20, 10, 0) == -10


def test_below_the_smallest_power_a_charger_pauses_in_both_directions() -> None:
    assert feasible_power_kw(4.0, 20, 10, 4.1) == 0
    assert feasible_power_kw(-4.0, 20, 10, 4.1) == 0
    assert feasible_power_kw(4.1, 20, 10, 4.1) == 4.1


def test_the_smallest_power_is_one_of_the_offer_not_of_what_a_vehicle_draws() -> None:
    """A vehicle of 3.68 kW on one phase, or near full, at three phases of at least 4.14 kW."""
    assert feasible_power_kw(11.0, 3.68, 0, 4.14) == 3.68
    assert feasible_power_kw(4.14, 1.2, 0, 4.14) == 1.2
    assert feasible_power_kw(4.0, 3.68, 0, 4.14) == 0
    assert feasible_power_kw(-11.0, 11, 3.0, 4.14) == 0


def test_nothing_is_plain_zero_without_a_sign() -> None:
    assert math.copysign(1, feasible_power_kw(-5.0, 20, 0.0, 0)) == 1


def test_the_taper_falls_linearly_with_the_soc() -> None:
    # Full until 0.8; at 0.9 half of the way from 20 kW to 0.1 · 20 kW.
    assert taper_limit_kw(0.8, 20, 0.8, 0.1) == 20
    assert taper_limit_kw(0.9, 20, 0.8, 0.1) == approx(11)
    assert taper_limit_kw(1.0, 20, 0.8, 0.1) == approx(2)


def test_a_ramp_that_ends_in_mid_interval_by_hand() -> None:
    # 0 to 10 kW at 4 kW/s takes 2.5 s: mean 5 kW for 2.5 s, then 10 kW for 7.5 s.
    assert ramp_duration_s(0, 10, 4) == 2.5
    assert ramp_mean_kw(0, 10, 4, 0, 10) == approx(8.75)
    assert ramp_mean_kw(0, 10, 4, 10, 20) == 10


def test_a_ramp_downwards_is_the_mirror_of_one_upwards() -> None:
    assert ramp_mean_kw(5, -5, 1, 2, 4) == approx(2)


def test_an_empty_interval_has_no_mean() -> None:
    with pytest.raises(ValueError, match="not an interval"):
        ramp_mean_kw(0, 1, 1, 5, 5)


@settings(deadline=None, max_examples=200)
@given(
    st.floats(-50, 50), st.floats(-50, 50), st.floats(0.01, 20), st.lists(st.floats(0.1, 60), min_size=1, max_size=9)
)
def test_the_energy_of_a_ramp_does_not_depend_on_its_sampling(
    start: float, end: float, rate: float, lengths: list[float]
) -> None:
    edges = [0.0]
    for length in lengths:
        edges.append(edges[-1] + length)
    sampled = sum(ramp_mean_kw(start, end, rate, a, b) * (b - a) for a, b in itertools.pairwise(edges))
    assert sampled == approx(ramp_mean_kw(start, end, rate, 0, edges[-1]) * edges[-1], abs=1e-8)


def test_an_inverter_delivers_the_least_of_three() -> None:
    assert pv_output_kw(30, 50, 50) == 30
    assert pv_output_kw(60, 50, 70) == 50
    assert pv_output_kw(30, 50, 10) == 10


def test_reactive_power_by_the_triangle() -> None:
    # cos φ = 0.8: 4 kW and 3 kvar make 5 kVA.
    assert reactive_kvar(4.0, 0.8) == approx(3.0)
    assert reactive_kvar(4.0, 1.0) == 0
