"""How the forecast service of a site expects load and PV."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.site.base import SitePart


class ForecastKind(StrEnum):
    PROFILE = "profile"
    """By the devices' ``forecast_profile`` and ``forecast`` source, once a local day."""
    ONLINE = "online"
    """Learned from the telemetry of load meters and inverters, in every step; profiles hold until something is
    known."""
    PERSISTENCE = "persistence"
    """The power of the same local time a day before, in every step: what a forecast is measured against."""


class ForecastOptions(SitePart):
    kind: ForecastKind = ForecastKind.PROFILE
    learned: Annotated[tuple[Literal["load", "pv"], ...], Field(min_length=1)] = ("load", "pv")
    """What is not by profile with the kinds ``online`` and ``persistence``."""
    correction_decay_h: Annotated[float, Field(gt=0, le=48)] = 4.0
    """``online``: time constant with which the correction by what was measured last fades."""
    quantiles: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(max_length=9)] = (0.1, 0.5, 0.9)
    """Levels that are published beside the expected value, rising; ``[]``: none."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if list(self.quantiles) != sorted(set(self.quantiles)):
            raise ValueError(f"quantiles {list(self.quantiles)} do not rise")
        return self
