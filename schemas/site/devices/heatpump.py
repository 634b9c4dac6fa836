"""A heat pump with its buffer."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.messages import Fallback, HeatPumpNameplate, Quantity
from schemas.site.devices.base import Device, profiles_given
from schemas.site.profile import ProfileName
from schemas.units import PositiveKw, Seconds, SocFrac


class HeatPump(Device):
    """An air-source heat pump with a thermal buffer, and the building that takes heat from it.

    The fields without a text are those of `HeatPumpNameplate`.
    """

    kind: Literal["heatpump"] = "heatpump"
    max_power_kw: Annotated[float, Field(gt=0, le=1e6)]
    min_power_kw: PositiveKw = 0.0
    buffer_kwh: Annotated[float, Field(gt=0, le=1e6)]
    loss_frac_per_h: Annotated[float, Field(ge=0, le=1)] = 0.01
    soc_min_frac: SocFrac = 0.2
    soc_max_frac: SocFrac = 0.9
    initial_soc_frac: SocFrac = 0.5
    supply_temp_c: Annotated[float, Field(ge=20, le=90)] = 45.0
    quality_grade: Annotated[float, Field(gt=0, le=1)] = 0.4
    cop_max: Annotated[float, Field(ge=1, le=20)] = 6.0
    temp_outdoor_profile: ProfileName
    """Outdoor temperature [°C]."""
    temp_outdoor_forecast_profile: ProfileName | None = None
    """The forecast service's profile; None: the profile itself."""
    heat_demand_profile: ProfileName
    """Heat that the building wants [kW]."""
    heat_demand_forecast_profile: ProfileName | None = None
    """The forecast service's profile; None: the profile itself."""
    dead_time_s: Seconds = 0.0
    fallback: Fallback = Fallback.UNCONTROLLED
    """``uncontrolled``: the thermostat."""
    controllable: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_power_kw > self.max_power_kw:
            raise ValueError(f"min_power_kw {self.min_power_kw} is above max_power_kw {self.max_power_kw}")
        if self.soc_min_frac >= self.soc_max_frac:
            raise ValueError(
                f"soc_min_frac {self.soc_min_frac} is not below soc_max_frac {self.soc_max_frac}: the thermostat needs "
                "a band"
            )
        return self

    @property
    def nameplate(self) -> HeatPumpNameplate:
        return HeatPumpNameplate(**self._shared(HeatPumpNameplate))

    @property
    def reverts_to(self) -> Fallback:
        return self.fallback if self.controllable else Fallback.UNCONTROLLED

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        return profiles_given(
            temp_outdoor_profile=self.temp_outdoor_profile,
            temp_outdoor_forecast_profile=self.temp_outdoor_forecast_profile,
            heat_demand_profile=self.heat_demand_profile,
            heat_demand_forecast_profile=self.heat_demand_forecast_profile,
        )

    @property
    def expected(self) -> tuple[tuple[Quantity, ProfileName], ...]:
        return (
            (Quantity.TEMP_OUTDOOR, self.temp_outdoor_forecast_profile or self.temp_outdoor_profile),
            (Quantity.HEAT_DEMAND, self.heat_demand_forecast_profile or self.heat_demand_profile),
        )
