"""The result of an import: series on equal steps, or charging sessions, with what is to be known of them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from schemas.site import IntervalLabel
from twinswarm.imports.notes import Notes
from twinswarm.imports.options import Kind
from twinswarm.imports.regular import Grid

UNITS = {
    "load": "kW",
    "pv": "kW",
    "price": "€/kWh",
    "co2": "g/kWh",
    "ghi": "W/m²",
    "dni": "W/m²",
    "dhi": "W/m²",
    "temp_air": "°C",
}
COLUMNS = {
    "load": "load_kw",
    "pv": "pv_kw",
    "price": "price_eur_per_kwh",
    "co2": "co2_g_per_kwh",
    "ghi": "ghi_w_per_m2",
    "dni": "dni_w_per_m2",
    "dhi": "dhi_w_per_m2",
    "temp_air": "temp_air_c",
}
"""Columns of the written tables, by the name of the profile."""


@dataclass(frozen=True)
class Imported:
    """``series``: by profile name, all on the same steps."""

    kind: Kind
    shape: str
    series: dict[str, Grid]
    notes: Notes
    interval_label: IntervalLabel | None = None
    time_offset_s: float = 0.0
    """Of irradiance alone, from its times to the instants that it is of."""
    sources: tuple[dict[str, Any], ...] = ()
    """Name and SHA-256 of what was read."""


@dataclass(frozen=True)
class ImportedSession:
    """A visit of a vehicle; ``energy_kwh`` at the charge point's meter."""

    charge_point: str
    vehicle: str
    arrival: datetime
    departure: datetime
    energy_kwh: float
    announced_departure: datetime | None = None


@dataclass(frozen=True)
class ImportedSessions:
    shape: str
    sessions: tuple[ImportedSession, ...]
    notes: Notes
    sources: tuple[dict[str, Any], ...] = field(default=())
