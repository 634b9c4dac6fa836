"""Whether a device does what it is asked: asked and measured are held against each other."""

from datetime import datetime, timedelta

PATIENCE = timedelta(seconds=20)
"""After a change of what is asked: dead times, ramps, and a measurement that is a little older; time of the machine."""
SAMPLES = 2
"""So many measurements in a row must be wrong."""


class Obedience:
    """Names a device that draws or delivers more than was asked, or in the other direction.

    Less than was asked is no disobedience: a vehicle may be full, a battery empty, the sun behind a cloud. The
    tolerance is the greatest of 0.3 kW, 10 % of what is asked and 2 % of what the device can do. ``limit``: an
    inverter's limit is asked, not a power.
    """

    def __init__(self, *, limit: bool, most_kw: float) -> None:
        self._limit, self._most_kw = limit, most_kw
        self._asked_kw: float | None = None
        self._since: datetime | None = None
        self._wrong = 0
        self.trouble: str | None = None

    def asked(self, power_kw: float, at: datetime) -> None:
        if power_kw != self._asked_kw:
            self._asked_kw, self._since, self._wrong = power_kw, at, 0
            self.trouble = None

    def measured(self, power_kw: float, at: datetime, pace: float = 1.0) -> None:
        """``pace``: seconds of the run, whose time ``at`` is, in one of the machine."""
        asked_kw, since = self._asked_kw, self._since
        if asked_kw is None or since is None or at - since < PATIENCE * pace:
            return
        excess_kw = self._excess_kw(asked_kw, power_kw)
        if excess_kw <= max(0.3, 0.1 * abs(asked_kw), 0.02 * self._most_kw):
            self._wrong, self.trouble = 0, None
            return
        self._wrong += 1
        if self._wrong >= SAMPLES:
            what = "a limit of " if self._limit else ""
            self.trouble = f"{what}{asked_kw:g} kW was asked, and {power_kw:.3g} kW is measured"

    def _excess_kw(self, asked_kw: float, power_kw: float) -> float:
        if self._limit:
            return -power_kw - asked_kw
        return max(power_kw - max(asked_kw, 0.0), min(asked_kw, 0.0) - power_kw)
