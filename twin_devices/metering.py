"""Lock-step: the devices' power over an interval by their telemetry, and their energy by their registers."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from schemas.messages import Telemetry
from schemas.participant import Json, Received
from schemas.plausibility import PowerBounds, plausible_power_kw
from schemas.register_reading import RegisterReading
from schemas.sums import sum_in_order
from twin_devices.energy_meter import HOUR

ROUNDING_KWH = 1e-9
"""Registers and segments of one device agree to this; a greater difference is energy that no telemetry explains."""

ROUNDING_FRAC = 2.0**-50
"""A difference of two registers has lost so much of their size, at most: four roundings of a float."""


class Span(NamedTuple):
    """Constant power [kW] in [start, end)."""

    start: datetime
    end: datetime
    power_kw: float

    @property
    def energy_kwh(self) -> float:
        return self.power_kw * ((self.end - self.start) / HOUR)


class Report(NamedTuple):
    """One telemetry. ``registers`` are import and export [kWh]; None without registers."""

    ts: datetime
    boot: str
    power_kw: float
    registers: tuple[float, float] | None
    spans: tuple[Span, ...] | None


def report_of(received: Received) -> Report:
    """Raises nothing: segments that are out of order or reach beyond the message's time are cut to what makes sense."""
    body, stamp = received.body, received.stamp
    assert isinstance(body, Telemetry)
    registers = None
    if body.energy_import_kwh is not None and body.energy_export_kwh is not None:
        registers = (body.energy_import_kwh, body.energy_export_kwh)
    spans = None
    if body.segments is not None:
        ordered = sorted(body.segments, key=lambda segment: segment.start)
        instants = [*(segment.start for segment in ordered), stamp.ts]
        spans = tuple(
            Span(start, end, segment.power_kw)
            for segment, (start, end) in zip(ordered, pairwise(instants), strict=True)
            if end > start
        )
    return Report(stamp.ts, stamp.boot, body.power_kw, registers, spans)


class MeteredInterval(NamedTuple):
    """Power and energy of one device over one interval."""

    spans: tuple[Span, ...]
    """Within the interval, in order; between them nothing flows."""
    net_kwh: float
    """By the registers, as far as there are any."""
    rounding_kwh: float = ROUNDING_KWH
    """To which registers and spans agree."""
    reset: bool = False
    """A register fell within a life: the energy is that of the spans, as far as there are any."""
    doubts: tuple[str, ...] = ()
    """Why what it told is doubtful, falls of registers apart; then, too, the spans count, or the power."""

    @property
    def unexplained_kwh(self) -> float:
        """Energy [kWh] by the registers that is not in the spans: it flowed while no telemetry came."""
        unexplained = self.net_kwh - sum_in_order(span.energy_kwh for span in self.spans)
        return unexplained if abs(unexplained) > self.rounding_kwh else 0.0


class DeviceMetering:
    """Metering of one device in lock-step.

    Registers are compared within one boot only: another life may have its own beginning. A register that fell within a
    life was reset, and is not compared with what it was before.
    """

    def __init__(self) -> None:
        self.power_kw = 0.0
        self._boot: str | None = None
        self._registers: tuple[float, float] | None = None
        self._fresh = False
        """It reported in the interval before."""
        self._reset = False
        self._doubts: list[str] = []
        self._reading: RegisterReading | None = None
        """The newest one with registers."""
        self.bounds: PowerBounds | None = None
        """What the device may draw and give at most; None: not known."""

    def integrate(self, reports: Sequence[Report], start: datetime, end: datetime) -> MeteredInterval:
        """The interval by the device's segments; without segments the mean power by its registers."""
        held_kw = self.power_kw
        self._reset, self._doubts = False, []
        by_register, spans = self._take(reports, start, end)
        if reports and end > start and all(report.spans is None for report in reports):
            if self._registers is None or self._reset or self._doubts:
                spans = (Span(start, end, held_kw),)
            elif by_register is not None:
                mean_kw = by_register / ((end - start) / HOUR)
                spans = (Span(start, end, mean_kw if self._fresh else self.power_kw),)
        self._fresh = bool(reports)
        if not reports:
            self.power_kw = 0.0
        net_kwh = sum_in_order(span.energy_kwh for span in spans) if by_register is None else by_register
        return MeteredInterval(spans, net_kwh, self._rounding_kwh, self._reset, tuple(self._doubts))

    @property
    def _rounding_kwh(self) -> float:
        return max(ROUNDING_KWH, ROUNDING_FRAC * sum_in_order(self._registers or ()))

    def _take(self, reports: Sequence[Report], start: datetime, end: datetime) -> tuple[float | None, tuple[Span, ...]]:
        """The net energy by the registers (None: unknown), and the spans within [start, end)."""
        by_register: float | None = None
        spans: list[Span] = []
        for report in sorted(reports, key=lambda report: report.ts):
            within = self._plausible(_cut(report.spans or (), start, end))
            spans += within
            if report.registers is not None:
                before = self._registers if report.boot == self._boot else None
                fell = before is not None and any(
                    now < then for now, then in zip(report.registers, before, strict=True)
                )
                self._reset = self._reset or fell
                believed = not self._doubts_step(report) and not fell
                if before is not None and believed:
                    (imported, exported), (imported_before, exported_before) = report.registers, before
                    difference = (imported - exported) - (imported_before - exported_before)
                    by_register = difference if by_register is None else by_register + difference
                elif report.spans is not None:
                    energy = sum_in_order(span.energy_kwh for span in within)
                    by_register = energy if by_register is None else by_register + energy
            else:
                self._reading = None
            self._boot, self._registers = report.boot, report.registers
            power_kw = plausible_power_kw((report.power_kw,), self.bounds)
            if power_kw is not None:
                self.power_kw = power_kw
            elif self.bounds is not None and (doubt := self.bounds.doubt(report.power_kw)):
                self._doubts.append(doubt)
        return by_register, tuple(sorted(spans, key=lambda span: span.start))

    def _doubts_step(self, report: Report) -> bool:
        """Whether the registers came back after a fall, or grew by more than can flow, since the report before."""
        assert report.registers is not None
        before = self._reading
        now = (report.ts, report.boot, report.power_kw, *report.registers)
        if before is None or before.boot != report.boot:
            self._reading = RegisterReading.first(*now)
            return False
        reading = self._reading = before.following(*now)
        if before.fell_until(reading):
            return False
        doubt = before.doubt_until(reading, self.bounds)
        self._doubts += [] if doubt is None else [doubt]
        return doubt is not None

    def _plausible(self, spans: list[Span]) -> list[Span]:
        """The spans; in place of a power that cannot be, the last one that could."""
        bounds = self.bounds
        if bounds is None or all(bounds.allow(span.power_kw) for span in spans):
            return spans
        self._doubts += [doubt for span in spans if (doubt := bounds.doubt(span.power_kw)) is not None][:1]
        return [span if bounds.allow(span.power_kw) else span._replace(power_kw=self.power_kw) for span in spans]

    def snapshot(self) -> Json:
        return {
            "power_kw": self.power_kw,
            "reading": None if self._reading is None else self._reading.snapshot(),
            "bounds": None if self.bounds is None else [self.bounds.draws_kw, self.bounds.gives_kw, self.bounds.reason],
            "boot": self._boot,
            "registers": None if self._registers is None else list(self._registers),
            "fresh": self._fresh,
        }

    @classmethod
    def restored(cls, state: Json) -> "DeviceMetering":
        metering = cls()
        metering.power_kw = state["power_kw"]
        metering._boot = state["boot"]
        metering._registers = None if state["registers"] is None else tuple(state["registers"])
        metering._fresh = state["fresh"]
        reading, bounds = state.get("reading"), state.get("bounds")  # a checkpoint of an earlier version has none
        metering._reading = None if reading is None else RegisterReading.restored(reading)
        metering.bounds = None if bounds is None else PowerBounds(*bounds)
        return metering


def _cut(spans: Sequence[Span], start: datetime, end: datetime) -> list[Span]:
    cut = [Span(max(span.start, start), min(span.end, end), span.power_kw) for span in spans]
    return [span for span in cut if span.end > span.start]
