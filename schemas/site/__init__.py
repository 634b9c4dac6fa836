"""The site description: one frozen model of a building, its devices, its contract with the grid, its policies.

What a user writes is YAML with profiles in CSV files; `sites.loader` reads it into this, profiles inlined, all
faults reported at once. What a process gets is this as JSON, resolved: one site without variants.
"""

from functools import cached_property
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from schemas.messages import DeviceId
from schemas.site.base import SitePart
from schemas.site.calendar_wear import CalendarWear
from schemas.site.demand import DemandBilling, MonthPeak
from schemas.site.devices import (
    REPORTED_LIMITS,
    AnyDevice,
    AssumedVehicle,
    Bess,
    Charger,
    ChargingSession,
    ClearSky,
    DailyChargingSession,
    Device,
    HeatPump,
    Irradiance,
    Meter,
    PhaseSwitching,
    PowerProfile,
    Pv,
    PvSource,
    Taper,
    Vehicle,
    VehicleReport,
)
from schemas.site.economics import Economics
from schemas.site.feeds import Feed
from schemas.site.forecasting import ForecastKind, ForecastOptions
from schemas.site.ghosts import REAL_SITE, AnyGhost, ghost_faults
from schemas.site.limits import AnyLimitSource
from schemas.site.network import Cable, Network, Transformer
from schemas.site.ocpp import OcppServer
from schemas.site.options import (
    LEAST_COST_WEIGHT,
    Calm,
    Connection,
    EmsOptions,
    GroupLimit,
    Horizon,
    LearnedDepartures,
    Location,
    Objective,
    OnSilence,
    PersonRequests,
    TimeOptions,
)
from schemas.site.phases import PHASES, phases_of, switched_phases_of
from schemas.site.profile import (
    DayName,
    DayProfile,
    IntervalLabel,
    Profile,
    ProfileName,
    Stepwise,
    TimeProfile,
    day_start,
    month_after,
    next_midnight,
    profile_mean,
    step_start,
)
from schemas.site.references import (
    GHOSTS,
    NETWORK,
    SERVICES,
    ReferenceFault,
    device_faults,
    feed_faults,
    group_faults,
    limit_faults,
    node_faults,
    objective_faults,
    price_faults,
    profile_faults,
    profiles_of_connection,
    profiles_of_device,
    profiles_of_tariff,
    request_faults,
    shadow_of,
    sources_of,
    weather_faults,
)
from schemas.site.scenario import CarLeaves, Cloud, MeterLies, Offline, ScenarioEvent
from schemas.site.tariff import PricePart, PriceRule, Tariff
from schemas.topics import SITE_PATTERN
from schemas.units import RunDate


class Site(SitePart):
    """A building. ``profiles`` are referred to by name from devices and tariff."""

    site: Annotated[str, Field(pattern=f"^{SITE_PATTERN}$")]
    description: str = ""
    location: Location
    date: RunDate
    """Local day of a run that names no other."""
    connection: Connection
    tariff: Tariff
    devices: Annotated[dict[DeviceId, AnyDevice], Field(min_length=1, max_length=2000)]
    network: Network = Network()
    """Left out: one busbar without losses."""
    profiles: dict[ProfileName, Profile]
    feeds: dict[ProfileName, Feed] = Field(default_factory=dict)
    """By the profile whose values it replaces at a live site."""
    limits: Annotated[dict[DeviceId, AnyLimitSource], Field(max_length=100)] = Field(default_factory=dict)
    """Sources of limits from outside at a live site, by the identifier under which each publishes."""
    ocpp: OcppServer = OcppServer()
    """Where its OCPP chargers connect to; only used by drivers."""
    forecast: ForecastOptions = ForecastOptions()
    ems: EmsOptions = EmsOptions()
    time: TimeOptions = TimeOptions()
    economics: Economics | None = None
    """What the parts cost; nothing is planned by it."""
    scenario: tuple[ScenarioEvent, ...] = ()
    """What happens to the plant in a simulated run; the twins alone know of it."""
    ghosts: Annotated[dict[DeviceId, AnyGhost], Field(max_length=200)] = Field(default_factory=dict)
    """Devices that do not exist; what they would earn is published, and nobody else knows of them."""

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.location.time_zone)

    @property
    def shadows(self) -> dict[str, str]:
        """Devices beside which a twin runs, by the identifier of that twin."""
        return {shadow_of(name): name for name, device in self.devices.items() if device.shadow}

    def assumed_vehicle(self, charger: str) -> AssumedVehicle | None:
        """The policy for vehicles at this charger that do not say enough; None: nothing is assumed."""
        device = self.devices.get(charger)
        return device.assume if isinstance(device, Charger) else None

    def calendar_wear(self, device: str) -> CalendarWear | None:
        """Price of the calendar ageing of a BESS, or of the vehicles at a charger; None: it has none."""
        described = self.devices.get(device)
        return described.calendar_wear if isinstance(described, Bess | Charger) else None

    @property
    def vehicle_wear_eur_per_kwh(self) -> float:
        """Price of a kWh that vehicles give back: the one that the EMS plans with, else the one of ``economics``.

        0 where neither has one.
        """
        stated = 0.0 if self.economics is None else self.economics.car_wear_eur_per_kwh
        return self.ems.vehicle_wear_eur_per_kwh or stated

    def limited_groups(self, device: str) -> tuple[str | None, ...]:
        """What a limit from outside may be of that a device belongs to: the PCC, which is None, and named groups."""
        groups = {group.name for group in self.ems.cable_limits if group.name and device in group.devices}
        return (None, *sorted(groups))

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> Self:
        if faults := self._reference_faults():
            raise ValueError("; ".join(map(str, faults)))
        return self

    def _reference_faults(self) -> list[ReferenceFault]:
        return [
            *node_faults({name: device.node for name, device in self.devices.items()}, self.network.nodes),
            *device_faults(self.devices, self.zone),
            *ghost_faults(self.ghosts, self.devices, self.zone),
            *profile_faults(self.profiles_used(), self.profiles),
            *feed_faults(self.feeds, self.profiles),
            *price_faults(self._tariffs(), self.profiles),
            *weather_faults(self.pv_sources(), self.profiles_used(), self.profiles),
            *group_faults(self.ems, self.devices),
            *objective_faults(self.ems, self.connection),
            *limit_faults(self.limits, self.ems, self.devices),
            *request_faults(self.ems, self.devices, self.limits),
        ]

    def _tariffs(self) -> dict[str, Tariff]:
        """By the path of its field."""
        return {"tariff": self.tariff}

    def pv_sources(self) -> dict[str, PvSource]:
        """By the path of its field."""
        return sources_of(self.devices, {})

    def profiles_used(self) -> list[tuple[str, str]]:
        """Path of every field that names a profile, and the name."""
        used = [
            *profiles_of_tariff("tariff", self.tariff),
            *profiles_of_connection("connection", self.connection),
        ]
        for name, device in self.devices.items():
            used += profiles_of_device(f"devices.{name}", device)
        return used


__all__ = [
    "GHOSTS",
    "LEAST_COST_WEIGHT",
    "NETWORK",
    "PHASES",
    "REAL_SITE",
    "REPORTED_LIMITS",
    "SERVICES",
    "AnyDevice",
    "AssumedVehicle",
    "Bess",
    "Cable",
    "CalendarWear",
    "Calm",
    "CarLeaves",
    "Charger",
    "ChargingSession",
    "ClearSky",
    "Cloud",
    "Connection",
    "DailyChargingSession",
    "DayName",
    "DayProfile",
    "DemandBilling",
    "Device",
    "Economics",
    "EmsOptions",
    "Feed",
    "ForecastKind",
    "ForecastOptions",
    "GroupLimit",
    "HeatPump",
    "Horizon",
    "IntervalLabel",
    "Irradiance",
    "LearnedDepartures",
    "Location",
    "Meter",
    "MeterLies",
    "MonthPeak",
    "Network",
    "Objective",
    "OcppServer",
    "Offline",
    "OnSilence",
    "PersonRequests",
    "PhaseSwitching",
    "PowerProfile",
    "PricePart",
    "PriceRule",
    "Profile",
    "ProfileName",
    "Pv",
    "PvSource",
    "ScenarioEvent",
    "Site",
    "SitePart",
    "Stepwise",
    "Taper",
    "Tariff",
    "TimeOptions",
    "TimeProfile",
    "Transformer",
    "Vehicle",
    "VehicleReport",
    "day_start",
    "month_after",
    "next_midnight",
    "phases_of",
    "profile_mean",
    "step_start",
    "switched_phases_of",
]
