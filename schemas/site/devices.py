"""The devices of a site: nameplates, and what only a twin needs to know (profiles, sessions, initial state)."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, model_validator

from schemas.messages import (
    BessNameplate,
    ChargerNameplate,
    Fallback,
    HeatPumpNameplate,
    MeterNameplate,
    MeterRole,
    Nameplate,
    Phases,
    PhaseSwitch,
    PvNameplate,
    Quantity,
)
from schemas.site.base import SitePart
from schemas.site.calendar_wear import CalendarWear
from schemas.site.drivers import Driver
from schemas.site.outward import SunspecFace
from schemas.units import Efficiency, PositiveKw, RampRate, Seconds, SocFrac, UtcTime

ProfileName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
Weekday = Annotated[int, Field(ge=0, le=6)]
PhaseName = Literal["a", "b", "c"]


def _given(**profiles: ProfileName | None) -> tuple[tuple[str, ProfileName], ...]:
    """Fields with the profiles that they name, as far as they name one."""
    return tuple((field, name) for field, name in profiles.items() if name is not None)


class Device(SitePart, ABC):
    """Fields of all devices."""

    node: str | None = None
    """Node of the site's network; None: at the main busbar."""
    telemetry_period_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Wall time only."""
    required: bool = True
    """A lock-step run does not begin without it."""
    driver: Driver | None = None
    """How the real device is reached by ``twinswarm drive``; a simulation has its twin."""
    outward: SunspecFace | None = None
    """Where its twin answers by another protocol, too, in wall time."""
    shadow: bool = False
    """A twin runs beside the device, and says where the device parts from its description."""

    @property
    @abstractmethod
    def nameplate(self) -> Nameplate:
        """The nameplate that its twin puts into its birth."""

    @property
    def reverts_to(self) -> Fallback:
        """Behaviour of its twin before the first set-point."""
        return Fallback.IDLE

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        """(field, name) of each profile that it refers to."""
        return ()

    @property
    def expected(self) -> tuple[tuple[Quantity, ProfileName], ...]:
        """What the forecast service tells of it, by profile."""
        return ()

    def _shared(self, nameplate: type[BaseModel]) -> dict[str, Any]:
        """Fields that description and nameplate have in common."""
        return {name: getattr(self, name) for name in nameplate.model_fields if name in type(self).model_fields}


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


CapKwh = Annotated[float, Field(ge=0, le=10_000)]


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


class Taper(SitePart):
    """Charging power falls linearly with SOC, from the full power at ``start_soc_frac`` to ``end_power_frac`` at 1."""

    start_soc_frac: Annotated[float, Field(ge=0, lt=1)]
    end_power_frac: Annotated[float, Field(ge=0, le=1)] = 0.05


class PhaseSwitching(SitePart):
    """A three-phase charger charges on one phase, too."""

    max_charge_kw: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Most power on one phase. None: a third of that on three, the same current."""
    min_power_kw: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Smallest power on one phase. None: a third of that on three, the same current."""
    pause_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    """For so long charging is interrupted while contactors move and the vehicle is asked again."""
    hold_s: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    """Least time between two switches."""


def _check_phase(phase: str | None, phases: int, what: str, *, switches: bool = False) -> None:
    if phase is not None and phases != 1 and not switches:
        raise ValueError(f"phase {phase} is given, but the {what} has {phases} phases")


LEAST_PHASE_KW = 6 * 230 / 1000
"""Least charging power of a phase: 6 A (IEC 61851-1) at 230 V."""


class Charger(Device):
    kind: Literal["charger"] = "charger"
    max_charge_kw: Annotated[float, Field(gt=0, le=10_000)]
    max_discharge_kw: PositiveKw = 0.0
    min_power_kw: PositiveKw = 0.0
    charge_efficiency: Efficiency = 0.95
    discharge_efficiency: Efficiency = 0.95
    current: Literal["dc", "ac"] = "dc"
    phases: Literal[1, 3] = 3
    phase: PhaseName | None = None
    """Where a single-phase device is connected, or which of its phases a charger uses alone that switches them. None:
    the single-phase devices that name none take a, b, c in turn, in the order of their identifiers, and after them
    these chargers."""
    phase_switch: PhaseSwitching | None = None
    """It switches between one and three phases; None: it does not. An empty one takes the ordinary values."""
    dead_time_s: Seconds = 0.0
    ramp_kw_per_s: RampRate | None = None
    """None: power follows at once (after the dead time)."""
    taper: Taper | None = None
    sub_step_s: Annotated[float, Field(gt=0, le=900)] = 10.0
    """Sampling of ramps and tapers; power is constant within it."""
    fallback: Fallback = Fallback.UNCONTROLLED
    fallback_kw: PositiveKw | None = None
    """Most power on the fallback ``uncontrolled``. None: a one-way charger's full power; of a bidirectional one the
    least with which a vehicle charges at all, 6 A a phase (IEC 61851-1) or ``min_power_kw``."""
    controllable: bool = True
    """False: charges as soon as a vehicle is plugged, until its target; the EMS treats it as a load."""
    sessions: tuple[ChargingSession, ...] = ()
    daily: tuple[DailyChargingSession, ...] = ()
    reports: tuple[VehicleReport, ...] = ("vehicle", "soc", "capacity", "departure", "target", "limits")
    """What the simulated vehicles say; ``[]`` is an ordinary AC car, of which only the energy is known that was
    charged."""
    assume: AssumedVehicle | None = None
    """What the EMS assumes of a vehicle here that does not say it. Without it, a vehicle whose departure or energy
    wanted is not known is left to the charger's fallback."""
    calendar_wear: CalendarWear | None = None
    """Of the vehicles here, while they are plugged; None: it has no price."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_power_kw > self.max_charge_kw:
            raise ValueError(f"min_power_kw {self.min_power_kw} is above max_charge_kw {self.max_charge_kw}")
        if self.fallback_kw is not None and self.fallback_kw > self.max_charge_kw:
            raise ValueError(f"fallback_kw {self.fallback_kw} is above max_charge_kw {self.max_charge_kw}")
        switch = self.stated_phase_switch
        least_kw = self.min_power_kw if switch is None else switch.min_power_kw
        if self.fallback_kw is not None and 0 < self.fallback_kw < least_kw:
            raise ValueError(
                f"fallback_kw {self.fallback_kw} is below min_power_kw {least_kw}, and the charger would "
                "pause; 0 is allowed, or at least that"
            )
        self._check_phases()
        if len(set(self.reports)) < len(self.reports):
            raise ValueError(f"reports names something twice: {', '.join(self.reports)}")
        if self.current == "ac" and self.max_discharge_kw > 0 and self.phases == 1 and self.max_discharge_kw > 7.4:
            raise ValueError(f"max_discharge_kw {self.max_discharge_kw} is above 7.4 kW, the most of one phase at 32 A")
        ordered = sorted(self.sessions, key=lambda session: session.arrival)
        for before, after in itertools.pairwise(ordered):
            if after.arrival < before.departure:
                raise ValueError(
                    f"sessions overlap: {after.vehicle} arrives {after.arrival} before {before.vehicle} "
                    f"leaves {before.departure}"
                )
        for one, other in itertools.combinations(self.daily, 2):
            if one.meets(other):
                raise ValueError(
                    f"daily sessions overlap: {one.vehicle} {one.arrival} to {one.departure} "
                    f"and {other.vehicle} {other.arrival} to {other.departure}"
                )
        return self

    def _check_phases(self) -> None:
        _check_phase(self.phase, self.phases, "charger", switches=self.phase_switch is not None)
        if self.phase_switch is None:
            if any(vehicle.phases is not None for vehicle in (*self.sessions, *self.daily)):
                raise ValueError(
                    "phases of a vehicle matter at a charger with phase_switch; here give the vehicle's max_charge_kw"
                )
            return
        for name, value, wanted in (
            ("current", self.current, "ac"),
            ("phases", self.phases, 3),
            ("max_discharge_kw", self.max_discharge_kw, 0),
        ):
            if value != wanted:
                raise ValueError(f"phase_switch is given, but {name} is {value}; {wanted} is wanted")
        if self.min_power_kw <= 0:
            raise ValueError(
                "phase_switch is given, but min_power_kw is 0: on three phases it is 4.14 at 6 A (IEC 61851-1)"
            )
        self._check_driver_of_phases()
        assert self.stated_phase_switch is not None
        switch = self.stated_phase_switch
        for name, of_one, of_three in (
            ("max_charge_kw", switch.max_charge_kw, self.max_charge_kw),
            ("min_power_kw", switch.min_power_kw, self.min_power_kw),
        ):
            if of_one > of_three:
                raise ValueError(f"phase_switch: {name} {of_one} of one phase is above {of_three} of three")
        if switch.min_power_kw > switch.max_charge_kw:
            raise ValueError(
                f"phase_switch: min_power_kw {switch.min_power_kw} is above max_charge_kw {switch.max_charge_kw}"
            )

    def _check_driver_of_phases(self) -> None:
        """Whoever commands the real charger has to be able to say on how many phases."""
        driver = self.driver
        if driver is None or driver.type == "ocpp":
            return
        if driver.type != "mqtt":
            raise ValueError(f"phase_switch is given, but a driver of type {driver.type} commands no phases")
        if driver.command is not None and "{phases}" not in driver.command.payload:
            raise ValueError("phase_switch is given, but the payload of driver.command has no {phases}")

    @property
    def stated_phase_switch(self) -> PhaseSwitch | None:
        """The phase switch as its birth states it."""
        switch = self.phase_switch
        if switch is None:
            return None
        return PhaseSwitch(
            max_charge_kw=self.max_charge_kw / 3 if switch.max_charge_kw is None else switch.max_charge_kw,
            min_power_kw=self.min_power_kw / 3 if switch.min_power_kw is None else switch.min_power_kw,
            pause_s=switch.pause_s,
            hold_s=switch.hold_s,
        )

    @property
    def nameplate(self) -> ChargerNameplate:
        shared = self._shared(ChargerNameplate) | {
            "fallback_kw": self.stated_fallback_kw,
            "phase_switch": self.stated_phase_switch,
        }
        if self.taper is not None:
            shared["taper_start_soc_frac"] = self.taper.start_soc_frac
            shared["taper_end_power_frac"] = self.taper.end_power_frac
        return ChargerNameplate(**shared)

    @property
    def stated_fallback_kw(self) -> float | None:
        """The power of the fallback ``uncontrolled`` [kW]; None: full power."""
        if self.fallback_kw is not None or self.max_discharge_kw == 0 or not self.controllable:
            return self.fallback_kw
        return min(max(LEAST_PHASE_KW * self.phases, self.min_power_kw), self.max_charge_kw)

    @property
    def reverts_to(self) -> Fallback:
        return self.fallback if self.controllable else Fallback.UNCONTROLLED

    def sessions_between(self, start: datetime, end: datetime, zone: ZoneInfo) -> tuple[ChargingSession, ...]:
        """All sessions that touch [start, end), daily ones included, by arrival."""
        found = [s for s in self.sessions if s.arrival < end and s.departure > start]
        day, last = start.astimezone(zone).date() - timedelta(days=1), end.astimezone(zone).date()
        while day <= last:
            daily = (each.on(day, zone) for each in self.daily)
            found += [s for s in daily if s is not None and s.arrival < end and s.departure > start]
            day += timedelta(days=1)
        return tuple(sorted(found, key=lambda session: session.arrival))


class Bess(Device):
    kind: Literal["bess"] = "bess"
    capacity_kwh: Annotated[float, Field(gt=0, le=1e6)]
    max_charge_kw: Annotated[float, Field(gt=0, le=1e6)]
    max_discharge_kw: Annotated[float, Field(gt=0, le=1e6)]
    charge_efficiency: Efficiency = 0.95
    discharge_efficiency: Efficiency = 0.95
    soc_min_frac: SocFrac = 0.1
    soc_max_frac: SocFrac = 0.9
    initial_soc_frac: SocFrac = 0.5
    dead_time_s: Seconds = 0.0
    ramp_kw_per_s: RampRate | None = None
    sub_step_s: Annotated[float, Field(gt=0, le=900)] = 10.0
    fallback: Fallback = Fallback.IDLE
    calendar_wear: CalendarWear | None = None
    """None: it has no price."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.soc_min_frac <= self.initial_soc_frac <= self.soc_max_frac:
            raise ValueError(
                f"initial_soc_frac {self.initial_soc_frac} is not between soc_min_frac {self.soc_min_frac} "
                f"and soc_max_frac {self.soc_max_frac}"
            )
        return self

    @property
    def nameplate(self) -> BessNameplate:
        return BessNameplate(**self._shared(BessNameplate))

    @property
    def reverts_to(self) -> Fallback:
        return self.fallback


class HeatPump(Device):
    """An air-source heat pump with a thermal buffer, and the building that takes heat from it.

    The fields without a text are those of `HeatPumpNameplate`.
    """

    kind: Literal["heatpump"] = "heatpump"
    max_power_kw: Annotated[float, Field(gt=0, le=1e6)]
    min_power_kw: PositiveKw = 0.0
    buffer_kwh: Annotated[float, Field(gt=0, le=1e6)]
    loss_frac_per_h: Annotated[float, Field(ge=0, le=1)] = 0.01
    soc_min_frac: SocFrac = 0.2
    soc_max_frac: SocFrac = 0.9
    initial_soc_frac: SocFrac = 0.5
    supply_temp_c: Annotated[float, Field(ge=20, le=90)] = 45.0
    quality_grade: Annotated[float, Field(gt=0, le=1)] = 0.4
    cop_max: Annotated[float, Field(ge=1, le=20)] = 6.0
    temp_outdoor_profile: ProfileName
    """Outdoor temperature [°C]."""
    temp_outdoor_forecast_profile: ProfileName | None = None
    """The forecast service's profile; None: the profile itself."""
    heat_demand_profile: ProfileName
    """Heat that the building wants [kW]."""
    heat_demand_forecast_profile: ProfileName | None = None
    """The forecast service's profile; None: the profile itself."""
    dead_time_s: Seconds = 0.0
    fallback: Fallback = Fallback.UNCONTROLLED
    """``uncontrolled``: the thermostat."""
    controllable: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_power_kw > self.max_power_kw:
            raise ValueError(f"min_power_kw {self.min_power_kw} is above max_power_kw {self.max_power_kw}")
        if self.soc_min_frac >= self.soc_max_frac:
            raise ValueError(
                f"soc_min_frac {self.soc_min_frac} is not below soc_max_frac {self.soc_max_frac}: the thermostat needs "
                "a band"
            )
        return self

    @property
    def nameplate(self) -> HeatPumpNameplate:
        return HeatPumpNameplate(**self._shared(HeatPumpNameplate))

    @property
    def reverts_to(self) -> Fallback:
        return self.fallback if self.controllable else Fallback.UNCONTROLLED

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        return _given(
            temp_outdoor_profile=self.temp_outdoor_profile,
            temp_outdoor_forecast_profile=self.temp_outdoor_forecast_profile,
            heat_demand_profile=self.heat_demand_profile,
            heat_demand_forecast_profile=self.heat_demand_forecast_profile,
        )

    @property
    def expected(self) -> tuple[tuple[Quantity, ProfileName], ...]:
        return (
            (Quantity.TEMP_OUTDOOR, self.temp_outdoor_forecast_profile or self.temp_outdoor_profile),
            (Quantity.HEAT_DEMAND, self.heat_demand_forecast_profile or self.heat_demand_profile),
        )


class PowerProfile(SitePart):
    """PV power as a profile of AC kW (a magnitude)."""

    type: Literal["power"] = "power"
    profile: ProfileName

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        return (("profile", self.profile),)


class ClearSky(SitePart):
    """PV power of a clear sky (Ineichen and Perez, by pvlib) on a tilted plane."""

    type: Literal["clearsky"] = "clearsky"
    peak_kw: Annotated[float, Field(gt=0, le=1e6)]
    """DC rating at standard test conditions."""
    tilt_deg: Annotated[float, Field(ge=0, le=90)] = 30.0
    azimuth_deg: Annotated[float, Field(ge=0, lt=360)] = 180.0
    """Clockwise from north."""
    system_losses_frac: Annotated[float, Field(ge=0, lt=1)] = 0.14
    temp_air_c: Annotated[float, Field(ge=-60, le=60)] = 20.0

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        return ()


class Irradiance(ClearSky):
    """PV power from profiles of irradiance [W/m²] and air temperature [°C], by pvlib.

    Those by time say with ``interval_label`` whether a value is of an instant or the mean of an interval: the sun's
    position is that of the instant, or of the middle of the interval. Values of a typical day are means of intervals.
    """

    type: Literal["irradiance"] = "irradiance"  # type: ignore[assignment]
    ghi_profile: ProfileName
    """Global horizontal irradiance."""
    dni_profile: ProfileName | None = None
    """Direct normal irradiance, at the times of the global one. None, as the diffuse one: split by Erbs' model."""
    dhi_profile: ProfileName | None = None
    """Diffuse horizontal irradiance, at the times of the global one."""
    temp_air_profile: ProfileName | None = None

    @model_validator(mode="after")
    def _beam_with_diffuse(self) -> Self:
        if (self.dni_profile is None) != (self.dhi_profile is None):
            raise ValueError("dni_profile and dhi_profile belong together: give both or none")
        return self

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        return _given(
            ghi_profile=self.ghi_profile,
            dni_profile=self.dni_profile,
            dhi_profile=self.dhi_profile,
            temp_air_profile=self.temp_air_profile,
        )


PvSource = Annotated[PowerProfile | ClearSky | Irradiance, Field(discriminator="type")]


class Pv(Device):
    kind: Literal["pv"] = "pv"
    rated_kw: Annotated[float, Field(gt=0, le=1e6)]
    """AC limit of the inverter."""
    phases: Literal[1, 3] = 3
    phase: PhaseName | None = None
    """As of a charger."""
    power_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    excitation: Literal["under", "over"] = "under"
    """With a power factor below 1: under-excited, it draws reactive power while it gives active power, which lowers the
    voltage (VDE-AR-N 4105); over-excited, it gives both."""
    curtailable: bool = True
    source: PvSource
    forecast: PvSource
    """The forecast service's source; the paper's is a clear sky."""
    fallback: Fallback = Fallback.UNCONTROLLED

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_phase(self.phase, self.phases, "PV plant")
        return self

    @property
    def nameplate(self) -> PvNameplate:
        return PvNameplate(**self._shared(PvNameplate))

    def reactive_per_active(self) -> float:
        """Reactive power drawn over active power drawn, which is negative."""
        ratio = math.tan(math.acos(self.power_factor))
        return -ratio if self.excitation == "under" else ratio

    @property
    def reverts_to(self) -> Fallback:
        return self.fallback

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        sources = (("source", self.source), ("forecast", self.forecast))
        return tuple((f"{place}.{field}", name) for place, source in sources for field, name in source.profiles_used)


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
        _check_phase(self.phase, self.phases, "meter's load")
        return self

    @property
    def nameplate(self) -> MeterNameplate:
        return MeterNameplate(role=self.role)

    @property
    def profiles_used(self) -> tuple[tuple[str, ProfileName], ...]:
        return _given(profile=self.profile, forecast_profile=self.forecast_profile)

    @property
    def expected(self) -> tuple[tuple[Quantity, ProfileName], ...]:
        profile = self.forecast_profile or self.profile
        return () if profile is None or self.role is not MeterRole.LOAD else ((Quantity.LOAD, profile),)


AnyDevice = Annotated[Charger | Bess | HeatPump | Pv | Meter, Field(discriminator="kind")]
