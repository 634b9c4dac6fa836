"""A telemetry with a wrong date concerns that telemetry: the run is as long as it was, and the report names it."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pytest import approx

from schemas.messages import BessTelemetry, TimeMode
from schemas.participant import Received
from schemas.topics import Channel
from services.analysis.result import analyse
from services.history.memory import MemoryHistory
from services.history.reader import RunInfo
from tests.history.tape import RUN, SITE, Tape

TAPE = Tape(mode=TimeMode.WALL)
PERIOD = timedelta(minutes=15)


def told() -> list[Received]:
    return [message for _, messages in TAPE.cycles() for message in messages]


def history(messages: Iterable[Received]) -> MemoryHistory:
    course = TAPE.course
    info = RunInfo(RUN, "house", "main", TimeMode.WALL, 900, course.t0, course.t_end, 1, course.t_end, course.t0, None)
    return MemoryHistory(info, SITE, messages)


def misdated(ts: datetime, place: int = 40) -> list[Received]:
    """The day with one telemetry of the battery dated ``ts``."""
    found, messages = 0, []
    for message in told():
        found += isinstance(message.body, BessTelemetry)
        wrong = found == place and isinstance(message.body, BessTelemetry)
        stamp = message.stamp.model_copy(update={"ts": ts}) if wrong else message.stamp
        messages.append(replace(message, stamp=stamp))
    return messages


@pytest.mark.parametrize("ts", ["2001-01-01", "2024-05-21", "2038-01-19", "2106-02-07"])
def test_the_run_ends_where_it_did_and_the_telemetry_is_named(ts: str) -> None:
    wrong = datetime.fromisoformat(ts).replace(tzinfo=UTC)
    plain, day = history(told()), history(misdated(wrong))
    assert day.grid(RUN) == plain.grid(RUN)
    found = day.misdated(RUN)
    assert [(each.device, each.times) for each in found] == [("bess", (wrong,))]
    right, result = analyse(plain, RUN), analyse(day, RUN)
    assert (result.start, result.end, result.unsettled_steps) == (right.start, right.end, 0)
    assert result.cost_eur == right.cost_eur
    named = [cause for cause, _ in result.energy_causes if f"dated {ts}" in cause and "not counted" in cause]
    assert len(named) == 1 and named[0].startswith("bess: 1 telemetry")
    assert not plain.misdated(RUN)
    battery = {device.device: device for device in result.devices}["bess"]
    assert battery.import_kwh == approx({d.device: d for d in right.devices}["bess"].import_kwh)


def test_a_clock_that_is_a_little_ahead_is_none() -> None:
    course = TAPE.course
    day = history(misdated(course.t_end + timedelta(seconds=59), place=97))
    assert day.misdated(RUN) == []
    assert len(list(day.messages(RUN, Channel.TELEMETRY))) == len([m for m in told() if m.topic.channel == "telemetry"])
