"""request: what persons ask the EMS for: a set-point of a device by hand, or standby of all."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from schemas.messages.stamp import Command, DeviceId
from schemas.units import Kw, PositiveKw, UtcTime

LEASE_MOST = timedelta(hours=1)
"""A request that holds for longer without being repeated is refused: who asked may be gone."""


class RequestedPower(Command):
    """The power that a person asks of a device. Exactly one of ``power_kw`` and ``limit_kw``, as in a set-point."""

    power_kw: Kw | None = None
    limit_kw: PositiveKw | None = None
    until: UtcTime
    """When the EMS decides again, however often the request is repeated."""

    @property
    def kw(self) -> float:
        """The power or the limit."""
        return (self.power_kw if self.limit_kw is None else self.limit_kw) or 0.0

    @model_validator(mode="after")
    def _one_of_both(self) -> "RequestedPower":
        if (self.power_kw is None) == (self.limit_kw is None):
            raise ValueError("exactly one of power_kw and limit_kw is to be given")
        return self


class Request(Command):
    """All that one sender asks for, valid in the half-open interval [valid_from, valid_until).

    Retained; each message replaces the sender's one before, so one without set-points takes everything back. It is
    repeated before it ends for as long as the sender is there: when the sender dies, the EMS decides again.
    """

    source: Annotated[str, Field(min_length=1, max_length=100)]
    """Who asks, in words."""
    valid_from: UtcTime
    valid_until: UtcTime
    setpoints: Annotated[dict[DeviceId, RequestedPower], Field(max_length=1000)] = Field(default_factory=dict)
    standby_until: UtcTime | None = None
    """Until then the EMS commands nothing: every device follows its fallback, within the limits from outside. None: it
    is to control."""

    @model_validator(mode="after")
    def _bounded(self) -> "Request":
        if not timedelta(0) < self.valid_until - self.valid_from <= LEASE_MOST:
            raise ValueError(
                f"valid_until {self.valid_until} is not after valid_from {self.valid_from}, by an hour at most"
            )
        return self
