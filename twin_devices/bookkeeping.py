"""What the devices told of an interval: their power over it, and the energy by their registers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from schemas.messages import Telemetry
from schemas.participant import Json, Received
from twin_devices.ledger import HOUR

ROUNDING_KWH = 1e-9
"""Registers and segments of one device agree to this; a greater difference is energy that nobody told of in time."""

PERIODS_UNTIL_MISSING = 3
"""Wall time: a device that was silent for so many of its telemetry periods counts as missing."""


@dataclass(frozen=True, slots=True)
class Span:
    """Constant power [kW] in [start, end)."""

    start: datetime
    end: datetime
    power_kw: float

    @property
    def energy_kwh(self) -> float:
        return self.power_kw * ((self.end - self.start) / HOUR)


@dataclass(frozen=True, slots=True)
class Report:
    """One telemetry. ``net_kwh`` is import minus export by the registers; None without registers."""

    ts: datetime
    boot: str
    power_kw: float
    net_kwh: float | None
    spans: tuple[Span, ...] | None


def report_of(received: Received) -> Report:
    """Raises nothing: segments that are out of order or reach beyond the message's time are cut to what makes sense."""
    body, stamp = received.body, received.stamp
    assert isinstance(body, Telemetry)
    net = None
    if body.energy_import_kwh is not None and body.energy_export_kwh is not None:
        net = body.energy_import_kwh - body.energy_export_kwh
    spans = None
    if body.segments is not None:
        ordered = sorted(body.segments, key=lambda segment: segment.start)
        instants = [*(segment.start for segment in ordered), stamp.ts]
        spans = tuple(
            Span(start, end, segment.power_kw)
            for segment, (start, end) in zip(ordered, pairwise(instants), strict=True)
            if end > start
        )
    return Report(stamp.ts, stamp.boot, body.power_kw, net, spans)


@dataclass(frozen=True, slots=True)
class Booking:
    """Of one device and one interval."""

    spans: tuple[Span, ...]
    """Within the interval, in order; between them nothing flows."""
    net_kwh: float
    """By the registers, as far as there are any."""

    @property
    def stray_kwh(self) -> float:
        """Energy by the registers that is not in the spans: it flowed while the device was not heard."""
        stray = self.net_kwh - sum(span.energy_kwh for span in self.spans)
        return stray if abs(stray) > ROUNDING_KWH else 0.0


class Account:
    """Of one device. Registers are compared within one boot only: another life counts from a beginning of its own."""

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self.power_kw = 0.0
        self.heard: datetime | None = None
        """When it last reported."""
        self._boot: str | None = None
        self._net_kwh: float | None = None
        self._ahead_kwh = 0.0
        """Booked since the last report by estimate; the next report's difference is that much smaller."""
        self._fresh = False
        """It reported in the interval before."""

    def book(self, reports: Sequence[Report], start: datetime, end: datetime) -> Booking:
        """Lock-step: the interval as its segments tell it; without segments the mean power by its registers."""
        held_kw = self.power_kw
        due, spans = self._take(reports, start, end)
        if reports and end > start and all(report.spans is None for report in reports):
            if self._net_kwh is None:
                spans = (Span(start, end, held_kw),)
            elif due is not None:
                mean_kw = due / ((end - start) / HOUR)
                spans = (Span(start, end, mean_kw if self._fresh else self.power_kw),)
        self._fresh = bool(reports)
        if not reports:
            self.power_kw = 0.0
        return Booking(spans, sum(span.energy_kwh for span in spans) if due is None else due)

    def book_wall(self, reports: Sequence[Report], start: datetime, end: datetime) -> Booking:
        """Wall time: the mean power by its registers; between reports an estimate by its last power.

        When it reports after an interval of silence, its last power is the estimate for this one, too, and what the
        registers say besides is stray energy: a mean over so short an interval would be a power that never was.
        """
        held_kw = self.power_kw
        due, _ = self._take(reports, start, end)
        hours = (end - start) / HOUR
        if self.missing(end):
            power_kw, net = 0.0, 0.0 if due is None else due
        elif not reports:
            power_kw, net = held_kw, held_kw * hours
            self._ahead_kwh += net
        elif due is None:
            power_kw = held_kw if self._net_kwh is None else 0.0
            net = power_kw * hours
        else:
            power_kw = due / hours if self._fresh and hours > 0 else self.power_kw
            net = due
        self._fresh = bool(reports)
        return Booking((Span(start, end, power_kw),) if end > start else (), net)

    def missing(self, at: datetime) -> bool:
        """Wall time: whether it was silent for too long; what it last said does not hold any more."""
        silence = None if self.heard is None else at - self.heard
        return silence is None or silence > PERIODS_UNTIL_MISSING * timedelta(seconds=self.period_s)

    def _take(self, reports: Sequence[Report], start: datetime, end: datetime) -> tuple[float | None, tuple[Span, ...]]:
        """The net energy by the registers (None: unknown), and the spans within [start, end)."""
        due: float | None = None
        spans: list[Span] = []
        for report in sorted(reports, key=lambda report: report.ts):
            told = _cut(report.spans or (), start, end)
            spans += told
            if report.net_kwh is not None:
                if report.boot == self._boot and self._net_kwh is not None:
                    difference = report.net_kwh - self._net_kwh - self._ahead_kwh
                    due = difference if due is None else due + difference
                elif report.spans is not None:
                    energy = sum(span.energy_kwh for span in told)
                    due = energy if due is None else due + energy
            self._boot, self._net_kwh, self._ahead_kwh = report.boot, report.net_kwh, 0.0
            self.power_kw, self.heard = report.power_kw, report.ts
        return due, tuple(sorted(spans, key=lambda span: span.start))

    def snapshot(self) -> Json:
        return {
            "period_s": self.period_s,
            "power_kw": self.power_kw,
            "heard": None if self.heard is None else self.heard.isoformat(),
            "boot": self._boot,
            "net_kwh": self._net_kwh,
            "ahead_kwh": self._ahead_kwh,
            "fresh": self._fresh,
        }

    @classmethod
    def restored(cls, state: Json) -> "Account":
        account = cls(state["period_s"])
        account.power_kw = state["power_kw"]
        account.heard = None if state["heard"] is None else datetime.fromisoformat(state["heard"])
        account._boot = state["boot"]
        account._net_kwh = state["net_kwh"]
        account._ahead_kwh = state["ahead_kwh"]
        account._fresh = state["fresh"]
        return account


def _cut(spans: Sequence[Span], start: datetime, end: datetime) -> list[Span]:
    cut = [Span(max(span.start, start), min(span.end, end), span.power_kw) for span in spans]
    return [span for span in cut if span.end > span.start]
