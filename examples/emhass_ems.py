"""EMHASS plans for a site of twinswarm: its optimiser behind the exchange that docs/own-ems.md describes.

It runs in an environment of its own, where EMHASS is installed, and knows nothing of twinswarm: a problem comes as a
line of JSON, set-points go back as one.

    twinswarm league carpark --ems ours --ems "emhass=emhass/bin/python examples/emhass_ems.py"

Each BESS is a battery of EMHASS, which ends the horizon with the energy that the site wishes for, or with that of now.
Each vehicle is a deferrable load of variable power: its missing energy, within the steps in which it is there. EMHASS
cannot express vehicles that give energy back, targets that may be missed at a price (a vehicle is asked for what its
time suffices for), least powers and tapers of chargers, and shared cables. EMHASS counts in W and Wh.
"""

import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any

import pandas as pd
from emhass.optimization import Optimization

LEAST_STEPS = 5
"""EMHASS refuses a shorter horizon: the last step is repeated."""
NOTHING_H = 1e-6
COST, PRICE, PV, LOAD = "unit_load_cost", "unit_prod_price", "sensor.pv", "sensor.load"
Problem = Mapping[str, Any]


@dataclass(frozen=True)
class VehicleLoad:
    """A vehicle as a deferrable load in the steps [first, last)."""

    device: str
    first: int
    last: int
    full_kw: float
    hours: float
    """At full power."""


def set_points(problem: Problem) -> dict[str, float]:
    """Set-points [kW] of the first step by device. Raises RuntimeError where EMHASS finds no plan."""
    loads = [load for charger in problem["chargers"] for load in vehicle_loads(problem, charger)]
    plan = optimised(problem, loads)
    found = dict.fromkeys(occupied(problem), 0.0)
    found |= {load.device: plan[f"P_deferrable{n}"] / 1000 for n, load in enumerate(loads) if load.first == 0}
    batteries = problem["bess"]
    for n, bess in enumerate(batteries):
        found[bess["device"]] = -plan["P_batt" if len(batteries) == 1 else f"P_batt_{n}"] / 1000
    curtailed_kw = plan.get("P_PV_curtailment", 0.0) / 1000
    for unit in problem["pv"]:
        if unit["curtailable"] and curtailed_kw > 0:
            share = available_kw(unit, 0) / sum(available_kw(other, 0) for other in curtailable(problem))
            found[unit["device"]] = max(0.0, available_kw(unit, 0) - share * curtailed_kw)
    return found


def vehicle_loads(problem: Problem, charger: Mapping[str, Any]) -> list[VehicleLoad]:
    """The charger's vehicles that want energy, present and expected."""
    start, step_h = start_of(problem), problem["step_s"] / 3600
    found = []
    for stay in charger["stays"]:
        arrival_h, departure_h = (
            (datetime.fromisoformat(stay[name]) - start).total_seconds() / 3600 for name in ("arrival", "departure")
        )
        first = max(0, math.ceil(arrival_h / step_h))
        whole = math.floor((departure_h - stay["lag_s"] / 3600) / step_h)
        last = min(problem["steps"], max(whole, first + 1))  # one that leaves within a step charges in it
        full_kw = min(charger["max_charge_kw"], stay["max_charge_kw"])
        missing_kwh = max(0.0, stay["target_kwh"] - stay["energy_kwh"]) / charger["charge_efficiency"]
        hours = min(missing_kwh / full_kw, max(0, last - first) * step_h)
        if hours > NOTHING_H:
            found.append(VehicleLoad(charger["device"], first, last, full_kw, hours))
    return found


def optimised(problem: Problem, loads: list[VehicleLoad]) -> dict[str, float]:
    """The first row of EMHASS' plan [W]."""
    steps = max(LEAST_STEPS, problem["steps"])
    data = pd.DataFrame(
        {
            COST: longer(problem["purchase_eur_per_kwh"], steps),
            PRICE: longer(problem["sale_eur_per_kwh"], steps),
            PV: [1000 * kw for kw in longer(pv_kw(problem), steps)],
            LOAD: [1000 * kw for kw in longer(load_kw(problem), steps)],
        },
        index=pd.date_range(problem["start"], periods=steps, freq=f"{problem['step_s']}s"),
    )
    settings = configuration(problem, loads)
    optimiser = Optimization(
        settings, settings, settings, COST, PRICE, "profit", {}, logging.getLogger("emhass"), num_timesteps=steps
    )
    socs: dict[str, Any] = {}
    if batteries := problem["bess"]:
        socs["soc_init"] = [bess["energy_kwh"] / bess["capacity_kwh"] for bess in batteries]
        socs["soc_final"] = [wished_kwh(bess) / bess["capacity_kwh"] for bess in batteries]
    month_peak_kw = max(problem["month_peak_kw"], problem["free_peak_kw"])
    plan = optimiser.perform_naive_mpc_optim(
        data,
        data[PV],
        data[LOAD],
        steps,
        current_period_peak=1000 * month_peak_kw,
        def_total_hours=[load.hours for load in loads],
        def_start_timestep=[load.first for load in loads],
        def_end_timestep=[load.last for load in loads],
        **socs,
    )
    if "P_grid" not in plan:
        raise RuntimeError(f"EMHASS finds no plan at {problem['start']}: {optimiser.optim_status}")
    return {name: float(value) for name, value in plan.iloc[0].items() if name.startswith("P_")}


def configuration(problem: Problem, loads: list[VehicleLoad]) -> dict[str, Any]:
    """EMHASS' own defaults, with this plant in their place. It reads all of them from one dictionary."""
    number, batteries = len(loads), problem["bess"]
    found = json.loads(files("emhass").joinpath("data/config_defaults.json").read_text(encoding="utf-8"))
    found |= {
        "optimization_time_step": pd.Timedelta(seconds=problem["step_s"]),
        "time_zone": "UTC",
        "sensor_power_photovoltaics": PV,
        "sensor_power_load_no_var_loads": LOAD,
        "num_threads": 1,  # this and the next line: the plan is the same whenever it is made
        "lp_solver_mip_rel_gap": 0.0,
        "maximum_power_from_grid": 1000 * problem["import_limit_kw"],
        "maximum_power_to_grid": 1000 * problem["export_limit_kw"],
        "set_nodischarge_to_grid": False,
        "compute_curtailment": bool(curtailable(problem)),
        "capacity_cost_per_kw": problem["prices"]["demand_eur_per_kw"],
        "number_of_deferrable_loads": number,
        "nominal_power_of_deferrable_loads": [1000 * load.full_kw for load in loads],
    }
    every_load = {
        "minimum_power_of_deferrable_loads": 0.0,
        "treat_deferrable_load_as_semi_cont": False,
        "set_deferrable_load_single_constant": False,
        "set_deferrable_startup_penalty": 0.0,
        "set_deferrable_max_startups": 0,
        "deferrable_load_max_cost": 0.0,
        "def_minimum_on_time": 0,
        "def_minimum_off_time": 0,
        "is_electric_load": True,
        "cost_forecast_per_deferrable_load": None,
    }
    found |= {name: [value] * number for name, value in every_load.items()}
    if batteries:
        every_battery = {
            "battery_nominal_energy_capacity": [1000 * bess["capacity_kwh"] for bess in batteries],
            "battery_charge_power_max": [1000 * bess["max_charge_kw"] for bess in batteries],
            "battery_discharge_power_max": [1000 * bess["max_discharge_kw"] for bess in batteries],
            "battery_charge_efficiency": [bess["charge_efficiency"] for bess in batteries],
            "battery_discharge_efficiency": [bess["discharge_efficiency"] for bess in batteries],
            "battery_minimum_state_of_charge": [bess["energy_min_kwh"] / bess["capacity_kwh"] for bess in batteries],
            "battery_maximum_state_of_charge": [bess["energy_max_kwh"] / bess["capacity_kwh"] for bess in batteries],
        }
        found |= {"set_use_battery": True, "number_of_batteries": len(batteries)} | every_battery
    return found


def occupied(problem: Problem) -> list[str]:
    """Chargers with a vehicle. The others are left to their fallback: EMHASS knows of none that comes unexpected."""
    return [
        charger["device"]
        for charger in problem["chargers"]
        if any(datetime.fromisoformat(stay["arrival"]) <= start_of(problem) for stay in charger["stays"])
    ]


def start_of(problem: Problem) -> datetime:
    return datetime.fromisoformat(problem["start"])


def wished_kwh(bess: Mapping[str, Any]) -> float:
    """The energy in the battery at the horizon's end."""
    wishes = bess["wishes"]
    return float(wishes[-1]["energy_kwh"] if wishes else bess["energy_kwh"])


def load_kw(problem: Problem) -> list[float]:
    """What nobody moves: load, losses, heat pumps and chargers without control."""
    fixed = [unit["power_kw"] for unit in problem["fixed"]]
    return [sum(powers) for powers in zip(problem["load_kw"], problem["losses_kw"], *fixed, strict=True)]


def pv_kw(problem: Problem) -> list[float]:
    return [sum(available_kw(unit, step) for unit in problem["pv"]) for step in range(problem["steps"])]


def available_kw(unit: Mapping[str, Any], step: int) -> float:
    return float(min(unit["available_kw"][step], unit["rated_kw"]))


def curtailable(problem: Problem) -> list[Mapping[str, Any]]:
    return [unit for unit in problem["pv"] if unit["curtailable"]]


def longer(values: list[float], steps: int) -> list[float]:
    return [*values, *values[-1:] * (steps - len(values))]


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the solver prints its name there, between the answers
    for line in sys.stdin:
        print(json.dumps(set_points(json.loads(line))), file=answers, flush=True)
