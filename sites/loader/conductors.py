"""Conductors of low-voltage cables: resistance, and what they may carry, from tables of the IEC standards.

Numbers of standards are facts; none of their text is here.
"""

import re
from dataclasses import dataclass
from typing import Literal

Material = Literal["copper", "aluminium"]
Insulation = Literal["pvc", "xlpe"]

OHM_PER_KM_20C: dict[Material, dict[float, float]] = {
    "copper": {
        1.5: 12.1,
        2.5: 7.41,
        4: 4.61,
        6: 3.08,
        10: 1.83,
        16: 1.15,
        25: 0.727,
        35: 0.524,
        50: 0.387,
        70: 0.268,
        95: 0.193,
        120: 0.153,
        150: 0.124,
        185: 0.0991,
        240: 0.0754,
        300: 0.0601,
    },
    "aluminium": {
        16: 1.91,
        25: 1.20,
        35: 0.868,
        50: 0.641,
        70: 0.443,
        95: 0.320,
        120: 0.253,
        150: 0.206,
        185: 0.164,
        240: 0.125,
        300: 0.100,
    },
}
"""Greatest DC resistance at 20 °C by cross-section [mm²]: IEC 60228, table 2 (stranded, class 2; copper plain). Solid
aluminium, class 1, has the same. AC adds less than 3 % at 300 mm² and next to nothing below."""

PER_KELVIN: dict[Material, float] = {"copper": 0.00393, "aluminium": 0.00403}
"""Temperature coefficient of the resistance at 20 °C: IEC 60287-1-1, table 1."""

MAX_TEMP_C: dict[Insulation, float] = {"pvc": 70.0, "xlpe": 90.0}
"""Conductor temperature that the insulation bears for good, and at which the ampacities are: IEC 60364-5-52, table
52.1."""

_AMPERES: dict[tuple[Material, Insulation], tuple[float, ...]] = {
    ("copper", "pvc"): (18.5, 25, 34, 43, 60, 80, 101, 126, 153, 196, 238, 276, 319, 364, 430, 497),
    ("copper", "xlpe"): (23, 32, 42, 54, 75, 100, 127, 158, 192, 246, 298, 346, 399, 456, 538, 621),
    ("aluminium", "pvc"): (61, 78, 96, 117, 150, 183, 212, 245, 280, 330, 381),
    ("aluminium", "xlpe"): (77, 97, 120, 146, 187, 227, 263, 304, 347, 409, 471),
}
"""In the order of `OHM_PER_KM_20C`. Multi-core cable, three loaded conductors, installation method E (on a perforated
tray or free in air of 30 °C), not grouped with others: IEC 60364-5-52, tables B.52.10 to B.52.13."""


@dataclass(frozen=True, slots=True)
class Conductor:
    """One of a cable's equal conductors."""

    material: Material
    mm2: float
    insulation: Insulation

    def ohm_per_km(self, temp_c: float) -> float:
        """DC resistance at a conductor temperature."""
        return OHM_PER_KM_20C[self.material][self.mm2] * (1 + PER_KELVIN[self.material] * (temp_c - 20))

    @property
    def ampacity_a(self) -> float:
        place = list(OHM_PER_KM_20C[self.material]).index(self.mm2)
        return _AMPERES[self.material, self.insulation][place]


_FAMILIES: dict[str, tuple[Material, Insulation]] = {
    "NYY": ("copper", "pvc"),
    "NAYY": ("aluminium", "pvc"),
    "N2XY": ("copper", "xlpe"),
    "NA2XY": ("aluminium", "xlpe"),
}
"""Power cables of DIN VDE 0276-603."""

TYPES: dict[str, Conductor] = {
    f"{family} {cores}x{mm2:g}": Conductor(material, mm2, insulation)
    for family, (material, insulation) in _FAMILIES.items()
    for cores in (4, 5)
    for mm2 in OHM_PER_KM_20C[material]
}
"""By designation without what changes nothing here: ``-J`` or ``-O`` (with or without green-yellow core), and the
shape ``RE RM SE SM`` (round or sector, solid or stranded). Four or five cores of one cross-section, the neutral among
them."""

_SHAPES = ("RE", "RM", "SE", "SM")


def plain_type(written: str) -> str:
    """A designation as it would stand in `TYPES`: ``NAYY-J 4X150 SE`` as ``NAYY 4x150``."""
    words = re.sub(r"(?<=\d)X(?=\d)", "x", written.upper()).split()
    if words and words[-1] in _SHAPES:
        words.pop()
    return " ".join(word.removesuffix("-J").removesuffix("-O") for word in words)
