"""The 90 % interval of savings covers the truth of synthetic days."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from twinswarm.attribution.interval import interval

WORKING, WEEKEND = 10.0, 4.0


def days_of(count: int, correlation: float, skew: float, chance: np.random.Generator) -> NDArray[np.float64]:
    """Savings around 10 € on working days and 4 € at weekends, their deviation of 3 € correlated from day to day.

    ``skew``: the deviation is a lognormal's of this shape.
    """
    shocks = chance.standard_normal(count + 40)
    state, states = 0.0, []
    for shock in shocks:
        state = correlation * state + math.sqrt(1 - correlation**2) * shock
        states.append(state)
    deviation = np.array(states[40:])
    if skew:
        spread = math.exp(skew**2 / 2) * math.sqrt(math.exp(skew**2) - 1)
        deviation = (np.exp(skew * deviation) - math.exp(skew**2 / 2)) / spread
    return np.where(working(count), WORKING, WEEKEND) + 3.0 * deviation


def working(count: int) -> list[bool]:
    return [day % 7 < 5 for day in range(count)]


def coverage(days: int, correlation: float, skew: float, samples: int) -> float:
    truth = sum(WORKING if is_working else WEEKEND for is_working in working(days))
    chance = np.random.default_rng(days)
    hits = 0
    for _ in range(samples):
        found = interval(days_of(days, correlation, skew, chance), working(days), seed=1, resamples=500)
        assert found is not None
        hits += found.low_eur <= truth <= found.high_eur
    return hits / samples


@pytest.mark.parametrize(("days", "correlation", "skew"), [(28, 0.0, 0.0), (91, 0.3, 0.0), (91, 0.0, 0.6)])
def test_nine_of_ten_intervals_hold_the_truth(days: int, correlation: float, skew: float) -> None:
    """Within 86 to 94 %, give or take two standard errors of 400 samples, 1.5 % each."""
    assert 0.86 - 0.03 <= coverage(days, correlation, skew, 400) <= 0.94 + 0.03


@pytest.mark.long
@pytest.mark.parametrize("days", [28, 91, 365])
@pytest.mark.parametrize(("correlation", "skew"), [(0.0, 0.0), (0.0, 0.6), (0.3, 0.0), (0.3, 0.6)])
def test_coverage_of_many_samples(days: int, correlation: float, skew: float) -> None:
    """3000 samples each: a standard error of 0.6 %."""
    assert 0.86 <= coverage(days, correlation, skew, 3000) <= 0.94


def test_days_that_are_alike_give_a_wider_interval_and_the_week_none() -> None:
    apart = interval(days_of(56, 0.0, 0.0, np.random.default_rng(3)), working(56), seed=1)
    alike = interval(days_of(56, 0.7, 0.0, np.random.default_rng(3)), working(56), seed=1)
    week = interval(np.where(working(56), WORKING, WEEKEND), working(56), seed=1)
    assert apart is not None and alike is not None and week is not None
    assert alike.high_eur - alike.low_eur > 1.5 * (apart.high_eur - apart.low_eur)
    assert week.low_eur == pytest.approx(week.high_eur) == pytest.approx(40 * WORKING + 16 * WEEKEND)


def test_few_days_have_none_and_a_seed_draws_the_same_days() -> None:
    by_day = days_of(28, 0.0, 0.0, np.random.default_rng(3))
    assert interval(by_day[:13], working(13), seed=1) is None
    assert interval(by_day, working(28), seed=1) == interval(by_day, working(28), seed=1)
    assert interval(by_day, working(28), seed=1) != interval(by_day, working(28), seed=2)
