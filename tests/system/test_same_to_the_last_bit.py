"""The same day gives the same numbers to the last bit: in memory or over a broker, as one process or as many."""

from pathlib import Path

import pytest

from broker.servers.mosquitto import find_mosquitto
from services.analysis.result import RunResult
from tests.parts import skip_without
from tests.system.days import contents, how_of, kill, numbers, order_of
from twinswarm.deploy.up import conduct_swarm
from twinswarm.simulation.pipeline import conduct_in_memory


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[tuple[str, int], str], RunResult]:
    order = order_of(tmp_path_factory.mktemp("memory"))
    result = conduct_in_memory(order)
    return contents(order.history, result.run), result


@pytest.mark.parametrize("one_process", [False, True], ids=["many processes", "one process"])
@pytest.mark.parametrize("broker", ["embedded", "mosquitto"])
def test_a_day_over_a_broker_equals_the_day_in_memory(
    broker: str, one_process: bool, in_memory: tuple[dict[tuple[str, int], str], RunResult], tmp_path: Path
) -> None:
    skip_without("Mosquitto", present=broker != "mosquitto" or find_mosquitto() is not None)
    order = order_of(tmp_path)
    result = conduct_swarm(order, how_of(tmp_path, broker, one_process=one_process))
    assert contents(order.history, result.run) == in_memory[0]
    assert numbers(result) == numbers(in_memory[1])


def test_killed_participants_that_are_started_again_leave_no_trace(
    in_memory: tuple[dict[tuple[str, int], str], RunResult], tmp_path: Path
) -> None:
    """Each role dies by SIGKILL once in the day, the clock and the recorder too."""
    order = order_of(tmp_path)
    doomed = ["ev1", "ems", "network", "recorder", "clock", "bess", "tariff", "forecast", "pv", "building"]
    times = iter([order.course.t0 + (i + 3) * 7 * order.course.step for i in range(len(doomed))])
    next_kill = next(times)
    news: list[str] = []

    def on_message(received) -> None:  # type: ignore[no-untyped-def]
        nonlocal next_kill
        if doomed and received.stamp.ts >= next_kill and kill(tmp_path, doomed[0]):
            doomed.pop(0)
            next_kill = next(times, next_kill)

    result = conduct_swarm(order, how_of(tmp_path, "embedded"), on_message, news.append)
    assert not doomed
    assert len(news) == 10
    assert all("SIGKILL" in text and "started again" in text for text in news)
    assert contents(order.history, result.run) == in_memory[0]
    assert numbers(result) == numbers(in_memory[1])


def test_a_run_does_not_depend_on_what_was_solved_before_in_this_process(
    in_memory: tuple[dict[tuple[str, int], str], RunResult], tmp_path: Path
) -> None:
    other = order_of(tmp_path / "other")
    conduct_in_memory(other)
    again = order_of(tmp_path / "again")
    result = conduct_in_memory(again)
    assert contents(again.history, result.run) == in_memory[0]


def test_energy_balance_closes_in_every_step(in_memory: tuple[dict[tuple[str, int], str], RunResult]) -> None:
    assert in_memory[1].energy_residual_kwh_max <= 1e-9
    assert in_memory[1].messages_missing == 0
    assert in_memory[1].dead_letters == 0
