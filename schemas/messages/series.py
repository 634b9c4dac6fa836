"""series: what is known or expected of the future, constant within each step."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from schemas.messages.stamp import Body, DeviceId
from schemas.messages.vehicle import ExpectedChargingSession
from schemas.units import UtcTime

Values = Annotated[
    tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...], Field(min_length=1, max_length=40_000, strict=False)
]


class Quantity(StrEnum):
    PURCHASE_PRICE = "purchase_price_eur_per_kwh"
    SALE_PRICE = "sale_price_eur_per_kwh"
    CO2_INTENSITY = "co2_g_per_kwh"
    """Emissions of energy that is imported at the PCC."""
    LOAD = "load_kw"
    PV = "pv_kw"
    """Available PV power, a magnitude."""
    TEMP_OUTDOOR = "temp_outdoor_c"
    HEAT_DEMAND = "heat_demand_kw"
    """Heat that a building wants of a thermal buffer."""


class QuantileValues(Body):
    """Values that what comes lies below with the probability ``level``, step by step as in its series."""

    level: Annotated[float, Field(gt=0, lt=1)]
    values: Values


class ValueSeries(Body):
    """``values[i]`` holds in [start + i·step_s, start + (i+1)·step_s)."""

    quantity: Quantity
    device: DeviceId | None = None
    """The meter, inverter or heat pump it is about; None for a price."""
    start: UtcTime
    step_s: Annotated[int, Field(gt=0, le=86_400)]
    values: Values
    quantiles: Annotated[tuple[QuantileValues, ...], Field(min_length=1, max_length=9, strict=False)] | None = None
    """Of an expectation that has them, rising by level."""

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.step_s * len(self.values))

    def at(self, time: datetime) -> float | None:
        """The value in force at ``time``; None outside the series."""
        index = int((time - self.start).total_seconds() // self.step_s)
        return self.values[index] if 0 <= index < len(self.values) else None


class Series(Body):
    """On ``tariff/…``: prices. On ``forecast/…``: load, PV, heat, sessions. The last message replaces those before."""

    series: Annotated[tuple[ValueSeries, ...], Field(strict=False)] = ()
    charging_sessions: Annotated[tuple[ExpectedChargingSession, ...], Field(max_length=100_000, strict=False)] = ()
