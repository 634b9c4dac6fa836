"""An EMS in a process of its own: the same as a function, and each way in which it may fail ends with a clear error."""

import json
import math
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import twinswarm
from schemas.cycle import Course
from schemas.errors import Code, InputError, RunFailedError
from services.ems.problem import BessUnit, ChargerUnit, Problem, Stay
from tests.errors import raises
from tests.league.test_league import DRAIN, site
from twinswarm.deploy.algorithm_program import AlgorithmProgram, problem_json
from twinswarm.league.result import play_league
from twinswarm.simulation.runs import local_course

PROGRAM = f"{shlex.quote(sys.executable)} {shlex.quote(str(Path(__file__).parent / 'program.py'))}"


def test_a_program_and_a_function_that_say_the_same_have_the_same_score() -> None:
    chosen = site()
    whole = local_course(chosen)
    course = Course(whole.t0, whole.t0 + timedelta(hours=6), whole.step_s)
    league = play_league(chosen, course, [f"theirs={PROGRAM}", f"{DRAIN}:drain"], processes=1)
    scores = {score.name: score for score in league.scores}
    there, here = scores["theirs"].to_json(), scores[f"{DRAIN}:drain"].to_json()
    assert {**there, "name": None} == {**here, "name": None}
    assert scores["theirs"].pcc_kw == scores[f"{DRAIN}:drain"].pcc_kw


def test_a_problem_is_one_line_with_the_fields_names() -> None:
    at = datetime(2024, 5, 17, tzinfo=UTC)
    stay = Stay("car1", at, at.replace(hour=8), 50.0, 20.0, 45.0, 5.0, 50.0, 11.0, 0.0)
    problem = Problem(
        start=at,
        step_s=900,
        steps=1,
        load_kw=(3.5,),
        losses_kw=(0.1,),
        purchase_eur_per_kwh=(0.3,),
        sale_eur_per_kwh=(0.1,),
        import_limit_kw=50.0,
        export_limit_kw=math.inf,
        flat_reference_kw=5.0,
        bess=(BessUnit("bess", 40.0, 20.0, 20.0, 0.95, 0.95, 4.0, 36.0, 20.0),),
        chargers=(ChargerUnit("ev", 22.0, 22.0, 1.4, 0.95, 0.95, (stay,)),),
    )
    line = problem_json(problem)
    assert "\n" not in line
    found = json.loads(line)
    assert found["start"] == "2024-05-17T00:00:00Z"
    assert found["export_limit_kw"] is None, "infinite"
    assert found["bess"][0]["max_charge_kw"] == 20.0
    assert found["chargers"][0]["stays"][0]["departure"] == "2024-05-17T08:00:00Z"
    assert list(found) == list(Problem.__dataclass_fields__)


@pytest.fixture
def programs() -> Iterator[list[AlgorithmProgram]]:
    made: list[AlgorithmProgram] = []
    yield made
    for each in made:
        each.close()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("dies", "the program ended with exit code 3; its last words: KeyError: 'tank'"),
        ("nonsense", "the answer is no JSON object on one line, but 'Running the solver …'"),
        ("a list", "the answer is no JSON object on one line, but '[1, 2]'"),
        ("endless", "the answer is no JSON object on one line, but '0000"),
    ],
)
def test_a_program_that_fails_ends_the_run_with_its_name_and_the_time(
    how: str, words: str, programs: list[AlgorithmProgram]
) -> None:
    programs.append(AlgorithmProgram("theirs", f"{PROGRAM} {shlex.quote(how)}", "--ems"))
    with pytest.raises(RunFailedError) as caught:
        twinswarm.run_day(site(), ems=programs[0])
    assert str(caught.value).startswith("the algorithm theirs failed at 2024-05-")
    assert words in str(caught.value)


@pytest.mark.parametrize(("how", "code"), [("not finite", Code.FORMAT), ("a stranger", Code.UNKNOWN)])
def test_set_points_that_are_none_are_refused_as_a_function_s(
    how: str, code: Code, programs: list[AlgorithmProgram]
) -> None:
    programs.append(AlgorithmProgram("theirs", f"{PROGRAM} {shlex.quote(how)}", "--ems"))
    with pytest.raises(InputError) as caught:
        twinswarm.run_day(site(), ems=programs[0])
    assert set(caught.value.codes) == {code}
    assert "algorithm theirs at 2024-05-" in str(caught.value)


@pytest.mark.parametrize("how", ["sleeps", "falls asleep"])
def test_a_program_that_answers_too_late_is_killed(how: str, programs: list[AlgorithmProgram]) -> None:
    programs.append(AlgorithmProgram("theirs", f"{PROGRAM} {shlex.quote(how)}", "--ems", answer_within_s=3.0))
    with pytest.raises(RunFailedError, match="TimeoutError: no answer within 3 s"):
        twinswarm.run_day(site(), ems=programs[0])
    process = programs[0]._process
    assert process is not None
    assert process.wait(20) < 0


def test_a_program_that_closes_its_output_is_not_waited_for(programs: list[AlgorithmProgram]) -> None:
    programs.append(AlgorithmProgram("theirs", f"{PROGRAM} closes", "--ems"))
    began = time.monotonic()
    with pytest.raises(RunFailedError, match="the program closed its output"):
        twinswarm.run_day(site(), ems=programs[0])
    assert time.monotonic() - began < 40


def test_no_process_is_left_when_a_league_is_over_or_has_failed(tmp_path: Path) -> None:
    seen = tmp_path / "pid"
    chosen = site()
    whole = local_course(chosen)
    course = Course(whole.t0, whole.t0 + timedelta(hours=1), whole.step_s)
    for how in ("even", "nonsense"):
        command = f"sh -c 'echo $$ > {seen}; exec {PROGRAM} {how}'"
        with nullcontext() if how == "even" else pytest.raises(RunFailedError):
            play_league(chosen, course, [f"theirs={command}"], processes=1)
        with pytest.raises(ProcessLookupError):
            os.kill(int(seen.read_text()), 0)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("theirs=no-such-program --fast", Code.NOT_FOUND),
        ("theirs=", Code.FORMAT),
        ("theirs='unfinished", Code.FORMAT),
        (f"ours={PROGRAM}", Code.CONFLICT),
    ],
)
def test_a_program_that_is_none_is_refused_before_the_first_run(name: str, code: Code) -> None:
    chosen = site()
    with raises(code, "--ems"):
        play_league(chosen, local_course(chosen), ["ours", name])
