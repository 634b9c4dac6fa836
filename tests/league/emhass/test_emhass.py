"""EMHASS, an EMS that others wrote, in an environment of its own: its plans by hand, and its place in a league."""

import json
import os
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.cycle import Course
from tests.league.test_league import site
from tests.parts import skip_without
from twinswarm.league.result import play_league
from twinswarm.simulation.runs import local_course

ADAPTER = Path(__file__).parents[3] / "examples" / "emhass_ems.py"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
PYTHON = next(iter(sorted((CACHE / "twinswarm-peers").glob("emhass-*/bin/python"), reverse=True)), None)


@pytest.fixture
def command() -> str:
    skip_without("EMHASS (tests/league/emhass/install)", present=PYTHON is not None)
    return f"'{PYTHON}' '{ADAPTER}'"


def test_a_battery_buys_in_the_cheap_step_and_a_vehicle_charges_before_it_leaves(command: str) -> None:
    """By hand: 1 kWh is cheapest in the third hour, so the battery waits; the vehicle leaves after two and takes its
    10 kWh in the second, which is cheaper than the first."""
    hours = {"purchase_eur_per_kwh": [0.3, 0.2, 0.1, 0.4, 0.4], "sale_eur_per_kwh": [0.0] * 5}
    bess = {
        "device": "bess",
        "capacity_kwh": 20.0,
        "max_charge_kw": 10.0,
        "max_discharge_kw": 10.0,
        "charge_efficiency": 1.0,
        "discharge_efficiency": 1.0,
        "energy_min_kwh": 0.0,
        "energy_max_kwh": 20.0,
        "energy_kwh": 0.0,
        "wishes": [],
    }
    stay = {
        "arrival": "2024-05-17T00:00:00+00:00",
        "departure": "2024-05-17T02:00:00+00:00",
        "lag_s": 0.0,
        "max_charge_kw": 20.0,
        "target_kwh": 30.0,
        "energy_kwh": 20.0,
    }
    charger = {"device": "ev", "max_charge_kw": 20.0, "charge_efficiency": 1.0, "stays": [stay]}
    problem: dict[str, Any] = {
        "start": "2024-05-17T00:00:00+00:00",
        "step_s": 3600,
        "steps": 5,
        "load_kw": [0.0, 0.0, 0.0, 5.0, 5.0],
        "losses_kw": [0.0] * 5,
        "import_limit_kw": 100.0,
        "export_limit_kw": 100.0,
        "month_peak_kw": 0.0,
        "free_peak_kw": 0.0,
        "prices": {"demand_eur_per_kw": 0.0},
        "bess": [bess],
        "chargers": [charger],
        "fixed": [],
        "pv": [],
    }
    later = hours | {name: values[1:] + values[-1:] for name, values in hours.items()}
    second = problem | later | {"start": "2024-05-17T01:00:00+00:00"}
    third = problem | {name: values[2:] + values[-1:] * 2 for name, values in hours.items()}
    third |= {
        "start": "2024-05-17T02:00:00+00:00",
        "chargers": [charger | {"stays": []}],
        "load_kw": [0.0, 5.0, 5.0, 0, 0],
    }
    lines = "".join(json.dumps(each) + "\n" for each in (problem | hours, second, third))
    done = subprocess.run(["sh", "-c", command], input=lines, capture_output=True, text=True, check=True, timeout=250)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found[0] == pytest.approx({"ev": 0.0, "bess": 0.0}, abs=1e-6)
    assert found[1] == pytest.approx({"ev": 10.0, "bess": 0.0}, abs=1e-6)
    assert found[2] == pytest.approx({"bess": 10.0}, abs=1e-6)


def test_it_takes_part_in_a_league(command: str) -> None:
    """From the morning on, the hours in which PV is left over: better than doing nothing, not better than perfect."""
    chosen = site()
    whole = local_course(chosen)
    course = Course(whole.t0 + timedelta(hours=9), whole.t0 + timedelta(hours=11), whole.step_s)
    found = play_league(chosen, course, ["ours", f"emhass={command}"], processes=1)
    assert {score.name for score in found.scores} == {"ours", "emhass", "uncontrolled"}
    assert all(found.regret_eur(score) >= -1e-9 for score in found.scores)
    assert next(score for score in found.scores if score.name == "emhass").changes > 1
