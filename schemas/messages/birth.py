"""birth and state: who a participant is, what it can do, and whether it is there."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from schemas.messages.stamp import Body
from schemas.units import Efficiency, PositiveKw, Seconds, SocFrac


class TimeMode(StrEnum):
    """How simulated time may pass: barrier by barrier, or along the machine's clock (times a factor)."""

    LOCKSTEP = "lockstep"
    WALL = "wall"


class Fallback(StrEnum):
    """What a device does when it has no valid set-point."""

    IDLE = "idle"
    """0 kW (a PV inverter: produces nothing)."""
    UNCONTROLLED = "uncontrolled"
    """What it would do without an EMS: a charger charges at full rating, a PV inverter is not curtailed."""
    HOLD = "hold"
    """Keeps the last set-point."""


class MeterRole(StrEnum):
    PCC = "pcc"
    LOAD = "load"
    SUBMETER = "submeter"


class ChargerNameplate(Body):
    """An EVSE. Powers are AC side; efficiencies lie between AC and the vehicle's battery."""

    type: Literal["charger"] = "charger"
    max_charge_kw: PositiveKw
    max_discharge_kw: PositiveKw = 0.0
    """0 for a one-way charger."""
    min_power_kw: PositiveKw = 0.0
    """Smallest power other than 0, in either direction (IEC 61851: 6 A); below it the charger pauses."""
    charge_efficiency: Efficiency
    discharge_efficiency: Efficiency
    current: Literal["dc", "ac"] = "dc"
    phases: Literal[1, 3] = 3
    dead_time_s: Seconds = 0.0
    """Between receiving a set-point and following it; the old one is held meanwhile."""
    controllable: bool = True

    @property
    def bidirectional(self) -> bool:
        return self.max_discharge_kw > 0


class BessNameplate(Body):
    """A stationary battery. Powers are AC side; efficiencies lie between AC and the cells."""

    type: Literal["bess"] = "bess"
    capacity_kwh: Annotated[float, Field(gt=0, le=1e6)]
    max_charge_kw: PositiveKw
    max_discharge_kw: PositiveKw
    charge_efficiency: Efficiency
    discharge_efficiency: Efficiency
    soc_min_frac: SocFrac
    soc_max_frac: SocFrac
    dead_time_s: Seconds = 0.0


class PvNameplate(Body):
    """A PV inverter with its generator."""

    type: Literal["pv"] = "pv"
    rated_kw: PositiveKw
    """AC rating of the inverter."""
    curtailable: bool


class MeterNameplate(Body):
    """A meter; the network twin is one with the role ``pcc``."""

    type: Literal["meter"] = "meter"
    role: MeterRole


class ServiceNameplate(Body):
    """A participant without power: EMS, recorder, forecast, tariff, clock."""

    type: Literal["service"] = "service"


Nameplate = Annotated[
    ChargerNameplate | BessNameplate | PvNameplate | MeterNameplate | ServiceNameplate, Field(discriminator="type")
]


class Birth(Body):
    """Who I am and what I can do. The EMS knows devices only through this."""

    nameplate: Nameplate
    telemetry_period_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Wall time only; in lock-step every step has one telemetry. None: this participant sends none."""
    time_modes: Annotated[tuple[TimeMode, ...], Field(min_length=1, strict=False)]
    fallback: Fallback = Fallback.IDLE
    """In force before the first set-point."""
    software: Annotated[str, Field(max_length=100)]


class Presence(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"
    FAULT = "fault"


class State(Body):
    """Whether the sender of the same ``boot`` is there. ``offline`` comes from its last will, too."""

    state: Presence
    reason: Annotated[str, Field(max_length=500)] | None = None
