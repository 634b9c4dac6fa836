"""A PV plant, and the sources of its power and of the forecast of it: a profile, a clear sky, irradiance."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.messages import Fallback, PvNameplate
from schemas.site.base import SitePart
from schemas.site.devices.base import Device, PhaseName, check_phase, profiles_given
from schemas.site.profile import ProfileName


class PowerProfile(SitePart):
    """PV power as a profile of AC kW (a magnitude)."""

    type: Literal["power"] = "power"
    profile: ProfileName

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        return (("profile", self.profile),)


class ClearSky(SitePart):
    """PV power of a clear sky (Ineichen and Perez, by pvlib) on a tilted plane."""

    type: Literal["clearsky"] = "clearsky"
    peak_kw: Annotated[float, Field(gt=0, le=1e6)]
    """DC rating at standard test conditions."""
    tilt_deg: Annotated[float, Field(ge=0, le=90)] = 30.0
    azimuth_deg: Annotated[float, Field(ge=0, lt=360)] = 180.0
    """Clockwise from north."""
    system_losses_frac: Annotated[float, Field(ge=0, lt=1)] = 0.14
    temp_air_c: Annotated[float, Field(ge=-60, le=60)] = 20.0

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        return ()


class Irradiance(ClearSky):
    """PV power from profiles of irradiance [W/m²] and air temperature [°C], by pvlib.

    Those by time say with ``interval_label`` whether a value is of an instant or the mean of an interval: the sun's
    position is that of the instant, or of the middle of the interval. Values of a typical day are means of intervals.
    """

    type: Literal["irradiance"] = "irradiance"  # type: ignore[assignment]
    ghi_profile: ProfileName
    """Global horizontal irradiance."""
    dni_profile: ProfileName | None = None
    """Direct normal irradiance, at the times of the global one. None, as the diffuse one: split by Erbs' model."""
    dhi_profile: ProfileName | None = None
    """Diffuse horizontal irradiance, at the times of the global one."""
    temp_air_profile: ProfileName | None = None

    @model_validator(mode="after")
    def _beam_with_diffuse(self) -> Self:
        if (self.dni_profile is None) != (self.dhi_profile is None):
            raise ValueError("dni_profile and dhi_profile belong together: give both or none")
        return self

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        return profiles_given(
            ghi_profile=self.ghi_profile,
            dni_profile=self.dni_profile,
            dhi_profile=self.dhi_profile,
            temp_air_profile=self.temp_air_profile,
        )


PvSource = Annotated[PowerProfile | ClearSky | Irradiance, Field(discriminator="type")]


class Pv(Device):
    kind: Literal["pv"] = "pv"
    rated_kw: Annotated[float, Field(gt=0, le=1e6)]
    """AC limit of the inverter."""
    phases: Literal[1, 3] = 3
    phase: PhaseName | None = None
    """As of a charger."""
    power_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    excitation: Literal["under", "over"] = "under"
    """With a power factor below 1: under-excited, it draws reactive power while it gives active power, which lowers the
    voltage (VDE-AR-N 4105); over-excited, it gives both."""
    curtailable: bool = True
    source: PvSource
    forecast: PvSource
    """The forecast service's source; the paper's is a clear sky."""
    fallback: Fallback = Fallback.UNCONTROLLED

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_phase(self.phase, self.phases, "PV plant")
        return self

    @property
    def nameplate(self) -> PvNameplate:
        return PvNameplate(**self._shared(PvNameplate))

    def reactive_per_active(self) -> float:
        """Reactive power drawn over active power drawn, which is negative."""
        ratio = math.tan(math.acos(self.power_factor))
        return -ratio if self.excitation == "under" else ratio

    @property
    def reverts_to(self) -> Fallback:
        return self.fallback

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        sources = (("source", self.source), ("forecast", self.forecast))
        return tuple((f"{place}.{field}", name) for place, source in sources for field, name in source.profiles_used)
