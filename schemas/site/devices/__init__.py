"""The devices of a site: nameplates, and what only a twin needs to know (profiles, sessions, initial state).

A file for each kind; `base` is what they have in common, `vehicles` who comes to the chargers.
"""

from typing import Annotated

from pydantic import Field

from schemas.site.devices.base import Device
from schemas.site.devices.bess import Bess
from schemas.site.devices.charger import Charger, PhaseSwitching, Taper
from schemas.site.devices.heatpump import HeatPump
from schemas.site.devices.meter import Meter
from schemas.site.devices.pv import ClearSky, Irradiance, PowerProfile, Pv, PvSource
from schemas.site.devices.vehicles import (
    REPORTED_LIMITS,
    AssumedVehicle,
    ChargingSession,
    DailyChargingSession,
    Vehicle,
    VehicleReport,
)

AnyDevice = Annotated[Charger | Bess | HeatPump | Pv | Meter, Field(discriminator="kind")]

__all__ = [
    "REPORTED_LIMITS",
    "AnyDevice",
    "AssumedVehicle",
    "Bess",
    "Charger",
    "ChargingSession",
    "ClearSky",
    "DailyChargingSession",
    "Device",
    "HeatPump",
    "Irradiance",
    "Meter",
    "PhaseSwitching",
    "PowerProfile",
    "Pv",
    "PvSource",
    "Taper",
    "Vehicle",
    "VehicleReport",
]
