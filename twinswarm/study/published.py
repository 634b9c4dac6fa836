"""The published results: Table II and the peak-shaving factors of case 6.

Source: G. Benedetto et al., IEEE SEST 2024, doi 10.1109/sest61601.2024.10694561. ``published.csv`` beside this file
holds the facts.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from twinswarm.simulation.variants import StorageChoice

DOI = "10.1109/sest61601.2024.10694561"
STORAGES = (StorageChoice.BESS, StorageChoice.V2G, StorageChoice.BOTH)
"""The columns of Table II, in its order."""
PSF_CASE = "6"
"""The only case of which peak-shaving factors are published."""


@dataclass(frozen=True, slots=True)
class PublishedCase:
    """One of the six cases. ``change_eur_per_day`` is cost minus reference cost: negative is money saved."""

    case: str
    price: str
    spread_eur_per_kwh: float
    cloud: bool
    change_eur_per_day: dict[StorageChoice, float]
    psf: dict[StorageChoice, float]
    """Empty where none is published."""


@cache
def published() -> dict[str, PublishedCase]:
    """By the number of the case."""
    text = (files("twinswarm.study") / "published.csv").read_text(encoding="utf-8")
    return {
        row["case"]: PublishedCase(
            case=row["case"],
            price=row["price"],
            spread_eur_per_kwh=float(row["spread_eur_per_kwh"]),
            cloud=row["cloud"] == "yes",
            change_eur_per_day={storage: float(row[f"{storage}_eur_per_day"]) for storage in STORAGES},
            psf={storage: float(row[f"{storage}_psf"]) for storage in STORAGES if row[f"{storage}_psf"]},
        )
        for row in csv.DictReader(text.splitlines())
    }
