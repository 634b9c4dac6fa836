"""A device's telemetry through a run, and the energies between the instants of a grid of time."""

import bisect
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from schemas.capabilities import Capabilities, Group, group_of
from schemas.kinds import DEVICES
from schemas.messages import MeterRole, Nameplate, NetworkTelemetry, Telemetry
from schemas.plausibility import PowerBounds, bounds_of
from schemas.register_reading import CAME_BACK, RegisterReading
from schemas.topics import Kind

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Sample:
    """One telemetry message."""

    ts: datetime
    boot: str
    body: Telemetry


@dataclass(frozen=True, slots=True)
class Flow:
    """Energy through a device's terminals in one interval [kWh], positive both ways; None: not known."""

    import_kwh: float | None
    export_kwh: float | None
    estimated: bool = False
    """Not a plain difference of registers over this interval."""
    cause: str | None = None
    """Why it is estimated or not known."""

    @property
    def net_kwh(self) -> float | None:
        """Import minus export, the sign of `schemas.units`."""
        return None if self.import_kwh is None or self.export_kwh is None else self.import_kwh - self.export_kwh


@dataclass(frozen=True, slots=True)
class Track:
    """All telemetry of one device in a run, by time."""

    device: str
    kind: Kind
    nameplate: Nameplate | None
    samples: tuple[Sample, ...]
    lockstep: bool
    meter_bounds: PowerBounds | None = None
    """Of a meter, which has no rating: by its site. None: not known."""
    _flows: dict[tuple[datetime, ...], tuple[Flow, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What `flows` found, by its times: settlement, quarters and wear ask for the same."""

    @property
    def bounds(self) -> PowerBounds | None:
        """What the device may draw and give at most, by its nameplate or, of a meter, by its site."""
        return bounds_of(self.nameplate, None) or (self.meter_bounds if self.role is not None else None)

    @property
    def role(self) -> MeterRole | None:
        """Role of a meter; the network twin's is ``pcc``."""
        if self.kind is Kind.NETWORK:
            return MeterRole.PCC
        return getattr(self.nameplate, "role", None)

    @property
    def capabilities(self) -> Capabilities:
        """By its nameplate; where its birth was not recorded all that its kind may be able to do."""
        if self.nameplate is not None:
            return self.nameplate.capabilities
        return DEVICES[self.kind].capabilities if self.kind in DEVICES else frozenset()

    @property
    def group(self) -> Group:
        """How it is put together with others."""
        if self.nameplate is None and self.kind in DEVICES:
            return DEVICES[self.kind].group
        return group_of(self.capabilities)

    def at(self, time: datetime, within: timedelta) -> Telemetry | None:
        """The telemetry in force just after ``time``: in lock-step that of the instant, in wall time the newest before
        it that is at most ``within`` old."""
        place = bisect.bisect_right(self.samples, time, key=lambda sample: sample.ts)
        if place == 0:
            return None
        sample = self.samples[place - 1]
        fresh = sample.ts == time if self.lockstep else time - sample.ts <= within
        return sample.body if fresh else None

    def within(self, start: datetime, end: datetime) -> "Track":
        """From what held at ``start`` (where nothing did, the first after it) to the newest at ``end``."""
        first = max(0, bisect.bisect_right(self.samples, start, key=lambda sample: sample.ts) - 1)
        return self._piece(first, bisect.bisect_right(self.samples, end, key=lambda sample: sample.ts))

    def around(self, start: datetime, end: datetime) -> "Track":
        """`within`, and unless there is a telemetry of ``end`` itself the next one after it."""
        first = max(0, bisect.bisect_right(self.samples, start, key=lambda sample: sample.ts) - 1)
        return self._piece(first, bisect.bisect_left(self.samples, end, key=lambda sample: sample.ts) + 1)

    def _piece(self, first: int, last: int) -> "Track":
        return dataclasses.replace(self, samples=self.samples[first:last])

    def flows(self, times: Sequence[datetime]) -> tuple[Flow, ...]:
        """Energies of the intervals between consecutive ``times``.

        Differences of the registers where telemetry lies on the grid; between two samples that do not, the energy is
        spread evenly over their time. Over a gap longer than an interval, and without registers (then the power is
        held until the next sample), the result is marked as estimated. So it is where registers went back, came back
        or grew by more than can flow (`schemas.register_reading`): then, too, the power counts. Registers of two lives
        in lock-step are not compared: that energy counts as 0 and says so.
        """
        grid = tuple(times)
        if grid not in self._flows:
            self._flows[grid] = self._flows_between(grid)
        return self._flows[grid]

    def _flows_between(self, times: tuple[datetime, ...]) -> tuple[Flow, ...]:
        sums = [_Sum() for _ in times[1:]]
        place = 0
        bounds = self.bounds
        for step in self.register_steps():
            before, after = step.before, step.after
            flow = _between(step, self.lockstep, bounds)
            while place < len(sums) and times[place + 1] <= before.ts:
                place += 1
            for index in range(place, len(sums)):
                if times[index] >= after.ts:
                    break
                sums[index].add(flow, before.ts, after.ts, times[index], times[index + 1])
        return tuple(
            total.flow(self.device, end - start)
            for total, (start, end) in zip(sums, itertools.pairwise(times), strict=True)
        )

    def register_steps(self) -> Iterator["RegisterStep"]:
        """From each sample to the next one, with what their registers are judged by."""
        reading: RegisterReading | None = None
        for before, after in itertools.pairwise(self._last_of_each_instant()):
            if after.ts <= before.ts:
                continue
            earlier = reading or RegisterReading.first(*_read(before))
            reading = earlier.following(*_read(after))
            yield RegisterStep(before, after, earlier, reading)

    def _last_of_each_instant(self) -> list[Sample]:
        """A meter may correct what it published of an instant; the registers that came last count."""
        return [
            sample
            for sample, after in itertools.zip_longest(self.samples, self.samples[1:])
            if after is None or after.ts > sample.ts or after.boot != sample.boot
        ]


@dataclass(frozen=True, slots=True)
class RegisterStep:
    """Two consecutive samples, and their registers as parts of a chain."""

    before: Sample
    after: Sample
    earlier: RegisterReading
    later: RegisterReading


class _Sum:
    """Energy of one interval, gathered from the pieces between samples."""

    def __init__(self) -> None:
        self.import_kwh = 0.0
        self.export_kwh = 0.0
        self.covered = timedelta()
        self.cause: str | None = None

    def add(self, flow: Flow, begin: datetime, end: datetime, start: datetime, stop: datetime) -> None:
        overlap = min(end, stop) - max(begin, start)
        share = 1.0 if overlap == end - begin else overlap / (end - begin)
        assert flow.import_kwh is not None and flow.export_kwh is not None
        self.import_kwh += flow.import_kwh * share
        self.export_kwh += flow.export_kwh * share
        self.covered += overlap
        if flow.cause is not None:
            self.cause = flow.cause
        elif end - begin > stop - start:
            self.cause = f"no telemetry between {begin:%Y-%m-%d %H:%M:%S} and {end:%Y-%m-%d %H:%M:%S} UTC"

    def flow(self, device: str, length: timedelta) -> Flow:
        if not self.covered:
            return Flow(None, None, estimated=True, cause=f"{device}: no telemetry")
        cause = self.cause
        if cause is None and self.covered < length:
            cause = f"telemetry covers {self.covered} of {length}"
        return Flow(self.import_kwh, self.export_kwh, cause is not None, cause and f"{device}: {cause}")


def _read(sample: Sample) -> tuple[datetime, str, float, float | None, float | None, tuple[str, ...]]:
    body = sample.body
    missing = body.missing if isinstance(body, NetworkTelemetry) else ()
    return sample.ts, sample.boot, body.power_kw, body.energy_import_kwh, body.energy_export_kwh, missing


def _between(step: RegisterStep, lockstep: bool, bounds: PowerBounds | None) -> Flow:
    """Energy between two consecutive samples."""
    grown = step.earlier.grown_until(step.later)
    if grown is None:
        return _held(step, bounds)
    if lockstep and step.before.boot != step.after.boot:
        return Flow(0.0, 0.0, True, "came back as another life, with other registers")
    doubt = step.earlier.doubt_until(step.later, bounds)
    if doubt is not None:
        # Without figures, so that the same cause of many quarters is one.
        cause = doubt if min(grown) < 0 or doubt == CAME_BACK else "a register grew by more than can flow"
        return _held(step, bounds, f"{cause}; power integrated")
    return Flow(*grown)


def _held(step: RegisterStep, bounds: PowerBounds | None, cause: str = "without registers; power integrated") -> Flow:
    held = step.earlier.held_until(step.later, bounds)
    if held is None:
        return Flow(0.0, 0.0, True, "neither registers nor power are plausible; taken as 0")
    return Flow(*held, True, cause)


def mean_kw(flow: Flow, length: timedelta) -> float | None:
    """Mean power of an interval [kW, sign of `schemas.units`]."""
    return None if flow.net_kwh is None else flow.net_kwh / (length / _HOUR)


def soc_of(body: Telemetry) -> float | None:
    """SOC of the device's store or of the vehicle at its plug [fraction]."""
    return body.stored_frac
