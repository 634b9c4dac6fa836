"""The site description: one frozen model of a building, its devices, its contract with the grid, its policies.

What a user writes is YAML with profiles in CSV files; `sites.loading` reads it into this, profiles inlined, all
faults reported at once. What a process gets is this as JSON.
"""

from datetime import date
from functools import cached_property
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator

from schemas.messages import DeviceId, MeterRole
from schemas.site.base import SitePart
from schemas.site.devices import (
    AnyDevice,
    Bess,
    Charger,
    ClearSky,
    DailySession,
    Device,
    Irradiance,
    Meter,
    PowerProfile,
    ProfileName,
    Pv,
    PvSource,
    Session,
    Taper,
    Vehicle,
)
from schemas.site.network import Cable, Network, Transformer
from schemas.site.options import (
    Connection,
    EmsOptions,
    GroupLimit,
    Horizon,
    Location,
    OnSilence,
    Tariff,
    TimeOptions,
)
from schemas.site.profile import DayProfile, Profile, TimeProfile, day_start, next_midnight
from schemas.topics import SITE_PATTERN, Kind

FEEDER = "grid"
SERVICES: dict[str, Kind] = {
    "clock": Kind.CLOCK,
    "ems": Kind.EMS,
    "recorder": Kind.RECORDER,
    "forecast": Kind.FORECAST,
    "tariff": Kind.TARIFF,
}
"""Identifiers of the services; ``grid`` is the network twin's. No device may use them."""


class Case(SitePart):
    """A named variant of the site: another tariff, other sources of some inverters."""

    tariff: Tariff
    pv: dict[DeviceId, PvSource] = Field(default_factory=dict)


class Site(SitePart):
    """A building. ``profiles`` are referred to by name from devices and tariff."""

    site: Annotated[str, Field(pattern=f"^{SITE_PATTERN}$")]
    description: str = ""
    location: Location
    date: date
    """Local day of a run that names no other."""
    connection: Connection
    tariff: Tariff
    devices: Annotated[dict[DeviceId, AnyDevice], Field(min_length=1, max_length=2000)]
    network: Network
    profiles: dict[ProfileName, Profile]
    ems: EmsOptions = EmsOptions()
    time: TimeOptions = TimeOptions()
    cases: dict[str, Case] = Field(default_factory=dict)

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.location.time_zone)

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> Self:
        faults = list(self._reference_faults())
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _reference_faults(self) -> "list[str]":
        faults = []
        try:
            ZoneInfo(self.location.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            faults.append(f"location.time_zone: {self.location.time_zone!r} is not in the IANA time zone database")
        nodes = set(self.network.nodes)
        for name, device in self.devices.items():
            if name in SERVICES or name == FEEDER:
                faults.append(f"devices.{name}: this identifier is the {name} service's")
            if device.node is not None and device.node not in nodes:
                faults.append(f"devices.{name}.node: {device.node!r} is not a node of the network")
        faults += [
            f"{where}: there is no profile {profile!r}; there are {', '.join(sorted(self.profiles)) or 'none'}"
            for where, profile in self._profile_references()
            if profile not in self.profiles
        ]
        if sum(isinstance(d, Meter) and d.role is MeterRole.PCC for d in self.devices.values()) > 1:
            faults.append("devices: more than one meter has the role pcc")
        faults += [
            f"ems.cable_limits.{i}.devices: there is no device {device!r}"
            for i, group in enumerate(self.ems.cable_limits)
            for device in group.devices
            if device not in self.devices
        ]
        faults += [
            f"cases.{label}.pv.{device}: there is no PV inverter {device!r}"
            for label, case in self.cases.items()
            for device in case.pv
            if not isinstance(self.devices.get(device), Pv)
        ]
        return faults

    def _profile_references(self) -> "list[tuple[str, str]]":
        found: list[tuple[str, str | None]] = []

        def source(where: str, pv: PvSource) -> None:
            if isinstance(pv, PowerProfile):
                found.append((f"{where}.profile", pv.profile))
            elif isinstance(pv, Irradiance):
                found.append((f"{where}.ghi_profile", pv.ghi_profile))
                found.append((f"{where}.temp_air_profile", pv.temp_air_profile))

        for label, tariff in [
            ("tariff", self.tariff),
            *((f"cases.{k}.tariff", c.tariff) for k, c in self.cases.items()),
        ]:
            found += [(f"{label}.sale", tariff.sale), (f"{label}.purchase", tariff.purchase)]
        for name, device in self.devices.items():
            if isinstance(device, Meter):
                found.append((f"devices.{name}.profile", device.profile))
                found.append((f"devices.{name}.forecast_profile", device.forecast_profile))
            elif isinstance(device, Pv):
                source(f"devices.{name}.source", device.source)
                source(f"devices.{name}.forecast", device.forecast)
        for label, case in self.cases.items():
            for name, pv in case.pv.items():
                source(f"cases.{label}.pv.{name}", pv)
        return [(where, profile) for where, profile in found if profile is not None]


__all__ = [
    "FEEDER",
    "SERVICES",
    "AnyDevice",
    "Bess",
    "Cable",
    "Case",
    "Charger",
    "ClearSky",
    "Connection",
    "DailySession",
    "DayProfile",
    "Device",
    "EmsOptions",
    "GroupLimit",
    "Horizon",
    "Irradiance",
    "Location",
    "Meter",
    "Network",
    "OnSilence",
    "PowerProfile",
    "Profile",
    "ProfileName",
    "Pv",
    "PvSource",
    "Session",
    "Site",
    "SitePart",
    "Taper",
    "Tariff",
    "TimeOptions",
    "TimeProfile",
    "Transformer",
    "Vehicle",
    "day_start",
    "next_midnight",
]
