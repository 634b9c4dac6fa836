"""limit: how much power somebody outside the site allows it, at the PCC or in a named group of devices."""

from typing import Annotated

from pydantic import Field, model_validator

from schemas.messages.stamp import Command, DeviceId
from schemas.units import PositiveKw, UtcTime

HEARTBEATS = 2
"""After so many heartbeat periods without a message the heartbeat has stopped."""


class Limit(Command):
    """The most power that may be imported and exported while it is valid, in the half-open [valid_from, valid_until).

    Retained; a sender has one limit, and each message replaces the one before. Of several senders the strictest holds.
    With ``heartbeat_s`` the message is repeated, and when it stops, the failsafe values hold instead.
    """

    group: DeviceId | None = None
    """Name of a group of ``ems.cable_limits`` in the site description. None: all of the site, at the PCC."""
    source: Annotated[str, Field(min_length=1, max_length=100)]
    """Who demands it, in words: the grid operator's control box, an OpenADR event, a relay."""
    valid_from: UtcTime
    valid_until: UtcTime | None = None
    """None: until another message of this sender. After its end there is no limit, and no failsafe."""
    import_kw: PositiveKw | None = None
    """Mean power drawn from the grid, or by the group; None: not limited."""
    export_kw: PositiveKw | None = None
    """Mean power fed into the grid, or by the group; None: not limited."""
    heartbeat_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Period at which the message comes again at the latest. After two periods without one the heartbeat has stopped.
    None: it comes once and holds by itself."""
    failsafe_import_kw: PositiveKw | None = None
    """In place of ``import_kw`` while the heartbeat has stopped; None: then ``import_kw`` holds on."""
    failsafe_export_kw: PositiveKw | None = None

    @property
    def is_withdrawal(self) -> bool:
        """Whether it limits nothing, with a heartbeat or without."""
        return (self.import_kw, self.export_kw, self.failsafe_import_kw, self.failsafe_export_kw) == (None,) * 4

    @model_validator(mode="after")
    def _consistent(self) -> "Limit":
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            raise ValueError(f"valid_until {self.valid_until} is not after valid_from {self.valid_from}")
        failsafe = (self.failsafe_import_kw, self.failsafe_export_kw)
        if self.heartbeat_s is None and failsafe != (None, None):
            raise ValueError("a failsafe needs heartbeat_s: without a heartbeat nothing can stop")
        return self
