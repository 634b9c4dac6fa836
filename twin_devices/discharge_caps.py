"""The caps of what a vehicle gives back: kWh in a charging session and on a local day, kept by the charger itself.

Twins and drivers share it, as they do `twin_devices.setpoints`. It goes by the charger's register of energy given, and
so holds whatever set-points come, and from whom.
"""

import math
from datetime import datetime
from zoneinfo import ZoneInfo

from schemas.participant import Json
from schemas.site import AssumedVehicle, Vehicle, next_midnight

USED_UP = "the vehicle has given all the kWh that it may in this charging session or on this day"
"""Why a set-point is clipped."""


class DischargeCaps:
    """AC energies [kWh] given by the vehicle at the plug, and what it may still give.

    Energies come in as the charger's register of energy given [kWh]. Instants must not go backwards. A vehicle that
    comes again on the same local day is known by its name; those without a name count as one.
    """

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._vehicle: str | None = None
        """None: no vehicle is plugged."""
        self._session_kwh = self._day_kwh = math.inf
        self._at_arrival_kwh = self._at_day_start_kwh = 0.0
        """The register on arrival, and at the later of arrival and local midnight."""
        self._day_end: datetime | None = None
        self._earlier_kwh: dict[str, float] = {}
        """Given on this local day in sessions that are over, by vehicle."""

    def plug(self, vehicle: str, own: Vehicle | None, assumed: AssumedVehicle | None, kwh: float, at: datetime) -> None:
        """A vehicle comes. A cap that is not its own is the one assumed of vehicles at this charger."""
        self.settle(at, kwh)
        self._vehicle = vehicle
        self._session_kwh = _cap("max_discharge_session_kwh", own, assumed)
        self._day_kwh = _cap("max_discharge_day_kwh", own, assumed)
        self._at_arrival_kwh = self._at_day_start_kwh = kwh

    def unplug(self, kwh: float, at: datetime) -> None:
        """The vehicle leaves."""
        self.settle(at, kwh)
        if self._vehicle is not None:
            self._earlier_kwh[self._vehicle] = self.given_today_kwh(kwh)
        self._vehicle, self._session_kwh, self._day_kwh = None, math.inf, math.inf

    def settle(self, at: datetime, kwh: float) -> bool:
        """Begins a new local day if one has begun. Returns whether what is left today may be more now."""
        if self._day_end is not None and at < self._day_end:
            return False
        renewed = self._day_end is not None
        self._day_end = next_midnight(at, self._zone)
        self._earlier_kwh, self._at_day_start_kwh = {}, kwh
        return renewed and self.capped_by_day

    @property
    def capped_by_day(self) -> bool:
        """Whether the vehicle at the plug has a cap by day."""
        return self._day_kwh < math.inf

    def given_today_kwh(self, kwh: float) -> float:
        """What the vehicle at the plug has given on this local day."""
        return self._earlier_kwh.get(self._vehicle or "", 0.0) + kwh - self._at_day_start_kwh

    def left_kwh(self, kwh: float) -> float:
        """What it may still give; infinite without a cap."""
        left = self._session_kwh - (kwh - self._at_arrival_kwh)
        if self.capped_by_day:
            left = min(left, self._day_kwh - self.given_today_kwh(kwh))
        return max(left, 0.0)

    def next_change(self, after: datetime) -> datetime | None:
        """The next local midnight, if it gives something back to the cap."""
        return next_midnight(after, self._zone) if self.capped_by_day else None

    def snapshot(self) -> Json:
        return {
            "vehicle": self._vehicle,
            "session_kwh": _finite(self._session_kwh),
            "day_kwh": _finite(self._day_kwh),
            "at_arrival_kwh": self._at_arrival_kwh,
            "at_day_start_kwh": self._at_day_start_kwh,
            "day_end": None if self._day_end is None else self._day_end.isoformat(),
            "earlier_kwh": self._earlier_kwh,
        }

    def restore(self, state: Json) -> None:
        self._vehicle = state["vehicle"]
        self._session_kwh, self._day_kwh = (
            math.inf if state[name] is None else state[name] for name in ("session_kwh", "day_kwh")
        )
        self._at_arrival_kwh, self._at_day_start_kwh = state["at_arrival_kwh"], state["at_day_start_kwh"]
        self._day_end = None if state["day_end"] is None else datetime.fromisoformat(state["day_end"])
        self._earlier_kwh = dict(state["earlier_kwh"])


def _cap(name: str, *sources: Vehicle | AssumedVehicle | None) -> float:
    return next((cap for source in sources if (cap := getattr(source, name, None)) is not None), math.inf)


def _finite(kwh: float) -> float | None:
    return None if math.isinf(kwh) else kwh
