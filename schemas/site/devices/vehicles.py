"""Vehicles and their charging sessions: what is simulated, what it says, what the EMS assumes where it says nothing."""

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from schemas.messages import Phases
from schemas.site.base import SitePart
from schemas.units import PositiveKw, SocFrac, UtcTime

Weekday = Annotated[int, Field(ge=0, le=6)]
CapKwh = Annotated[float, Field(ge=0, le=10_000)]

VehicleReport = Literal["vehicle", "soc", "capacity", "departure", "target", "energy", "limits"]
"""What a vehicle says: its identifier, its SOC now and on arrival, its capacity, the driver's departure, the SOC wanted
then, the energy wanted until then, its bounds of SOC and power with its phases."""

REPORTED_LIMITS = (
    "soc_min_frac",
    "soc_max_frac",
    "max_charge_kw",
    "max_discharge_kw",
    "max_discharge_session_kwh",
    "max_discharge_day_kwh",
    "phases",
)
"""Fields of a vehicle that it says with the report ``limits``."""


class Vehicle(SitePart):
    """A simulated vehicle, of which everything is known. SOC is a fraction of ``capacity_kwh``."""

    capacity_kwh: Annotated[float, Field(gt=0, le=10_000)]
    arrival_soc_frac: SocFrac
    target_soc_frac: SocFrac
    """At departure, equation (6)."""
    soc_min_frac: SocFrac = 0.0
    soc_max_frac: SocFrac = 1.0
    max_charge_kw: PositiveKw | None = None
    max_discharge_kw: PositiveKw | None = None
    """0: V2G is not allowed."""
    max_discharge_session_kwh: CapKwh | None = None
    """Most AC energy that it gives back in a charging session; None: no such cap."""
    max_discharge_day_kwh: CapKwh | None = None
    """Likewise on a local day."""
    phases: Phases | None = None
    """Phases of its charger on board, at a charger that switches them: with 1 it charges on one phase alone. None: as
    many as the charger has."""
    priority: bool = False
    """Its target is met before those of vehicles without it, where not all can be."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        low, high = self.soc_min_frac, self.soc_max_frac
        if low > high:
            raise ValueError(f"soc_min_frac {low} is above soc_max_frac {high}")
        for name in ("arrival_soc_frac", "target_soc_frac"):
            if not 0 <= getattr(self, name) <= high:
                raise ValueError(f"{name} {getattr(self, name)} is above soc_max_frac {high}")
        return self


WEEK = timedelta(days=7)


class DailyChargingSession(Vehicle):
    """The same vehicle on the same local hours of every day (or of the weekdays of its arrival given, Monday = 0).

    A departure before the arrival is one of the next day.
    """

    vehicle: Annotated[str, Field(min_length=1, max_length=64)]
    arrival: time
    departure: time
    weekdays: tuple[Weekday, ...] = (0, 1, 2, 3, 4, 5, 6)

    @model_validator(mode="after")
    def _departs_after_arrival(self) -> Self:
        if self.arrival.tzinfo or self.departure.tzinfo:
            raise ValueError(f"arrival {self.arrival} and departure {self.departure} are local hours, without a zone")
        if self.departure == self.arrival:
            raise ValueError(f"departure {self.departure} is the arrival; one before it is of the next day")
        return self

    @property
    def overnight(self) -> bool:
        return self.departure < self.arrival

    def meets(self, other: "DailyChargingSession") -> bool:
        """Whether the two share a time of the week, of which Sunday's night goes on on Monday."""
        return any(
            (start - begin) % WEEK < length or (begin - start) % WEEK < duration
            for begin, length in self._of_week
            for start, duration in other._of_week
        )

    @property
    def _of_week(self) -> tuple[tuple[timedelta, timedelta], ...]:
        """Arrivals since Monday 00:00 and durations, as if no clock changed."""
        begin, end = (
            timedelta(hours=t.hour, minutes=t.minute, seconds=t.second) for t in (self.arrival, self.departure)
        )
        length = (end - begin) % timedelta(days=1)
        return tuple((timedelta(days=day) + begin, length) for day in self.weekdays)

    def on(self, day: date, zone: ZoneInfo) -> "ChargingSession | None":
        """The session that begins on one local day, if there is one."""
        if day.weekday() not in self.weekdays:
            return None
        arrival = datetime.combine(day, self.arrival, zone).astimezone(UTC)
        leaves = day + timedelta(days=1) if self.overnight else day
        departure = datetime.combine(leaves, self.departure, zone).astimezone(UTC)
        if departure <= arrival:
            return None  # It lies in the hour that the beginning of summer time leaves out.
        shared = {name: getattr(self, name) for name in (*Vehicle.model_fields, "vehicle")}
        return ChargingSession(**shared, arrival=arrival, departure=departure)


class ChargingSession(Vehicle):
    """One vehicle at one plug, from its arrival to its departure."""

    vehicle: Annotated[str, Field(min_length=1, max_length=64)]
    arrival: UtcTime
    departure: UtcTime
    """When it really leaves."""
    announced_departure: UtcTime | None = None
    """Departure that the driver states on arrival; None: the true one."""

    @model_validator(mode="after")
    def _departs_after_arrival(self) -> Self:
        if self.departure <= self.arrival:
            raise ValueError(f"departure {self.departure} is not after arrival {self.arrival}")
        if self.announced_departure is not None and self.announced_departure <= self.arrival:
            raise ValueError(f"announced_departure {self.announced_departure} is not after arrival {self.arrival}")
        return self

    def said(self, reports: Collection[VehicleReport], charge_efficiency: float) -> dict[str, Any]:
        """What a vehicle that reports so much says of this session, by the names of `VehicleValues`."""
        wanted_kwh = (self.target_soc_frac - self.arrival_soc_frac) * self.capacity_kwh / charge_efficiency
        first = {"priority": True} if self.priority else {}
        values: dict[VehicleReport, dict[str, Any]] = {
            "vehicle": {"vehicle": self.vehicle},
            "soc": {"arrival_soc_frac": self.arrival_soc_frac},
            "capacity": {"capacity_kwh": self.capacity_kwh},
            "departure": {"departure": self.announced_departure or self.departure},
            "target": {"target_soc_frac": self.target_soc_frac, **first},
            "energy": {"energy_wanted_kwh": max(wanted_kwh, 0.0), **first},
            "limits": {name: getattr(self, name) for name in REPORTED_LIMITS},
        }
        return {name: value for report in reports for name, value in values[report].items()}


class AssumedVehicle(SitePart):
    """What the EMS assumes of a vehicle that does not say it. What does not stand here is not assumed."""

    capacity_kwh: Annotated[float, Field(gt=0, le=10_000)] | None = None
    arrival_soc_frac: SocFrac | None = None
    target_soc_frac: SocFrac | None = None
    energy_wanted_kwh: Annotated[float, Field(ge=0, le=10_000)] | None = None
    """AC energy at the charger's meter, from arrival to departure."""
    max_discharge_session_kwh: CapKwh | None = None
    """Most AC energy that it gives back in a charging session; 0: V2G is not allowed. The charger keeps to it, too."""
    max_discharge_day_kwh: CapKwh | None = None
    """Likewise on a local day."""
    departure: time | None = None
    """The next such local hour after the arrival."""
    duration_h: Annotated[float, Field(gt=0, le=24 * 14)] | None = None
    """Time from the arrival to the departure."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("nothing is assumed here; leave it out")
        if self.departure is not None and self.duration_h is not None:
            raise ValueError("departure and duration_h are two ways to say one thing; give one")
        if self.departure is not None and self.departure.tzinfo:
            raise ValueError(f"departure {self.departure} is a local hour, without a zone")
        if self.energy_wanted_kwh is not None and self.target_soc_frac is not None:
            raise ValueError("energy_wanted_kwh and target_soc_frac are two ways to say one thing; give one")
        if self.target_soc_frac is not None and self.target_soc_frac < (self.arrival_soc_frac or 0.0):
            raise ValueError(
                f"target_soc_frac {self.target_soc_frac} is below arrival_soc_frac {self.arrival_soc_frac}"
            )
        return self

    def departure_after(self, arrival: datetime, zone: ZoneInfo) -> datetime | None:
        """When a vehicle leaves that arrived then; None: that is not assumed."""
        if self.duration_h is not None:
            return arrival + timedelta(hours=self.duration_h)
        if self.departure is None:
            return None
        day = arrival.astimezone(zone).date()
        while (departs := datetime.combine(day, self.departure, zone).astimezone(UTC)) <= arrival:
            day += timedelta(days=1)
        return departs
