"""Billing of a demand charge: which peak [kW] is billed for a month, given its highest import and those before it.

Everything that bills or plans by it, settlement, year, size and EMS, takes it from here.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from schemas.site.base import SitePart
from schemas.sums import sum_in_order
from schemas.units import PositiveKw

Month = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
"""A local month, YYYY-MM."""

YEAR_MONTHS = 12


class MonthPeak(SitePart):
    """The highest import of a local month as far as it is known from before the run."""

    month: Month
    """YYYY-MM."""
    import_kw: PositiveKw
    """Mean of its highest quarter-hour."""


class DemandBilling(SitePart):
    """Billed peak = max(``floor_kw``, ``ratchet_frac`` · highest peak of the 11 months before, mean of the peaks of
    ``mean_months`` months, this one the last). As it is by default: the month's own peak.

    Months of which nothing is known count in neither.
    """

    floor_kw: PositiveKw = 0.0
    """The least peak that the contract bills in any month."""
    ratchet_frac: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The part of the highest peak of the 11 months before that is billed at least, such as 0.8."""
    mean_months: Annotated[int, Field(ge=1, le=YEAR_MONTHS)] = 1
    """Over so many months, this one included, peaks are averaged; 12: each month bills a twelfth of a peak."""

    def billed_kw(self, month: str, peak_kw: float, peaks_kw: Mapping[str, float]) -> float:
        """The billed peak of ``month``, whose own is ``peak_kw``. ``peaks_kw``: by month, others are ignored."""
        averaged = _before(month, self.mean_months - 1, peaks_kw)
        mean = sum_in_order((*averaged, peak_kw)) / (len(averaged) + 1)
        return max(mean, self._least_kw(month, peaks_kw))

    def free_kw(self, month: str, peaks_kw: Mapping[str, float]) -> float:
        """The import [kW] up to which a peak of ``month`` raises no bill of it. Arguments as in `billed_kw`.

        Above it every kW costs the charge: on this month's bill, or, in parts, on all bills in whose mean it counts.
        """
        averaged = _before(month, self.mean_months - 1, peaks_kw)
        least = self._least_kw(month, peaks_kw)
        return max(least * (len(averaged) + 1) - sum_in_order(averaged), 0.0) if least > 0 else 0.0

    def ratchet_free_kw(self, month: str, peaks_kw: Mapping[str, float]) -> tuple[float, ...]:
        """By each of the 11 months after ``month`` the import [kW] up to which a peak of ``month`` raises no bill.

        A later month is expected to have the peak that it had a year before, else the mean of the known ones; where
        none is known nothing can be expected, and the result is empty, as it is without a ratchet.
        """
        known = {each: peaks_kw[each] for each in peaks_kw if _number(each) < _number(month)}
        lately = _before(month, YEAR_MONTHS, known)
        if not self.ratchet_frac or not lately:
            return ()
        found, this = [], _number(month)
        for later in range(this + 1, this + YEAR_MONTHS):
            own = known.get(_named(later - YEAR_MONTHS), sum_in_order(lately) / len(lately))
            others = _before(_named(later), YEAR_MONTHS - 1, known)
            billed = max(own, self.floor_kw, self.ratchet_frac * max(others, default=0.0))
            found.append(billed / self.ratchet_frac)
        return tuple(found)

    def _least_kw(self, month: str, peaks_kw: Mapping[str, float]) -> float:
        highest = max(_before(month, YEAR_MONTHS - 1, peaks_kw), default=0.0)
        return max(self.floor_kw, self.ratchet_frac * highest)


def _before(month: str, count: int, peaks_kw: Mapping[str, float]) -> list[float]:
    """Known peaks of the ``count`` months before."""
    last = _number(month)
    return [peaks_kw[each] for each in sorted(peaks_kw) if last - count <= _number(each) < last]


def _number(month: str) -> int:
    year, of_year = month.split("-")
    return int(year) * YEAR_MONTHS + int(of_year)


def _named(number: int) -> str:
    return f"{(number - 1) // YEAR_MONTHS:04}-{(number - 1) % YEAR_MONTHS + 1:02}"
