"""Numbers by which a person sees whether a file was read as it is meant."""

from collections.abc import Sequence
from typing import Any

from twinswarm.imports.options import Kind
from twinswarm.imports.regular import Grid
from twinswarm.imports.vehicles import Placed


def statistics_of(grid: Grid, kind: Kind) -> dict[str, Any]:
    """Span, step and values; of powers their energy [kWh] as well."""
    values = grid.values
    found: dict[str, Any] = {
        "start": grid.start.isoformat(),
        "end": grid.end.isoformat(),
        "step_s": grid.step_s,
        "values": len(values),
        "least": float(values.min()),
        "mean": float(values.mean()),
        "most": float(values.max()),
    }
    if kind in {Kind.LOAD, Kind.PV}:
        found["energy_kwh"] = float(values.sum()) * grid.step_s / 3600
    return found


def sessions_statistics(placed: Sequence[Placed]) -> dict[str, Any]:
    """Number, span, energy [kWh], mean stay [h] and the most vehicles at one time."""
    sessions = [place.session for place in placed]
    if not sessions:
        return {"sessions": 0}
    steps = sorted([(s.arrival, 1) for s in sessions] + [(s.departure, -1) for s in sessions])
    present = most = 0
    for _, change in steps:
        present += change
        most = max(most, present)
    hours = [(s.departure - s.arrival).total_seconds() / 3600 for s in sessions]
    return {
        "sessions": len(sessions),
        "chargers": len({place.charger for place in placed}),
        "start": min(s.arrival for s in sessions).isoformat(),
        "end": max(s.departure for s in sessions).isoformat(),
        "energy_kwh": sum(s.energy_kwh for s in sessions),
        "mean_energy_kwh": sum(s.energy_kwh for s in sessions) / len(sessions),
        "mean_stay_h": sum(hours) / len(hours),
        "most_at_once": most,
    }
