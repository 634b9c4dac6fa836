"""Wear of batteries, where the site gives it a price."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from schemas.capabilities import Group
from services.history.tracks import Track


def bess_wear_eur(tracks: Mapping[str, Track], times: Sequence[datetime], price_eur_per_kwh: float) -> float | None:
    """Price of the BESSs' AC throughput [€], charging and discharging, by their registers between ``times``.

    None where wear has no price, where there is no BESS, or where an energy is not known.
    """
    flows = (flow for track in _of(tracks, Group.BATTERY) for flow in track.flows(times))
    return _priced([energy for flow in flows for energy in (flow.import_kwh, flow.export_kwh)], price_eur_per_kwh)


def vehicle_wear_eur(tracks: Mapping[str, Track], times: Sequence[datetime], price_eur_per_kwh: float) -> float | None:
    """Price of the AC energy that vehicles gave back [€], by their chargers' registers between ``times``.

    None where wear has no price, where there is no charger, or where an energy is not known.
    """
    flows = (flow for track in _of(tracks, Group.VEHICLES) for flow in track.flows(times))
    return _priced([flow.export_kwh for flow in flows], price_eur_per_kwh)


def sum_of_known(*wears_eur: float | None) -> float | None:
    """Of those that have a price; None where none has."""
    known = [wear for wear in wears_eur if wear is not None]
    return math.fsum(known) if known else None


def _of(tracks: Mapping[str, Track], group: Group) -> Iterator[Track]:
    return (track for track in tracks.values() if track.group is group)


def _priced(energies: Sequence[float | None], price_eur_per_kwh: float) -> float | None:
    known = [energy for energy in energies if energy is not None]
    if not price_eur_per_kwh or not energies or len(known) < len(energies):
        return None
    return price_eur_per_kwh * math.fsum(known)
