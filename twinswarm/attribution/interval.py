"""An interval for savings over days of this kind: days are drawn again from those that were lived through.

A day is drawn whole: with its load, sun, prices and charging sessions, and with what was saved on it. A day counts as
its difference from the mean of its kind, working day or not, so that the course of the week is not taken for chance.
Days that follow one another are alike; so blocks of consecutive days are drawn. With n days and the correlation ρ of
one day with the next a block has L = 1.5 (6 n ρ² / (1 − ρ²)²)^⅓ days, half as much again as is best for the variance
(Politis and White 2004, circular blocks, of an autoregressive process); without correlation it is a day.

Three corrections are for few days. The estimate of ρ is raised by (1 + 3ρ)/n (Kendall 1954). Blocks cut off the
correlation beyond them: differences are stretched by the root of (1 + ρ)/(1 − ρ) over what is left of it within a
block. And the bounds are farther out than the quantiles of many days: where the normal's quantile would be, Student's
is taken, with as many degrees of freedom as there are blocks less the kinds of days (Hesterberg 2015, *The American
Statistician* 69, the expanded percentile interval).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

LEVEL = 0.9
LEAST_DAYS = 28
"""With fewer the interval is too narrow where days are alike: 84 % with 14 days and a correlation of 0.5."""
RESAMPLES = 4000
_MOST_CORRELATION = 0.8
_LEAST_BLOCKS = 4

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds of what such days save in the mean, times the number of days [€]."""

    low_eur: float
    high_eur: float


def interval(by_day: Values, working: Sequence[bool], seed: int, resamples: int = RESAMPLES) -> Interval | None:
    """Of the sum of ``by_day`` [€], consecutive days; ``working``: whether each is a working day.

    None for fewer days than `LEAST_DAYS`. ``seed``: of the draw.
    """
    days = len(by_day)
    if days < LEAST_DAYS:
        return None
    of_kind = [places for places in (np.asarray(working), ~np.asarray(working)) if places.any()]
    differences = by_day.astype(np.float64)
    for places in of_kind:
        differences[places] -= by_day[places].mean()
    correlation = _correlation(differences)
    length = _block_days(correlation, days)
    chance = np.random.default_rng(seed)
    starts = chance.integers(days, size=(resamples, math.ceil(days / length)))
    # After the last day the first follows, so that each is drawn as often as any other.
    drawn = ((starts[:, :, None] + np.arange(length)) % days).reshape(resamples, -1)[:, :days]
    sums = differences[drawn].sum(axis=1)
    freedom = max(days / length - len(of_kind), 1.0)
    outside = float(norm.cdf(-t.ppf((1 + LEVEL) / 2, freedom)))
    stretch = math.sqrt(days / (days - len(of_kind)) * _cut_off(correlation, length))
    low, high = (float(by_day.sum() + stretch * bound) for bound in np.quantile(sums, (outside, 1 - outside)))
    return Interval(low, high)


def _correlation(differences: Values) -> float:
    """Of one day with the next; 0 where it is negative, which would narrow the interval."""
    square = float(differences @ differences)
    if not square:
        return 0.0
    found = float(differences[1:] @ differences[:-1]) / square
    return min(max(found + (1 + 3 * found) / len(differences), 0.0), _MOST_CORRELATION)


def _block_days(correlation: float, days: int) -> int:
    best = 1.5 * math.cbrt(6 * days * correlation**2 / (1 - correlation**2) ** 2)
    return max(1, min(math.ceil(best), days // _LEAST_BLOCKS))


def _cut_off(correlation: float, length: int) -> float:
    """Variance of a sum of days, over that which blocks of ``length`` days leave of it."""
    left = 1 + 2 * math.fsum((1 - apart / length) * correlation**apart for apart in range(1, length))
    return (1 + correlation) / (1 - correlation) / left
