"""Lock-step days in containers, through TLS, into InfluxDB: equal to the day in memory, whoever dies meanwhile."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from schemas.messages import Run, Tick, TimeMode
from tests.stack.history import gaps, recorded, result, stored, wait_until_forwarded
from tests.stack.observer import Message, Observer
from tests.stack.stack import IMAGE, Stack, docker

DIFFERS = {"run", "reference_run", "wall_s", "messages_stray"}
"""Identifiers and machine time: what "equal to the last bit" excludes, as in tests/system."""


def is_over(message: Message) -> bool:
    session = message.body
    return isinstance(session, Run) and session.mode is TimeMode.LOCKSTEP and session.ended is not None


def is_open(message: Message) -> bool:
    return isinstance(message.body, Run) and message.body.ended is None


def reached(cycle: int) -> Callable[[Message], bool]:
    return lambda message: isinstance(message.body, Tick) and message.body.n >= cycle


def run_of(message: Message) -> str:
    assert message.stamp.run is not None
    return message.stamp.run


def rounded(value: Any) -> Any:
    """Numbers of JSON to 9 decimals, the -0.0 of a rounding as 0.0."""
    if isinstance(value, float):
        return round(value, 9) + 0.0
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def without_names(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in DIFFERS}


@pytest.fixture(scope="module")
def in_memory() -> dict[str, Any]:
    """The same day by `twinswarm run`, in a container of the same image."""
    told: dict[str, Any] = json.loads(docker("run", "--rm", os.environ[IMAGE], "run", "--no-report", "--json", "-"))
    return told


def test_a_day_through_tls_read_from_influxdb_equals_the_day_in_memory_to_the_last_bit(
    stack: Stack, observer: Observer, in_memory: dict[str, Any]
) -> None:
    stack.up()  # a day begins with it, unless one did already
    run = run_of(observer.until(is_over, "the day is over"))
    wait_until_forwarded(stack)
    told = result(stack, run)
    assert told["complete"]
    for name in ("cost_eur", "savings_eur", "psf"):
        assert told[name] == in_memory[name], name
    assert without_names(told) == without_names(in_memory)


def test_a_day_goes_on_when_influxdb_the_recorder_and_a_twin_are_killed_and_nothing_is_lost_or_doubled(
    stack: Stack, observer: Observer, in_memory: dict[str, Any]
) -> None:
    stack.compose("restart", "clock")
    run = run_of(observer.until(is_open, "a new day begins"))
    for cycle, service in ((15, "influxdb"), (30, "recorder"), (45, "ev2")):
        observer.until(reached(cycle), f"step {cycle} of the day")
        stack.kill_hard(service)
        # The kill fell into the day: there are steps after it.
        known = max((m.body.n for m in observer.waiting() if isinstance(m.body, Tick)), default=cycle)
        observer.until(reached(known + 1), f"the day goes on after the death of {service}")
    over = observer.until(is_over, "the day is over")
    assert run_of(over) == run, "the day that was begun, not another one"
    stack.up()  # to healthy again: whoever died
    wait_until_forwarded(stack)

    there = stored(stack, run)
    assert [identity for identity, times in there.items() if times != 1] == []
    assert there == recorded(stack, run)
    assert gaps(there) == []
    # Registers go on from the day before, so differences of theirs round otherwise than those of registers from 0.
    assert rounded(without_names(result(stack, run))) == rounded(without_names(in_memory))
