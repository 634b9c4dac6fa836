"""Wall time: what the devices told, as far as all have told it. Lateness shifts the booking, and does not falsify it.

An interval is settled up to the *watermark*: the oldest of the newest telemetries of the devices that are present. Up
to there every device's energy is known by its registers, which are taken to rise linearly between two telemetries; so
what is booked is a function of what was told, and not of when it arrived. A device from which nothing has arrived for
three of its periods (as it keeps them), while the others were heard, is absent: the settlement goes on without it. What
flowed meanwhile by its registers is booked when it is heard again, first against what was booked in the other direction
since then.

At the end of the run all that is known is settled, whoever has not told, and no correction stays unpaid.

A device's clock may be wrong. A telemetry from the future (`schemas.presence`) counts as of its arrival. One of a
device whose telemetries are all late by more than the bound counts as so much later as the promptest of them was.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from schemas.messages import Telemetry
from schemas.participant import Json, Received
from schemas.plausibility import PowerBounds, plausible_power_kw
from schemas.presence import ahead_bound_s, behind_bound_s, lag_s
from schemas.register_reading import RegisterReading
from twin_devices.energy_meter import HOUR
from twin_devices.metering import Span

PERIODS_UNTIL_MISSING = 3
"""A device that was silent for so many of its telemetry periods counts as absent."""

SLOWEST_PACE = 4.0
"""A device that keeps telling at a slower pace than its period is waited for at that pace, up to so many periods: on a
busy machine, in a session that runs many times faster than the clock, everybody skips instants."""

MACHINE_PATIENCE_S = 2.0
"""A device is waited for at least so long by the machine's clock: in a run that goes many times faster than it, three
periods are less than what a busy machine takes to let a process run."""

SMOOTHING = 0.2
"""Weight of the newest interval between two telemetries in the pace."""

QUIET = timedelta(seconds=120)
"""While nobody tells anything, nothing is settled for so long; then the clock says who is absent."""

GRID_S = 10
"""The watermark is rounded down to multiples of this since the epoch, so that quarters are met exactly."""


def energy_between(earlier: RegisterReading, later: RegisterReading, bounds: PowerBounds | None = None) -> float:
    """Net energy [kWh] drawn from one reading to the next, by the registers; without registers the power holds.

    So it does where registers went back, came back or grew by more than can flow. Registers of another life are not
    compared: nothing is known, and 0 is booked.
    """
    registers_missing = earlier.import_kwh is None or earlier.export_kwh is None
    if registers_missing or doubt_between(earlier, later, bounds) is not None:
        held = earlier.held_until(later, bounds)
        return 0.0 if held is None else held[0] - held[1]
    grown = earlier.grown_until(later)
    return 0.0 if grown is None or earlier.boot != later.boot else grown[0] - grown[1]


def doubt_between(earlier: RegisterReading, later: RegisterReading, bounds: PowerBounds | None) -> str | None:
    """Why the registers' growth within a life is doubtful; None: it is plausible."""
    return earlier.doubt_until(later, bounds) if earlier.boot == later.boot else None


def fell_between(earlier: RegisterReading, later: RegisterReading) -> bool:
    """Whether a register of the same life is lower in the later reading: it was reset."""
    return earlier.boot == later.boot and earlier.fell_until(later)


LEAST_LAGS, LAGS = 3, 20
"""So many telemetries in a row have to be late before it is their sender's clock, at first and later on."""


class SenderClock:
    """What is known of the clock of one device."""

    def __init__(self, lags_s: Sequence[float] = ()) -> None:
        self.lags_s = list(lags_s)

    def time_of(self, received: Received, pace: float) -> datetime:
        """The time that counts for a telemetry. ``pace``: run seconds in a second of the machine."""
        ts, arrived = received.stamp.ts, received.arrived
        if arrived is None:
            return ts
        lag = lag_s(ts, arrived)
        if lag < -ahead_bound_s(pace):
            return arrived
        self.lags_s = [*self.lags_s, lag][-LAGS:]
        least_s = min(self.lags_s)
        is_behind = len(self.lags_s) >= LEAST_LAGS and least_s > behind_bound_s(pace)
        return ts + timedelta(seconds=least_s) if is_behind else ts


class Told:
    """Of one device: its readings from the last one that is settled on."""

    def __init__(self, period_s: float, samples: Sequence[RegisterReading], clock: SenderClock | None = None) -> None:
        self.period_s = period_s
        self._pace_s = period_s
        self.samples = list(samples)
        self.bounds: PowerBounds | None = None
        """What it may draw and give at most; None: not known."""
        self.heard = self.samples[-1].ts
        """When its newest telemetry was received, by the clock of the network twin."""
        self._clock = clock or SenderClock()
        self.absent_since: tuple[float, float] | None = None
        """The PCC's registers (import, export) [kWh] when the settlement went on without it."""

    @property
    def newest(self) -> datetime:
        return self.samples[-1].ts

    def patience(self, pace: float = 1.0) -> timedelta:
        """Silence after which it is absent. ``pace``: seconds of the run in one of the machine."""
        periods = PERIODS_UNTIL_MISSING * timedelta(seconds=max(self._pace_s, self.period_s))
        return max(periods, timedelta(seconds=MACHINE_PATIENCE_S * pace))

    @classmethod
    def first(cls, period_s: float, received: Received, pace: float) -> "Told":
        clock = SenderClock()
        first = RegisterReading.first(clock.time_of(received, pace), *_registers_of(received))
        told = cls(period_s, [first], clock)
        told.heard = received.arrived or told.newest
        return told

    def hear(self, received: Received, begin: datetime, settled: datetime, pace: float = 1.0) -> float:
        """Takes a telemetry in. Returns the energy [kWh] of it that flowed in [begin, settled): too late for its time.

        One that is not newer than the newest is not taken: its energy is in the registers of that one.
        """
        ts, last = self._clock.time_of(received, pace), self.samples[-1]
        self.heard = max(self.heard, received.arrived or ts)
        if ts <= last.ts:
            return 0.0
        sample = last.following(ts, *_registers_of(received))
        self.samples.append(sample)
        self._pace_s += SMOOTHING * ((sample.ts - last.ts).total_seconds() - self._pace_s)
        self._pace_s = min(self._pace_s, SLOWEST_PACE * self.period_s)
        overlap = min(sample.ts, settled) - max(last.ts, begin)
        if overlap <= timedelta():
            return 0.0
        return energy_between(last, sample, self.bounds) * (overlap / (sample.ts - last.ts))

    def spans(self, start: datetime, end: datetime) -> tuple[Span, ...]:
        """Its mean power from sample to sample, within [start, end)."""
        spans = []
        for a, b in pairwise(self.samples):
            if a.ts < end and b.ts > start:
                power_kw = energy_between(a, b, self.bounds) / ((b.ts - a.ts) / HOUR)
                spans.append(Span(max(a.ts, start), min(b.ts, end), power_kw))
        return tuple(spans)

    def reset_between(self, start: datetime, end: datetime) -> bool:
        """Whether a register fell from one sample to the next, which lies within (start, end]."""
        return any(start < b.ts <= end and fell_between(a, b) for a, b in pairwise(self.samples))

    def doubts_between(self, start: datetime, end: datetime) -> tuple[str, ...]:
        """Why what it told within (start, end] is doubtful, falls of registers apart."""
        doubts: list[str | None] = []
        for a, b in pairwise(self.samples):
            if start < b.ts <= end:
                doubts.append(None if fell_between(a, b) else doubt_between(a, b, self.bounds))
                doubts.append(None if self.bounds is None else self.bounds.doubt(b.power_kw))
        return tuple(doubt for doubt in doubts if doubt is not None)

    def heard_between(self, start: datetime, end: datetime) -> bool:
        """Whether it told something within (start, end]."""
        return any(start < sample.ts <= end for sample in self.samples)

    def power_kw(self, at: datetime) -> float:
        """Just after ``at``: as told then, else the mean between the samples around it; 0 beyond the newest."""
        for a, b in pairwise(self.samples):
            if a.ts < at < b.ts:
                return energy_between(a, b, self.bounds) / ((b.ts - a.ts) / HOUR)
            if b.ts == at:
                return plausible_power_kw((b.power_kw, a.power_kw), self.bounds) or 0.0
        return next((plausible_power_kw((s.power_kw,), self.bounds) or 0.0 for s in self.samples if s.ts == at), 0.0)

    def forget(self, settled: datetime) -> None:
        """Drops what is not needed any more after ``settled``."""
        while len(self.samples) > 1 and self.samples[1].ts <= settled:
            self.samples.pop(0)

    def snapshot(self) -> Json:
        return {
            "period_s": self.period_s,
            "pace_s": self._pace_s,
            "absent_since": None if self.absent_since is None else list(self.absent_since),
            "bounds": None if self.bounds is None else list(astuple(self.bounds)),
            "heard": self.heard.isoformat(),
            "lags_s": list(self._clock.lags_s),
            "samples": [sample.snapshot() for sample in self.samples],
        }

    @classmethod
    def restored(cls, state: Json) -> "Told":
        told = cls(
            state["period_s"],
            [_restored(sample) for sample in state["samples"]],
            SenderClock(state.get("lags_s", ())),
        )
        if "heard" in state:  # a checkpoint of an earlier version has none
            told.heard = datetime.fromisoformat(state["heard"])
        told._pace_s = state["pace_s"]
        bounds = state.get("bounds")  # a checkpoint of an earlier version has none
        told.bounds = None if bounds is None else PowerBounds(*bounds)
        since = state["absent_since"]
        told.absent_since = None if since is None else (since[0], since[1])
        return told


def _registers_of(received: Received) -> tuple[str, float, float | None, float | None]:
    body = received.body
    assert isinstance(body, Telemetry)
    return received.stamp.boot, body.power_kw, body.energy_import_kwh, body.energy_export_kwh


def _restored(saved: Json) -> RegisterReading:
    if isinstance(saved, list):  # of an earlier version, which may have no time since when the registers have stood
        ts, boot, power_kw, import_kwh, export_kwh, *since = saved
        first = RegisterReading.first(datetime.fromisoformat(ts), boot, power_kw, import_kwh, export_kwh)
        return first._replace(since=datetime.fromisoformat((*since, ts)[0]))
    return RegisterReading.restored(saved)


def absent(told: Mapping[str, Told], now: datetime, pace: float = 1.0) -> tuple[str, ...]:
    """Devices that were silent for their patience while others told, or while nobody did for `QUIET`; sorted."""
    newest = max((device.heard for device in told.values()), default=now)
    quiet = max(QUIET, timedelta(seconds=MACHINE_PATIENCE_S * pace))
    reached = min(newest, now) if now - newest <= quiet else now
    return tuple(name for name, device in sorted(told.items()) if reached - device.heard > device.patience(pace))


def watermark(present: Iterable[datetime], now: datetime, settled: datetime, end: datetime | None) -> datetime:
    """The instant up to which may be settled. ``present``: the newest telemetry of each device that is present.

    ``end`` of the session, if it has one, is on the grid whatever it is.
    """
    reached = min([now, *present])
    if reached == end:
        return max(reached, settled)
    seconds = reached.timestamp()
    return max(datetime.fromtimestamp(seconds - seconds % GRID_S, UTC), settled)
