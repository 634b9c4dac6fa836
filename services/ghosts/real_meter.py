"""What flowed at the real PCC: the meter's telemetry as pieces of constant power without gaps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from schemas.messages import MeterRole, NetworkTelemetry, Telemetry
from schemas.participant import Json, Received
from schemas.plausibility import meter_bounds
from schemas.register_reading import RegisterReading
from schemas.site import Meter, Site
from schemas.topics import Kind

_HOUR = timedelta(hours=1)
_SAME_KWH = 1e-6
"""Segments that explain the registers to within this much say when it flowed."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Power at the real PCC [kW, positive on import], constant in [start, end)."""

    start: datetime
    end: datetime
    power_kw: float
    estimated: bool = False
    """Neither the registers nor segments say so: it is the power that was measured before, held."""

    @property
    def hours(self) -> float:
        return (self.end - self.start) / _HOUR


class RealMeter:
    """The real site's PCC meter: a meter of that role, or the network twin while none is heard.

    Between two readings flows what the registers say, with the energy of both directions kept. After a silence that is
    the mean over it. Where the registers cannot be believed (`schemas.register_reading`), the power that was measured
    is held, and the piece is an estimate.
    """

    def __init__(self, site: Site) -> None:
        self._bounds = meter_bounds(site)
        self._own = {name: device for name, device in site.devices.items() if isinstance(device, Meter)}
        self._source: str | None = None
        self._reading: RegisterReading | None = None
        self._pieces: tuple[Piece, ...] = ()
        """What was not taken yet."""
        self.doubt: str | None = None
        """Why the newest reading is not believed; None: it is."""
        self.period_s = 10.0
        """Telemetry period of the meter."""

    @property
    def newest(self) -> datetime | None:
        """Time of the newest reading; None: there was none."""
        return None if self._reading is None else self._reading.ts

    @property
    def power_kw(self) -> float:
        """The power that was read last, if it is plausible, else the last one that was."""
        if self._reading is not None and self._bounds.allow(self._reading.power_kw):
            return self._reading.power_kw
        return self._pieces[-1].power_kw if self._pieces else 0.0

    def receive(self, received: Received, body: Telemetry, now: datetime) -> None:
        """A telemetry; of whom it is no PCC meter it is left alone. ``now`` bounds what it says of its time."""
        device, ts = received.topic.device, min(received.stamp.ts, now)
        if not self._is_pcc(received.topic.kind, device):
            return
        if device != self._source:
            if self._source is not None and received.topic.kind is Kind.NETWORK:
                return  # a meter of flesh and blood was heard, and it counts
            self._source = device
            self.period_s = self._own[device].telemetry_period_s if device in self._own else 10.0
        before = self._reading
        if before is not None and ts <= before.ts:
            return
        missing = body.missing if isinstance(body, NetworkTelemetry) else ()
        values = (body.power_kw, body.energy_import_kwh, body.energy_export_kwh, missing)
        boot = f"{device} {received.stamp.boot}"
        if before is None:
            self._reading = RegisterReading.first(ts, boot, *values)
            self.doubt = self._bounds.doubt(body.power_kw)
            return
        self._reading = before.following(ts, boot, *values)
        self._pieces = (*self._pieces, *self._between(before, self._reading, body))

    def take(self, until: datetime) -> tuple[Piece, ...]:
        """The pieces up to ``until``, once."""
        taken = [replace(piece, end=min(piece.end, until)) for piece in self._pieces if piece.start < until]
        self._pieces = tuple(
            replace(piece, start=max(piece.start, until)) for piece in self._pieces if piece.end > until
        )
        return tuple(taken)

    def _is_pcc(self, kind: Kind, device: str) -> bool:
        if kind is Kind.NETWORK:
            return True
        return device in self._own and self._own[device].role is MeterRole.PCC

    def _between(self, before: RegisterReading, now: RegisterReading, body: Telemetry) -> list[Piece]:
        grown = before.grown_until(now)
        self.doubt = self._bounds.doubt(now.power_kw)
        if grown is None:
            return self._held(before, now)
        if now.boot != before.boot:
            doubt: str | None = "another life of the meter"
        else:
            doubt = before.doubt_until(now, self._bounds)
        if doubt is not None:
            self.doubt = self.doubt or doubt
            return self._held(before, now)
        return _by_segments(before.ts, now.ts, body, grown) or _by_registers(before.ts, now.ts, *grown)

    def _held(self, before: RegisterReading, now: RegisterReading) -> list[Piece]:
        held = before.held_until(now, self._bounds)
        if held is None:
            power_kw = self._pieces[-1].power_kw if self._pieces else 0.0
        else:
            power_kw = (held[0] - held[1]) / ((now.ts - before.ts) / _HOUR)
        return [Piece(before.ts, now.ts, power_kw, estimated=True)]

    def snapshot(self) -> Json:
        return {
            "source": self._source,
            "period_s": self.period_s,
            "reading": None if self._reading is None else self._reading.snapshot(),
            "pieces": [
                [piece.start.isoformat(), piece.end.isoformat(), piece.power_kw, piece.estimated]
                for piece in self._pieces
            ],
            "doubt": self.doubt,
        }

    def restore(self, state: Json) -> None:
        self._source, self.period_s, self.doubt = state["source"], state["period_s"], state["doubt"]
        self._reading = None if state["reading"] is None else RegisterReading.restored(state["reading"])
        self._pieces = tuple(
            Piece(datetime.fromisoformat(start), datetime.fromisoformat(end), power_kw, estimated)
            for start, end, power_kw, estimated in state["pieces"]
        )


def _by_segments(start: datetime, end: datetime, body: Telemetry, grown: tuple[float, float]) -> list[Piece]:
    """By the segments of lock-step; nothing, if there are none or they are not what the registers counted."""
    segments = body.segments or ()
    if not segments or segments[0].start != start:
        return []
    ends: Sequence[datetime] = (*(segment.start for segment in segments[1:]), end)
    pieces = [Piece(each.start, until, each.power_kw) for each, until in zip(segments, ends, strict=True)]
    energies = [piece.power_kw * piece.hours for piece in pieces]
    counted = sum(max(each, 0.0) for each in energies), sum(max(-each, 0.0) for each in energies)
    same = all(abs(a - b) <= _SAME_KWH * max(1.0, abs(b)) for a, b in zip(counted, grown, strict=True))
    return pieces if same else []


def _by_registers(start: datetime, end: datetime, import_kwh: float, export_kwh: float) -> list[Piece]:
    """Import first, then export, at the same magnitude of power: both energies are known, not when they flowed."""
    both = import_kwh + export_kwh
    if not both:
        return [Piece(start, end, 0.0)]
    power_kw = both / ((end - start) / _HOUR)
    turn = start + (end - start) * (import_kwh / both)
    bounds = [start, turn, end]
    return [
        Piece(begin, until, kw)
        for (begin, until), kw in zip(pairwise(bounds), (power_kw, -power_kw), strict=True)
        if until > begin
    ]
