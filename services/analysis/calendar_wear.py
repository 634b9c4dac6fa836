"""Calendar wear: the price of the hours that batteries spent at their states of charge, where the site gives it one.

It is the integral of the site's curve over the measured SOC, linear between telemetries. A vehicle counts while it is
plugged, as far as its SOC and capacity are known.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from schemas.capabilities import Group
from schemas.messages import DepartedVehicle, PluggedVehicle
from schemas.site import CalendarWear, Site
from services.history.tracks import Sample, Track, soc_of

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A battery between two instants, its SOC linear between them."""

    begin: datetime
    end: datetime
    begin_soc_frac: float
    end_soc_frac: float
    capacity_kwh: float

    def within(self, start: datetime, end: datetime) -> "_Piece | None":
        begin, stop = max(self.begin, start), min(self.end, end)
        if stop <= begin:
            return None
        return _Piece(begin, stop, self._soc_frac(begin), self._soc_frac(stop), self.capacity_kwh)

    def _soc_frac(self, time: datetime) -> float:
        part = (time - self.begin) / (self.end - self.begin)
        return self.begin_soc_frac + part * (self.end_soc_frac - self.begin_soc_frac)

    def eur(self, wear: CalendarWear) -> float:
        """By Simpson's rule."""
        middle = (self.begin_soc_frac + self.end_soc_frac) / 2
        prices = [wear.eur_per_kwh_h(soc) for soc in (self.begin_soc_frac, middle, self.end_soc_frac)]
        mean = (prices[0] + 4 * prices[1] + prices[2]) / 6
        return self.capacity_kwh * mean * ((self.end - self.begin) / _HOUR)


def calendar_wear_eur(
    tracks: Mapping[str, Track], start: datetime, end: datetime, site: Site, group: Group
) -> float | None:
    """Of all batteries of a group [€], ``Group.BATTERY`` or ``Group.VEHICLES``, from ``start`` to ``end``.

    None where it has no price, or there is no such device.
    """
    found = []
    for track in tracks.values():
        wear = site.calendar_wear(track.device) if track.group is group else None
        if wear is not None:
            pieces = _bess_pieces(track) if group is Group.BATTERY else _vehicle_pieces(track)
            within = (piece.within(start, end) for piece in pieces)
            found.append(math.fsum(piece.eur(wear) for piece in within if piece is not None))
    return math.fsum(found) if found else None


def _bess_pieces(track: Track) -> Iterator[_Piece]:
    capacity = None if track.nameplate is None else track.nameplate.store_kwh
    known = [(sample.ts, soc) for sample in track.samples if (soc := soc_of(sample.body)) is not None]
    if capacity is None:
        return
    for (begin, before), (end, after) in pairwise(known):
        if end > begin:
            yield _Piece(begin, end, before, after, capacity)


def _vehicle_pieces(track: Track) -> Iterator[_Piece]:
    """Of each vehicle from its arrival, or the first telemetry with it, to the instant that it was unplugged."""
    for before, after in pairwise(track.samples):
        here: PluggedVehicle | None = before.body.plugged
        shown: list[PluggedVehicle] = [*after.body.unplugged]
        if after.body.plugged is not None:
            shown.append(after.body.plugged)
        if here is not None and not any(vehicle.continues(here) for vehicle in shown):
            # Nobody says when it left: as announced, else it is there until it is no longer shown.
            announced = here.departure
            left = announced if announced is not None and before.ts < announced <= after.ts else after.ts
            yield from _piece(before.ts, left, here.soc_frac, here.soc_frac, here.capacity_kwh)
        for vehicle in shown:
            stays = here is not None and vehicle.continues(here)
            begin, soc = _since(before, here) if stays else _arrived(before, after, vehicle)
            end = vehicle.left if isinstance(vehicle, DepartedVehicle) else after.ts
            yield from _piece(begin, end, soc, vehicle.soc_frac, vehicle.capacity_kwh)


def _since(before: Sample, here: PluggedVehicle | None) -> tuple[datetime, float | None]:
    return before.ts, None if here is None else here.soc_frac


def _arrived(before: Sample, after: Sample, vehicle: PluggedVehicle) -> tuple[datetime, float | None]:
    """When it came and with which SOC; without an arrival it is there from the telemetry on that shows it."""
    if vehicle.arrival is None:
        return after.ts, vehicle.soc_frac
    if vehicle.arrival < before.ts:  # it was not seen before, though it was there
        return before.ts, vehicle.soc_frac
    return vehicle.arrival, vehicle.arrival_soc_frac


def _piece(
    begin: datetime, end: datetime, before: float | None, after: float | None, capacity_kwh: float | None
) -> Iterator[_Piece]:
    if before is not None and after is not None and capacity_kwh is not None and end > begin:
        yield _Piece(begin, end, before, after, capacity_kwh)
