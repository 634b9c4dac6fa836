"""setpoint and ack: what the EMS asks of a device, and what the device made of it."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from schemas.messages.birth import Fallback, Phases
from schemas.messages.stamp import Body, Command
from schemas.units import Kw, PositiveKw, UtcTime

EPOCH_STEP_MOST = 1_000_000
"""An epoch that is higher than the highest known one by more than this is refused: a mistake, or an attack. So one
wrong set-point cannot put the epoch out of reach of the EMS that leads, which needs one for each of its starts."""
VALIDITY_MOST = timedelta(hours=48)
"""A set-point that ends later than this after it came is refused: nobody is to hold a device for ever."""
SETPOINTS_AHEAD_MOST = 200
"""Set-points of one device that may lie ahead; two days of quarter-hours. Beyond, the farthest ahead is given up."""

SetpointId = Annotated[str, Field(min_length=1, max_length=64)]


class SetpointCause(StrEnum):
    """Why the EMS asks for what it asks for."""

    PRICE = "price"
    """Energy is cheaper, or worth more, at another time; of an inverter: the price of a sale is negative."""
    PV_SURPLUS = "pv_surplus"
    """It takes production that the site does not need now."""
    TARGET = "target"
    """A vehicle's target at its departure, a BESS's at midnight, the comfort band of a buffer."""
    LIMIT = "limit"
    """A limit of the connection, the network, a group or from outside; ``element`` of the plan's device names it."""
    PEAK = "peak"
    """The month's highest import, which costs a demand charge."""
    RESERVE = "reserve"
    """The store is at the least SOC allowed, or below it."""
    FULL = "full"
    """The store is at the highest SOC allowed."""
    CALENDAR_WEAR = "calendar_wear"
    """It charges later at no lower price: the emptier a battery rests, the less it ages."""
    CALM = "calm"
    """Another power would gain less than a change is to gain (``ems.calm``)."""
    NO_VEHICLE = "no_vehicle"
    """Nothing is plugged."""
    NO_METER = "no_meter"
    """Nobody measures the PCC."""
    PREVIOUS_PLAN = "previous_plan"
    """There is no new plan."""
    REQUEST = "request"
    """A person asked for it (``ems.requests``)."""
    FALLBACK = "fallback"
    """There is no plan; the device's fallback would exceed a limit from outside, or hold a power that nobody wants."""


class Setpoint(Command):
    """A set-point, valid in the half-open interval [valid_from, valid_until); then ``fallback`` holds.

    Exactly one of ``power_kw`` (chargers, BESS; sign of `schemas.units`) and ``limit_kw`` (PV: greatest production,
    a magnitude).
    """

    id: SetpointId
    epoch: Annotated[int, Field(ge=0)]
    """Of the EMS that leads; a device refuses lower ones than it has seen, and steps of more than 1,000,000.

    An EMS that is started, or started again, leads by a higher one (`services.ems.leadership`). 0 in lock-step.
    """
    valid_from: UtcTime
    valid_until: UtcTime
    power_kw: Kw | None = None
    limit_kw: PositiveKw | None = None
    phases: Phases | None = None
    """On which a charger that can switch them is to charge. Left out: it keeps those that it has if they can do
    ``power_kw``, and switches them if only the others can."""
    fallback: Fallback
    reason: Annotated[str, Field(max_length=500)] | None = None
    cause: SetpointCause | None = None
    """Left out: not known, or not of an optimisation."""
    energy_eur_per_kwh: float | None = None
    """What another kWh would cost at the site's bus in the step that is commanded: the shadow price. Left out: not
    known."""

    @model_validator(mode="after")
    def _consistent(self) -> "Setpoint":
        if self.valid_until <= self.valid_from:
            raise ValueError(f"valid_until {self.valid_until} is not after valid_from {self.valid_from}")
        if (self.power_kw is None) == (self.limit_kw is None):
            raise ValueError("exactly one of power_kw and limit_kw is to be given")
        return self


class Ack(Body):
    """Answer to a set-point. ``applied_kw`` or ``applied_limit_kw`` is what the device will really do.

    A set-point that was accepted and lies ahead may be given up later, when too many are: then a second answer says so.
    """

    id: SetpointId
    accepted: bool
    applied_kw: Kw | None = None
    applied_limit_kw: PositiveKw | None = None
    phases: Phases | None = None
    """On which a charger that can switch them will charge."""
    reason: Annotated[str, Field(max_length=500)] | None = None
    """Why the set-point was refused, or why what is applied differs from it."""
    epoch: Annotated[int, Field(ge=0)] | None = None
    """The highest epoch that the device has seen, where it refuses a set-point for its epoch."""
