"""Scripted events at a twin, of the site's description and by command: see `schemas.site.scenario`."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import TypeAdapter

from schemas.kinds import kinds_with
from schemas.messages import ActualReading, Alarm, MeterTelemetry, NetworkTelemetry, Severity
from schemas.participant import Json, Received
from schemas.site import CarLeaves, ChargingSession, Cloud, MeterLies, Offline, ScenarioEvent
from schemas.site.scenario import Event, end_of
from schemas.topics import Kind

_EVENT: TypeAdapter[ScenarioEvent] = TypeAdapter(ScenarioEvent)
TelemetryT = TypeVar("TelemetryT", MeterTelemetry, NetworkTelemetry)


@dataclass(slots=True)
class _ByCommand:
    """An event that came by command."""

    id: str
    event: ScenarioEvent
    over: bool = False
    """Whether it was published that it is over."""


class Script:
    """The events of one device. Without events nothing is changed."""

    def __init__(self, events: Iterable[ScenarioEvent], kind: Kind, device: str) -> None:
        self._kind, self._device = kind, device
        self._described = [event for event in events if event.device == device]
        self._by_command: list[_ByCommand] = []
        self._arrange()

    def _arrange(self) -> None:
        own = [*self._described, *(each.event for each in self._by_command)]
        self._leaves = sorted(event.at for event in own if isinstance(event, CarLeaves))
        self._offline = [event for event in own if isinstance(event, Offline)]
        self._clouds = [event for event in own if isinstance(event, Cloud)]
        self._lies = [event for event in own if isinstance(event, MeterLies)]
        lasting = [*self._offline, *self._clouds]
        self._changes = sorted({instant for event in lasting for instant in (event.start, event.end)})

    # Events by command.

    def receive(self, inbox: Sequence[Received], now: datetime) -> list[Alarm]:
        """Takes the events of an inbox over, and answers each; an event that comes twice once."""
        answers: list[Alarm] = []
        for received in inbox:
            if isinstance(received.body, Event) and all(each.id != received.body.id for each in self._by_command):
                answers.append(self._receive(received.body, now))
        if answers:
            self._arrange()
        return answers

    def _receive(self, told: Event, now: datetime) -> Alarm:
        event = told.event
        if event.device != self._device or self._kind not in kinds_with(event):
            why = f"the event {event.type} of {event.device} cannot happen to {self._device}, a {self._kind}"
            return self._alarm(told.id, why, refused=True)
        if not isinstance(event, CarLeaves) and event.end <= now:
            return self._alarm(told.id, f"the event {event.type} ended at {event.end.isoformat()}", refused=True)
        begin = "at" if isinstance(event, CarLeaves) else "start"
        event = event.model_copy(update={begin: max(getattr(event, begin), now)})
        self._by_command.append(_ByCommand(told.id, event))
        return self._alarm(told.id, f"{_text(event)}, by command")

    def over(self, now: datetime) -> list[Alarm]:
        """Of each event by command that has ended since the last call, that it is over."""
        ended = [each for each in self._by_command if not each.over and end_of(each.event) <= now]
        for each in ended:
            each.over = True
        return [self._alarm(each.id, f"{_text(each.event)}: over", active=False) for each in ended]

    def _alarm(self, name: str, text: str, *, active: bool = True, refused: bool = False) -> Alarm:
        return Alarm(
            code="scripted_event_refused" if refused else "scripted_event",
            severity=Severity.INFO,
            active=active and not refused,
            device=self._device,
            element=name,
            text=text,
        )

    def snapshot(self) -> Json:
        return [[each.id, json.loads(each.event.model_dump_json()), each.over] for each in self._by_command]

    def restore(self, state: Json) -> None:
        self._by_command = [
            _ByCommand(name, _EVENT.validate_json(json.dumps(event)), over) for name, event, over in state
        ]
        self._arrange()

    # What they do.

    def is_offline(self, at: datetime) -> bool:
        """Whether the device is without power and connection."""
        return bool(self._offline) and any(event.start <= at < event.end for event in self._offline)

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


def _text(event: ScenarioEvent) -> str:
    if isinstance(event, CarLeaves):
        return f"leaves: the vehicle leaves at {event.at.isoformat()}"
    return f"{event.type}: from {event.start.isoformat()} to {event.end.isoformat()}"


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
