"""The energy registers of a device: its own counters, or the integral of its power."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from schemas.participant import Json
from services.drivers.link import Measured

HOUR = timedelta(hours=1)
MOST_GAP = timedelta(minutes=5)
"""A power is integrated for so long at most; beyond nothing is known, and nothing is counted."""
MARGIN, SLACK_KWH = 1.5, 1.0
"""A counter may grow by so many times the most that can flow, and by so much more: it counts in steps, and late."""
NAMES = ("energy_import_kwh", "energy_export_kwh")


COMES_BACK = timedelta(minutes=5)
"""A counter that went back and is where it was within this time had made an error."""


@dataclass(frozen=True, slots=True)
class _Counter:
    """A device's counter as it was read. ``at``: None: not known. ``flowed_kwh``: the integral of the power by then."""

    kwh: float
    at: datetime | None
    flowed_kwh: float = 0.0


@dataclass(frozen=True, slots=True)
class _Left:
    """A counter that the device no longer had, and the register as it stood then."""

    counter: _Counter
    register_kwh: float
    since: datetime | None


class Registers:
    """Counters that only grow.

    A device's counter is taken as it is. One that goes back, or leaps by more than can have flowed, is doubted: if the
    next reading goes on from it, the device was replaced, forgot or began anew at its end, and is counted on from
    there, with the integral of the power for what flowed in between; else it was an error, and nothing is lost or
    invented. If the old counter is back soon after all, the other was the error, and what flowed is counted once.
    A direction without a counter is integrated: the power that was measured holds until the next. ``most_kw``: the most
    that can flow; None: a leap forward is believed.
    """

    def __init__(self, most_kw: float | None = None) -> None:
        self._most_kw = most_kw
        self._kwh = dict.fromkeys(NAMES, 0.0)
        self._counted: dict[str, _Counter] = {}
        self._doubted: dict[str, _Counter] = {}
        self._left: dict[str, _Left] = {}
        self._flowed = dict.fromkeys(NAMES, 0.0)
        """The integral of the power in each direction."""
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
                found[name] = self._count(name, _Counter(counter, at, self._flowed_by(name, at)))
        if new.power_kw is not None:
            self._integrate(at)
            self._power = (at, new.power_kw)
        return found

    def _count(self, name: str, new: _Counter) -> float:
        before, doubted, known_kwh = self._counted.get(name), self._doubted.get(name), self._kwh[name]
        if before is None:
            # What was integrated or known before is kept; a counter that is further is right.
            self._kwh[name] = max(known_kwh, new.kwh)
        elif self._is_back(name, new):
            left = self._left.pop(name)
            self._kwh[name] = max(known_kwh, left.register_kwh + new.kwh - left.counter.kwh)
        elif self._follows(before, new):
            self._kwh[name] += new.kwh - before.kwh
        elif doubted is not None and self._follows(doubted, new):
            self._left[name] = _Left(before, known_kwh, doubted.at)
            self._kwh[name] += doubted.flowed_kwh - before.flowed_kwh + new.kwh - doubted.kwh
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

    def _is_back(self, name: str, new: _Counter) -> bool:
        """Whether a counter that the device no longer had is there again: nearer to where that would be by now than to
        where the one after it would."""
        left, onward = self._left.get(name), self._counted[name]
        if left is None or left.since is None or new.at is None or new.at - left.since > COMES_BACK:
            self._left.pop(name, None)
            return False
        back, on = ((new.kwh - each.kwh) - (new.flowed_kwh - each.flowed_kwh) for each in (left.counter, onward))
        return self._follows(left.counter, new) and abs(back) < abs(on)

    def _flowed_by(self, name: str, at: datetime) -> float:
        """The integral of the power in a direction until now [kWh]."""
        kwh = self._since_power_kwh(at)
        return self._flowed[name] + max(kwh if name == NAMES[0] else -kwh, 0.0)

    def _since_power_kwh(self, at: datetime) -> float:
        if self._power is None:
            return 0.0
        since, power_kw = self._power
        return power_kw * (min(max(at - since, timedelta()), MOST_GAP) / HOUR)

    def _integrate(self, at: datetime) -> None:
        kwh = self._since_power_kwh(at)
        name = NAMES[0] if kwh > 0 else NAMES[1]
        self._flowed[name] += abs(kwh)
        if name not in self._counted:
            self._kwh[name] += abs(kwh)

    def snapshot(self) -> Json:
        counted = {name: [each.kwh, each.at and each.at.isoformat()] for name, each in self._counted.items()}
        return {"kwh": self._kwh, "counted": counted}

    def restore(self, state: Json) -> None:
        self._kwh, self._doubted, self._left = dict(state["kwh"]), {}, {}
        self._counted = {name: _read_at(each) for name, each in state["counted"].items()}
        self._flowed, self._power = dict.fromkeys(NAMES, 0.0), None


def _read_at(kept: float | list[Any]) -> _Counter:
    """A counter of a checkpoint; one of an earlier version has no time."""
    kwh, at = kept if isinstance(kept, list) else (kept, None)
    return _Counter(kwh, at and datetime.fromisoformat(at))
