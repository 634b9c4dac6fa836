"""birth and state: who a participant is, what it can do, and whether it is there."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.capabilities import COMMANDED, Capabilities, Capability
from schemas.messages.stamp import Body
from schemas.units import Efficiency, PositiveKw, RampRate, Seconds, SocFrac


class TimeMode(StrEnum):
    """How simulated time may pass: barrier by barrier, or along the machine's clock (times a factor)."""

    LOCKSTEP = "lockstep"
    WALL = "wall"


class Fallback(StrEnum):
    """Behaviour of a device that has no valid set-point."""

    IDLE = "idle"
    """0 kW (a PV inverter: produces nothing)."""
    UNCONTROLLED = "uncontrolled"
    """As without an EMS: a charger charges with its ``fallback_kw``, a PV inverter is not curtailed."""
    HOLD = "hold"
    """Keeps the last set-point."""


class MeterRole(StrEnum):
    PCC = "pcc"
    LOAD = "load"
    SUBMETER = "submeter"


class DeviceNameplate(Body):
    """Base of all nameplates. What a kind does not override, it does not have."""

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of a device with this nameplate."""
        return frozenset()

    @property
    def draws_kw(self) -> float:
        """The most power that it draws from the bus [kW]."""
        return 0.0

    @property
    def gives_kw(self) -> float:
        """The most power that it gives to the bus [kW, a magnitude]."""
        return 0.0

    def draws_on(self, fallback: Fallback) -> float:
        """The most power that it draws from the bus on this fallback [kW]."""
        return self.draws_kw if fallback is Fallback.HOLD or not self.commanded else 0.0

    def gives_on(self, fallback: Fallback) -> float:
        """The most power that it gives to the bus on this fallback [kW, a magnitude]."""
        return self.gives_kw if fallback is Fallback.HOLD or not self.commanded else 0.0

    @property
    def store_kwh(self) -> float | None:
        """Capacity [kWh] of a store that is always there; None: it has none, or a vehicle's."""
        return None

    @property
    def text(self) -> str:
        """The nameplate in a few words, for tables."""
        return ""

    @property
    def commanded(self) -> bool:
        """Whether it takes set-points."""
        return bool(self.capabilities & COMMANDED)


Phases = Literal[1, 3]
"""Phases that a charger charges on."""


class PhaseSwitch(Body):
    """A three-phase charger that can charge on one phase, too. Its other powers are those on three phases."""

    max_charge_kw: PositiveKw
    """Most power on one phase."""
    min_power_kw: PositiveKw
    """Smallest power other than 0 on one phase."""
    pause_s: Seconds
    """For so long charging is interrupted when the phases are switched."""
    hold_s: Seconds
    """Least time between two switches."""


class ChargerNameplate(DeviceNameplate):
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
    ramp_kw_per_s: RampRate | None = None
    """Greatest rate at which the power moves; None: it follows at once, or nothing is known of it."""
    controllable: bool = True
    fallback_kw: PositiveKw | None = None
    """Most power on the fallback ``uncontrolled``; None: ``max_charge_kw``. Not used unless ``controllable``."""
    taper_start_soc_frac: SocFrac | None = None
    """SOC from which on the vehicles' charging power falls linearly (constant voltage); None: it does not, or nothing
    is known of it."""
    taper_end_power_frac: SocFrac = 0.05
    """The part of the full power that is left at SOC 1."""
    phase_switch: PhaseSwitch | None = None
    """Left out: it does not switch its phases, and ``phases`` says how many it has."""

    @model_validator(mode="after")
    def _switches_from_three_phases(self) -> Self:
        switch = self.phase_switch
        if switch is None:
            return self
        if self.phases != 3:
            raise ValueError("phase_switch is given, but the charger has 1 phase; its phases are those it has at most")
        if self.max_discharge_kw > 0:
            raise ValueError(f"phase_switch is given, but max_discharge_kw is {self.max_discharge_kw}: it is one-way")
        if not 0 < switch.min_power_kw <= switch.max_charge_kw <= self.max_charge_kw:
            raise ValueError(
                f"phase_switch: min_power_kw {switch.min_power_kw} and max_charge_kw {switch.max_charge_kw} are to be "
                f"above 0, in this order, and at most max_charge_kw {self.max_charge_kw} of three phases"
            )
        if switch.min_power_kw > self.min_power_kw:
            raise ValueError(
                f"phase_switch: min_power_kw {switch.min_power_kw} is above min_power_kw {self.min_power_kw} of three "
                "phases"
            )
        return self

    @property
    def smallest_kw(self) -> float:
        """Smallest power other than 0, on whichever phases [kW]."""
        return self.min_power_kw if self.phase_switch is None else self.phase_switch.min_power_kw

    def range_kw(self, phases: Phases) -> tuple[float, float]:
        """Smallest and most charging power [kW] on these phases of a charger that switches them."""
        if phases == 1 and self.phase_switch is not None:
            return self.phase_switch.min_power_kw, self.phase_switch.max_charge_kw
        return self.min_power_kw, self.max_charge_kw

    def phases_for(self, power_kw: float, present: Phases) -> Phases:
        """The phases on which a power [kW] is charged: the present ones if they can, else those that can.

        Between the most of one phase and the least of three none can: then one phase, which gives less than is asked.
        """
        least, most = self.range_kw(present)
        if self.phase_switch is None or power_kw < self.smallest_kw or least <= power_kw <= most:
            return present
        return 3 if power_kw >= self.min_power_kw else 1

    @property
    def bidirectional(self) -> bool:
        return self.max_discharge_kw > 0

    @property
    def capabilities(self) -> Capabilities:
        found = {Capability.STORAGE, Capability.VEHICLES}
        if not self.controllable:
            found.add(Capability.FIXED_LOAD)
        else:
            found |= {Capability.FLEXIBLE_LOAD, *((Capability.TWO_WAY,) if self.bidirectional else ())}
        if self.phases == 1:
            found.add(Capability.SINGLE_PHASE)
        return frozenset(found)

    @property
    def draws_kw(self) -> float:
        return self.max_charge_kw

    @property
    def gives_kw(self) -> float:
        return self.max_discharge_kw if self.controllable else 0.0

    @property
    def uncontrolled_kw(self) -> float:
        """The power with which it charges on the fallback ``uncontrolled``, or if it is not controllable [kW]."""
        if self.fallback_kw is None or not self.controllable:
            return self.max_charge_kw
        return min(self.fallback_kw, self.max_charge_kw)

    def draws_on(self, fallback: Fallback) -> float:
        return self.uncontrolled_kw if fallback is Fallback.UNCONTROLLED else super().draws_on(fallback)

    @property
    def text(self) -> str:
        if self.max_discharge_kw == self.max_charge_kw:
            way = f"±{self.max_charge_kw:.4g} kW"
        else:
            way = f"{self.max_charge_kw:.4g} kW"
            way += f", back {self.max_discharge_kw:.4g} kW" if self.bidirectional else ", one-way"
        switches = "" if self.phase_switch is None else f", or {self.phase_switch.max_charge_kw:.4g} kW on one phase"
        return f"{way}{switches}, {self.current.upper()}" + ("" if self.controllable else ", uncontrolled")


class BessNameplate(DeviceNameplate):
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
    ramp_kw_per_s: RampRate | None = None

    @property
    def capabilities(self) -> Capabilities:
        return frozenset({Capability.STORAGE, Capability.FLEXIBLE_LOAD, Capability.TWO_WAY})

    @property
    def draws_kw(self) -> float:
        return self.max_charge_kw

    @property
    def gives_kw(self) -> float:
        return self.max_discharge_kw

    @property
    def store_kwh(self) -> float:
        return self.capacity_kwh

    @property
    def text(self) -> str:
        return (
            f"{self.capacity_kwh:g} kWh, charges {self.max_charge_kw:.4g} kW, discharges "
            f"{self.max_discharge_kw:.4g} kW, SOC {self.soc_min_frac:.0%} to {self.soc_max_frac:.0%}"
        )


class HeatPumpNameplate(DeviceNameplate):
    """A heat pump with a thermal buffer. Powers are electrical; SOC is a fraction of the buffer's heat.

    SOC 0 is the temperature at which the buffer loses nothing and gives nothing, SOC 1 that of a full buffer, and heat
    is proportional to temperature in between: the band from ``soc_min_frac`` to ``soc_max_frac`` is one of temperature.
    """

    type: Literal["heatpump"] = "heatpump"
    max_power_kw: PositiveKw
    min_power_kw: PositiveKw = 0.0
    """Smallest power other than 0; below it the compressor pauses."""
    buffer_kwh: Annotated[float, Field(gt=0, le=1e6)]
    """Heat from SOC 0 to 1."""
    loss_frac_per_h: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Standing losses: part of the stored heat that is lost in an hour."""
    soc_min_frac: SocFrac
    soc_max_frac: SocFrac
    """The comfort band. Without an EMS the thermostat starts at its lower end and stops at its upper end."""
    supply_temp_c: Annotated[float, Field(ge=20, le=90)] = 45.0
    """Temperature of the heat that it delivers."""
    quality_grade: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Part of Carnot's coefficient of performance that it reaches."""
    cop_max: Annotated[float, Field(ge=1, le=20)] = 6.0
    dead_time_s: Seconds = 0.0
    controllable: bool = True
    """False: it follows its thermostat and takes no set-points."""

    @property
    def capabilities(self) -> Capabilities:
        load = Capability.FLEXIBLE_LOAD if self.controllable else Capability.FIXED_LOAD
        return frozenset({Capability.STORAGE, Capability.HEAT, load})

    @property
    def draws_kw(self) -> float:
        return self.max_power_kw

    def draws_on(self, fallback: Fallback) -> float:
        return self.max_power_kw if fallback is Fallback.UNCONTROLLED else super().draws_on(fallback)

    @property
    def store_kwh(self) -> float:
        return self.buffer_kwh

    @property
    def text(self) -> str:
        return (
            f"{self.max_power_kw:.4g} kW, buffer {self.buffer_kwh:g} kWh of heat, SOC {self.soc_min_frac:.0%} to "
            f"{self.soc_max_frac:.0%}" + ("" if self.controllable else ", uncontrolled")
        )

    def cop(self, temp_outdoor_c: float) -> float:
        """Coefficient of performance (heat per electricity) at an outdoor temperature [°C].

        Notes
        -----
        COP = η · T_s / (T_s − T_o) with temperatures in K, at least 1 (a heating rod) and at most ``cop_max``: the
        Carnot efficiency times a quality grade η, as in `oemof.thermal.compression_heatpumps_and_chillers.calc_cops`,
        where η = 0.4 stands for an air-source heat pump.
        """
        lift_k = self.supply_temp_c - temp_outdoor_c
        if lift_k <= 0:
            return self.cop_max
        return min(max(self.quality_grade * (self.supply_temp_c + 273.15) / lift_k, 1.0), self.cop_max)


class PvNameplate(DeviceNameplate):
    """A PV inverter with its generator."""

    type: Literal["pv"] = "pv"
    rated_kw: PositiveKw
    """AC rating of the inverter."""
    curtailable: bool

    @property
    def capabilities(self) -> Capabilities:
        return frozenset({Capability.GENERATION, *((Capability.CURTAILABLE,) if self.curtailable else ())})

    @property
    def gives_kw(self) -> float:
        return self.rated_kw

    def gives_on(self, fallback: Fallback) -> float:
        return self.rated_kw if fallback is Fallback.UNCONTROLLED else super().gives_on(fallback)

    @property
    def text(self) -> str:
        return f"{self.rated_kw:.4g} kW" + (", curtailable" if self.curtailable else "")


class MeterNameplate(DeviceNameplate):
    """A meter; the network twin is one with the role ``pcc``."""

    type: Literal["meter"] = "meter"
    role: MeterRole

    @property
    def capabilities(self) -> Capabilities:
        return frozenset({Capability.FIXED_LOAD if self.role is MeterRole.LOAD else Capability.METERING})

    @property
    def text(self) -> str:
        return f"role {self.role}"


class ServiceNameplate(DeviceNameplate):
    """A participant without power: EMS, recorder, forecast, tariff, clock."""

    type: Literal["service"] = "service"

    @property
    def text(self) -> str:
        return "service"


Nameplate = Annotated[
    ChargerNameplate | BessNameplate | HeatPumpNameplate | PvNameplate | MeterNameplate | ServiceNameplate,
    Field(discriminator="type"),
]


def _in_order(capabilities: Iterable[Capability]) -> tuple[Capability, ...]:
    """Each once, in the order of `Capability`."""
    found = set(capabilities)
    return tuple(capability for capability in Capability if capability in found)


def _of_nameplate(data: dict[str, Any]) -> tuple[Capability, ...]:
    return _in_order(data["nameplate"].capabilities)


class Birth(Body):
    """Who I am and what I can do. The EMS knows devices only through this."""

    nameplate: Nameplate
    capabilities: Annotated[tuple[Capability, ...], Field(max_length=100, strict=False), AfterValidator(_in_order)] = (
        Field(default_factory=_of_nameplate)
    )
    """Capabilities. Left out: exactly those that the nameplate implies."""
    telemetry_period_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Wall time only; in lock-step every step has one telemetry. None: this participant sends none."""
    heartbeat_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Wall time only: a ``metric`` comes at least that often, in seconds of the machine. After three periods without a
    message the participant counts as silent, and an alarm names it. Left out: it has no heartbeat."""
    time_modes: Annotated[tuple[TimeMode, ...], Field(min_length=1, strict=False)]
    fallback: Fallback = Fallback.IDLE
    """In force before the first set-point."""
    software: Annotated[str, Field(max_length=100)]
    store_and_forward: bool | None = None
    """Wall time: True when it keeps what it sent on disk until a `receipt` names it as stored, and sends again what was
    lost. Left out: it does not."""

    @model_validator(mode="after")
    def _capabilities_are_the_nameplates(self) -> Self:
        implied = _of_nameplate({"nameplate": self.nameplate})
        if self.capabilities != implied:
            raise ValueError(
                f"capabilities {_text(self.capabilities)} do not agree with the nameplate, "
                f"which implies {_text(implied)}"
            )
        return self


def _text(capabilities: Iterable[Capability]) -> str:
    return ", ".join(capabilities) or "none"


class Presence(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"
    FAULT = "fault"


class State(Body):
    """Whether the sender of the same ``boot`` is there. ``offline`` comes from its last will, too."""

    state: Presence
    reason: Annotated[str, Field(max_length=500)] | None = None
