"""The energy registers of a device: its own counters, or the integral of its power."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from schemas.participant import Json
from services.drivers.link import Measured

HOUR = timedelta(hours=1)
MOST_GAP = timedelta(minutes=5)
"""A power is integrated for so long at most; beyond nothing is known, and nothing is counted."""
NAMES = ("energy_import_kwh", "energy_export_kwh")


class Registers:
    """Counters that only grow.

    A device's counter is taken as it is. One that goes back, because the device was replaced or forgot, is counted on
    from where it was. A direction without a counter is integrated: the power that was measured holds until the next.
    """

    def __init__(self) -> None:
        self._kwh = dict.fromkeys(NAMES, 0.0)
        self._counted: dict[str, float] = {}
        """The device's counter as it was read last."""
        self._power: tuple[datetime, float] | None = None

    @property
    def values(self) -> dict[str, float]:
        return dict(self._kwh)

    def begin_with(self, registers: Mapping[str, float]) -> None:
        for name in NAMES:
            self._kwh[name] = max(self._kwh[name], registers.get(name, 0.0))

    def take(self, new: Measured, at: datetime) -> None:
        for name in NAMES:
            counter = getattr(new, name)
            if counter is not None:
                self._count(name, counter)
        if new.power_kw is not None:
            self._integrate(at)
            self._power = (at, new.power_kw)

    def _count(self, name: str, counter: float) -> None:
        before = self._counted.get(name)
        if before is None:
            # What was integrated or known before is kept; a counter that is further is right.
            self._kwh[name] = max(self._kwh[name], counter)
        else:
            self._kwh[name] += counter - before if counter >= before else 0.0
        self._counted[name] = counter

    def _integrate(self, at: datetime) -> None:
        if self._power is None:
            return
        since, power_kw = self._power
        kwh = power_kw * (min(max(at - since, timedelta()), MOST_GAP) / HOUR)
        name = NAMES[0] if kwh > 0 else NAMES[1]
        if name not in self._counted:
            self._kwh[name] += abs(kwh)

    def snapshot(self) -> Json:
        return {"kwh": self._kwh, "counted": self._counted}

    def restore(self, state: Json) -> None:
        self._kwh, self._counted = dict(state["kwh"]), dict(state["counted"])
        self._power = None
