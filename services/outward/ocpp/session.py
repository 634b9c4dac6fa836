"""What a charge point shows and does, whatever OCPP's version."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from schemas.messages import ChargerTelemetry
from services.ocpp import readings
from services.ocpp.clocks import stamp


@dataclass
class Transaction:
    """``number``: 2 has the charge point's own; 1.6 the central system's, None until it has answered."""

    token: str
    begun: datetime
    begin_kwh: float
    number: str | None = None
    own_number: str = field(default_factory=lambda: str(uuid.uuid4()))
    next_seq: int = 0
    refused: bool = False

    def seq(self) -> int:
        self.next_seq += 1
        return self.next_seq - 1


@dataclass(frozen=True)
class Sample:
    """What is measured at an instant."""

    at: datetime
    power_kw: float
    import_kwh: float
    export_kwh: float
    soc_frac: float | None
    phase_kw: tuple[float, ...] = ()
    """Of each phase; empty: not measured."""

    @classmethod
    def of(cls, telemetry: ChargerTelemetry, at: datetime) -> "Sample":
        vehicle = telemetry.vehicle
        return cls(
            at,
            telemetry.power_kw,
            telemetry.energy_import_kwh or 0.0,
            telemetry.energy_export_kwh or 0.0,
            None if vehicle is None else vehicle.soc_frac,
            telemetry.phase_power_kw or (),
        )

    @property
    def values(self) -> list[tuple[str, float, str]]:
        """Measurand, value and unit: W, Wh, percent."""
        found = [
            (readings.POWER, round(max(self.power_kw, 0.0) * 1000, 1), "W"),
            (readings.POWER_OUT, round(max(-self.power_kw, 0.0) * 1000, 1), "W"),
            (readings.ENERGY, round(self.import_kwh * 1000, 1), "Wh"),
            (readings.EXPORTED, round(self.export_kwh * 1000, 1), "Wh"),
        ]
        return found if self.soc_frac is None else [*found, (readings.SOC, round(100 * self.soc_frac, 1), "Percent")]

    @property
    def by_phase(self) -> list[tuple[str, float]]:
        """Of each phase its name and the power drawn [W]."""
        return [(f"L{i}", round(max(kw, 0.0) * 1000, 1)) for i, kw in enumerate(self.phase_kw, start=1)]

    def of_16(self, context: str) -> list[dict[str, Any]]:
        sampled = [
            {"value": str(value), "measurand": name, "unit": unit, "context": context}
            for name, value, unit in self.values
        ]
        sampled += [
            {"value": str(watt), "measurand": readings.POWER, "unit": "W", "phase": phase, "context": context}
            for phase, watt in self.by_phase
        ]
        return [{"timestamp": stamp(self.at), "sampled_value": sampled}]

    def of_2(self, context: str) -> list[dict[str, Any]]:
        sampled: list[dict[str, Any]] = [
            {"value": value, "measurand": name, "unit_of_measure": {"unit": unit}, "context": context}
            for name, value, unit in self.values
        ]
        watts = {"measurand": readings.POWER, "unit_of_measure": {"unit": "W"}, "context": context}
        sampled += [{**watts, "value": watt, "phase": phase} for phase, watt in self.by_phase]
        return [{"timestamp": stamp(self.at), "sampled_value": sampled}]
