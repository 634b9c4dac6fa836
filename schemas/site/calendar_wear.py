"""What it costs that a battery ages at rest, and the more the fuller it is."""

from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.calendar_ageing import HOURS_A_YEAR, Cell, life_years
from schemas.site.base import SitePart
from schemas.units import SocFrac

LossAtSoc = tuple[SocFrac, Annotated[float, Field(gt=0, le=1)]]
"""A SOC, and the part of its capacity that a battery loses there in a year at rest."""


class CalendarWear(SitePart):
    """Price of calendar ageing of a BESS, or of the vehicles at a charger while they are there.

    The battery is bought anew when it has lost ``end_of_life_loss_frac`` of its capacity. An hour at a SOC takes the
    part 1/life of its price, with life as long as it would rest at that SOC. Elsewhere a vehicle ages without a price.
    """

    replacement_eur_per_kwh: Annotated[float, Field(gt=0, le=10_000)]
    """Price of a new battery, for each kWh of its capacity."""
    cell: Cell | None = None
    """A published law, see `schemas.calendar_ageing`."""
    temp_c: Annotated[float, Field(ge=-20, le=60)] = 25.0
    """The temperature at which it ages; of ``cell`` only."""
    loss_frac_per_year: tuple[LossAtSoc, ...] | None = None
    """Instead of ``cell``: the loss in a year at rest by SOC, a mean over the life, linear between the points."""
    end_of_life_loss_frac: Annotated[float, Field(gt=0, lt=1)] = 0.2

    @model_validator(mode="after")
    def _one_curve(self) -> Self:
        curve = self.loss_frac_per_year
        if (self.cell is None) == (curve is None):
            raise ValueError("give either cell or loss_frac_per_year, the curve of calendar ageing")
        if curve is None:
            return self
        if "temp_c" in self.model_fields_set:
            raise ValueError(f"temp_c {self.temp_c} is of cell; loss_frac_per_year holds at the battery's temperature")
        socs = [soc for soc, _ in curve]
        if len(socs) < 2 or socs[0] != 0 or socs[-1] != 1 or any(a >= b for a, b in pairwise(socs)):
            raise ValueError(f"loss_frac_per_year has the SOCs {socs}; they have to rise, from 0 to 1")
        return self

    def life_years(self, soc_frac: float) -> float:
        """Years at rest at this SOC until the end of life."""
        if self.cell is not None:
            return life_years(self.cell, soc_frac, self.temp_c, self.end_of_life_loss_frac)
        assert self.loss_frac_per_year is not None
        curve, soc = self.loss_frac_per_year, min(max(soc_frac, 0.0), 1.0)
        place = min(max(bisect_right([at for at, _ in curve], soc), 1), len(curve) - 1)
        (before, low), (after, high) = curve[place - 1 : place + 1]
        return self.end_of_life_loss_frac / (low + (soc - before) / (after - before) * (high - low))

    def eur_per_kwh_h(self, soc_frac: float) -> float:
        """Price of an hour at this SOC, for each kWh of capacity."""
        return self.replacement_eur_per_kwh / (HOURS_A_YEAR * self.life_years(soc_frac))
