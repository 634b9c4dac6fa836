"""A battery energy storage system."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.messages import BessNameplate, Fallback
from schemas.site.calendar_wear import CalendarWear
from schemas.site.devices.base import Device
from schemas.units import Efficiency, RampRate, Seconds, SocFrac


class Bess(Device):
    kind: Literal["bess"] = "bess"
    capacity_kwh: Annotated[float, Field(gt=0, le=1e6)]
    max_charge_kw: Annotated[float, Field(gt=0, le=1e6)]
    max_discharge_kw: Annotated[float, Field(gt=0, le=1e6)]
    charge_efficiency: Efficiency = 0.95
    discharge_efficiency: Efficiency = 0.95
    soc_min_frac: SocFrac = 0.1
    soc_max_frac: SocFrac = 0.9
    initial_soc_frac: SocFrac = 0.5
    dead_time_s: Seconds = 0.0
    ramp_kw_per_s: RampRate | None = None
    sub_step_s: Annotated[float, Field(gt=0, le=900)] = 10.0
    fallback: Fallback = Fallback.IDLE
    calendar_wear: CalendarWear | None = None
    """None: it has no price."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.soc_min_frac <= self.initial_soc_frac <= self.soc_max_frac:
            raise ValueError(
                f"initial_soc_frac {self.initial_soc_frac} is not between soc_min_frac {self.soc_min_frac} "
                f"and soc_max_frac {self.soc_max_frac}"
            )
        return self

    @property
    def nameplate(self) -> BessNameplate:
        return BessNameplate(**self._shared(BessNameplate))

    @property
    def reverts_to(self) -> Fallback:
        return self.fallback
