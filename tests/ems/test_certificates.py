"""Certificates of plans: the checker of examples/certificate confirms them, and rejects altered ones."""

import copy
import json
import random
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from pytest import approx

from schemas.messages import EmsMode, Fallback, Setpoint
from services.ems.certificate import proof
from services.ems.certificate.certificate import certificate_of, digest_of
from services.ems.certificate.participant import CertifyingEms
from services.ems.dispatch import decision_of
from services.ems.highs import Budget
from services.ems.participant import Ems
from services.ems.problem import BessUnit, Problem, Weights
from services.ems.solution import Solution
from services.ems.solve import Solver
from sites.loader import load_description
from tests.ems.random_sites import START, STEP_S, problems
from tests.ems.small_site import IdealPlant, begin, cycle, plan_in, site
from tests.ems.test_months import DEMAND
from tests.ems.test_months import problem as over_two_months
from tests.npm import OLDEST_NODE
from tests.parts import skip_without
from twinswarm.simulation.one_plan import live_through
from twinswarm.simulation.variants import Reference, StorageChoice
from twinswarm.study.orders import Key, site_of, table_days, tie_days
from twinswarm.study.study import StudyOrder

CHECKER = Path(__file__).parents[2] / "examples/certificate/check.mjs"
Certificate = dict[str, Any]
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
"""A failure starts node once more for each attempt to make it smaller."""


@pytest.fixture(scope="module", autouse=True)
def node() -> None:
    try:
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        version = "v0"
    skip_without(f"node {OLDEST_NODE} or later", present=int(version[1:].split(".")[0]) >= OLDEST_NODE)


def certified(problem: Problem, budget: Budget | None = None) -> Certificate:
    """Through JSON, as a checker gets it."""
    solution = Solver(budget or Budget()).solve(problem)
    assert isinstance(solution, Solution)
    decision = decision_of(solution, 1, EmsMode.CONTROL)
    setpoints = {
        device: Setpoint(
            id=device,
            epoch=1,
            valid_from=problem.start,
            valid_until=problem.end,
            power_kw=decision.power_kw.get(device),
            limit_kw=decision.limit_kw.get(device),
            fallback=Fallback.IDLE,
        )
        for device in {**decision.power_kw, **decision.limit_kw}
    }
    return json.loads(json.dumps(certificate_of(solution, decision.plan, setpoints), allow_nan=False))  # type: ignore[no-any-return]


def answers(certificates: Sequence[Certificate], folder: Path, *options: str) -> list[str]:
    """The checker's line for each."""
    files = []
    for number, certificate in enumerate(certificates):
        files.append(folder / f"{number}.json")
        files[-1].write_text(json.dumps(certificate))
    return checked(files, *options)


def checked(files: Sequence[Path], *options: str) -> list[str]:
    done = subprocess.run(
        ["node", str(CHECKER), *options, *map(str, files)], capture_output=True, text=True, timeout=300, check=False
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(files), done.stderr
    assert done.returncode == int(any(line.startswith("REJECTED") for line in lines))
    return lines


def confirmed(line: str) -> bool:
    return line.startswith("confirmed")


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), phases=NO_SHRINKING)
@given(problems())
def test_the_plan_of_a_random_site_is_confirmed(tmp_path: Path, problem: Problem) -> None:
    certificate = certified(problem)
    (line,) = answers([certificate], tmp_path, "--sha256", certificate["problem_sha256"])
    assert confirmed(line), line


def test_the_peaks_of_two_months_are_confirmed(tmp_path: Path) -> None:
    """Without storage 5 kW above what is paid in the first, 20 in the second, at 5 €/kW; half of it counts."""
    paid = {"month_peak_kw": 5.0, "next_free_peak_kw": 20.0, "weights": Weights(cost=0.5, peak_eur_per_kw=0.1)}
    asked = over_two_months((10.0, 10.0, 40.0, 40.0), (0.2,) * 4, **paid, **DEMAND)
    certificate = certified(replace(asked, bess=()))
    assert certificate["plan"]["demand_eur"] == approx(5.0 * (5.0 + 20.0))
    (line,) = answers([certificate], tmp_path)
    assert confirmed(line), line
    certificate["plan"]["demand_eur"] -= 5.0 * 20.0
    (line,) = answers([certificate], tmp_path)
    assert "plan: demand_eur" in line


# Each alters a certificate as it says, and returns False where there is nothing of the kind to alter.
Alter = Callable[[Certificate, random.Random], bool]


def _value(c: Certificate, r: random.Random) -> bool:
    """Of a column whose value an equation fixes."""
    columns = [row[4][0] for row in c["problem"]["rows"] if row[2] == row[3] and abs(row[4][1]) > 1e-2]
    if not columns:
        return False
    c["values"][r.choice(columns)] += r.choice([-1.0, 0.01, 5.0])
    return True


def _no_number(c: Certificate, r: random.Random) -> bool:
    c["values"][r.randrange(len(c["values"]))] = r.choice([None, "0", []])
    return True


def _values_cut(c: Certificate, _: random.Random) -> bool:
    del c["values"][-1]
    return True


def _stated_cost(c: Certificate, r: random.Random) -> bool:
    part = r.choice(sorted(c["costs_eur"]))
    c["costs_eur"][part] -= 1e-4 * max(1.0, abs(c["costs_eur"][part]))
    return True


def _total(c: Certificate, _: random.Random) -> bool:
    c["total_eur"] -= 1e-4 * max(1.0, abs(c["total_eur"]))
    return True


def _bound(c: Certificate, _: random.Random) -> bool:
    c["bound_eur"] += 1e-4 * max(1.0, abs(c["bound_eur"]))
    return True


def _dual(c: Certificate, r: random.Random) -> bool:
    """One that changes the bound."""
    leaf = r.choice(c["leaves"])
    before = bounds(c)
    place = r.randrange(len(leaf["duals"]))
    leaf["duals"][place] += r.choice([-1.0, 1.0, 0.01])
    return not np.allclose(min(before), min(bounds(c)), rtol=1e-5, atol=1e-5)


def _duals_cut(c: Certificate, r: random.Random) -> bool:
    del r.choice(c["leaves"])["duals"][-1]
    return True


def _leaf_left_out(c: Certificate, r: random.Random) -> bool:
    c["leaves"].pop(r.randrange(len(c["leaves"])))
    return True


def _leaf_turned(c: Certificate, r: random.Random) -> bool:
    fixed = [pair for leaf in c["leaves"] for pair in leaf["fixed"]]
    if not fixed:
        c["leaves"][0]["fixed"] = [[0, 0]]
        return True
    pair = r.choice(fixed)
    pair[1] = 1 - pair[1]
    return True


def _row_left_out(c: Certificate, r: random.Random) -> bool:
    place = r.randrange(len(c["problem"]["rows"]))
    del c["problem"]["rows"][place]
    for leaf in c["leaves"]:
        del leaf["duals"][place]
    return True


def _row_widened(c: Certificate, r: random.Random) -> bool:
    row = r.choice([row for row in c["problem"]["rows"] if row[3] is not None])
    row[3] += 1.0
    return True


def _column_widened(c: Certificate, r: random.Random) -> bool:
    column = r.choice([column for column in c["problem"]["columns"] if column[2] is not None])
    column[2] += 1.0
    return True


def _not_whole(c: Certificate, _: random.Random) -> bool:
    whole = [column for column in c["problem"]["columns"] if column[3]]
    for column in whole:
        column[3] = 0
    return bool(whole)


def _price(c: Certificate, r: random.Random) -> bool:
    costs = r.choice([entries for _, entries in c["problem"]["costs"] if entries])
    costs[1] *= 0.5
    costs[1] += 0.01
    return True


def _coefficient(c: Certificate, r: random.Random) -> bool:
    r.choice(c["problem"]["rows"])[4][1] *= 1.5
    return True


def _setpoint(c: Certificate, r: random.Random) -> bool:
    if not c["setpoints"]:
        return False
    published = c["setpoints"][r.choice(sorted(c["setpoints"]))]
    if "why" in published or published.get("limit_kw") is not None:
        return False
    published["power_kw"] += 0.5
    return True


def _setpoint_left_out(c: Certificate, r: random.Random) -> bool:
    if c["setpoints"]:
        del c["setpoints"][r.choice(sorted(c["setpoints"]))]
        return True
    return False


def _setpoint_of(c: Certificate, r: random.Random) -> bool:
    """Of other columns, with another power to match."""
    if not c["problem"]["setpoints"]:
        return False
    device, _ = entry = r.choice(c["problem"]["setpoints"])
    entry[1] = []
    c["setpoints"][device] = {"power_kw": 0.0}
    return True


def _plan_field(name: str) -> Alter:
    def alter(c: Certificate, r: random.Random) -> bool:
        if name not in c["plan"]:  # weights of the objective, which most sites have none of
            return False
        value = c["plan"][name]
        if isinstance(value, list):
            value[r.randrange(len(value))] += 0.5
        else:
            c["plan"][name] = value + 1e-4 * max(1.0, abs(value))
        return True

    return alter


def _plan_price(c: Certificate, _: random.Random) -> bool:
    flows = [step for step, kw in enumerate(c["plan"]["pcc_kw"]) if abs(kw) > 0.1]
    if not flows:
        return False
    side = "purchase" if c["plan"]["pcc_kw"][flows[0]] > 0 else "sale"
    c["plan"][f"{side}_price_eur_per_kwh"][flows[0]] += 0.05
    return True


def _plan_device(c: Certificate, r: random.Random) -> bool:
    if not c["plan"]["devices"]:
        return False
    c["plan"]["devices"][r.choice(sorted(c["plan"]["devices"]))]["power_kw"][0] += 0.5
    return True


OF_THE_PROBLEM = (_row_left_out, _row_widened, _column_widened, _not_whole, _price, _coefficient, _setpoint_of)
OF_THE_PLAN = (
    *(_value, _no_number, _values_cut, _stated_cost, _total, _bound, _dual, _duals_cut, _leaf_left_out, _leaf_turned),
    *(_setpoint, _setpoint_left_out, _plan_price, _plan_device),
    *map(_plan_field, ("pcc_kw", "load_kw", "losses_kw", "objective_eur", "wear_eur", "penalty_eur", "tie_break_eur")),
    *map(_plan_field, ("demand_eur", "later_eur", "weighting_eur", "peak_weight_eur")),
)


def bounds(c: Certificate) -> list[float]:
    """By leaf, from the file alone."""
    columns, rows = c["problem"]["columns"], c["problem"]["rows"]
    cost = np.zeros(len(columns))
    for _, entries in c["problem"]["costs"]:
        cost[entries[::2]] += entries[1::2]
    found = []
    for leaf in c["leaves"]:
        reduced, bound = cost.copy(), 0.0
        for (_, _, lower, upper, entries), dual in zip(rows, leaf["duals"], strict=True):
            reduced[entries[::2]] -= dual * np.array(entries[1::2])
            bound += _side(dual, lower, upper)
        held = dict(leaf["fixed"])
        for column, price in enumerate(reduced):
            _, lower, upper, _ = columns[column]
            bound += _side(price, held.get(column, lower), held.get(column, upper))
        found.append(bound)
    return found


def _side(price: float, lower: float | None, upper: float | None) -> float:
    side = lower if price > 0 else upper
    return 0.0 if price == 0 else -np.inf if side is None else price * side


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), phases=NO_SHRINKING)
@given(problems(), st.randoms(use_true_random=False))
def test_every_alteration_is_rejected(tmp_path: Path, problem: Problem, chance: random.Random) -> None:
    """32 kinds at a dozen sites, some 360 in all.

    The digest of the problem comes from elsewhere; that in the file is made to fit.
    """
    certificate = certified(problem)
    assume(certificate["bound_eur"] is not None and all(leaf["duals"] for leaf in certificate["leaves"]))
    altered, kinds = [], []
    for kind in (*OF_THE_PROBLEM, *OF_THE_PLAN):
        other = copy.deepcopy(certificate)
        if kind(other, chance) and other != certificate:
            other["problem_sha256"] = digest_of(other["problem"])
            altered.append(other)
            kinds.append(kind.__name__)
    assert len(altered) >= 14
    lines = answers(altered, tmp_path, "--sha256", certificate["problem_sha256"])
    assert [kind for kind, line in zip(kinds, lines, strict=True) if confirmed(line)] == []


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=NO_SHRINKING)
@given(problems())
def test_another_problem_is_found_by_its_digest_or_by_the_plan_alone(tmp_path: Path, problem: Problem) -> None:
    """A certificate of a problem with other loads is in itself in order: nothing in it says what the loads were."""
    forged = certified(replace(problem, load_kw=tuple(kw + 3.0 for kw in problem.load_kw)))
    true = certified(problem)
    (tmp_path / "plan.json").write_text(json.dumps(true["plan"]))
    (alone,) = answers([forged], tmp_path)
    (by_digest,) = answers([forged], tmp_path, "--sha256", true["problem_sha256"])
    (by_plan,) = answers([forged], tmp_path, "--plan", str(tmp_path / "plan.json"))
    assert confirmed(alone) and not confirmed(by_digest) and not confirmed(by_plan)


def test_a_gap_that_is_left_open_is_stated_and_not_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full battery that is paid for what it burns needs its flags: without branching only the relaxation is known."""
    full = BessUnit("bess", 10.0, 8.0, 8.0, 0.9, 0.9, 1.0, 9.0, 8.5)
    steps = 4
    negative = Problem(
        start=START,
        step_s=STEP_S,
        steps=steps,
        load_kw=(1.0,) * steps,
        losses_kw=(0.0,) * steps,
        purchase_eur_per_kwh=(-0.3, -0.31, -0.32, -0.3),
        sale_eur_per_kwh=(-0.35,) * steps,
        import_limit_kw=50.0,
        export_limit_kw=50.0,
        flat_reference_kw=5.0,
        bess=(full,),
    )
    assert certified(negative)["gap"] <= 1e-4
    monkeypatch.setattr(proof, "LEAVES", 1)
    certificate = certified(negative)
    assert certificate["gap"] > 1e-4
    assert len(certificate["leaves"]) == 1
    assert certificate["bound_eur"] == approx(min(bounds(certificate)))
    (line,) = answers([certificate], tmp_path)
    assert "gap" in line and not confirmed(line)
    (wide,) = answers([certificate], tmp_path, "--gap", str(1.01 * certificate["gap"]))
    assert confirmed(wide), wide


def test_an_ems_with_certificates_plans_the_same_to_the_last_bit(tmp_path: Path) -> None:
    made: list[Certificate] = []

    def keep(_: object, certify: Callable[[], Certificate]) -> None:
        made.append(certify())

    sent = []
    for ems in (Ems(site()), CertifyingEms(site(), keep)):
        begin(ems, plant := IdealPlant())
        sent.append([plan_in(cycle(ems, plant, step)).model_dump_json() for step in range(8)])
    assert sent[0] == sent[1]
    assert all(map(confirmed, answers(made, tmp_path))) and len(made) == 8


def study_day(key: Key, folder: Path, *, every: int = 1) -> list[Path]:
    """The certificates of a day of the study, of each plan or of each ``every``-th."""
    order = StudyOrder.of(load_description("fit_g2v"), Reference.SMART)
    files: list[Path] = []
    count = 0

    def keep(_: object, certify: Callable[[], Certificate]) -> None:
        nonlocal count
        if count % every == 0:
            files.append(folder / f"{count:02}.json")
            files[-1].write_text(json.dumps(certify()))
        count += 1

    live_through(site_of(order.site, key, order.reference), order.course, None, keep)
    assert count == 96
    return files


STUDY_DAYS = [*table_days("123456"), *tie_days("123456")]


def test_plans_of_a_day_of_the_study_are_confirmed(tmp_path: Path) -> None:
    """Every eighth of case 6 with both storages; all plans of all days: below."""
    lines = checked(study_day(Key("6", StorageChoice.BOTH), tmp_path, every=8))
    assert len(lines) == 12
    assert [line for line in lines if not confirmed(line)] == []


@pytest.mark.long
@pytest.mark.parametrize("key", STUDY_DAYS, ids=str)
def test_all_plans_of_the_study_are_confirmed(tmp_path: Path, key: Key) -> None:
    lines = checked(study_day(key, tmp_path))
    assert [line for line in lines if not confirmed(line)] == []
