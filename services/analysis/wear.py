"""Wear of the stationary battery, where the site gives it a price."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from schemas.capabilities import Group
from services.history.tracks import Track


def wear_eur(tracks: Mapping[str, Track], times: Sequence[datetime], price_eur_per_kwh: float) -> float | None:
    """Price of the BESSs' AC throughput [€], charging and discharging, by their registers between ``times``.

    None where wear has no price, where there is no BESS, or where an energy is not known.
    """
    batteries = [track for track in tracks.values() if track.group is Group.BATTERY]
    if not price_eur_per_kwh or not batteries:
        return None
    energies = [
        energy for track in batteries for flow in track.flows(times) for energy in (flow.import_kwh, flow.export_kwh)
    ]
    known = [energy for energy in energies if energy is not None]
    return price_eur_per_kwh * math.fsum(known) if len(known) == len(energies) else None
