"""A meter: of the PCC, of a load, or a submeter of what others measure, too."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.messages import MeterNameplate, MeterRole, Quantity
from schemas.site.devices.base import Device, PhaseName, check_phase, profiles_given
from schemas.site.profile import ProfileName


class Meter(Device):
    kind: Literal["meter"] = "meter"
    role: MeterRole = MeterRole.LOAD
    profile: ProfileName | None = None
    """The measured profile, in simulation; a real PCC meter has none."""
    forecast_profile: ProfileName | None = None
    """The forecast service's profile; None: the profile itself."""
    power_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Lagging: the load draws reactive power as well."""
    phases: Literal[1, 3] = 3
    phase: PhaseName | None = None
    """As of a charger."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_phase(self.phase, self.phases, "meter's load")
        return self

    @property
    def nameplate(self) -> MeterNameplate:
        return MeterNameplate(role=self.role)

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        return profiles_given(profile=self.profile, forecast_profile=self.forecast_profile)

    @property
    def expected(self) -> tuple[tuple[Quantity, ProfileName], ...]:
        profile = self.forecast_profile or self.profile
        return () if profile is None or self.role is not MeterRole.LOAD else ((Quantity.LOAD, profile),)
