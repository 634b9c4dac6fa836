"""A correction by what was measured last: it follows quickly, fades as stated, and one bad hour cannot run away."""

import math
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from schemas.participant import Json

FOLLOW_S = 900.0
"""Time in which half of a deviation is taken into the correction."""
LEVEL_S = 50 * 3600.0
"""Time constant with which the level follows, such as a cold spell or a week of dust."""
LEVEL_DECAY_S = 7 * 86_400.0
"""Time constant with which the level fades ahead."""
SCALE_S = 25 * 3600.0
"""Time constant of the usual size of a deviation."""
CUT = 5.0
"""A deviation of more than so many times its usual size counts as that."""


@dataclass
class Correction:
    """Deviation of what is measured from what is expected, in the unit of both.

    Two parts: a fast one that fades with ``decay_s``, and the level of the last days. Because each deviation is cut at
    `CUT` times the usual size, and this size follows by `SCALE_S`, an hour of nonsense moves the correction by no more
    than `CUT` times the usual deviation, and is gone after some ``decay_s``.
    """

    decay_s: float
    scale: float
    """Usual size of a deviation."""
    least_scale: float = 0.0
    """After weeks without a deviation the first one counts nevertheless."""
    fast: float = 0.0
    level: float = 0.0
    at: datetime | None = None
    """Beginning of the step that was observed last."""

    def cut(self, deviation: float) -> float:
        """A deviation as it is taken in."""
        most = CUT * self.scale
        return min(max(deviation, -most), most)

    def observe(self, start: datetime, step_s: float, deviation: float, weight: float = 1.0) -> None:
        """Takes in the deviation of the step that begins at ``start``; ``weight``: how much it says, from 0 to 1."""
        self.fast = self._fast_at(start - timedelta(seconds=step_s))
        found = self.cut(deviation)
        self.fast += weight * _share(step_s, FOLLOW_S / math.log(2)) * (found - self.fast)
        self.level += weight * _share(step_s, LEVEL_S) * (found - self.level)
        self.scale += weight * _share(step_s, SCALE_S) * (abs(found) - self.scale)
        self.scale = max(self.scale, self.least_scale)
        self.at = start

    def ahead(self, time: datetime) -> float:
        """The correction of what is expected of ``time``."""
        if self.at is None:
            return 0.0
        after_s = max((time - self.at).total_seconds(), 0.0)
        fading = (self.fast - self.level) * math.exp(-after_s / self.decay_s)
        return fading + self.level * math.exp(-after_s / LEVEL_DECAY_S)

    def with_running(self, start: datetime, step_s: float, deviation: float, weight: float = 1.0) -> "Correction":
        """As if the running step were over, with what was measured of it so far."""
        found = replace(self)
        found.observe(start, step_s, deviation, weight)
        return found

    def _fast_at(self, time: datetime) -> float:
        """The fast part when nothing was heard since: it fades to the level."""
        if self.at is None:
            return self.fast
        silent_s = max((time - self.at).total_seconds(), 0.0)
        return self.level + (self.fast - self.level) * math.exp(-silent_s / self.decay_s)

    def snapshot(self) -> Json:
        return asdict(self) | {"at": None if self.at is None else self.at.isoformat()}

    @classmethod
    def restored(cls, state: Json, decay_s: float) -> Self:
        """``decay_s``: that of the site, which may have changed since."""
        at = state["at"]
        return cls(**state | {"decay_s": decay_s, "at": None if at is None else datetime.fromisoformat(at)})


def _share(step_s: float, constant_s: float) -> float:
    return 1.0 - math.exp(-step_s / constant_s)
