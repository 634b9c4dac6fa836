"""A site from a few numbers: location, connection, PV by roof, chargers, battery. It runs as it is written."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from schemas.errors import Code, Fault, InputError, faults_of
from schemas.fallbacks import FallbackLimits, described, fallback_faults
from schemas.site import Charger, Site
from schemas.site.economics import Economics
from sites.loader.box import TEMPLATE, data_folder
from sites.loader.loading import load_description
from twinswarm.imports.writing import taken_back_if_refused, write_all


@dataclass(frozen=True)
class Roof:
    """A PV plant: DC power [kWp], tilt and azimuth [°], clockwise from north."""

    peak_kw: float
    tilt_deg: float = 30.0
    azimuth_deg: float = 180.0


@dataclass(frozen=True)
class Chargers:
    """Equal chargers: number, power [kW], power of discharging [kW], 0 for one-way ones."""

    count: int
    charge_kw: float
    discharge_kw: float = 0.0


@dataclass(frozen=True)
class Battery:
    """Stationary battery: capacity [kWh], power [kW]."""

    capacity_kwh: float
    power_kw: float


@dataclass(frozen=True)
class NewSite:
    name: str
    latitude_deg: float
    longitude_deg: float
    time_zone: str
    country: str | None
    import_limit_kw: float
    export_limit_kw: float
    spread_eur_per_kwh: float
    demand_charge_eur_per_kw: float | None
    roofs: tuple[Roof, ...]
    chargers: tuple[Chargers, ...]
    battery: Battery | None
    prices: Mapping[str, float]
    """Fields of `economics`."""


LEAST_KW = 4.14
"""6 A on three phases of 230 V: less no vehicle takes (IEC 61851-1)."""
_WHY_FALLBACK = "# without an EMS: the connection carries no more of all"

_NUMBER = r"(\d+(?:\.\d+)?)"


def parse_roof(text: str) -> Roof:
    """``60``, ``60:20`` or ``60:20:135``: kWp, tilt, azimuth. Raises InputError."""
    found = re.fullmatch(rf"{_NUMBER}(?::{_NUMBER})?(?::{_NUMBER})?", text.strip())
    if found is None:
        raise _unreadable("--pv", "kWp, tilt and azimuth clockwise from north: 60:20:180", text)
    return Roof(float(found[1]), float(found[2] or 30), float(found[3] or 180))


def parse_chargers(text: str) -> Chargers:
    """``4x11`` or ``2x22:22``: number, kW, and kW of discharging. Raises InputError."""
    found = re.fullmatch(rf"(?:(\d+) ?[x*])? ?{_NUMBER}(?::{_NUMBER})?", text.strip().lower())
    if found is None or not 1 <= int(found[1] or 1) <= 500:
        raise _unreadable("--charger", "number, kW and, for V2G, kW of discharging: 4x11 or 2x22:22", text)
    return Chargers(int(found[1] or 1), float(found[2]), float(found[3] or 0))


def parse_battery(text: str) -> Battery:
    """``100:50``: kWh and kW. Raises InputError."""
    found = re.fullmatch(rf"{_NUMBER}:{_NUMBER}", text.strip())
    if found is None:
        raise _unreadable("--bess", "kWh and kW: 100:50", text)
    return Battery(float(found[1]), float(found[2]))


def parse_prices(texts: Sequence[str]) -> dict[str, float]:
    """``bess_eur_per_kwh=350``: fields of the site's `economics`. Raises InputError."""
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise _unreadable("--economics", "a field of economics and a number: bess_eur_per_kwh=350", text) from None
    if unknown := [name for name in found if name not in Economics.model_fields]:
        raise _unreadable("--economics", f"one of {', '.join(Economics.model_fields)}", unknown[0])
    try:
        Economics.model_validate(found)
    except ValidationError as error:
        raise InputError(faults_of(error, "--economics")) from None
    return found


def _unreadable(option: str, what: str, text: str) -> InputError:
    return InputError.one(option, what, text, code=Code.FORMAT)


def write_site(folder: Path, site: NewSite) -> list[Path]:
    """Writes ``site.yaml`` and the made-up day of load and price that hold until there are others.

    Raises InputError, having written nothing, when one of them is there already or the site would not be valid.
    """
    profiles = (data_folder() / TEMPLATE / "profiles.csv").read_bytes()
    contents: dict[Path, str | bytes] = {folder / "site.yaml": text_of(site), folder / "profiles.csv": profiles}
    if there := [path for path in contents if path.exists()]:
        raise InputError(
            Fault(str(path), "is there already; it is not overwritten", code=Code.EXISTS) for path in there
        )
    try:
        with taken_back_if_refused(contents):
            write_all(contents)
            _make_fit(folder / "site.yaml", site)
    except InputError as error:
        # Of a file that is not there any more the line says nothing; the fields are those of the options.
        line = re.compile(r"^(.*site\.yaml(: line \d+)?: )?")
        raise InputError(replace(fault, where=line.sub("init: ", fault.where)) for fault in error.faults) from None
    return list(contents)


def _make_fit(path: Path, site: NewSite) -> None:
    """Writes the description again where its fallbacks are too much for the connection. Raises InputError when it is
    not valid."""
    fallbacks = _fallbacks(load_description(path))
    if fallbacks != Fallbacks():
        write_all({path: text_of(site, fallbacks)})
    if faults := fallback_faults(load_description(path)):
        raise InputError(faults)


@dataclass(frozen=True, slots=True)
class Fallbacks:
    """What the devices do without an EMS where the connection does not carry all that they could."""

    charger_kw: float | None = None
    """Power of each charger with which it carries them all: 0 where it would be less than a vehicle takes."""
    roofs_idle: bool = False


def _fallbacks(site: Site) -> Fallbacks:
    excesses = {each.way: each for each in FallbackLimits(site).excesses(described(site))}
    chargers = [device for device in site.devices.values() if isinstance(device, Charger)]
    charger_kw: float | None = None
    if (excess := excesses.get("import")) is not None and chargers:
        each_kw = math.floor(10 * max(excess.limit_kw - excess.fixed_kw, 0.0) / len(chargers)) / 10
        charger_kw = each_kw if each_kw >= LEAST_KW else 0.0
    return Fallbacks(charger_kw, roofs_idle="export" in excesses)


def text_of(site: NewSite, fallbacks: Fallbacks | None = None) -> str:
    """The description, with what is assumed said in comments."""
    fallbacks = fallbacks or Fallbacks()
    country = f"\n  country: {site.country}" if site.country else ""
    charge = f"\n  demand_charge_eur_per_kw: {site.demand_charge_eur_per_kw:g}" if site.demand_charge_eur_per_kw else ""
    devices = "\n".join(
        (*_chargers(site, fallbacks.charger_kw), *_battery(site), *_roofs(site, idle=fallbacks.roofs_idle))
    )
    prices = ", ".join(f"{name}: {value:.12g}" for name, value in site.prices.items())
    economics = f"\neconomics: {{{prices}}}     # for twinswarm size\n" if prices else ""
    return f"""\
# Powers in kW, energies in kWh, SOC as a fraction 0..1, prices in €/kWh. Every field: docs/site.md.
site: {_quoted(site.name)}

location:
  latitude_deg: {site.latitude_deg:g}
  longitude_deg: {site.longitude_deg:g}
  time_zone: {site.time_zone}{country}

date: 2024-05-17

connection:
  import_limit_kw: {site.import_limit_kw:g}
  export_limit_kw: {site.export_limit_kw:g}

tariff:
  sale: price
  spread_eur_per_kwh: {site.spread_eur_per_kwh:g}     # purchase is sale and that: grid fees, levies, taxes{charge}

devices:
{devices}
  building:
    kind: meter
    role: load
    profile: load

profiles:
  # profiles.csv is a made-up office day and price; twinswarm import load FILE --site . puts yours in its place.
  load: {{type: day, file: profiles.csv, column: load_kw}}
  price: {{type: day, file: profiles.csv, column: price_eur_per_kwh}}
{economics}"""


def _quoted(name: str) -> str:
    """What YAML would take for something else, a number or a truth value, in quotes."""
    return name if re.fullmatch(r"(?!(y|n|on|off|yes|no|true|false|null)$)[a-z][a-z0-9-]*", name) else f'"{name}"'


def _chargers(site: NewSite, fallback_kw: float | None) -> list[str]:
    lines, number = [], 0
    for group in site.chargers:
        for _ in range(group.count):
            number += 1
            kw, back = group.charge_kw, group.discharge_kw
            two_way = f"\n    max_discharge_kw: {back:g}" if back else ""
            plug = "dc" if back or kw > 22 else "ac"
            rest = (
                f"\n    min_power_kw: {LEAST_KW}              # 6 A on three phases"
                if plug == "ac" and kw >= 11
                else ""
            )
            if fallback_kw is not None:
                field = f"fallback_kw: {min(fallback_kw, kw):g}" if fallback_kw else "fallback: idle"
                rest += f"\n    {field:<32}{_WHY_FALLBACK}"
            lines.append(
                f"  ev{number}:\n    kind: charger\n    max_charge_kw: {kw:g}{two_way}\n    current: {plug}{rest}\n"
                "    daily:                          # assumed, until sessions are imported\n"
                f'      - {{vehicle: car{number}, arrival: "08:30", departure: "17:00", weekdays: [0, 1, 2, 3, 4],\n'
                "         capacity_kwh: 60, arrival_soc_frac: 0.5, target_soc_frac: 0.8, soc_min_frac: 0.2}"
            )
    return lines


def _battery(site: NewSite) -> list[str]:
    if site.battery is None:
        return []
    kw = site.battery.power_kw
    return [
        f"  bess:\n    kind: bess\n    capacity_kwh: {site.battery.capacity_kwh:g}\n    max_charge_kw: {kw:g}\n"
        f"    max_discharge_kw: {kw:g}"
    ]


def _roofs(site: NewSite, *, idle: bool) -> list[str]:
    lines, rest = [], f"\n    {'fallback: idle':<32}{_WHY_FALLBACK}" if idle else ""
    for number, roof in enumerate(site.roofs, 1):
        name = "pv" if len(site.roofs) == 1 else f"pv{number}"
        source = (
            f"{{type: clearsky, peak_kw: {roof.peak_kw:g}, tilt_deg: {roof.tilt_deg:g}, "
            f"azimuth_deg: {roof.azimuth_deg:g}}}"
        )
        lines.append(
            f"  {name}:\n    kind: pv\n    rated_kw: {roof.peak_kw:g}            # of the inverter; as the modules\n"
            f"    source: {source}     # a clear sky, until weather is imported\n    forecast: {source}{rest}"
        )
    return lines
