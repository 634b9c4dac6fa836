"""The public Python API, and its page: every example of docs/api.md and docs/own-ems.md is executed."""

import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

import twinswarm
from broker.address import BrokerAddress
from broker.mqtt import MqttTransport
from schemas.errors import Code, InputError, RunFailedError, SiteBusyError
from schemas.topics import Channel, topic_filter
from services.ems.problem import Problem
from tests.system.days import contents, numbers

ROOT = Path(__file__).parents[2]
PAGES = ("api.md", "own-ems.md")
SHORT = {"begin": "10:00", "length": "1h"}


def _blocks(page: str) -> list[tuple[int, str]]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [(text[: match.start()].count("\n") + 1, match[1]) for match in found]


EXAMPLES = [(page, line, block) for page in PAGES for line, block in _blocks(page)]


@pytest.mark.parametrize(("page", "line", "block"), EXAMPLES, ids=[f"{page}:{line}" for page, line, _ in EXAMPLES])
def test_an_example_of_the_page_runs_in_a_program_of_its_own(page: str, line: int, block: str, tmp_path: Path) -> None:
    """Each by itself, as a reader copies it; those with ``def test_`` are given to pytest."""
    is_test = "def test_" in block
    script = tmp_path / ("test_example.py" if is_test else "example.py")
    script.write_text(block, encoding="utf-8")
    command = [sys.executable, str(script)]
    if is_test:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *PLUGIN, str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{page}:{line}\n{done.stdout}\n{done.stderr}"


def _plugin() -> list[str]:
    """Nothing where the installed distribution has the entry point, as an environment made anew does."""
    from importlib.metadata import entry_points

    there = any(point.value == "twinswarm.pytest_plugin" for point in entry_points(group="pytest11"))
    return [] if there else ["-p", "twinswarm.pytest_plugin"]


PLUGIN = _plugin()


def test_every_public_name_is_there_and_is_documented() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in twinswarm.__all__:
        assert getattr(twinswarm, name) is not None
        assert f"`{name}" in page or f"twinswarm.{name}" in page, f"docs/api.md does not say what {name} is"
    assert dir(twinswarm) == sorted(twinswarm.__all__)
    with pytest.raises(AttributeError):
        _ = twinswarm.nothing


def charge_at_full_power(problem: Problem) -> Mapping[str, float]:
    """Chargers with a car at full power, PV without a limit, the BESS idle."""
    plugged = {
        charger.device: charger.max_charge_kw
        for charger in problem.chargers
        if any(stay.arrival <= problem.start < stay.departure for stay in charger.stays)
    }
    return plugged | {unit.device: unit.rated_kw for unit in problem.pv} | {"bess": 0}


@pytest.mark.parametrize("threads", [True, False], ids=["threads", "processes"])
def test_a_day_under_an_own_algorithm_is_the_same_in_memory_and_on_a_broker(threads: bool, tmp_path: Path) -> None:
    length = {"begin": "08:00", "length": "4h"}
    alone = twinswarm.run_day(ems=charge_at_full_power, history=tmp_path / "alone.sqlite", **length)  # type: ignore[arg-type]
    history = tmp_path / "swarm.sqlite"
    with twinswarm.Swarm(ems=charge_at_full_power, threads=threads, history=history, **length) as swarm:  # type: ignore[arg-type]
        result = swarm.wait(120)
    assert result.plan_statuses == {"incumbent": 16}
    assert max(quarter.power_kw["ev1"] or 0.0 for quarter in result.quarters) > 5.0, "cars charge"
    assert numbers(result) == numbers(alone) | {"mode": result.mode}
    assert contents(history, result.run) == contents(tmp_path / "alone.sqlite", alone.run)


def test_the_run_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "runs.sqlite"
    file.parent.mkdir()
    result = twinswarm.run_day("carpark", history=file, **SHORT)  # type: ignore[arg-type]
    with closing(twinswarm.open_history(file)) as history:
        assert history.latest().run == result.run


WRONG = {
    "storage": ({"storage": "all"}, Code.UNKNOWN),
    "baseline": ({"baseline": "none"}, Code.UNKNOWN),
    "begin": ({"begin": "10:07"}, Code.RANGE),
    "length": ({"length": "2 hours"}, Code.FORMAT),
    "date": ({"date": "17.5.2024"}, Code.FORMAT),
}


@pytest.mark.parametrize(("options", "code"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("call", [twinswarm.run_day, twinswarm.Swarm], ids=["run_day", "Swarm"])
def test_wrong_input_is_named_by_its_parameter(call: type, options: dict[str, str], code: Code) -> None:
    with pytest.raises(InputError) as raised:
        call("fit_g2v", **options)
    (fault,) = raised.value.faults
    (name,) = options
    assert (fault.where, fault.code) == (name, code)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"speed": 0}, "speed"),
        ({"port": 70000}, "port"),
        ({"port": 1, "broker": "mqtt://127.0.0.1:1"}, "port"),
        ({"ems": charge_at_full_power, "attach": "ems"}, "ems"),
        ({"broker": "amqp://x"}, "broker"),
    ],
)
def test_a_swarm_refuses_what_cannot_be(options: dict[str, object], where: str) -> None:
    with pytest.raises(InputError) as raised:
        twinswarm.Swarm(**options).start()  # type: ignore[arg-type]
    assert raised.value.faults[0].where.lstrip("-") == where


def test_set_points_that_are_none_are_refused_all_at_once() -> None:
    def wrong(problem: Problem) -> dict[str, object]:
        return {"ev9": 1.0, "ev1": float("nan"), "ev2": "5", "pv": -1.0, "bess": True}

    with pytest.raises(InputError) as raised:
        twinswarm.run_day(ems=wrong, **SHORT)  # type: ignore[arg-type]
    assert sorted(raised.value.codes) == sorted([Code.UNKNOWN, Code.FORMAT, Code.FORMAT, Code.RANGE, Code.FORMAT])


@pytest.mark.parametrize("threads", [True, False], ids=["threads", "processes"])
def test_an_algorithm_that_fails_ends_the_run_and_is_named(threads: bool) -> None:
    def broken(problem: Problem) -> dict[str, float]:
        raise KeyError(problem.start.isoformat())

    with twinswarm.Swarm(ems=broken, threads=threads, **SHORT) as swarm, pytest.raises(RunFailedError) as raised:  # type: ignore[arg-type]
        swarm.wait(60)
    assert "broken failed" in str(raised.value)
    assert "KeyError" in str(raised.value)


def test_a_swarm_leaves_nothing_behind_and_says_what_was_not_finished() -> None:
    swarm = twinswarm.Swarm(attach=["ems"], **SHORT)  # type: ignore[arg-type]
    with pytest.raises(RunFailedError):
        swarm.wait()
    with swarm:
        folder = swarm.history.parent
        assert folder.is_dir()
        with pytest.raises(TimeoutError):
            swarm.wait(0.5)
        _await_birth(swarm)
        other = twinswarm.Swarm(broker=swarm.address, **SHORT)  # type: ignore[arg-type]
        with pytest.raises(SiteBusyError):
            other.start()
    assert not folder.exists()
    assert not swarm._started.participants.supervisor.pid("ev1")  # type: ignore[union-attr]
    with pytest.raises(RunFailedError) as raised:
        swarm.wait(1)
    assert raised.value.code is Code.STOPPED


def _await_birth(swarm: twinswarm.Swarm) -> None:
    """Processes start slowly on a busy machine; before the first is there the site looks free."""
    observer = MqttTransport(BrokerAddress(swarm.host, swarm.port), "test")
    observer.connect([topic_filter("fit-g2v", device="ev1", channel=Channel.BIRTH)])
    try:
        assert observer.receive(30.0) is not None
    finally:
        observer.close()


def test_a_plan_at_an_hour_begins_there() -> None:
    plan = twinswarm.plan("carpark", at="09:30")
    assert plan.step_s == 900
    assert (plan.start + timedelta(hours=2)).strftime("%H:%M") == "09:30", "carpark is in a zone of +02:00 then"
