"""Reading a recorded history, a run at a time: the protocol that a file, a server and a memory of messages implement.

`History` is what readers are written for. An implementation gives its runs, its messages in order and how much of a
run there is; everything that the messages tell (tracks, prices, charging sessions, the grid of a run, counts) is
derived here, once, so that the same run gives the same numbers wherever it is kept.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from schemas.errors import Code, InputError
from schemas.messages import (
    Ack,
    Alarm,
    Birth,
    Body,
    MeterRole,
    Plan,
    Run,
    Series,
    Setpoint,
    Telemetry,
    TimeMode,
)
from schemas.participant import Received
from schemas.plausibility import meter_bounds
from schemas.presence import SKEW_S
from schemas.site import Site, step_start
from schemas.sums import sum_in_order
from schemas.topics import Channel, Kind
from services.history.prices import Prices, prices_of
from services.history.sessions import RecordedChargingSession, sessions_of
from services.history.tracks import Sample, Track

if TYPE_CHECKING:
    import xarray as xr

_BodyT = TypeVar("_BodyT", bound=Body)

STANDING = (Channel.BIRTH, Channel.RUN, Channel.SERIES, Channel.LIMIT)
"""Their messages hold until the next one: a window has them from the run's beginning."""
AHEAD = timedelta(seconds=SKEW_S)
"""Telemetry of a run in wall time may be so much later than the run's end, for clocks differ a little."""
NEIGHBOUR = timedelta(hours=1)
"""How far beyond a window the telemetry next to it is looked for, so that what flowed across its bounds is shared."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run in the history. Times are session time, but for ``started`` and ``ended``, the machine's."""

    run: str
    site: str
    label: str
    mode: TimeMode
    step_s: int
    t0: datetime
    t_end: datetime | None
    cycle: int | None
    """The newest that was committed."""
    up_to: datetime | None
    """Its time."""
    started: datetime
    ended: datetime | None
    """None: it still runs, or was cut off."""

    @property
    def complete(self) -> bool:
        """Whether its closing cycle was committed."""
        return self.ended is not None

    @property
    def step(self) -> timedelta:
        return timedelta(seconds=self.step_s)


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a run, from ``start`` to ``end``."""

    start: datetime
    end: datetime


SAME_KW = 1e-3
"""Set-points that differ by no more are the same."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much of a run was recorded."""

    recorded: int
    """Messages, ticks, dones and the recorder's own apart."""
    missing: int
    """Gaps in the sequence numbers of what was recorded; last wills carry none."""
    dead_letters: int
    """Different ones."""
    stray: int
    """Of this run on disk, numbered, and never announced: of processes outside the roster or a cycle that was cut off.

    Last wills, goodbyes and the clock's word that the run has ended are not counted: every run has them.
    """
    setpoints_sent: int
    setpoints_changed: int
    """Number of values that differ by more than 1 W from the one before at the same device; the first of a device
    counts."""
    setpoints_reversed: int
    """Number of those that turn charging into discharging, or back, without a 0 between."""
    setpoints_moved_kw: float
    """Sum of the changes of powers and limits [kW, magnitudes]; a device's first set-point counts none."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The part of `Counts` that only whoever keeps the messages knows."""

    recorded: int
    missing: int
    dead_letters: int
    stray: int


@dataclass(frozen=True, slots=True)
class Misdated:
    """Telemetry of one device in wall time whose time lies outside the run: it is recorded, and not counted."""

    device: str
    times: tuple[datetime, ...]
    start: datetime
    end: datetime
    """The run's."""

    def __str__(self) -> str:
        first, last = f"{min(self.times):%Y-%m-%d %H:%M:%S}", f"{max(self.times):%Y-%m-%d %H:%M:%S}"
        dated = f"1 telemetry dated {first}" if len(self.times) == 1 else f"{len(self.times)} dated {first} to {last}"
        return (
            f"{self.device}: {dated} UTC, outside the run from {self.start:%Y-%m-%d %H:%M} to "
            f"{self.end:%Y-%m-%d %H:%M}; not counted"
        )


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was not of the contract."""

    topic: str
    reason: str
    payload: bytes
    """Its beginning."""
    size_bytes: int
    times: int
    received: datetime


class History(ABC):
    """One history, opened for reading, or a window of it. Close it after use."""

    path: Path | str
    """Where it is, for whoever reads an error."""
    window: Window | None
    """None: all that was recorded."""

    # -- what an implementation gives

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def within(self, start: datetime, end: datetime) -> "History":
        """The same history as if only ``start`` to ``end`` of every run had been recorded; to be closed, too.

        Of a run of months a day is read without the rest. Births, sessions and series are there from the run's
        beginning, for they hold until the next one, and each device's telemetry next to the bounds if it is at most
        `NEIGHBOUR` beyond: energies of windows that touch sum to that of the whole.
        """

    @abstractmethod
    def runs(self) -> list[RunInfo]:
        """All runs, oldest first."""

    @abstractmethod
    def site(self, run: str) -> Site:
        """The site description with which the run was made. Raises InputError when there is no such run."""

    @abstractmethod
    def messages(
        self, run: str, channel: Channel | None = None, kind: Kind | None = None, device: str | None = None
    ) -> Iterator[Received]:
        """Messages of a run by time, topic, boot and seq, whatever the order in which they arrived.

        In lock-step those of whole cycles. Raises InputError when there is no such run.
        """

    @abstractmethod
    def earlier_births(self, info: RunInfo) -> list[Received]:
        """Births of the lives that tell of themselves in the run but began before it (wall time)."""

    @abstractmethod
    def newest_telemetry(self, info: RunInfo) -> datetime | None:
        """Time of the run's newest telemetry; None when there is none."""

    @abstractmethod
    def dead_letters(self, run: str) -> list[DeadLetter]: ...

    @abstractmethod
    def tally(self, info: RunInfo) -> Tally: ...

    # -- runs

    def latest(self, label: str | None = "main") -> RunInfo:
        """The newest run of that label (None: of any). Raises InputError when there is none."""
        found = [info for info in self.runs() if label is None or info.label == label]
        if not found:
            raise InputError.one(
                str(self.path), f"holds no run{'' if label is None else f' labelled {label}'}", code=Code.UNKNOWN
            )
        return found[-1]

    def info(self, run: str) -> RunInfo:
        """Raises InputError naming the runs that there are."""
        runs = {info.run: info for info in self.runs()}
        if run not in runs:
            raise InputError.one(
                str(self.path), f"there is no such run; there are {', '.join(runs) or 'none'}", run, code=Code.UNKNOWN
            )
        return runs[run]

    def span(self, run: str) -> tuple[datetime, datetime]:
        """From where to where the run was recorded; of a window the part within it, in wall time whole steps."""
        info = self.info(run)
        if self.window is None:
            return info.t0, info.up_to or info.t0
        start, end = recorded_steps(info, self.site(run).zone)
        return max(start, self.window.start), min(end, self.window.end)

    # -- messages

    def births(self, run: str) -> dict[str, Received]:
        """The last birth of each participant, by id.

        In wall time also that of a life that began before the run: it is told once.
        """
        info = self.info(run)
        births = list(self.messages(run, Channel.BIRTH))
        if info.mode is TimeMode.WALL:
            births += self.earlier_births(info)
            births.sort(key=lambda received: (received.stamp.ts, received.stamp.boot, received.stamp.seq))
        return {received.topic.device: received for received in births}

    def setpoints(self, run: str, device: str | None = None) -> list[tuple[Received, Setpoint]]:
        return self._bodies(run, Channel.SETPOINT, Setpoint, device)

    def acks(self, run: str, device: str | None = None) -> list[tuple[Received, Ack]]:
        return self._bodies(run, Channel.ACK, Ack, device)

    def plans(self, run: str) -> list[tuple[Received, Plan]]:
        return self._bodies(run, Channel.PLAN, Plan)

    def alarms(self, run: str) -> list[tuple[Received, Alarm]]:
        return self._bodies(run, Channel.ALARM, Alarm)

    def series(self, run: str) -> list[tuple[Received, Series]]:
        return self._bodies(run, Channel.SERIES, Series)

    # -- what the messages tell

    def tracks(self, run: str) -> dict[str, Track]:
        """Telemetry by device id, the PCC's too."""
        info = self.info(run)
        births = self.births(run)
        samples: dict[tuple[str, Kind], list[Sample]] = {}
        for received in self.messages(run, Channel.TELEMETRY):
            assert isinstance(received.body, Telemetry)
            if is_misdated(info, received.stamp.ts):
                continue
            of_device = samples.setdefault((received.topic.device, received.topic.kind), [])
            of_device.append(Sample(received.stamp.ts, received.stamp.boot, received.body))
        nameplates = {id_: birth.body.nameplate for id_, birth in births.items() if isinstance(birth.body, Birth)}
        lockstep = info.mode is TimeMode.LOCKSTEP
        of_meters = meter_bounds(self.site(run))
        tracks = {
            device: Track(device, kind, nameplates.get(device), tuple(found), lockstep, of_meters)
            for (device, kind), found in sorted(samples.items())
        }
        if self.window is None:
            return tracks
        start, end = self.window.start, self.window.end
        cut = {device: track.around(start, end) for device, track in tracks.items()}
        return {device: track for device, track in cut.items() if track.samples}

    def misdated(self, run: str) -> list[Misdated]:
        """Telemetry whose time lies outside the run, by device."""
        info = self.info(run)
        if info.mode is TimeMode.LOCKSTEP:
            return []
        times: dict[str, list[datetime]] = {}
        for received in self.messages(run, Channel.TELEMETRY):
            if is_misdated(info, received.stamp.ts):
                times.setdefault(received.topic.device, []).append(received.stamp.ts)
        end = info.up_to or info.t0
        return [Misdated(device, tuple(found), info.t0, end) for device, found in sorted(times.items())]

    def grid(self, run: str) -> tuple[datetime, ...]:
        """The instants between which a run is accounted for.

        Lock-step: ``t0`` and every step's end up to the newest that was committed. Wall time: ``t0``, the whole
        steps of the clock, and the newest telemetry within the run, so that the first and last interval may be
        shorter. A window: the steps of its `span`.
        """
        info = self.info(run)
        if self.window is not None:
            start, end = self.span(run)
            return tuple(start + index * info.step for index in range((end - start) // info.step + 1))
        newest = self.newest_telemetry(info)
        if newest is None:
            return ()
        if info.up_to is not None:
            newest = min(newest, info.up_to)  # one date far ahead does not make a run of years
        if info.mode is TimeMode.LOCKSTEP:
            return tuple(info.t0 + index * info.step for index in range((newest - info.t0) // info.step + 1))
        first = _next_step(info.t0, info.step, self.site(run).zone)
        inner = [first + index * info.step for index in range(max(0, -((first - newest) // info.step)))]
        return tuple(dict.fromkeys([info.t0, *(time for time in inner if time < newest), newest]))

    def prices(self, run: str) -> Prices:
        """The tariff's, as announced."""
        told = self.messages(run, Channel.SERIES, Kind.TARIFF)
        return prices_of([s for received in told if isinstance(received.body, Series) for s in received.body.series])

    def simulated(self, run: str) -> bool:
        """Whether no real device took part: in lock-step always, in wall time as the session says."""
        if self.info(run).mode is TimeMode.LOCKSTEP:
            return True
        sessions = self._bodies(run, Channel.RUN, Run)
        return sessions[-1][1].simulated if sessions else False

    def sessions(self, run: str) -> list[RecordedChargingSession]:
        """Stays of vehicles, by charger and arrival."""
        return [s for track in self.tracks(run).values() for s in sessions_of(track)]

    def segments(self, run: str) -> dict[str, list[tuple[datetime, datetime, float]]]:
        """By device the pieces (start, end, kW) of constant power that its telemetry told of (lock-step)."""
        found: dict[str, list[tuple[datetime, datetime, float]]] = {}
        for device, track in self.tracks(run).items():
            pieces = found.setdefault(device, [])
            for sample in track.samples:
                segments = sample.body.segments or ()
                ends = [segment.start for segment in segments[1:]] + [sample.ts]
                pieces += [(s.start, end, s.power_kw) for s, end in zip(segments, ends, strict=bool(segments))]
        return found

    def counts(self, run: str) -> Counts:
        tally = self.tally(self.info(run))
        sent, changed, reversed_, moved_kw = 0, 0, 0, 0.0
        last: dict[str, tuple[float | None, float | None]] = {}
        for received, setpoint in self.setpoints(run):
            value = (setpoint.power_kw, setpoint.limit_kw)
            sent += 1
            before = last.get(received.topic.device, (None, None))
            changed += any(_differ(old, new) for old, new in zip(before, value, strict=True))
            reversed_ += (before[0] or 0.0) * (setpoint.power_kw or 0.0) < 0
            moved_kw += sum_in_order(
                abs(n - o) for o, n in zip(before, value, strict=True) if o is not None and n is not None
            )
            last[received.topic.device] = value
        return Counts(
            tally.recorded, tally.missing, tally.dead_letters, tally.stray, sent, changed, reversed_, moved_kw
        )

    def dataset(self, run: str) -> "xr.Dataset":
        """The run as an xarray Dataset; see `services.history.dataset` for its variables."""
        from services.history.dataset import dataset_of

        return dataset_of(self, run)

    def _bodies(
        self, run: str, channel: Channel, body: type[_BodyT], device: str | None = None
    ) -> list[tuple[Received, _BodyT]]:
        found = self.messages(run, channel, device=device)
        return [(received, received.body) for received in found if isinstance(received.body, body)]


def _differ(old: float | None, new: float | None) -> bool:
    return old is not new if old is None or new is None else abs(old - new) > SAME_KW


def is_misdated(info: RunInfo, ts: datetime) -> bool:
    """Whether a telemetry of a run in wall time cannot be of it: one wrong date does not make a run of years."""
    if info.mode is TimeMode.LOCKSTEP or info.up_to is None:
        return False
    return not info.t0 - NEIGHBOUR <= ts <= info.up_to + AHEAD


def pcc_of(tracks: dict[str, Track]) -> Track | None:
    """The meter at the point of common coupling; None when none told of itself."""
    return next((track for track in tracks.values() if track.role is MeterRole.PCC), None)


def recorded_steps(info: RunInfo, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """From where to where whole steps were recorded; in wall time of the local clock, in lock-step from ``t0``."""
    start, end = info.t0, info.up_to or info.t0
    if info.mode is TimeMode.LOCKSTEP:
        return start, end
    begun = step_start(start, info.step, zone)
    return start if begun == start else begun + info.step, step_start(end, info.step, zone)


def _next_step(time: datetime, step: timedelta, zone: ZoneInfo) -> datetime:
    """The first whole step of the local clock after ``time``."""
    return step_start(time, step, zone) + step
