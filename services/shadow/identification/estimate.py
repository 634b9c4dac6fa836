"""An estimate with its interval, and the least squares that gives it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

CONFIDENT = 1.96
"""Standard deviations of a 95 % interval."""

METERS_FRAC = 0.02
"""Meters of class 1 may be wrong by half of it, always the same way, and no interval shows it."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Identified:
    """A parameter as it is described (None: it is not), and as the history shows it."""

    device: str
    parameter: str
    unit: str
    described: float | None
    value: float
    low: float
    high: float
    """Bounds of the 95 % confidence interval."""
    observations: int
    note: str = ""

    @property
    def differs(self) -> bool:
        """Whether the described value is outside the interval, and further away than meters may be wrong."""
        if self.described is None or self.low <= self.described <= self.high:
            return False
        return abs(self.value - self.described) > METERS_FRAC * abs(self.described)


@dataclass(frozen=True, slots=True)
class Fit:
    """A solution of least squares. ``misfit``: sum of squared residuals."""

    values: Vector
    covariance: Vector | None
    """None: the observations do not determine it."""
    misfit: float
    observations: int

    def half(self, place: int) -> float | None:
        """Half of the 95 % interval of a value."""
        if self.covariance is None:
            return None
        return float(CONFIDENT * np.sqrt(self.covariance[place, place]))


def fitted(
    residuals: Callable[[Vector], Sequence[float] | Vector],
    start: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    loss: str = "linear",
    scale: float = 1.0,
) -> Fit:
    """Least squares within bounds; the noise is what is left over.

    ``loss`` and ``scale`` as of `scipy.optimize.least_squares`: a robust loss bounds the weight of what lies beyond
    ``scale``.
    """
    found = least_squares(
        lambda x: np.asarray(residuals(x), dtype=float), start, bounds=(low, high), loss=loss, f_scale=scale
    )
    count, unknown = found.jac.shape
    misfit = float(2.0 * found.cost)
    information = found.jac.T @ found.jac
    if count <= unknown or np.linalg.cond(information) > 1e12:
        return Fit(found.x, None, misfit, count)
    return Fit(found.x, np.linalg.inv(information) * misfit / (count - unknown), misfit, count)
