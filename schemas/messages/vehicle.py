"""The vehicle at a plug, or expected there: everything about it is optional, and each value has a provenance."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.messages.birth import Phases
from schemas.messages.stamp import Body, DeviceId
from schemas.units import Kwh, PositiveKw, SocFrac, UtcTime


class Provenance(StrEnum):
    """Where a value comes from."""

    MEASURED = "measured"
    """By the vehicle's battery management, or by the charger."""
    STATED = "stated"
    """By the vehicle, its driver or a booking."""
    ASSUMED = "assumed"
    """Nobody measured or said it."""


class VehicleValue(StrEnum):
    """A value that has a provenance."""

    SOC = "soc_frac"
    CAPACITY = "capacity_kwh"
    ARRIVAL_SOC = "arrival_soc_frac"
    DEPARTURE = "departure"
    TARGET_SOC = "target_soc_frac"
    ENERGY_WANTED = "energy_wanted_kwh"
    SOC_MIN = "soc_min_frac"
    SOC_MAX = "soc_max_frac"
    MAX_CHARGE = "max_charge_kw"
    MAX_DISCHARGE = "max_discharge_kw"
    DISCHARGE_SESSION = "max_discharge_session_kwh"
    DISCHARGE_DAY = "max_discharge_day_kwh"


class VehicleValues(Body):
    """A vehicle, as far as it is known. A value that is not known is left out, never made up."""

    vehicle: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    capacity_kwh: Annotated[float, Field(gt=0, le=10_000)] | None = None
    arrival_soc_frac: SocFrac | None = None
    departure: UtcTime | None = None
    """As announced; the driver may leave at any time."""
    target_soc_frac: SocFrac | None = None
    energy_wanted_kwh: Kwh | None = None
    """AC energy wanted between arrival and departure, at the charger's meter."""
    soc_min_frac: SocFrac | None = None
    """Left out: 0."""
    soc_max_frac: SocFrac | None = None
    """Left out: 1."""
    max_charge_kw: PositiveKw | None = None
    """Left out: the charger's rating, and likewise below."""
    max_discharge_kw: PositiveKw | None = None
    """0: V2G is not allowed."""
    max_discharge_session_kwh: Kwh | None = None
    """Most AC energy that it gives back between arrival and departure, at the charger's meter. Left out: no such cap,
    and likewise below."""
    max_discharge_day_kwh: Kwh | None = None
    """Likewise on a local day of the site."""
    phases: Phases | None = None
    """Phases of its charger on board. Left out: as many as the charger has."""
    priority: bool | None = None
    """Its target is met before those of vehicles without it, where not all can be. Left out: no."""


class PluggedVehicle(VehicleValues):
    """A vehicle at the plug. An ordinary AC car says nothing: ``{}`` is a whole message about it.

    What is known then is what the charger counts. Counters left out are replaced by the differences of the charger's
    registers since the vehicle was first seen.
    """

    soc_frac: SocFrac | None = None
    arrival: UtcTime | None = None
    """When it was plugged."""
    charged_kwh: Kwh | None = None
    """AC energy into this vehicle since it arrived."""
    discharged_kwh: Kwh | None = None
    """AC energy out of this vehicle since it arrived."""
    discharged_day_kwh: Kwh | None = None
    """AC energy out of this vehicle on this local day, in earlier charging sessions at this charger, too."""
    sources: dict[VehicleValue, Provenance] | None = None
    """Where the values come from that are not of the ordinary provenance, see `source`."""

    def source(self, value: VehicleValue) -> Provenance:
        """The provenance of a value; unless ``sources`` says otherwise, the SOC is measured and all else is stated."""
        ordinary = Provenance.MEASURED if value is VehicleValue.SOC else Provenance.STATED
        return (self.sources or {}).get(value, ordinary)

    def continues(self, before: "PluggedVehicle") -> bool:
        """Whether this is the same charging session as in an earlier telemetry, the plug having been taken throughout.

        Another vehicle or another arrival is another session. Where no arrival is given, so are counters that fell.
        """
        if None not in (self.vehicle, before.vehicle) and self.vehicle != before.vehicle:
            return False
        if self.arrival is not None and before.arrival is not None:
            return self.arrival == before.arrival
        counters = ((before.charged_kwh, self.charged_kwh), (before.discharged_kwh, self.discharged_kwh))
        return not any(then is not None and now is not None and now < then for then, now in counters)


class DepartedVehicle(PluggedVehicle):
    """A vehicle that was unplugged, as it was at that instant."""

    left: UtcTime
    """When it was unplugged; ``departure`` stays what had been announced."""


class ExpectedChargingSession(VehicleValues):
    """A charging session that is expected on a charger."""

    charger: DeviceId
    arrival: UtcTime

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.departure is not None and self.departure <= self.arrival:
            raise ValueError(f"departure {self.departure} is not after arrival {self.arrival}")
        return self
