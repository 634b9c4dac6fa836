"""series: what is known or expected of the future, constant within each step."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from schemas.messages.stamp import Body, DeviceId
from schemas.units import PositiveKw, SocFrac, UtcTime

Values = Annotated[
    tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...], Field(min_length=1, max_length=40_000, strict=False)
]


class Quantity(StrEnum):
    PURCHASE_PRICE = "purchase_price_eur_per_kwh"
    SALE_PRICE = "sale_price_eur_per_kwh"
    LOAD = "load_kw"
    PV = "pv_kw"
    """Available PV power, a magnitude."""
    TEMP_OUTDOOR = "temp_outdoor_c"
    HEAT_DEMAND = "heat_demand_kw"
    """Heat that a building wants of a thermal buffer."""


class ValueSeries(Body):
    """``values[i]`` holds in [start + i·step_s, start + (i+1)·step_s)."""

    quantity: Quantity
    device: DeviceId | None = None
    """The meter, inverter or heat pump it is about; None for a price."""
    start: UtcTime
    step_s: Annotated[int, Field(gt=0, le=86_400)]
    values: Values

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.step_s * len(self.values))

    def at(self, time: datetime) -> float | None:
        """The value in force at ``time``; None outside the series."""
        index = int((time - self.start).total_seconds() // self.step_s)
        return self.values[index] if 0 <= index < len(self.values) else None


class ExpectedChargingSession(Body):
    """A plug-in session that is expected on a charger."""

    charger: DeviceId
    vehicle: Annotated[str, Field(min_length=1, max_length=64)]
    arrival: UtcTime
    departure: UtcTime
    capacity_kwh: Annotated[float, Field(gt=0, le=10_000)]
    arrival_soc_frac: SocFrac
    target_soc_frac: SocFrac
    soc_min_frac: SocFrac = 0.0
    soc_max_frac: SocFrac = 1.0
    max_charge_kw: PositiveKw | None = None
    max_discharge_kw: PositiveKw | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "ExpectedChargingSession":
        if self.departure <= self.arrival:
            raise ValueError(f"departure {self.departure} is not after arrival {self.arrival}")
        return self


class Series(Body):
    """On ``tariff/…``: prices. On ``forecast/…``: load, PV, heat, sessions. The last message replaces those before."""

    series: Annotated[tuple[ValueSeries, ...], Field(strict=False)] = ()
    charging_sessions: Annotated[tuple[ExpectedChargingSession, ...], Field(max_length=100_000, strict=False)] = ()
