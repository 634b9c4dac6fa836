"""The numbers of a site that are printed with every table: which are published, which are fitted."""

import math
from importlib.resources import as_file, files
from typing import Any

from schemas.messages import MeterRole
from schemas.site import AnyDevice, DayProfile, Meter, PowerProfile, Pv, Site
from sites.description import SiteDescription
from twinswarm.study.calibration.target import read_target, residual_names
from twinswarm.study.published import published

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
"""Numbers of the sites that were searched so that the table comes out; how many: `fitted_numbers`."""

NOT_KNOWN = (
    "what the study's reference was: no cars, uncontrolled or smart charging each have a site that fits",
    "which of the sites that fit is the real one: the fit shows that consistent sites exist, it identifies none",
    "the network of the real building: the one here is typical",
    "which of several plans of equal cost the study's solver chose, which moves the peak-shaving factor",
)
"""The questions that no fit can answer."""


_TARGETS = {"fit-g2v": "smart.toml"}
"""By site: the parameters of the calibration that made it. Those of the two others were not kept."""


def fitted_numbers(site: SiteDescription) -> int | None:
    """How many numbers were searched to make the site, each of which may stand for many of it; None: not known."""
    name = _TARGETS.get(site.site)
    if name is None:
        return None
    with as_file(files("twinswarm.study.calibration") / name) as path:
        return len(read_target(path).parameter)


def published_numbers() -> int:
    """Savings and peak-shaving factors that a fit can aim at."""
    return len(residual_names(tuple(published())))


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
