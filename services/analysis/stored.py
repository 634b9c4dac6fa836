"""What a run left in batteries: energy that was bought and not yet used, or used and not yet bought back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.messages import BessNameplate
from schemas.topics import Kind
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
        if track.kind is Kind.BESS and isinstance(track.nameplate, BessNameplate) and track.samples:
            first, last = soc_of(track.samples[0].body), soc_of(track.samples[-1].body)
            assert first is not None and last is not None
            bess.append((last - first) * track.nameplate.capacity_kwh)
        elif track.kind is Kind.CHARGER:
            stays = sessions_of(track)
            vehicles += [stay.stored_kwh for stay in stays]
            if stays and track.samples[0].ts <= start and (soc := soc_of(track.samples[0].body)) is not None:
                vehicles[-len(stays)] = (stays[0].final_soc_frac - soc) * stays[0].capacity_kwh
    return StoredChange(math.fsum(bess), math.fsum(vehicles))


def departure_shortfall_kwh(tracks: Mapping[str, Track]) -> float:
    """What the vehicles that left lacked of their target SOC, equation (6), summed [kWh in the cells]."""
    return math.fsum(
        max(0.0, stay.target_soc_frac - stay.final_soc_frac) * stay.capacity_kwh
        for track in tracks.values()
        if track.kind is Kind.CHARGER
        for stay in sessions_of(track)
        if stay.departure is not None
    )
