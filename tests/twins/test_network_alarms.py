"""Alarms of the network: each begins at once, and a value that hovers around its limit is one alarm."""

import json

import pytest

from twin_devices.network.alarms import Watch
from twin_devices.physics.power_flow import Solution


def solution(loading: float = 0.5, voltage: float = 1.0) -> Solution:
    return Solution(10.0, 0.0, (voltage,), (loading,))


def told(watch: Watch, solved: Solution) -> list[tuple[str, bool]]:
    return [(alarm.code, alarm.active) for alarm in watch.network([solved], ["A"], ["MB-A"])]


def test_a_loading_that_hovers_around_the_limit_is_one_alarm() -> None:
    watch = Watch(0.9, 1.1)
    assert told(watch, solution(loading=1.0)) == []
    assert told(watch, solution(loading=1.0005)) == [("overload", True)]
    for loading in (0.9995, 1.0005, 0.9995, 1.3, 0.98):
        assert told(watch, solution(loading=loading)) == []
    assert told(watch, solution(loading=0.9799)) == [("overload", False)]
    assert told(watch, solution(loading=0.9995)) == []
    assert told(watch, solution(loading=1.0005)) == [("overload", True)]


@pytest.mark.parametrize(
    ("code", "outside", "just_inside", "inside"),
    [("voltage_low", 0.8999, 0.9049, 0.9051), ("voltage_high", 1.1001, 1.0951, 1.0949)],
)
def test_a_voltage_is_within_its_bounds_again_half_a_percent_inside(
    code: str, outside: float, just_inside: float, inside: float
) -> None:
    watch = Watch(0.9, 1.1)
    assert told(watch, solution(voltage=just_inside)) == []
    assert told(watch, solution(voltage=outside)) == [(code, True)]
    assert told(watch, solution(voltage=just_inside)) == []
    assert told(watch, solution(voltage=outside)) == []
    assert told(watch, solution(voltage=inside)) == [(code, False)]


def test_a_watch_that_is_restored_goes_on_with_its_alarms() -> None:
    first, restored = Watch(0.9, 1.1), Watch(0.9, 1.1)
    told(first, solution(loading=1.1))
    restored.restore(json.loads(json.dumps(first.snapshot())))
    assert told(restored, solution(loading=0.99)) == []
    assert told(restored, solution(loading=0.9)) == [("overload", False)]
