"""Change of stored energy: energy that was bought and not yet used, or used and not yet bought back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.capabilities import Group
from schemas.messages import HeatPumpTelemetry
from schemas.soc_trust import SocTrust, StorePlate
from services.history.sessions import RecordedChargingSession, sessions_of
from services.history.tracks import Track, soc_of


@dataclass(frozen=True, slots=True)
class StoredChange:
    """Change of the energy in the cells, and in the buffers of heat pumps [kWh]."""

    bess_kwh: float
    vehicles_kwh: float
    """Over all charging sessions: on leaving (or at the end) more than on arrival (or at the beginning). By their SOC,
    else by what the chargers counted."""
    heat_kwh: float
    """The electricity that heat pumps take for the heat, at their mean COP of the time."""

    @property
    def total_kwh(self) -> float:
        return self.bess_kwh + self.vehicles_kwh + self.heat_kwh


def stored_change(tracks: Mapping[str, Track], start: datetime, end: datetime) -> StoredChange:
    """From ``start`` to ``end``. A vehicle that was plugged before ``start`` counts from what it had then."""
    bess, vehicles, heat = [], [], []
    for whole in tracks.values():
        track = whole.within(start, end)
        if track.group is Group.BATTERY:
            bess.append(_change_kwh(track))
        elif track.group is Group.VEHICLES:
            sessions = sessions_since(track, start)
            changes = [session.stored_kwh for session in sessions]
            if sessions and track.samples[0].ts <= start and track.samples[0].body.plugged is not None:
                changes[0] = sessions[0].stored_since_kwh(soc_of(track.samples[0].body))
            vehicles += [change for change in changes if change is not None]
        elif track.group is Group.HEAT:
            heat.append(_electricity_kwh(track))
    return StoredChange(math.fsum(bess), math.fsum(vehicles), math.fsum(heat))


def sessions_since(track: Track, start: datetime) -> list[RecordedChargingSession]:
    """The charging sessions that were not over at ``start``.

    A telemetry of that instant still names the vehicles that left in the interval before it: they belong to the time
    before.
    """
    return [session for session in sessions_of(track) if session.departure is None or session.departure > start]


def _change_kwh(track: Track) -> float:
    """Energy of a store that is always there [kWh]; 0 where its size or its SOC is not known."""
    size_kwh = None if track.nameplate is None else track.nameplate.store_kwh
    if size_kwh is None or not track.samples:
        return 0.0
    believed = _believed_socs(track)
    return (believed[-1] - believed[0]) * size_kwh if believed else 0.0


def _electricity_kwh(track: Track) -> float:
    """For the change of the heat in a buffer; 0 where the heat pump says no COP."""
    bodies = [sample.body for sample in track.samples if isinstance(sample.body, HeatPumpTelemetry)]
    cops = [body.cop for body in bodies if body.cop]
    return _change_kwh(track) * len(cops) / math.fsum(cops) if cops else 0.0


def _believed_socs(track: Track) -> list[float]:
    """The SOCs [fraction] that are plausible, one after the other."""
    trust, believed = SocTrust(), []
    for sample in track.samples:
        soc_frac = soc_of(sample.body)
        if soc_frac is None:
            continue
        plate = track.nameplate
        if not isinstance(plate, StorePlate) or trust.doubt(sample.boot, sample.ts, soc_frac, plate) is None:
            believed.append(soc_frac)
    return believed


def departure_shortfall_kwh(tracks: Mapping[str, Track], start: datetime) -> float:
    """Energy below the target SOC, equation (6), of all vehicles that left after ``start`` [kWh in the cells].

    Of a vehicle without a SOC, what it lacked of the energy that it wanted; of one that wanted nothing known, nothing.
    """
    return math.fsum(
        session.shortfall_kwh or 0.0
        for track in tracks.values()
        for session in sessions_since(track, start)
        if session.departure is not None
    )
