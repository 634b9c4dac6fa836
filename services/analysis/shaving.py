"""Peak-shaving factor, equation (22): how much flatter the PCC is than without BESS and V2G."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

THRESHOLD_KW = 0.5
"""References smaller than this are left out: the ratio says nothing there."""
STRICT_THRESHOLD_KW = 2.0
"""The factor is fragile where the reference is just above the threshold; this one is printed beside it."""


@dataclass(frozen=True, slots=True)
class ShavingFactor:
    """``psf`` is below 1 where peaks are shaved; None when no sample is left."""

    psf: float | None
    samples: int
    """In the mean."""
    excluded: int
    """Left out because the reference is too small."""
    unknown: int
    """Left out because one of the two is not known."""


def peak_shaving_factor(
    pcc_kw: Sequence[float | None], reference_kw: Sequence[float | None], threshold_kw: float = THRESHOLD_KW
) -> ShavingFactor:
    """PSF = (1/N) Σ |X_i| / |X_i_ref| over quarter-hourly samples.

    X is the mean PCC power of a quarter by register differences (the paper samples its measurement), X_ref that of
    the reference in the same quarter. Samples with |X_ref| ≤ ``threshold_kw`` are left out and counted.
    """
    ratios: list[float] = []
    excluded = unknown = 0
    for value, reference in zip(pcc_kw, reference_kw, strict=True):
        if value is None or reference is None:
            unknown += 1
        elif abs(reference) <= threshold_kw:
            excluded += 1
        else:
            ratios.append(abs(value) / abs(reference))
    psf = math.fsum(ratios) / len(ratios) if ratios else None
    return ShavingFactor(psf, len(ratios), excluded, unknown)
