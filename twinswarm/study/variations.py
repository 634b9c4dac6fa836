"""A site with one thing about it changed: other load profiles, and what the paper leaves open."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from schemas.errors import Code, InputError
from schemas.messages import MeterRole
from schemas.site import Bess, Charger, DayProfile, Meter, PowerProfile, Pv
from sites.description import SiteDescription

NOISE = 0.03
"""Standard deviation of the measured load against the forecast."""
CORRELATION = 0.84
"""Correlation of the noise from one quarter-hour to the next, AR(1): that of the fitted sites' load, whose standard
deviation is 2.9 %."""
SEEDS = tuple(range(1, 11))


def load_profiles(site: SiteDescription) -> tuple[str, str]:
    """Names of the measured and the forecast load. Raises InputError unless both are typical days of one meter."""
    for device in site.devices.values():
        if isinstance(device, Meter) and device.role is MeterRole.LOAD:
            measured, forecast = device.profile, device.forecast_profile
            if measured is not None and forecast is not None:
                kinds = (site.profiles[measured], site.profiles[forecast])
                if all(isinstance(profile, DayProfile) for profile in kinds):
                    return measured, forecast
    raise InputError.one(
        "--site", "needs a load meter with a measured and a forecast day for this", site.site, code=Code.MISSING
    )


def has_other_loads(site: SiteDescription) -> bool:
    """Whether its measured load can be replaced by another one of the same typical day."""
    try:
        load_profiles(site)
    except InputError:
        return False
    return True


def with_measured_load(site: SiteDescription, values: tuple[float, ...]) -> SiteDescription:
    measured, _ = load_profiles(site)
    return _with_profiles(site, {measured: values})


def without_noise(site: SiteDescription) -> SiteDescription:
    """The load is what was forecast."""
    _, forecast = load_profiles(site)
    return with_measured_load(site, tuple(site.profiles[forecast].values))


def with_other_noise(site: SiteDescription, seed: int) -> SiteDescription:
    """The forecast load with correlated noise of 3 % from this seed: n_t = φ n_{t−1} + √(1−φ²) 0.03 ε_t."""
    _, forecast = load_profiles(site)
    source = random.Random(seed)  # noqa: S311 - a study wants the same noise every time
    noise = source.gauss(0.0, NOISE)
    values = []
    for expected in site.profiles[forecast].values:
        values.append(expected * (1 + noise))
        noise = CORRELATION * noise + (1 - CORRELATION**2) ** 0.5 * source.gauss(0.0, NOISE)
    return with_measured_load(site, tuple(values))


@dataclass(frozen=True, slots=True)
class Sweep:
    """One property of the site over several values."""

    name: str
    """Of the files."""
    title: str
    axis: str
    """With its unit."""
    case: str
    values: tuple[float, ...]
    site_at: Callable[[SiteDescription, float], SiteDescription]
    note: str


def sweeps() -> tuple[Sweep, ...]:
    return (
        Sweep(
            "cloud_length",
            "Length of the cloud",
            "length of the unforeseen cloud [h]",
            "2",
            (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0),
            with_cloud_of,
            "From the fitted cloud's beginning, as deep as its deepest; the fitted one is as 0.25 to 0.5 h.",
        ),
        Sweep(
            "dead_time",
            "Dead time",
            "dead time of chargers and BESS [s]",
            "6",
            (0.0, 30.0, 60.0, 120.0, 300.0),
            with_dead_time,
            "Between a set-point and its effect the old one holds.",
        ),
        Sweep(
            "bess_size",
            "Size of the BESS",
            "capacity of the BESS [kWh]",
            "6",
            (10.0, 20.0, 40.0, 60.0, 80.0, 120.0),
            with_bess_of,
            "Power grows with the capacity; the SOC at midnight stays the same fraction.",
        ),
        Sweep(
            "cars",
            "Number of cars",
            "number of cars",
            "6",
            (1.0, 2.0, 3.0, 4.0, 6.0, 8.0),
            with_cars,
            "All of the same kind; those beyond the site's chargers hang at the main busbar.",
        ),
        Sweep(
            "forecast_error",
            "Error of the load forecast",
            "error of the forecast, in multiples of the site's",
            "6",
            (0.0, 0.5, 1.0, 1.5, 2.0),
            with_forecast_error,
            "Measured load = forecast + this multiple of the site's own deviation.",
        ),
    )


def with_cloud_of(site: SiteDescription, hours: float) -> SiteDescription:
    """The PV of the cases with a cloud. Raises InputError for a site without such a fitted cloud."""
    sources = [
        (device.forecast, case.pv[name])
        for case in site.cases.values()
        for name, device in site.devices.items()
        if isinstance(device, Pv) and name in case.pv
    ]
    if not sources or not all(isinstance(source, PowerProfile) for source in sources[0]):
        raise InputError.one("--site", "has no case with a cloud as a profile", site.site, code=Code.MISSING)
    expected, clouded = sources[0]
    assert isinstance(expected, PowerProfile)
    assert isinstance(clouded, PowerProfile)
    clear, cloud = site.profiles[expected.profile].values, site.profiles[clouded.profile].values
    under = [place for place, (a, b) in enumerate(zip(clear, cloud, strict=True)) if b < a]
    if not under:
        raise InputError.one("--site", "its cloud takes no PV", site.site, code=Code.MISSING)
    left = min(cloud[place] / clear[place] for place in under)
    count = round(hours * len(clear) / 24)
    covered = range(under[0], under[0] + count)
    values = tuple(value * left if place in covered else value for place, value in enumerate(clear))
    return _with_profiles(site, {clouded.profile: values})


def with_dead_time(site: SiteDescription, seconds: float) -> SiteDescription:
    devices = {
        name: device.model_copy(update={"dead_time_s": seconds}) if isinstance(device, Bess | Charger) else device
        for name, device in site.devices.items()
    }
    return site.model_copy(update={"devices": devices})


def with_bess_of(site: SiteDescription, capacity_kwh: float) -> SiteDescription:
    devices = {}
    for name, device in site.devices.items():
        devices[name] = device
        if isinstance(device, Bess):
            scale = capacity_kwh / device.capacity_kwh
            devices[name] = device.model_copy(
                update={
                    "capacity_kwh": capacity_kwh,
                    "max_charge_kw": device.max_charge_kw * scale,
                    "max_discharge_kw": device.max_discharge_kw * scale,
                }
            )
    return site.model_copy(update={"devices": devices})


def with_cars(site: SiteDescription, number: float) -> SiteDescription:
    """The first charger so many times. Raises InputError for a site without chargers."""
    chargers = [(name, device) for name, device in site.devices.items() if isinstance(device, Charger)]
    if not chargers:
        raise InputError.one("--site", "has no charger", site.site, code=Code.MISSING)
    others = {name: device for name, device in site.devices.items() if not isinstance(device, Charger)}
    first = chargers[0][1]
    cars = {}
    for place in range(int(number)):
        node = chargers[place][1].node if place < len(chargers) else None
        daily = tuple(stay.model_copy(update={"vehicle": f"car{place + 1}"}) for stay in first.daily)
        cars[f"ev{place + 1}"] = first.model_copy(update={"node": node, "daily": daily})
    return site.model_copy(update={"devices": {**cars, **others}})


def with_forecast_error(site: SiteDescription, multiple: float) -> SiteDescription:
    measured, forecast = load_profiles(site)
    pairs = zip(site.profiles[forecast].values, site.profiles[measured].values, strict=True)
    return with_measured_load(site, tuple(expected + multiple * (found - expected) for expected, found in pairs))


def _with_profiles(site: SiteDescription, values: dict[str, tuple[float, ...]]) -> SiteDescription:
    changed = {name: site.profiles[name].model_copy(update={"values": found}) for name, found in values.items()}
    return site.model_copy(update={"profiles": {**site.profiles, **changed}})
