"""The numbers of a site that are printed with every table: which are published, which are fitted."""

import math
from typing import Any

from schemas.messages import MeterRole
from schemas.site import AnyDevice, DayProfile, Meter, PowerProfile, Pv, Site
from sites.description import SiteDescription

PUBLISHED = (
    "BESS of 40 kWh, wished at 85 % at midnight",
    "cars from 9:00 to 18:00, leaving with 1.1 times the SOC they came with",
    "spreads, shapes of price named, and in which cases there is a cloud (Table II)",
)
"""Facts of the study that the fitted sites take over."""

FITTED = (
    "number, size, power, arrival SOC and SOC limits of the cars",
    "power, efficiency, SOC limits and initial SOC of the BESS",
    "PV size, the cloud's hour, length and depth",
    "the load, its measured course included (it differs from the forecast by correlated noise of 3 %)",
    "levels and shapes of both prices",
)
"""Numbers of the sites that were searched so that the table comes out: over 30 for 21 published numbers."""

NOT_KNOWN = (
    "what the study's reference was: no cars, uncontrolled or smart charging each have a site that fits",
    "which of the sites that fit is the real one: the fit shows that consistent sites exist, it identifies none",
    "the network of the real building: the one here is typical",
    "which of several plans of equal cost the study's solver chose, which moves the peak-shaving factor",
)
"""The questions that no fit can answer."""


def parameters(site: SiteDescription) -> dict[str, Any]:
    """Numbers of the site by group, units in the names; the profiles as their energy or mean."""
    return {
        "site": site.site,
        "date": None if site.date is None else site.date.isoformat(),
        "connection": site.connection.model_dump(mode="json"),
        "ems": site.ems.model_dump(mode="json"),
        "devices": {name: _device(device, site) for name, device in site.devices.items()},
        "profiles": {
            name: {
                "mean": math.fsum(profile.values) / len(profile.values),
                "least": min(profile.values),
                "most": max(profile.values),
            }
            for name, profile in site.profiles.items()
        },
        "cases": {name: case.model_dump(mode="json") for name, case in site.cases.items()},
    }


def _device(device: AnyDevice, site: Site) -> dict[str, Any]:
    told: dict[str, Any] = device.model_dump(mode="json", exclude_none=True)
    if isinstance(device, Meter) and device.role is MeterRole.LOAD and device.profile is not None:
        told["energy_kwh_per_day"] = _energy_kwh(site, device.profile)
    if isinstance(device, Pv) and isinstance(device.source, PowerProfile):
        told["energy_kwh_per_day"] = _energy_kwh(site, device.source.profile)
    return told


def _energy_kwh(site: Site, name: str) -> float | None:
    """Step of a typical day; None for a profile by time."""
    profile = site.profiles[name]
    if not isinstance(profile, DayProfile):
        return None
    return math.fsum(profile.values) * profile.step_s / 3600
