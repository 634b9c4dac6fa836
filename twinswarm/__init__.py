"""A building with PV, battery, V2G chargers and meters as a swarm of MQTT services: the public Python API.

- `load_site` reads a site description, or one in the box.
- `run_day` lives through a day in memory and compares it with its baseline.
- `Swarm` is a site on a broker: processes or threads, in lock-step or along the machine's clock.
- `plan` optimises a site once.
- `open_history` reads what was recorded.

Units and signs are those of every message: kW, kWh, €/kWh, SOC as a fraction; power is positive when it is drawn from
the building's bus, at the PCC when it is imported. Errors are `TwinswarmError`; `InputError` carries all faults of an
input at once. docs/api.md has examples. Importing this module loads no other: each name is loaded when it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemas.errors import InputError, TwinswarmError
    from schemas.messages import Plan
    from schemas.site import Site
    from services.analysis.run_result import RunResult
    from services.ems.algorithm import Algorithm
    from services.ems.problem import Problem
    from services.history.reader import History
    from twinswarm.api import load_site, open_history, plan, run_day
    from twinswarm.swarm import Swarm

__all__ = [
    "Algorithm",
    "History",
    "InputError",
    "Plan",
    "Problem",
    "RunResult",
    "Site",
    "Swarm",
    "TwinswarmError",
    "load_site",
    "open_history",
    "plan",
    "run_day",
]

_HOMES = {
    "Algorithm": "services.ems.algorithm",
    "History": "services.history.reader",
    "InputError": "schemas.errors",
    "Plan": "schemas.messages",
    "Problem": "services.ems.problem",
    "RunResult": "services.analysis.run_result",
    "Site": "schemas.site",
    "Swarm": "twinswarm.swarm",
    "TwinswarmError": "schemas.errors",
    "load_site": "twinswarm.api",
    "open_history": "twinswarm.api",
    "plan": "twinswarm.api",
    "run_day": "twinswarm.api",
}


def __getattr__(name: str) -> Any:
    """Loads a public name from its home."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
