"""Where in a device's models the contract's measurements are: one table, for reading and for serving them.

SunSpec counts the power of inverters and batteries as positive when it goes out, and that of meters as positive on
import. Where a device has several of the models, the first one in the table that has the point counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.topics import Kind
from services.sunspec.block import Block


@dataclass(frozen=True, slots=True)
class Place:
    """A point, and the factor from its unit to the contract's unit and sign."""

    model: int
    point: str
    factor: float
    dc: bool = False
    """On the battery's side of its inverter: read where there is nothing else, and never served."""


KILO, PERCENT = 0.001, 0.01
INVERTERS = (113, 112, 111, 103, 102, 101)
"""With floats, with scale factors; three phases, split phase, one phase."""
METERS = (213, 214, 212, 211, 203, 204, 202, 201)
"""With floats, with scale factors; wye, delta, split phase, one phase."""


def _places(models: tuple[int, ...], point: str, factor: float) -> tuple[Place, ...]:
    return tuple(Place(model, point, factor) for model in models)


_AC_POWER = (Place(701, "W", -KILO), *_places(INVERTERS, "W", -KILO))
_AC_EXPORT = (Place(701, "TotWhInj", KILO), *_places(INVERTERS, "WH", KILO))
_AC_IMPORT = (Place(701, "TotWhAbs", KILO),)
MEASUREMENTS: Mapping[Kind, Mapping[str, tuple[Place, ...]]] = {
    Kind.PV: {
        "power_kw": _AC_POWER,
        "energy_import_kwh": _AC_IMPORT,
        "energy_export_kwh": _AC_EXPORT,
        "available_kw": (Place(122, "WAval", KILO),),
    },
    Kind.BESS: {
        "power_kw": (*_AC_POWER, Place(802, "W", -KILO, dc=True)),
        "energy_import_kwh": _AC_IMPORT,
        "energy_export_kwh": _AC_EXPORT,
        "soc_frac": (Place(713, "SoC", PERCENT), Place(802, "SoC", PERCENT), Place(124, "ChaState", PERCENT)),
    },
    Kind.METER: {
        "power_kw": _places(METERS, "W", KILO),
        "energy_import_kwh": _places(METERS, "TotWhImp", KILO),
        "energy_export_kwh": _places(METERS, "TotWhExp", KILO),
    },
}
"""By the kind of device and the field of what is measured."""
RATED = (Place(121, "WMax", KILO), Place(702, "WMax", KILO), Place(702, "WMaxRtg", KILO), Place(120, "WRtg", KILO))
"""The power of an inverter [kW], of which its limits are percentages."""
CHARGE_RATED = (Place(124, "WChaMax", KILO),)
"""The power [kW] of which the rates of a storage are percentages, in both directions."""


def first(places: tuple[Place, ...], blocks: Mapping[int, Block]) -> Place | None:
    """The first place that the device has implemented."""
    return next(
        (place for place in places if place.model in blocks and blocks[place.model].raw(place.point) is not None), None
    )


def value_at(places: tuple[Place, ...], blocks: Mapping[int, Block]) -> float | None:
    """The measured value in the contract's unit; None: the device has none. Raises SunspecError."""
    place = first(places, blocks)
    value = None if place is None else blocks[place.model].value(place.point)
    return None if place is None or value is None else value * place.factor + 0.0  # no -0.0


def models_of(kind: Kind) -> set[int]:
    """The models in which measurements of this kind of device may be."""
    return {place.model for places in MEASUREMENTS[kind].values() for place in places}


def put(blocks: Mapping[int, Block], kind: Kind, measured: Mapping[str, float]) -> None:
    """Writes measured values to every place of theirs that these blocks have. Raises SunspecError."""
    for name, places in MEASUREMENTS[kind].items():
        for place in places:
            if name in measured and place.model in blocks and not place.dc:
                blocks[place.model].set(place.point, measured[name] / place.factor)
