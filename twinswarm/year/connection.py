"""Whether a variant stays within the connection that the site describes.

The EMS keeps to it; a variant in which nobody controls the vehicles may not.
"""

import numpy as np
from numpy.typing import NDArray

_TOLERANCE_FRAC = 0.01
"""An excess that is not more is one of a forecast, not of a connection that is too small."""


def exceeds(power_kw: float, limit_kw: float) -> bool:
    """Whether the connection is too small for a mean power of a settlement period, by more than 1 %."""
    return power_kw > limit_kw * (1 + _TOLERANCE_FRAC)


def hours_above(power_kw: NDArray[np.float64], limit_kw: float, period_h: float) -> float:
    """Time [h] in which the mean power exceeds the limit; one value of ``power_kw`` a settlement period."""
    return period_h * int(np.count_nonzero(power_kw > limit_kw * (1 + _TOLERANCE_FRAC)))
