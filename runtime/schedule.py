"""When the phases of a participant come in wall time, in run time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from schemas.messages import Phase
from schemas.participant import Cadence

_HALF_OPEN = frozenset({Phase.DECIDE, Phase.APPLY})
"""Nothing is commanded at a run's very end; sensing, measuring and committing still happen there."""
_TICK = timedelta(microseconds=1)


def aligned(t: datetime, period_s: float, zone: tzinfo) -> datetime:
    """The first multiple of ``period_s`` since local midnight of ``zone`` that is not before ``t``; UTC."""
    local = t.astimezone(zone)
    midnight = datetime(local.year, local.month, local.day, tzinfo=zone).astimezone(UTC)
    tomorrow = local.date() + timedelta(days=1)
    next_midnight = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone).astimezone(UTC)
    period = timedelta(seconds=period_s)
    count = -((midnight - t.astimezone(UTC)) // period)
    return min(midnight + count * period, next_midnight)


@dataclass(frozen=True, slots=True)
class Due:
    """A phase that is due: ``at`` is the instant that it is about, ``since`` that plus the cadence's delay."""

    since: datetime
    phase: Phase
    at: datetime


class Schedule:
    """The next instant of every phase with a period. An instant that was missed for the next one is skipped."""

    def __init__(self, cadence: Mapping[Phase, Cadence], zone: tzinfo) -> None:
        self._zone = zone
        self._periods = {
            phase: (c.period_s, timedelta(seconds=c.delay_s))
            for phase, c in sorted(cadence.items(), key=lambda item: item[0].order)
            if c.period_s is not None
        }
        self._next: dict[Phase, datetime] = {}
        self.skipped = 0
        """Instants that were passed over because the process was late by more than a period."""

    def begin(self, first: datetime) -> None:
        """Every phase comes at ``first``, then at its aligned instants."""
        self._next = dict.fromkeys(self._periods, first)

    def resume(self, after: datetime) -> None:
        """Every phase comes at its aligned instants after ``after``."""
        self._next = {
            phase: aligned(after + _TICK, period_s, self._zone) for phase, (period_s, _) in self._periods.items()
        }

    def take(self, t: datetime, limit: datetime | None) -> list[Due]:
        """What is due at run time ``t``, in order of time, then of phases. ``limit``: the run's end."""
        due = []
        for phase, at in self._next.items():
            period_s, delay = self._periods[phase]
            latest, following = None, at
            while following + delay <= t and _within(phase, following, limit):
                self.skipped += latest is not None
                latest, following = following, aligned(following + _TICK, period_s, self._zone)
            if latest is not None:
                self._next[phase] = following
                due.append(Due(latest + delay, phase, latest))
        return sorted(due, key=lambda d: (d.since, d.phase.order))

    def next(self, limit: datetime | None) -> datetime | None:
        """Run time at which something is due next; None: nothing before the limit."""
        times = [at + self._periods[phase][1] for phase, at in self._next.items() if _within(phase, at, limit)]
        return min(times, default=None)


def _within(phase: Phase, at: datetime, limit: datetime | None) -> bool:
    return limit is None or (at < limit if phase in _HALF_OPEN else at <= limit)
