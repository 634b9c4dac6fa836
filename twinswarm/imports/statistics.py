"""Numbers by which a person sees whether a file was read as it is meant."""

from typing import Any

from twinswarm.imports.options import Kind
from twinswarm.imports.regular import Grid


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
