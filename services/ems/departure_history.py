"""When vehicles leave, learned from the charging sessions that the EMS has seen at this site."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.messages import Telemetry
from schemas.participant import Json
from schemas.site import LearnedDepartures

MOST_SESSIONS = 600
"""Kept, the newest."""
SIMILAR = 60
"""So many of the sessions that are most like one say when it ends."""
OF_ITS_OWN = 10
"""From so many sessions on a vehicle's own say it."""
LEAST_LEFT = 5
"""With fewer similar sessions that lasted longer than this one does already, nothing is known of its end."""
WEEKEND_H = 4.0
"""A session of the weekend and one of a working day are as unlike as arrivals so many hours apart."""
ANNOUNCED_PART = 0.5
"""Announced stays that differ by an hour count as arrivals that differ by this part of it."""
UNANNOUNCED_H = 2.0
"""An announced stay and none are as unlike as arrivals so many hours apart."""
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PastSession:
    """A charging session that is over."""

    vehicle: str | None
    arrival: datetime
    stay_h: float
    announced_h: float | None
    """The stay that was announced on arrival."""


class DepartureHistory:
    """The distribution of stays by time of arrival, kind of day and announced stay; per vehicle where enough is known.

    Of a new session the `SIMILAR` past ones most like it count, each as much; of those that are as like it, the newer
    ones. Of a vehicle that is there already, those that lasted longer than it is there by now: the longer it stays, the
    later it is expected to leave.
    """

    def __init__(self, options: LearnedDepartures, zone: ZoneInfo) -> None:
        self._options, self._zone = options, zone
        self._sessions: list[PastSession] = []
        self._stays: dict[tuple[str | None, datetime, datetime | None], list[float]] = {}
        """Stays [h] of the sessions like one, rising; until a session is added."""

    def learn(self, before: Telemetry | None, since: datetime | None, now: Telemetry, ts: datetime) -> None:
        """Takes in the sessions that ended between two telemetries of a charger; ``since``: when that of the first
        began. A charger that does not say when a vehicle left says it by the telemetry that no longer shows it."""
        for left in now.unplugged:
            begin = left.arrival or since
            if begin is not None:
                self.add(left.vehicle, begin, left.left, left.departure)
        was = None if before is None else before.plugged
        if now.unplugged or was is None or (now.plugged is not None and now.plugged.continues(was)):
            return
        begin = was.arrival or since
        if begin is not None:
            self.add(was.vehicle, begin, ts, was.departure)

    def add(self, vehicle: str | None, arrival: datetime, left: datetime, announced: datetime | None) -> None:
        """Takes in a session that is over."""
        if left <= arrival:
            return
        stay_h = (left - arrival) / _HOUR
        self._sessions.append(PastSession(vehicle, arrival, stay_h, _stay_h(arrival, announced)))
        del self._sessions[:-MOST_SESSIONS]
        self._stays.clear()

    def planned(
        self, vehicle: str | None, arrival: datetime, announced: datetime | None, now: datetime
    ) -> datetime | None:
        """The departure to plan with: by then the vehicle has left with the chance of the site's option.

        None: too little is known.
        """
        if len(self._sessions) < self._options.least_sessions:
            return None
        key = (vehicle, arrival, announced)
        stays = self._stays.get(key)
        if stays is None:
            stays = self._stays[key] = self._like(*key)
        there_h = (now - arrival) / _HOUR
        left = [stay for stay in stays if stay > there_h]
        if len(left) < LEAST_LEFT:
            return None
        return arrival + timedelta(hours=left[math.ceil(self._options.leave_frac * len(left)) - 1])

    def _like(self, vehicle: str | None, arrival: datetime, announced: datetime | None) -> list[float]:
        own = [s for s in self._sessions if vehicle is not None and s.vehicle == vehicle]
        among = own if len(own) >= OF_ITS_OWN else self._sessions
        local = arrival.astimezone(self._zone)
        announced_h = _stay_h(arrival, announced)

        def unlike(session: PastSession) -> tuple[float, float]:
            return hours_apart(session), -session.arrival.timestamp()

        def hours_apart(session: PastSession) -> float:
            other = session.arrival.astimezone(self._zone)
            hours = abs(_hour(local) - _hour(other))
            far = min(hours, 24.0 - hours)
            if (local.weekday() >= 5) != (other.weekday() >= 5):
                far += WEEKEND_H
            if announced_h is None or session.announced_h is None:
                return far + (0.0 if announced_h is session.announced_h else UNANNOUNCED_H)
            return far + ANNOUNCED_PART * abs(announced_h - session.announced_h)

        return sorted(session.stay_h for session in sorted(among, key=unlike)[:SIMILAR])

    def snapshot(self) -> Json:
        return [[s.vehicle, s.arrival.isoformat(), s.stay_h, s.announced_h] for s in self._sessions]

    def restore(self, state: Json) -> None:
        self._stays.clear()
        self._sessions = [PastSession(v, datetime.fromisoformat(a), stay, said) for v, a, stay, said in state]


def _stay_h(arrival: datetime, announced: datetime | None) -> float | None:
    return None if announced is None else (announced - arrival) / _HOUR


def _hour(local: datetime) -> float:
    return local.hour + local.minute / 60
