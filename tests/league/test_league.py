"""`twinswarm league`: the bound, the rules, the same table everywhere, what is refused."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import Code
from schemas.site import Bess, Site
from tests.errors import raises
from tests.twins import builders
from twinswarm.league.contestants import NAMES
from twinswarm.league.result import League, play_league
from twinswarm.simulation.runs import local_course

HERE = Path(__file__).parent
TWO_H = timedelta(hours=2)


DRAIN = str(HERE / "drain.py")


def site(**changes: Any) -> Site:
    """A BESS, a V2G charger and a one-way one beside PV; a vehicle is plugged at midnight, another one leaves early."""
    devices = {
        "bess": builders.bess(),
        "ev": builders.charger(
            sessions=[
                builders.stay(vehicle="car1", departure=builders.at("16:00"), announced_departure=builders.at("18:00")),
                builders.stay(vehicle="car3", arrival=builders.at("20:07"), departure=builders.at("23:59") + TWO_H),
            ]
        ),
        "wallbox": builders.charger(max_discharge_kw=0.0, sessions=[builders.stay(vehicle="car2")]),
        "pv": builders.pv(),
        "load": {"kind": "meter", "profile": "base"},
    }
    prices = {"price": {"type": "day", "values": [0.05] * 40 + [0.02] * 24 + [0.3] * 20 + [-0.02] * 12}}
    made = builders.site(devices)
    profiles = json.loads(made.model_dump_json(include={"profiles"}))["profiles"] | prices
    return builders.site(devices, **({"profiles": profiles} | changes))


@pytest.fixture(scope="module")
def league() -> League:
    chosen = site()
    names = (*NAMES, f"{DRAIN}:drain", f"{DRAIN}:Overfill")
    return play_league(chosen, local_course(chosen), names, processes=1)


def test_perfect_foresight_is_never_beaten(league: League) -> None:
    assert {score.name for score in league.scores} > {*NAMES}
    assert all(league.regret_eur(score) >= -1e-9 for score in league.scores)
    regret = {score.name: league.regret_eur(score) for score in league.scores}
    losses_eur = 0.4 * sum(league.scores[0].losses_kwh)
    assert regret["foresight"] <= losses_eur + 0.05 * abs(league.perfect_eur), "the bound is near, too"
    assert regret[f"{DRAIN}:drain"] > regret["uncontrolled"], "a kWh that a vehicle misses costs more than it earns"
    assert [score.score_eur for score in league.scores] == sorted(score.score_eur for score in league.scores)


def test_a_score_is_the_sum_of_its_parts(league: League) -> None:
    for score in league.scores:
        parts = score.energy_eur + 5.0 * score.short_kwh - score.left_eur
        assert score.score_eur == pytest.approx(parts, abs=1e-9)
    full = next(score for score in league.scores if score.name.endswith("Overfill"))
    assert full.short_kwh == 0.0
    bess = site().devices["bess"]
    assert isinstance(bess, Bess)
    bess_kwh = (bess.soc_max_frac - bess.initial_soc_frac) * 40.0
    car_kwh = (0.9 - 0.5) * 50.0
    assert full.left_kwh == pytest.approx(bess_kwh + car_kwh, abs=1e-6), "energy beyond the target is worth nothing"


def test_perfect_foresight_by_hand() -> None:
    """A BESS of 10 kWh without losses, 5 kW, empty: it buys 10 kWh at 0.11 and sells them at 0.50; nothing is left.

    The load of 1 kW pays 0.11 €/kWh in the first twelve hours and 0.60 in the others, less 1 kWh from the BESS in each
    of them: 10 kWh come from it, for which 0.60 is better than the sale's 0.50.
    """
    profiles = {
        "price": {"type": "day", "values": [0.01] * 48 + [0.5] * 48},
        "base": {"type": "day", "values": [1.0]},
    }
    bess = builders.bess() | {
        "capacity_kwh": 10.0,
        "max_charge_kw": 5.0,
        "max_discharge_kw": 5.0,
        "charge_efficiency": 1.0,
        "discharge_efficiency": 1.0,
        "soc_min_frac": 0.0,
        "soc_max_frac": 1.0,
        "initial_soc_frac": 0.0,
    }
    devices = {"bess": bess, "load": {"kind": "meter", "profile": "base"}}
    chosen = builders.site(devices, profiles=profiles)
    found = play_league(chosen, local_course(chosen), ["uncontrolled"], processes=1)
    assert found.perfect_eur == pytest.approx(12 * 0.11 + 10 * 0.11 + 2 * 0.60, abs=1e-9)


def test_the_table_is_the_same_in_another_process_and_with_other_hashes() -> None:
    code = (
        "from tests.league.test_league import site\n"
        "from schemas.cycle import Course\n"
        "from datetime import timedelta\n"
        "from twinswarm.league.result import play_league\n"
        "from twinswarm.simulation.runs import local_course\n"
        "s = site(); c = local_course(s)\n"
        "c = Course(c.t0 + timedelta(hours=9), c.t0 + timedelta(hours=11), c.step_s)\n"
        "print(play_league(s, c, ('ours', 'timer', 'pv_surplus'), processes=1).to_json()['sha256'])\n"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=HERE.parents[1],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "4711")
    ]
    assert found[0] == found[1]
    assert len(found[0].strip()) == 64


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("theirs", Code.UNKNOWN),
        (f"{DRAIN}:nothing", Code.UNKNOWN),
        ("nowhere.py:drain", Code.NOT_FOUND),
        (f"{DRAIN}:NeedsMore", Code.UNREADABLE),
        (f"{DRAIN}:NotCallable", Code.FORMAT),
    ],
)
def test_a_contestant_that_is_none_is_refused(name: str, code: Code) -> None:
    chosen = site()
    with raises(code, "--ems"):
        play_league(chosen, local_course(chosen), [name])


def test_what_has_no_bound_is_refused() -> None:
    load = {"load": {"kind": "meter", "profile": "base"}}
    nothing = builders.site(load)
    with raises(Code.EMPTY, "SITE"):
        play_league(nothing, local_course(nothing))
    chosen = builders.site(load | {"bess": builders.bess()})
    with raises(Code.CONFLICT, "--ems"):
        play_league(chosen, local_course(chosen), ["timer", "timer"])
