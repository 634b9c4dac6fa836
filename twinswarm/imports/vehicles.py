"""The vehicles behind charging sessions of which energy and times alone are known: capacity and SOC are assumed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.site import Charger
from twinswarm.imports.imported import ImportedSession
from twinswarm.imports.notes import Notes, some
from twinswarm.imports.options import Options

HEADER = (
    "charge_point", "vehicle", "arrival", "departure", "announced_departure", "capacity_kwh", "arrival_soc_frac",
    "target_soc_frac", "soc_min_frac",
)  # fmt: skip
_LEAST_SOC = 0.05


@dataclass(frozen=True)
class Placed:
    """A session at a charger of the site."""

    charger: str
    session: ImportedSession


def placed(sessions: Sequence[ImportedSession], chargers: Sequence[str], notes: Notes) -> list[Placed]:
    """Sessions at the chargers of a site.

    As many charge points as chargers or fewer: each has its own, in the order of their names. More: a vehicle takes the
    first charger that is free, and those that find none are left out.
    """
    points = sorted({session.charge_point for session in sessions})
    if points != [""] and len(points) <= len(chargers):
        own = dict(zip(points, chargers, strict=False))
        notes.assumed.append("charge points are chargers: " + ", ".join(f"{a} is {b}" for a, b in own.items()))
        return [Placed(own[session.charge_point], session) for session in sessions]
    until = dict.fromkeys(chargers, -math.inf)
    found, turned_away = [], []
    for session in sorted(sessions, key=lambda one: (one.arrival, one.departure)):
        charger = next((name for name in chargers if until[name] <= session.arrival.timestamp()), None)
        if charger is None:
            turned_away.append(session)
        else:
            until[charger] = session.departure.timestamp()
            found.append(Placed(charger, session))
    what = "no charge points" if points == [""] else f"{len(points)} charge points"
    notes.assumed.append(
        f"the file has {what} and the site {len(chargers)} chargers; a vehicle takes the first free one"
    )
    if turned_away:
        kwh = sum(session.energy_kwh for session in turned_away)
        names = some([f"{session.arrival:%Y-%m-%d %H:%M}Z" for session in turned_away])
        notes.repaired.append(
            f"{len(turned_away)} sessions with {kwh:.1f} kWh find no free charger and are left out: {names}"
        )
    return found


def rows_of(
    found: Sequence[Placed], chargers: Mapping[str, Charger], options: Options, notes: Notes
) -> list[tuple[object, ...]]:
    """Rows of the site's table of sessions. What a meter says is energy at the charge point: AC."""
    rows: list[tuple[object, ...]] = []
    enlarged, short = [], []
    for place in found:
        session = place.session
        charger = chargers.get(place.charger)
        efficiency = options.charge_efficiency if charger is None else charger.charge_efficiency
        wanted_kwh = session.energy_kwh * efficiency
        capacity = options.capacity_kwh
        if wanted_kwh > (options.target_soc_frac - _LEAST_SOC) * capacity:
            capacity = float(math.ceil(wanted_kwh / (options.target_soc_frac - _LEAST_SOC)))
            enlarged.append(session.vehicle)
        hours = (session.departure - session.arrival).total_seconds() / 3600
        if charger is not None and session.energy_kwh > charger.max_charge_kw * hours * (1 + 1e-6):
            short.append(f"{session.arrival:%Y-%m-%d %H:%M}Z at {place.charger}")
        rows.append(
            (
                place.charger,
                session.vehicle,
                _iso(session.arrival),
                _iso(session.departure),
                "" if session.announced_departure is None else _iso(session.announced_departure),
                f"{capacity:g}",
                f"{options.target_soc_frac - wanted_kwh / capacity:.6f}",
                f"{options.target_soc_frac:g}",
                f"{min(options.soc_min_frac, options.target_soc_frac):g}",
            )
        )
    notes.assumed += [
        f"every vehicle has {options.capacity_kwh:g} kWh (--capacity)",
        f"it leaves with an SOC of {options.target_soc_frac:g} (--target-soc), so it came with that less what it took",
        f"V2G keeps it above {options.soc_min_frac:g} (--soc-min)",
        "of the energy at the meter so much reaches the battery: the charger's charge_efficiency"
        if chargers
        else f"of the energy at the meter {options.charge_efficiency:g} reaches the battery",
    ]
    if all(place.session.announced_departure is None for place in found):
        notes.assumed.append("drivers announce when they really leave")
    if enlarged:
        notes.assumed.append(f"{len(enlarged)} sessions took more than that: their vehicles are as large as need be")
    if short:
        notes.repaired.append(
            f"{len(short)} sessions took more than their charger can give in their stay; they leave with less: "
            f"{some(short)}"
        )
    return rows


def _iso(time: object) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
