"""The caps of what a vehicle gives back, as the problem sees them: what is left of them by session and by local day."""

import math
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from schemas.messages import ExpectedChargingSession, PluggedVehicle, VehicleValue
from schemas.site import next_midnight
from services.ems.problem import DischargeDay
from services.ems.system_state import Counted


def discharge_left(
    said: PluggedVehicle | ExpectedChargingSession,
    counted: Counted | None,
    cap_kwh: Callable[[VehicleValue], float | None],
    begin: datetime,
    until: datetime,
    zone: ZoneInfo,
) -> tuple[float, tuple[DischargeDay, ...]]:
    """AC energy [kWh] left of the session's cap, infinite without one, and of the day's, by day of [begin, until).

    Of a vehicle that is plugged, what it has given counts. Where the charger counts nothing of it, nothing is left: a
    cap is never exceeded. Where nothing is known of earlier sessions of this day, those do not count.
    """
    given = _given_kwh(said, counted)
    session, day = cap_kwh(VehicleValue.DISCHARGE_SESSION), cap_kwh(VehicleValue.DISCHARGE_DAY)
    left = math.inf if session is None else _left(session, given)
    days: list[DischargeDay] = []
    if day is not None:
        today = said.discharged_day_kwh if isinstance(said, PluggedVehicle) else 0.0
        # Without a count of the day that of the session, which is not less unless the vehicle came before.
        days.append(DischargeDay(next_midnight(begin, zone), _left(day, given if today is None else today)))
        while days[-1].end < until:
            days.append(DischargeDay(next_midnight(days[-1].end, zone), day))
    return left, tuple(days)


def _given_kwh(said: PluggedVehicle | ExpectedChargingSession, counted: Counted | None) -> float | None:
    """What it has given in this session; None: that is not known."""
    if isinstance(said, ExpectedChargingSession):
        return 0.0
    return None if counted is None else counted.discharged_kwh


def _left(cap_kwh: float, given_kwh: float | None) -> float:
    return 0.0 if given_kwh is None else max(cap_kwh - given_kwh, 0.0)
