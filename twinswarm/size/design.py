"""A design: how much storage, PV and connection a site has, the site that it makes, and what it costs."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from schemas.errors import Code, InputError, faults_of
from schemas.site import AnyDevice, Bess, Charger, ClearSky, Irradiance, PowerProfile, Pv, PvSource, Site, TimeProfile
from schemas.site.economics import Economics
from schemas.site.profile import DayProfile, Profile

_NEW_BESS = "bess"


@dataclass(frozen=True, slots=True)
class Design:
    """``v2g``, ``smart``: of the site's charging points, in the order of `_in_turn`, so many are bidirectional and,
    of the rest, so many controllable; the others charge at once. The vehicles come in any case."""

    bess_kwh: float
    bess_kw: float
    v2g: int
    smart: int
    pv_kw: float
    """Rated power of all inverters together."""
    connection_kw: float

    @property
    def name(self) -> str:
        bess = f"BESS {self.bess_kwh:g} kWh/{self.bess_kw:g} kW" if self.bess_kwh else ""
        v2g = f"{self.v2g} V2G" if self.v2g else ""
        smart = f"{self.smart} smart" if self.smart else ""
        return ", ".join(filter(None, (bess, v2g, smart))) or "none"


def base_of(site: Site) -> Design:
    """What savings are measured against: the site's PV and connection, no BESS, all vehicles charging at once."""
    return Design(0.0, 0.0, 0, 0, _rated_kw(site), site.connection.import_limit_kw)


def designs(
    site: Site,
    bess_kwh: Sequence[float],
    bess_kw: Sequence[float],
    v2g: Sequence[int],
    smart: Sequence[int],
    pv_kw: Sequence[float],
    connection_kw: Sequence[float],
) -> list[Design]:
    """All combinations, each once, the base first. Raises InputError for what the site cannot have or has no price."""
    points = _in_turn(site)
    able = sum(1 for charger in points.values() if charger.max_discharge_kw)
    _at_most("--v2g", v2g, able, "chargers with max_discharge_kw")
    _at_most("--smart", smart, len(points), "charging points")
    for option, values, other, needed in (
        ("--bess-kw", bess_kw, "--bess-kwh", bess_kwh),
        ("--bess-kwh", bess_kwh, "--bess-kw", bess_kw),
    ):
        if any(needed) and not any(values):
            raise InputError.one(option, f"a BESS has both; {other} is given", code=Code.MISSING)
    if not all(connection_kw):
        raise InputError.one("--connection", "more than 0 kW is allowed", "0", code=Code.RANGE)
    if any(pv_kw) and not _rated_kw(site):
        raise InputError.one("--pv", "the site has no inverter that could be larger or smaller", code=Code.EMPTY)
    pv_kw, connection_kw = pv_kw or [_rated_kw(site)], connection_kw or [site.connection.import_limit_kw]
    _within_bounds(site, Design(max(bess_kwh), max(bess_kw), 0, 0, max(pv_kw), max(connection_kw)))
    found = {base_of(site): None}
    for kwh, kw, ways, controlled, pv, power in itertools.product(bess_kwh, bess_kw, v2g, smart, pv_kw, connection_kw):
        if bool(kwh) == bool(kw):
            found[Design(kwh, kw, ways, min(controlled, len(points) - ways), pv, power)] = None
        elif not kwh:
            found[Design(0.0, 0.0, ways, min(controlled, len(points) - ways), pv, power)] = None
    return list(found)


def _within_bounds(site: Site, largest: Design) -> None:
    """Raises InputError where a site of this design could not be described."""
    try:
        Site.model_validate(site_of(site, largest).model_dump())
    except ValidationError as error:
        raise InputError(faults_of(error, "the largest design")) from None


def _at_most(option: str, values: Sequence[int], most: int, what: str) -> None:
    for value in values:
        if not 0 <= value <= most:
            raise InputError.one(option, f"the site has {most} {what}", str(value), code=Code.RANGE)


def _in_turn(site: Site) -> dict[str, Charger]:
    """The charging points in the order in which a design equips them: those that can be bidirectional first, so that
    smart ones in the place of V2G ones are at the same points; among themselves as in the site."""
    points = {name: device for name, device in site.devices.items() if isinstance(device, Charger)}
    return dict(sorted(points.items(), key=lambda point: not point[1].max_discharge_kw))


def site_of(site: Site, design: Design) -> Site:
    """The site with this design, its place and everything else as described.

    Without what the month of its date has paid already: a design is asked about years, not about this month.
    """
    devices: dict[str, AnyDevice] = {}
    profiles: dict[str, Profile] = dict(site.profiles)
    points = list(_in_turn(site))
    v2g, controlled = points[: design.v2g], points[: design.v2g + design.smart]
    batteries = [device for device in site.devices.values() if isinstance(device, Bess)]
    ratio = design.pv_kw / _rated_kw(site) if _rated_kw(site) else 1.0
    for name, device in site.devices.items():
        if isinstance(device, Charger):
            one_way = {"max_discharge_kw": 0.0, "fallback_kw": device.stated_fallback_kw}
            one_way["controllable"] = name in controlled
            devices[name] = device if name in v2g else device.model_copy(update=one_way)
        elif isinstance(device, Pv):
            devices[name] = _scaled(device, ratio, profiles)
        elif not isinstance(device, Bess):
            devices[name] = device
    if design.bess_kwh:
        known = batteries[0] if batteries else Bess(capacity_kwh=1.0, max_charge_kw=1.0, max_discharge_kw=1.0)
        size = {"capacity_kwh": design.bess_kwh, "max_charge_kw": design.bess_kw, "max_discharge_kw": design.bess_kw}
        named = next((name for name, device in site.devices.items() if isinstance(device, Bess)), _NEW_BESS)
        devices[named] = known.model_copy(update=size)
    groups = tuple(
        group.model_copy(update={"devices": left})
        for group in site.ems.cable_limits
        if (left := tuple(name for name in group.devices if name in devices))
    )
    return site.model_copy(
        update={
            "devices": devices,
            "profiles": profiles,
            "connection": site.connection.model_copy(update={"import_limit_kw": design.connection_kw}),
            "ems": site.ems.model_copy(update={"cable_limits": groups}),
            "tariff": site.tariff.model_copy(update={"month_peak": None}),
        }
    )


def investment_eur(site: Site, design: Design, prices: Economics) -> float:
    """Before subsidies. Raises InputError for a part that has no price in the site."""
    base = base_of(site)
    parts = [
        ("bess_eur_per_kwh", design.bess_kwh, prices.bess_eur_per_kwh),
        ("v2g_charger_eur", design.v2g, prices.v2g_charger_eur),
        ("smart_charger_eur", design.smart, prices.smart_charger_eur),
        ("pv_eur_per_kw", max(0.0, design.pv_kw - base.pv_kw), prices.pv_eur_per_kw),
        ("connection_eur_per_kw", max(0.0, design.connection_kw - base.connection_kw), prices.connection_eur_per_kw),
    ]
    total = (prices.bess_eur + prices.bess_eur_per_kw * design.bess_kw) if design.bess_kwh else 0.0
    for field, amount, price in parts:
        if amount and price is None:
            raise InputError.one(f"economics.{field}", "is needed for what is sized", code=Code.MISSING)
        total += amount * (price or 0.0)
    return total


def _rated_kw(site: Site) -> float:
    return math.fsum(device.rated_kw for device in site.devices.values() if isinstance(device, Pv))


def _scaled(inverter: Pv, ratio: float, profiles: dict[str, Profile]) -> Pv:
    if ratio == 1.0:
        return inverter
    if ratio == 0.0:
        raise InputError.one("--pv", "more than 0 kW is allowed", "0", code=Code.RANGE)

    def scaled(source: PvSource) -> PvSource:
        if isinstance(source, ClearSky | Irradiance):
            return source.model_copy(update={"peak_kw": source.peak_kw * ratio})
        name = f"{source.profile[:56]}_scaled"
        profiles[name] = _times(profiles[source.profile], ratio)
        return PowerProfile(profile=name)

    update = {"rated_kw": inverter.rated_kw * ratio}
    return inverter.model_copy(
        update=update | {"source": scaled(inverter.source), "forecast": scaled(inverter.forecast)}
    )


def _times(profile: Profile, ratio: float) -> Profile:
    values = tuple(value * ratio for value in profile.values)
    if isinstance(profile, TimeProfile):
        return profile.model_copy(update={"values": values})
    assert isinstance(profile, DayProfile)
    variants = {name: tuple(value * ratio for value in of) for name, of in profile.variants.items()}
    return profile.model_copy(update={"values": values, "variants": variants})
