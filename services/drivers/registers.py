"""The energy registers of a device: its own counters, or the integral of its power."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.participant import Json
from services.drivers.link import Measured

HOUR = timedelta(hours=1)
MOST_GAP = timedelta(minutes=5)
"""A power is integrated for so long at most; beyond nothing is known, and nothing is counted."""
MARGIN, SLACK_KWH = 1.5, 1.0
"""A counter may grow by so many times the most that can flow, and by so much more: it counts in steps, and late."""
NAMES = ("energy_import_kwh", "energy_export_kwh")


@dataclass(frozen=True, slots=True)
class _Counter:
    """A device's counter as it was read; None: in an earlier life."""

    kwh: float
    at: datetime | None


class Registers:
    """Counters that only grow.

    A device's counter is taken as it is. One that goes back, or leaps by more than can have flowed, is doubted: if the
    next reading goes on from it, the device was replaced or forgot, and is counted on from there; else it was an error,
    and nothing is lost or invented. A direction without a counter is integrated: the power that was measured holds
    until the next. ``most_kw``: the most that can flow; None: a leap forward is believed.
    """

    def __init__(self, most_kw: float | None = None) -> None:
        self._most_kw = most_kw
        self._kwh = dict.fromkeys(NAMES, 0.0)
        self._counted: dict[str, _Counter] = {}
        self._doubted: dict[str, _Counter] = {}
        self._power: tuple[datetime, float] | None = None

    @property
    def values(self) -> dict[str, float]:
        return dict(self._kwh)

    def begin_with(self, registers: Mapping[str, float]) -> None:
        for name in NAMES:
            self._kwh[name] = max(self._kwh[name], registers.get(name, 0.0))

    def take(self, new: Measured, at: datetime) -> dict[str, float]:
        """Counts on; returns by how much a register rose that did not flow: its counter was read for the first time."""
        found = {}
        for name in NAMES:
            counter = getattr(new, name)
            if counter is not None:
                found[name] = self._count(name, _Counter(counter, at))
        if new.power_kw is not None:
            self._integrate(at)
            self._power = (at, new.power_kw)
        return found

    def _count(self, name: str, new: _Counter) -> float:
        before, doubted, known_kwh = self._counted.get(name), self._doubted.get(name), self._kwh[name]
        if before is None:
            # What was integrated or known before is kept; a counter that is further is right.
            self._kwh[name] = max(known_kwh, new.kwh)
        elif self._follows(before, new):
            self._kwh[name] += new.kwh - before.kwh
        elif doubted is not None and self._follows(doubted, new):
            self._kwh[name] += new.kwh - doubted.kwh
        else:
            self._doubted[name] = new
            return 0.0
        self._doubted.pop(name, None)
        self._counted[name] = new
        return self._kwh[name] - known_kwh if before is None else 0.0

    def _follows(self, before: _Counter, new: _Counter) -> bool:
        """Whether so much can have flowed since."""
        grown_kwh = new.kwh - before.kwh
        if grown_kwh < 0:
            return False
        if self._most_kw is None or before.at is None or new.at is None:
            return True
        return grown_kwh <= SLACK_KWH + MARGIN * self._most_kw * (max(new.at - before.at, timedelta()) / HOUR)

    def _integrate(self, at: datetime) -> None:
        if self._power is None:
            return
        since, power_kw = self._power
        kwh = power_kw * (min(max(at - since, timedelta()), MOST_GAP) / HOUR)
        name = NAMES[0] if kwh > 0 else NAMES[1]
        if name not in self._counted:
            self._kwh[name] += abs(kwh)

    def snapshot(self) -> Json:
        return {"kwh": self._kwh, "counted": {name: counter.kwh for name, counter in self._counted.items()}}

    def restore(self, state: Json) -> None:
        self._kwh, self._doubted = dict(state["kwh"]), {}
        self._counted = {name: _Counter(kwh, None) for name, kwh in state["counted"].items()}
        self._power = None
