"""What a run left in batteries: energy that was bought and not yet used, or used and not yet bought back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.capabilities import Group
from services.history.sessions import sessions_of
from services.history.tracks import Track, soc_of


@dataclass(frozen=True, slots=True)
class StoredChange:
    """Change of the energy in the cells [kWh]."""

    bess_kwh: float
    vehicles_kwh: float
    """Over all stays: on leaving (or at the end) more than on arrival (or at the beginning)."""

    @property
    def total_kwh(self) -> float:
        return self.bess_kwh + self.vehicles_kwh


def stored_change(tracks: Mapping[str, Track], start: datetime, end: datetime) -> StoredChange:
    """From ``start`` to ``end``. A vehicle that was plugged before ``start`` counts from what it had then."""
    bess, vehicles = [], []
    for whole in tracks.values():
        track = whole.within(start, end)
        if track.group is Group.BATTERY:
            bess.append(_change_kwh(track))
        elif track.group is Group.VEHICLES:
            stays = sessions_of(track)
            vehicles += [stay.stored_kwh for stay in stays]
            if stays and track.samples[0].ts <= start and (soc := soc_of(track.samples[0].body)) is not None:
                vehicles[-len(stays)] = (stays[0].final_soc_frac - soc) * stays[0].capacity_kwh
    return StoredChange(math.fsum(bess), math.fsum(vehicles))


def _change_kwh(track: Track) -> float:
    """Of a store that stays; 0 where its size or its SOC is not known."""
    size_kwh = None if track.nameplate is None else track.nameplate.store_kwh
    if size_kwh is None or not track.samples:
        return 0.0
    first, last = soc_of(track.samples[0].body), soc_of(track.samples[-1].body)
    return 0.0 if first is None or last is None else (last - first) * size_kwh


def departure_shortfall_kwh(tracks: Mapping[str, Track]) -> float:
    """What the vehicles that left lacked of their target SOC, equation (6), summed [kWh in the cells]."""
    return math.fsum(
        max(0.0, stay.target_soc_frac - stay.final_soc_frac) * stay.capacity_kwh
        for track in tracks.values()
        for stay in sessions_of(track)
        if stay.departure is not None
    )
