"""Whether a run in scaled real time goes too fast for its machine, and what its clock then does."""

from datetime import datetime, timedelta
from enum import StrEnum

from schemas.messages import Ack, Setpoint
from schemas.participant import Received
from schemas.punctuality import PunctualityCount

WINDOW_STEPS = 4
"""Settlement periods over which set-points are watched before the clock decides."""

WINDOW_LEAST_S = 2.0
"""… and at least so much machine time: one moment of a busy machine is no reason."""

TOO_LATE_FRAC = 0.1
"""The run goes too fast when more than this part of the set-points, or of the periods, is late or missing."""

SLOWER_BY = 2.0
"""The clock then goes on so many times more slowly, down to real time."""


class WhenLate(StrEnum):
    """What the clock does when set-points come too late because time passes too fast."""

    SLOW = "slow"
    STOP = "stop"
    GO_ON = "go-on"


class LatenessWatch:
    """Counts late and missing set-points in windows of run time."""

    def __init__(self, step: timedelta) -> None:
        self._step = step
        self._count = PunctualityCount(step)
        self._any_before = self._settles = False
        self._began: tuple[datetime, datetime] | None = None
        """Run and machine time at which the window began."""

    def hear(self, received: Received) -> None:
        body, device = received.body, received.topic.device
        if isinstance(body, Setpoint):
            self._count.setpoint(device, body)
        elif isinstance(body, Ack):
            self._count.ack(device, body, received.stamp.ts)

    def share(self, t: datetime, now: datetime) -> float | None:
        """At run time ``t`` and machine time ``now``: the part that was late or missing in the window that ends now;
        None: none ends. Where no EMS has commanded yet nothing is missing.
        """
        if self._began is None:
            self._began = (t, now)
        begun, begun_at = self._began
        if t - begun < WINDOW_STEPS * self._step or (now - begun_at).total_seconds() < WINDOW_LEAST_S:
            return None
        found = self._count.result
        share = found.share if found.periods else float(self._any_before)
        self._any_before = self._any_before or found.periods > 0
        self._count, self._began = PunctualityCount(self._step), (t, now)
        settles, self._settles = self._settles, False
        return None if settles else share

    def slowed(self) -> None:
        """The next window does not count: what was late before is still on its way."""
        self._settles = True


def slower(speed: float) -> float:
    """The next lower speed; that of real time is the lowest."""
    return max(speed / SLOWER_BY, min(speed, 1.0))


def too_fast(share: float, speed: float) -> str:
    """The reason in words."""
    return f"{share:.0%} of the set-points came late or not at all at {speed:g} times real time"
