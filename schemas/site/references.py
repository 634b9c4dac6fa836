"""Checks across a site's parts: references to profiles, nodes and devices, charging sessions of one plug.

A function over parts, not over a whole site, so that a loader can report these faults beside those of single fields.
"""

import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple
from zoneinfo import ZoneInfo

from schemas.errors import Code
from schemas.messages import MeterRole
from schemas.site.devices import (
    Bess,
    Charger,
    ChargingSession,
    DailyChargingSession,
    Device,
    Irradiance,
    Meter,
    Pv,
    PvSource,
)
from schemas.site.drivers import OcppDriver, S2Driver, SunspecDriver
from schemas.site.limits import LimitSource
from schemas.site.options import Connection, EmsOptions
from schemas.site.profile import IntervalLabel, Profile, TimeProfile
from schemas.site.tariff import MAX_PRICE_EUR_PER_KWH, Tariff
from schemas.topics import DEVICE_PATTERN, HOME, HOME_ASSISTANT, OBSERVER, Kind

NETWORK = "network"
SERVICES: dict[str, Kind] = {
    "clock": Kind.CLOCK,
    "ems": Kind.EMS,
    "recorder": Kind.RECORDER,
    "forecast": Kind.FORECAST,
    "tariff": Kind.TARIFF,
}
"""Identifiers of the services."""
RESERVED = {
    **{name: f"{name} service" for name in SERVICES},
    NETWORK: "network twin",
    OBSERVER: "observer, who reads everything",
}
"""Owners of the identifiers that no device may use."""


MAX_IRRADIANCE_STEP_S = 3600
"""The sun moves by 15 degrees an hour."""


GHOSTS = "ghosts"
"""Identifier of the one participant that has all devices which do not exist."""
SHADOW_PREFIX = "shadow-"


def shadow_of(device: str) -> str:
    """Identifier of the twin beside a device."""
    return f"{SHADOW_PREFIX}{device}"


class ReferenceFault(NamedTuple):
    """``where`` is the field's path in the site; ``received`` what stands there, None if the text says it."""

    where: str
    what: str
    received: str | None = None
    code: Code = Code.UNKNOWN

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + ("" if self.received is None else f" (received {self.received!r})")


def node_faults(nodes_of_devices: Mapping[str, str | None], nodes: Collection[str]) -> Iterator[ReferenceFault]:
    """Devices at nodes that there are not. None: at the main node."""
    for name, node in nodes_of_devices.items():
        if node is not None and node not in nodes:
            yield ReferenceFault(
                f"devices.{name}.node", f"is not a node of the network; nodes are {', '.join(nodes)}", node
            )


def device_faults(devices: Mapping[str, Device], zone: ZoneInfo | None) -> Iterator[ReferenceFault]:
    """Reserved identifiers, more than one PCC meter, daily stays that meet dated ones.

    ``zone`` None: not known, and what needs it is not checked.
    """
    for name, device in devices.items():
        if name in RESERVED:
            yield ReferenceFault(
                f"devices.{name}", f"this identifier is reserved for the {RESERVED[name]}", name, Code.RESERVED
            )
        if zone is not None and isinstance(device, Charger):
            yield from _meeting_stays(name, device, zone)
        if isinstance(device.driver, SunspecDriver) and not isinstance(device, Bess | Meter | Pv):
            what = "sunspec is for a pv, bess or meter; use modbus with the device's registers, or mqtt"
            yield ReferenceFault(f"devices.{name}.driver.type", what, device.driver.type, Code.CONFLICT)
        if isinstance(device.driver, S2Driver) and not isinstance(device, Bess):
            what = "s2 is for a bess: other resource managers than a battery's are not known here"
            yield ReferenceFault(f"devices.{name}.driver.type", what, device.driver.type, Code.CONFLICT)
    yield from _shared_day_caps(devices)
    yield from _outward_faults(devices)
    yield from _ocpp_faults(devices)
    yield from _shadow_faults(devices)
    meters = [name for name, d in devices.items() if isinstance(d, Meter) and d.role is MeterRole.PCC]
    if len(meters) > 1:
        what = f"more than one meter has the role pcc: {', '.join(meters)}"
        yield ReferenceFault("devices", what, code=Code.DUPLICATE)


def _outward_faults(devices: Mapping[str, Device]) -> Iterator[ReferenceFault]:
    """Who has no models in SunSpec, and two twins at one port."""
    at: dict[tuple[str, int], str] = {}
    for name, device in devices.items():
        face, where = device.outward, f"devices.{name}.outward"
        if face is None:
            continue
        if not isinstance(device, Bess | Meter | Pv):
            yield ReferenceFault(f"{where}.type", "sunspec is for a pv, bess or meter", face.type, Code.CONFLICT)
        taken = at.setdefault((face.host, face.port), name)
        if taken != name:
            yield ReferenceFault(f"{where}.port", f"{taken} answers there", str(face.port), Code.DUPLICATE)


def _ocpp_faults(devices: Mapping[str, Device]) -> Iterator[ReferenceFault]:
    """Who is no charger, two devices at one connector, chargers whose one command is for the whole station."""
    at: dict[tuple[str, int], str] = {}
    for name, device in devices.items():
        driver, where = device.driver, f"devices.{name}.driver"
        if not isinstance(driver, OcppDriver):
            continue
        if not isinstance(device, Charger):
            yield ReferenceFault(f"{where}.type", "ocpp is for a charger", driver.type, Code.CONFLICT)
        place = (driver.charge_point, driver.connector)
        if place in at:
            what = f"connector {driver.connector} of this charge point is {at[place]}'s"
            yield ReferenceFault(f"{where}.charge_point", what, driver.charge_point, Code.DUPLICATE)
        at.setdefault(place, name)
        whole = [other for (point, _), other in at.items() if point == driver.charge_point and other != name]
        if whole and driver.profile == "charge_point_max":
            what = f"is for a charge point with one connector, and {whole[0]} is at this one, too"
            yield ReferenceFault(f"{where}.profile", what, driver.profile, Code.CONFLICT)


def _shadow_faults(devices: Mapping[str, Device]) -> Iterator[ReferenceFault]:
    """Devices beside which no twin can run, and twins beside a device whose identifier cannot be theirs."""
    for name, device in devices.items():
        if not device.shadow:
            continue
        where, shadow = f"devices.{name}.shadow", shadow_of(name)
        if not isinstance(device, Bess | Charger):
            what = f"a twin runs beside a bess or a charger; a {type(device).__name__.lower()} has no store to predict"
            yield ReferenceFault(where, what, "true", Code.CONFLICT)
        if shadow in devices:
            yield ReferenceFault(
                where, f"its twin would be called {shadow}, as another device is", name, Code.DUPLICATE
            )
        if re.fullmatch(DEVICE_PATTERN, shadow) is None:
            what = f"its twin would be called {shadow}, and an identifier has at most 31 characters"
            yield ReferenceFault(where, what, name, Code.RANGE)


def _shared_day_caps(devices: Mapping[str, Device]) -> Iterator[ReferenceFault]:
    """Vehicles with a cap a day at two chargers, each of which would count for itself."""
    at: dict[str, str] = {}
    for name, charger in devices.items():
        if not isinstance(charger, Charger):
            continue
        described: dict[str, tuple[ChargingSession | DailyChargingSession, ...]]
        described = {"sessions": charger.sessions, "daily": charger.daily}
        for field, sessions in described.items():
            for i, session in enumerate(sessions):
                if session.max_discharge_day_kwh is None:
                    continue
                other = at.setdefault(session.vehicle, name)
                if other != name:
                    what = (
                        f"{session.vehicle} comes to {other}, too, and each charger counts its day for itself; cap its "
                        "sessions (max_discharge_session_kwh), or give it one charger"
                    )
                    where = f"devices.{name}.{field}.{i}.max_discharge_day_kwh"
                    yield ReferenceFault(where, what, f"{session.max_discharge_day_kwh:g}", Code.CONFLICT)


def _meeting_stays(name: str, charger: Charger, zone: ZoneInfo) -> Iterator[ReferenceFault]:
    if not charger.daily:
        return
    for dated in charger.sessions:
        stays = charger.sessions_between(dated.arrival, dated.departure, zone)
        for before, after in itertools.pairwise(stays):
            if after.arrival < before.departure and dated in (before, after):
                yield ReferenceFault(
                    f"devices.{name}.sessions",
                    f"a dated and a daily session overlap: {after.vehicle} arrives {after.arrival} "
                    f"before {before.vehicle} leaves {before.departure}",
                    code=Code.CONFLICT,
                )


def limit_faults(
    limits: Mapping[str, LimitSource], ems: EmsOptions | None, devices: Collection[str]
) -> Iterator[ReferenceFault]:
    """Sources of limits under somebody else's identifier, and limited groups that there are not.

    ``ems`` None: its groups are not known, and not checked.
    """
    for name, source in limits.items():
        where = f"limits.{name}"
        if name in RESERVED:
            what = f"this identifier is reserved for the {RESERVED[name]}"
            yield ReferenceFault(where, what, name, Code.RESERVED)
        if name == GHOSTS or name.startswith(SHADOW_PREFIX):
            what = f"{GHOSTS} and {SHADOW_PREFIX}… are identifiers of who runs beside a site"
            yield ReferenceFault(where, what, name, Code.RESERVED)
        if name in devices:
            yield ReferenceFault(where, "a device has this identifier", name, Code.DUPLICATE)
        if ems is None or source.group is None:
            continue
        named = [group.name for group in ems.cable_limits if group.name is not None]
        if source.group not in named:
            what = f"is no group of ems.cable_limits; named are {', '.join(named) or 'none'}"
            yield ReferenceFault(f"{where}.group", what, source.group, Code.UNKNOWN)


def request_faults(ems: EmsOptions, devices: Collection[str], limits: Collection[str]) -> Iterator[ReferenceFault]:
    """Identifiers that Home Assistant has where the EMS takes requests of persons."""
    if ems.requests is None:
        return
    for section, names in (("devices", devices), ("limits", limits)):
        for name in sorted({HOME, HOME_ASSISTANT} & set(names)):
            what = "ems.requests gives this identifier to Home Assistant"
            yield ReferenceFault(f"{section}.{name}", what, name, Code.RESERVED)


def group_faults(ems: EmsOptions, devices: Collection[str]) -> Iterator[ReferenceFault]:
    names: set[str] = set()
    for i, group in enumerate(ems.cable_limits):
        if group.name is not None and group.name in names:
            yield ReferenceFault(f"ems.cable_limits.{i}.name", "another group has this name", group.name)
        if group.name is not None:
            names.add(group.name)
        for device in group.devices:
            if device not in devices:
                yield ReferenceFault(f"ems.cable_limits.{i}.devices", "there is no such device", device)


def case_faults(
    cases: Mapping[str, Mapping[str, PvSource]], devices: Collection[str], inverters: Collection[str]
) -> Iterator[ReferenceFault]:
    """``cases``: per case the sources of inverters that it replaces."""
    for label, sources in cases.items():
        for name in sources:
            if name not in inverters:
                what = "is not a PV inverter" if name in devices else "there is no such device"
                yield ReferenceFault(f"cases.{label}.pv.{name}", what, name)


def profile_faults(used: Collection[tuple[str, str]], profiles: Collection[str]) -> Iterator[ReferenceFault]:
    """``used``: (path of the field, name of the profile)."""
    there_are = ", ".join(sorted(profiles)) or "none"
    for where, profile in used:
        if profile not in profiles:
            yield ReferenceFault(where, f"there is no such profile; there are {there_are}", profile)


def feed_faults(feeds: Collection[str], profiles: Collection[str]) -> Iterator[ReferenceFault]:
    """Feeds of profiles that there are not. ``feeds``: their profiles' names."""
    there_are = ", ".join(sorted(profiles)) or "none"
    for name in feeds:
        if name not in profiles:
            what = f"there is no profile whose values it could replace; there are {there_are}"
            yield ReferenceFault(f"feeds.{name}", what, name)


def price_faults(tariffs: Mapping[str, Tariff], profiles: Mapping[str, Profile]) -> Iterator[ReferenceFault]:
    """Prices that no market has: €/MWh taken for €/kWh. ``tariffs``: by the path of the field."""
    for where, tariff in tariffs.items():
        for path, name in profiles_of_tariff(where, tariff):
            profile = profiles.get(name)
            if profile is None:
                continue
            least, most = min(profile.values), max(profile.values)
            if max(-least, most) > MAX_PRICE_EUR_PER_KWH:
                what = (
                    f"prices of the profile lie between {least:g} and {most:g} €/kWh, and at most "
                    f"±{MAX_PRICE_EUR_PER_KWH:g} are allowed; if they are in €/MWh, divide them by 1000"
                )
                yield ReferenceFault(path, what, name, Code.RANGE)


def sources_of(devices: Mapping[str, Device], cases: Mapping[str, Mapping[str, PvSource]]) -> dict[str, PvSource]:
    """The sources of all inverters, by the path of the field."""
    found: dict[str, PvSource] = {}
    for name, device in devices.items():
        if isinstance(device, Pv):
            found |= {f"devices.{name}.source": device.source, f"devices.{name}.forecast": device.forecast}
    for label, sources in cases.items():
        found |= {f"cases.{label}.pv.{name}": source for name, source in sources.items()}
    return found


def weather_faults(
    sources: Mapping[str, PvSource], used: Collection[tuple[str, str]], profiles: Mapping[str, Profile]
) -> Iterator[ReferenceFault]:
    """Weather by time that does not say what its times mean, and instants where intervals are wanted.

    ``sources``: by the path of the field. ``used``: as for `profile_faults`.
    """
    weather = {where: source for where, source in sources.items() if isinstance(source, Irradiance)}
    asked: set[str] = set()
    for where, source in weather.items():
        for _, name in source.profiles_used:
            profile = profiles.get(name)
            if isinstance(profile, TimeProfile) and profile.interval_label is None and name not in asked:
                asked.add(name)
                what = (
                    "is weather, and does not say what its times are; say interval_label: instant (a value is of that "
                    "instant), interval_start or interval_end (the mean of the step that begins or ends then)"
                )
                yield ReferenceFault(f"profiles.{name}", what, code=Code.MISSING)
        yield from _irradiance_faults(where, source, profiles)
    for path, name in used:
        profile = None if path.rpartition(".")[0] in weather else profiles.get(name)
        if isinstance(profile, TimeProfile) and profile.interval_label is IntervalLabel.INSTANT:
            what = "the profile's values are of instants, which only weather may be; here means of intervals are wanted"
            yield ReferenceFault(path, what, name, Code.CONFLICT)


def _irradiance_faults(where: str, source: Irradiance, profiles: Mapping[str, Profile]) -> Iterator[ReferenceFault]:
    ghi = profiles.get(source.ghi_profile)
    if ghi is None:
        return
    if ghi.step_s > MAX_IRRADIANCE_STEP_S:
        what = f"has steps of {ghi.step_s} s; irradiance needs the sun's position, and steps of an hour at most"
        yield ReferenceFault(f"{where}.ghi_profile", what, source.ghi_profile, Code.RANGE)
    for field, name in (("dni_profile", source.dni_profile), ("dhi_profile", source.dhi_profile)):
        part = None if name is None else profiles.get(name)
        if part is not None and _times_of(part) != _times_of(ghi):
            what = f"its times, or what they mean, are not those of the ghi_profile {source.ghi_profile!r}"
            yield ReferenceFault(f"{where}.{field}", what, name, Code.CONFLICT)


def _times_of(profile: Profile) -> tuple[object, ...]:
    if isinstance(profile, TimeProfile):
        return profile.start, profile.step_s, len(profile.values), profile.interval_label
    return (profile.step_s,)


def objective_faults(ems: EmsOptions, connection: Connection) -> Iterator[ReferenceFault]:
    """A weight of emissions whose intensity is not known."""
    if ems.objective.co2_eur_per_t and connection.co2_profile is None:
        what = "needs the intensity of imported energy: connection.co2_profile names no profile"
        yield ReferenceFault("ems.objective.co2_eur_per_t", what, f"{ems.objective.co2_eur_per_t:g}", Code.MISSING)


def profiles_of_tariff(where: str, tariff: Tariff) -> list[tuple[str, str]]:
    return [(f"{where}.{field}", profile) for field, profile in tariff.profiles_used]


def profiles_of_connection(where: str, connection: Connection) -> list[tuple[str, str]]:
    return [(f"{where}.{field}", profile) for field, profile in connection.profiles_used]


def profiles_of_source(where: str, source: PvSource) -> list[tuple[str, str]]:
    return [(f"{where}.{field}", profile) for field, profile in source.profiles_used]


def profiles_of_device(where: str, device: Device) -> list[tuple[str, str]]:
    return [(f"{where}.{field}", profile) for field, profile in device.profiles_used]
