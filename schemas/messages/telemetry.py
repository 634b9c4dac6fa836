"""telemetry: what a device measures. One body per kind of device; `power_kw` is the value just after `ts`."""

from typing import Annotated, NamedTuple

from pydantic import Field, model_validator

from schemas.messages.birth import Phases
from schemas.messages.stamp import Body
from schemas.messages.vehicle import DepartedVehicle, PluggedVehicle
from schemas.units import Kw, Kwh, PositiveKw, SocFrac, TempC, UtcTime


class Segment(NamedTuple):
    """A piece of constant power: from ``start`` until the next segment's start (the last: until ``ts``)."""

    start: UtcTime
    power_kw: Kw


class Telemetry(Body):
    """The measurements of every device with power.

    Registers only grow, and outlive a life where the device has a memory; settlement uses their differences. A register
    that falls within a life was reset.
    """

    power_kw: Kw
    energy_import_kwh: Kwh | None = None
    energy_export_kwh: Kwh | None = None
    reactive_kvar: Kw | None = None
    voltages_v: Annotated[tuple[float, ...], Field(max_length=3, strict=False)] | None = None
    phase_power_kw: Annotated[tuple[Kw, ...], Field(max_length=3, strict=False)] | None = None
    segments: Annotated[tuple[Segment, ...], Field(strict=False)] | None = None
    """Lock-step only: the pieces of constant power since the last telemetry, in order, without gaps.

    Ramps and tapers are sampled at the twin's fixed sub-step, so the pieces are what really happened, not a summary.
    """

    @model_validator(mode="after")
    def _both_registers_or_none(self) -> "Telemetry":
        if (self.energy_import_kwh is None) != (self.energy_export_kwh is None):
            raise ValueError("energy_import_kwh and energy_export_kwh come together or not at all")
        return self

    @property
    def stored_frac(self) -> float | None:
        """SOC of the device's store, or of the vehicle at its plug; None where there is none."""
        return None

    @property
    def plugged(self) -> "PluggedVehicle | None":
        """The vehicle at the plug, if the device is a charger and there is one."""
        return None

    @property
    def unplugged(self) -> "tuple[DepartedVehicle, ...]":
        """Vehicles that left since the last telemetry, if the device is a charger and publishes it."""
        return ()

    @property
    def could_give_kw(self) -> float | None:
        """Power that it could deliver if it were not curtailed; None where that means nothing."""
        return None


class PhasesSwitched(NamedTuple):
    """When a charger's phases were switched, and to how many."""

    at: UtcTime
    phases: Phases


class ChargerTelemetry(Telemetry):
    vehicle: PluggedVehicle | None = None
    """Left out: nothing is plugged."""
    departed: Annotated[tuple[DepartedVehicle, ...], Field(max_length=1_000, strict=False)] | None = None
    """Vehicles that were unplugged since the last telemetry, in order. Left out when there was none, and by a charger
    that does not know: then a charging session ends where the telemetry stops to show the vehicle."""
    phases: Phases | None = None
    """Phases in use; those on which it would charge while no power flows. Left out: all that its birth says."""
    phases_held_until: UtcTime | None = None
    """Until then it does not switch its phases. Left out: it may."""
    phases_switched: Annotated[tuple[PhasesSwitched, ...], Field(max_length=1_000, strict=False)] | None = None
    """Switches since the last telemetry, in order. Left out when there was none."""

    @property
    def plugged(self) -> PluggedVehicle | None:
        return self.vehicle

    @property
    def unplugged(self) -> tuple[DepartedVehicle, ...]:
        return self.departed or ()

    @property
    def stored_frac(self) -> float | None:
        return None if self.vehicle is None else self.vehicle.soc_frac


class BessTelemetry(Telemetry):
    soc_frac: SocFrac

    @property
    def stored_frac(self) -> float:
        return self.soc_frac


class HeatPumpTelemetry(Telemetry):
    """What a real heat pump does not measure it leaves out; the EMS then goes by forecasts and nameplate."""

    soc_frac: SocFrac
    """Heat in the buffer, as a fraction of the nameplate's ``buffer_kwh``."""
    heat_kw: PositiveKw | None = None
    """Heat into the buffer."""
    cop: Annotated[float, Field(ge=0, le=20)] | None = None
    """Heat per electricity at this outdoor temperature, also while it pauses."""
    temp_outdoor_c: TempC | None = None
    heat_demand_kw: PositiveKw | None = None
    """What the building wants of the buffer."""
    heat_kwh: Kwh | None = None
    """Register of the heat into the buffer."""
    heat_served_kwh: Kwh | None = None
    """Register of the heat that the building got."""
    heat_unserved_kwh: Kwh | None = None
    """Register of the heat that it wanted while the buffer was empty."""

    @property
    def stored_frac(self) -> float:
        return self.soc_frac


class PvTelemetry(Telemetry):
    available_kw: PositiveKw
    """Power that the inverter could deliver just after ``ts`` if it were not curtailed; a magnitude."""

    @property
    def could_give_kw(self) -> float:
        return self.available_kw


class ActualReading(NamedTuple):
    """What a meter of a simulation would publish if it did not lie."""

    power_kw: Kw
    energy_import_kwh: Kwh
    energy_export_kwh: Kwh


class MeterTelemetry(Telemetry):
    actual: ActualReading | None = None
    """In a simulation whose scenario lets the meter lie: what really flows. The network twin alone reads it."""


class NetworkTelemetry(Telemetry):
    """The PCC meter of the simulated network. ``power_kw`` is positive on import.

    In wall time ``ts`` is the instant up to which every device that is present has told; all values and registers are
    of that instant.
    """

    power_factor: Annotated[float, Field(ge=-1, le=1)] | None = None
    """At ``ts``: active over apparent power, P / √(P² + Q²). It has the sign of P: negative on export. Left out
    where hardly any power flows (below 1e-6 kVA)."""
    losses_kw: Kw
    """Cables and transformer at ``ts``."""
    losses_kwh: Kwh
    """Register of the losses."""
    residual_kwh: Annotated[float, Field(ge=-1e9, le=1e9)]
    """PCC register difference minus devices' register differences minus losses, of the interval before ``ts``."""
    voltages_pu: Annotated[dict[str, float], Field(max_length=10_000)]
    """Per node of the network; where phases differ, of the phase that is farthest from 1."""
    loadings_frac: Annotated[dict[str, float], Field(max_length=10_000)]
    """Per cable and transformer, of its rated current or power; of the worst phase where phases differ."""
    element_losses_kw: Annotated[dict[str, float], Field(max_length=10_000)] | None = None
    """Per cable and transformer at ``ts``; their sum is ``losses_kw``."""
    phase_voltages_pu: (
        Annotated[dict[str, Annotated[tuple[float, ...], Field(max_length=3, strict=False)]], Field(max_length=10_000)]
        | None
    ) = None
    """Per node, phases a, b, c to the neutral; on sites with single-phase devices."""
    estimated_losses_kwh: Kwh | None = None
    """The part of this life's losses that is estimated, because no voltages carried the devices' power; left out
    before the first of it."""
    unsolved_s: Annotated[float, Field(ge=0, le=1e12)] | None = None
    """For how long in this life no voltages carried the devices' power; left out before the first of it."""
    actual: ActualReading | None = None
    """As of any meter."""
    missing: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Devices that were there before and did not tell of this interval."""
