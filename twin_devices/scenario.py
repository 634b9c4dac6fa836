"""What scripted events do to a twin: see `schemas.site.scenario`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from schemas.messages import ActualReading, MeterTelemetry, NetworkTelemetry
from schemas.participant import Json
from schemas.site import CarLeaves, ChargingSession, Cloud, MeterLies, Offline, ScenarioEvent

TelemetryT = TypeVar("TelemetryT", MeterTelemetry, NetworkTelemetry)


class Script:
    """The events of one device. Without events nothing is changed."""

    def __init__(self, events: Iterable[ScenarioEvent], device: str) -> None:
        own = [event for event in events if event.device == device]
        self._leaves = sorted(event.at for event in own if isinstance(event, CarLeaves))
        self._offline = [event for event in own if isinstance(event, Offline)]
        self._clouds = [event for event in own if isinstance(event, Cloud)]
        self._lies = [event for event in own if isinstance(event, MeterLies)]
        lasting = [*self._offline, *self._clouds]
        self._changes = sorted({instant for event in lasting for instant in (event.start, event.end)})
        self.lies = bool(self._lies)

    def is_offline(self, at: datetime) -> bool:
        """Whether the device is without power and connection."""
        return any(event.start <= at < event.end for event in self._offline)

    def available_frac(self, at: datetime) -> float:
        """Fraction of a PV plant's available power; of several clouds the darkest counts."""
        return min((event.available_frac for event in self._clouds if event.start <= at < event.end), default=1.0)

    def next_change(self, after: datetime) -> datetime | None:
        """The next instant at which the power may change by an event; None: never."""
        return next((instant for instant in self._changes if instant > after), None)

    def as_left(self, sessions: Iterable[ChargingSession]) -> tuple[ChargingSession, ...]:
        """Charging sessions as they really end. What was announced stays announced."""
        return tuple(self._cut(session) for session in sessions)

    def _cut(self, session: ChargingSession) -> ChargingSession:
        left = next((at for at in self._leaves if session.arrival < at < session.departure), None)
        if left is None:
            return session
        announced = session.announced_departure or session.departure
        return session.model_copy(update={"departure": left, "announced_departure": announced})

    def lie_at(self, at: datetime) -> MeterLies | None:
        """The lie that the meter tells at an instant; of several the first one described."""
        return next((event for event in self._lies if event.start <= at < event.end), None)


@dataclass(slots=True)
class _Registers:
    """Registers [kWh] and power [kW] at a telemetry."""

    import_kwh: float
    export_kwh: float
    power_kw: float


class LyingMeter:
    """Turns what a meter measures into what it publishes."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._true: _Registers | None = None
        self._told: _Registers | None = None
        self._lied = False
        self._factor = 1.0
        """By which the registers run since the last telemetry."""

    def publishes(self, telemetry: TelemetryT, at: datetime) -> TelemetryT:
        """The telemetry as it is published. From the first lie on it carries the truth beside it."""
        lie = self._script.lie_at(at)
        assert telemetry.energy_import_kwh is not None
        assert telemetry.energy_export_kwh is not None
        true = _Registers(telemetry.energy_import_kwh, telemetry.energy_export_kwh, telemetry.power_kw)
        told = _Registers(true.import_kwh, true.export_kwh, true.power_kw)
        if self._true is not None and self._told is not None and (self._lied or self._factor != 1.0):
            told.import_kwh = self._told.import_kwh + self._factor * (true.import_kwh - self._true.import_kwh)
            told.export_kwh = self._told.export_kwh + self._factor * (true.export_kwh - self._true.export_kwh)
        self._factor = 1.0
        if lie is not None:
            self._lied = True
            if lie.reads == "stuck":
                told.power_kw = true.power_kw if self._told is None else self._told.power_kw
            else:
                told.power_kw = true.power_kw * (lie.factor or 0.0)
            self._factor = lie.factor or 0.0
        self._true, self._told = true, told
        if not self._lied:
            return telemetry
        truth = ActualReading(
            power_kw=true.power_kw, energy_import_kwh=true.import_kwh, energy_export_kwh=true.export_kwh
        )
        return telemetry.model_copy(
            update={
                "power_kw": told.power_kw,
                "energy_import_kwh": told.import_kwh,
                "energy_export_kwh": told.export_kwh,
                "actual": truth,
            }
        )

    def snapshot(self) -> Json:
        def plain(values: _Registers | None) -> Json:
            return None if values is None else [values.import_kwh, values.export_kwh, values.power_kw]

        return {"true": plain(self._true), "told": plain(self._told), "lied": self._lied, "factor": self._factor}

    def restore(self, state: Json) -> None:
        self._true = None if state["true"] is None else _Registers(*state["true"])
        self._told = None if state["told"] is None else _Registers(*state["told"])
        self._lied, self._factor = state["lied"], state["factor"]
