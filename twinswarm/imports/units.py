"""Units of numbers: what a header says, and the factor to kW, €/kWh, g/kWh, W/m² or °C."""

import re
from dataclasses import dataclass

from schemas.errors import Code, InputError
from twinswarm.imports.options import Kind

POWER = {"W": 0.001, "kW": 1.0, "MW": 1000.0}
ENERGY = {"Wh": 0.001, "kWh": 1.0, "MWh": 1000.0}
PRICE = {"€/kWh": 1.0, "ct/kWh": 0.01, "€/MWh": 0.001}
CO2 = {"g/kWh": 1.0, "kg/kWh": 1000.0, "kg/MWh": 1.0, "t/MWh": 1000.0}
_SPELT = {
    "eur/kwh": "€/kWh", "euro/kwh": "€/kWh", "€/kwh": "€/kWh", "ct/kwh": "ct/kWh", "cent/kwh": "ct/kWh",
    "c€/kwh": "ct/kWh", "c/kwh": "ct/kWh", "eur/mwh": "€/MWh", "euro/mwh": "€/MWh", "€/mwh": "€/MWh",
    "gco2/kwh": "g/kWh", "gco2eq/kwh": "g/kWh", "gco₂/kwh": "g/kWh", "gco₂eq/kwh": "g/kWh", "kgco2/mwh": "kg/MWh",
    "tco2/mwh": "t/MWh",
}  # fmt: skip
_IN_HEADER = {
    Kind.LOAD: re.compile(r"(?<![A-Za-z])(MWh|kWh|Wh|MW|kW|W)(?![A-Za-z²]|/m)", re.IGNORECASE),
    Kind.PV: re.compile(r"(?<![A-Za-z])(MWh|kWh|Wh|MW|kW|W)(?![A-Za-z²]|/m)", re.IGNORECASE),
    Kind.PRICE: re.compile(r"(?<![A-Za-z])((?:EUR|EURO|€|ct|cent|c€|c) ?/ ?(?:MWh|kWh))(?![A-Za-z])", re.IGNORECASE),
    Kind.CO2: re.compile(
        r"(?<![A-Za-z])((?:g|kg|t) ?(?:CO(?:2|₂))? ?(?:eq|e)?\.? ?/ ?(?:MWh|kWh))(?![A-Za-z])", re.IGNORECASE
    ),
}
_FOREIGN = re.compile(
    r"(?<![A-Za-z])((?:GBP|USD|CHF|SEK|NOK|DKK|PLN|CZK|HUF|RON|BGN|£|\$|öre|øre) ?/ ?(?:MWh|kWh))", re.IGNORECASE
)


@dataclass(frozen=True)
class Unit:
    name: str
    factor: float
    """To kW, kWh, €/kWh or g/kWh."""
    energy: bool = False
    """An energy, of an interval or as a counter's reading, and no power."""


def units_of(kind: Kind) -> dict[str, float]:
    """The units that are allowed, with their factors."""
    return {Kind.PRICE: PRICE, Kind.CO2: CO2}.get(kind, POWER | ENERGY)


def unit_named(name: str, kind: Kind, where: str = "--unit") -> Unit:
    """Raises InputError with those that are allowed."""
    known = units_of(kind)
    wanted = re.sub(r"\s", "", name)
    spelt = _SPELT.get(wanted.casefold()) or {one.casefold(): one for one in known}.get(wanted.casefold())
    # A milliwatt is no unit of a load profile: mw is MW.
    if spelt not in known:
        raise InputError.one(where, f"one of {', '.join(known)} is allowed", name, code=Code.UNKNOWN)
    return Unit(spelt, known[spelt], spelt in ENERGY)


def unit_in(header: str, kind: Kind) -> Unit | None:
    """The unit that a header names; None: it names none. Raises InputError for another currency."""
    if kind is Kind.PRICE and (foreign := _FOREIGN.search(header)):
        what = f"is in {foreign[1]}, and prices are in €; convert it: --unit €/MWh --factor RATE"
        raise InputError.one("the price", what, header, code=Code.INVALID)
    found = _IN_HEADER[kind].findall(header)
    names = {re.sub(r"\s", "", one).casefold(): one for one in found}
    return unit_named(next(iter(names.values())), kind) if len(names) == 1 else None
