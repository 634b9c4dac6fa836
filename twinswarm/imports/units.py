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
}  # fmt: skip
_IN_HEADER = {
    Kind.LOAD: re.compile(r"(?<![A-Za-z])(MWh|kWh|Wh|MW|kW|W)(?![A-Za-z²]|/m)", re.IGNORECASE),
    Kind.PV: re.compile(r"(?<![A-Za-z])(MWh|kWh|Wh|MW|kW|W)(?![A-Za-z²]|/m)", re.IGNORECASE),
    Kind.PRICE: re.compile(r"(?<![A-Za-z])((?:EUR|EURO|€|ct|cent|c€|c) ?/ ?(?:MWh|kWh))(?![A-Za-z])", re.IGNORECASE),
    Kind.CO2: re.compile(
        r"(?<![A-Za-z])((?:g|kg|t) ?(?:CO(?:2|₂))? ?(?:eq|e)?\.? ?/ ?(?:MWh|kWh))(?![A-Za-z])", re.IGNORECASE
    ),
}
_OF_CO2 = re.compile(r"(g|kg|t)(?:co[2₂])?(?:eq|e)?\.?(/[mk]wh)")
_NEITHER = re.compile(r"(?<![A-Za-z/])(?:kW|MW|W) ?/ ?h(?![A-Za-z])", re.IGNORECASE)
IN_CELL = re.compile(r"^([€$£])|(?<=[\d.,])\s*(€|kWh|Wh|MWh|kW|MW|W|ct|EUR|%)$")
"""A currency sign before a number, or a unit behind it."""
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
    wanted = re.sub(r"\s", "", name).casefold()
    if kind is Kind.CO2:  # gCO2eq/kWh is g/kWh
        wanted = _OF_CO2.sub(r"\1\2", wanted)
    spelt = _SPELT.get(wanted) or {one.casefold(): one for one in known}.get(wanted)
    # A milliwatt is no unit of a load profile: mw is MW.
    if spelt not in known:
        raise InputError.one(where, f"one of {', '.join(known)} is allowed", name, code=Code.UNKNOWN)
    return Unit(spelt, known[spelt], spelt in ENERGY)


def unit_in(header: str, kind: Kind) -> Unit | None:
    """The unit that a header names; None: it names none. Raises InputError for another currency, and for kW/h."""
    if kind is Kind.PRICE and (foreign := _FOREIGN.search(header)):
        what = f"is in {foreign[1]}, and prices are in €; convert it: --unit €/MWh --factor RATE"
        raise InputError.one("the price", what, header, code=Code.INVALID)
    if kind in {Kind.LOAD, Kind.PV} and (neither := _NEITHER.search(header)):
        what = f"{neither[0]} is a unit of neither power nor energy; say which is meant: --unit kW or --unit kWh"
        raise InputError.one("the unit", what, header, code=Code.INVALID)
    found = _IN_HEADER[kind].findall(header)
    names = {re.sub(r"\s", "", one).casefold(): one for one in found}
    if len(names) != 1:
        return None
    return unit_named(next(iter(names.values())), kind, f"the unit in the header {header!r}")


def behind_numbers(header: str) -> str | None:
    """What may stand behind the numbers of a column, by its header: kW, €, ct; None: the header names no unit."""
    for kind in (Kind.PRICE, Kind.CO2, Kind.LOAD):
        try:
            unit = unit_in(header, kind)
        except InputError:
            continue
        if unit is not None:
            return numerator(unit.name)
    return None


def numerator(unit: str) -> str:
    """€ of €/kWh and of EUR."""
    above = unit.partition("/")[0].strip()
    return {"eur": "€", "euro": "€", "cent": "ct"}.get(above.casefold(), above)
