"""Whether the set-points of a run came in time: one definition for the clock, which watches it, and for the result.

A set-point is *late* when its device answered it later than `LATE_FRAC` of the settlement period after ``valid_from``,
or after the run's begin where that is later, by the device's own clock, or refused it because it was over. A settlement
period is *without* set-points when none was sent for it, though some were before and after: the EMS did not come to
plan it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages import Ack, Setpoint

LATE_FRAC = 0.1
"""Part of the settlement period."""

NOTICED_FRAC = 0.01
"""Below this share a run counts as in time."""


@dataclass(frozen=True, slots=True)
class Punctuality:
    """``without``: periods without set-points, among ``periods`` from the first to the last that has some."""

    setpoints: int
    late: int
    periods: int
    without: int

    @property
    def share(self) -> float:
        """The part that did not come in time, of set-points or of periods, whichever is more."""
        return max(self.late / max(self.setpoints, 1), self.without / max(self.periods, 1))

    @property
    def in_time(self) -> bool:
        return self.share < NOTICED_FRAC


class PunctualityCount:
    """Counts set-points and their acks, in any order of devices, each device's in order of time."""

    def __init__(self, step: timedelta, began: datetime | None = None) -> None:
        """``began``: the run, if that matters; its first set-points are of a settlement period that may have begun
        before it."""
        self._step, self._began = step, began
        self._sent: dict[tuple[str, str], tuple[datetime, datetime]] = {}
        """By (device, id): valid from and until, until it is answered."""
        self._setpoints = self._late = 0
        self._periods: set[int] = set()

    def setpoint(self, device: str, body: Setpoint) -> None:
        self._setpoints += 1
        self._sent[device, body.id] = (body.valid_from, body.valid_until)
        self._periods.add(int(body.valid_from.timestamp() // self._step.total_seconds()))

    def ack(self, device: str, body: Ack, ts: datetime) -> None:
        """``ts``: when the device answered. Of several answers to one set-point the first counts."""
        known = self._sent.pop((device, body.id), None)
        if known is None:
            return
        valid_from, valid_until = known
        if self._began is not None:
            valid_from = max(valid_from, self._began)
        over = not body.accepted and ts >= valid_until
        self._late += over or ts > valid_from + LATE_FRAC * self._step

    @property
    def result(self) -> Punctuality:
        if not self._periods:
            return Punctuality(self._setpoints, self._late, 0, 0)
        periods = max(self._periods) - min(self._periods) + 1
        return Punctuality(self._setpoints, self._late, periods, periods - len(self._periods))
