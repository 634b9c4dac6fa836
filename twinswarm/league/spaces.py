"""How an agent sees a problem, and how its action becomes set-points.

Both are functions of the problem and of the site's stores, so that an agent that learned in the environment takes part
in a league, or commands a site, as any other algorithm does. docs/league.md has the table of the observation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from schemas.site import Charger, Site
from services.ems.problem import BessUnit, ChargerUnit, Problem, Stay
from twinswarm.league.plant import batteries

AHEAD = 96
"""Steps of prices and forecasts that an agent sees; after the end of what is known the last value stands again."""
Observation = dict[str, NDArray[np.float32]]
_INFINITE = np.inf


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores that an agent moves, in the order of its action: batteries, then chargers, each by name."""

    bess: tuple[str, ...]
    chargers: tuple[str, ...]

    @classmethod
    def of(cls, site: Site) -> "Stores":
        moved = [n for n, device in site.devices.items() if isinstance(device, Charger) and device.controllable]
        return cls(tuple(batteries(site)), tuple(sorted(moved)))

    def action_space(self) -> "spaces.Box[Any]":
        """A share of its power for each store: 1 charges with all of it, -1 discharges."""
        return spaces.Box(-1.0, 1.0, (len(self.bess) + len(self.chargers),), np.float32)

    def observation_space(self, ahead: int = AHEAD) -> "spaces.Dict[Any]":
        """The bounds of what `observation` returns."""
        found: dict[str, spaces.Space[Any]] = {"time_of_day": _box(-1.0, 1.0, 2)}
        found |= {name: _box(-_INFINITE, _INFINITE, ahead) for name in ("purchase_eur_per_kwh", "sale_eur_per_kwh")}
        found |= {name: _box(0.0, _INFINITE, ahead) for name in ("load_kw", "pv_kw")}
        if self.bess:
            found["bess_soc"] = _box(0.0, 1.0, len(self.bess))
        if self.chargers:
            found |= {
                "plugged": _box(0.0, 1.0, len(self.chargers)),
                "missing_kwh": _box(0.0, _INFINITE, len(self.chargers)),
                "usable_kwh": _box(0.0, _INFINITE, len(self.chargers)),
                "hours_left": _box(0.0, _INFINITE, len(self.chargers)),
            }
        return spaces.Dict(found)

    def observation(self, problem: Problem, seconds_of_day: float, ahead: int = AHEAD) -> Observation:
        """What an agent sees of the problem. ``seconds_of_day``: since local midnight."""
        angle = 2 * np.pi * seconds_of_day / timedelta(days=1).total_seconds()
        load = [kw + losses for kw, losses in zip(problem.load_kw, problem.losses_kw, strict=True)]
        for unit in problem.fixed:
            load = [kw + more for kw, more in zip(load, unit.power_kw, strict=True)]
        pv = [0.0] * problem.steps
        for plant in problem.pv:
            pv = [kw + min(more, plant.rated_kw) for kw, more in zip(pv, plant.available_kw, strict=True)]
        found = {
            "time_of_day": _row([np.sin(angle), np.cos(angle)]),
            "purchase_eur_per_kwh": _row(_longer(problem.purchase_eur_per_kwh, ahead)),
            "sale_eur_per_kwh": _row(_longer(problem.sale_eur_per_kwh, ahead)),
            "load_kw": _row(_longer([max(0.0, kw) for kw in load], ahead)),
            "pv_kw": _row(_longer(pv, ahead)),
        }
        units = {unit.device: unit for unit in problem.bess}
        if self.bess:
            socs = [units[name].energy_kwh / units[name].capacity_kwh if name in units else 0.0 for name in self.bess]
            found["bess_soc"] = np.clip(_row(socs), 0.0, 1.0)
        if self.chargers:
            by_name = {unit.device: unit for unit in problem.chargers}
            rows = [_vehicle(by_name.get(name), problem) for name in self.chargers]
            names = ("plugged", "missing_kwh", "usable_kwh", "hours_left")
            found |= {name: _row([row[place] for row in rows]) for place, name in enumerate(names)}
        return found

    def set_points(self, problem: Problem, action: Sequence[float] | NDArray[np.floating]) -> Mapping[str, float]:
        """Set-points [kW] of an action, for the stores that are there."""
        shares = dict(zip((*self.bess, *self.chargers), (float(share) for share in action), strict=True))
        units: list[BessUnit | ChargerUnit] = [*problem.bess, *problem.chargers]
        return {
            unit.device: share * (unit.max_charge_kw if share > 0 else unit.max_discharge_kw)
            for unit in units
            if (share := shares.get(unit.device)) is not None
        }


def _box(low: float, high: float, length: int) -> "spaces.Box[Any]":
    return spaces.Box(low, high, (length,), np.float32)


def _row(values: Sequence[float]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


def _longer(values: Sequence[float], length: int) -> list[float]:
    return [*values[:length], *[values[-1]] * (length - len(values))]


def _vehicle(unit: ChargerUnit | None, problem: Problem) -> tuple[float, float, float, float]:
    """Whether one is plugged, energy to its target, energy above its least, hours until it is announced to leave."""
    stay = None if unit is None else _plugged(unit, problem)
    if stay is None:
        return 0.0, 0.0, 0.0, 0.0
    missing, usable = stay.target_kwh - stay.energy_kwh, stay.energy_kwh - stay.energy_min_kwh
    return 1.0, max(0.0, missing), max(0.0, usable), (stay.departure - problem.start) / timedelta(hours=1)


def _plugged(unit: ChargerUnit, problem: Problem) -> Stay | None:
    return next((stay for stay in unit.stays if stay.arrival <= problem.start < stay.departure), None)
