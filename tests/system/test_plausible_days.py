"""Whole days of the sites in the box: nothing that a twin publishes is ever implausible, in either time mode."""

from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from schemas.messages import Alarm, Phase, Series, Telemetry, TimeMode
from schemas.participant import Outgoing, Received, Turn
from schemas.site import Meter, Site
from schemas.topics import Channel, Topic
from services.ems.door import Door
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from sites.loader import builtin_sites, load_site
from tests.twins.builders import received
from twin_devices.build import build_twin
from twinswarm.simulation.compose import Recording
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.runs import course_of

PERIOD = timedelta(minutes=5)


@pytest.mark.parametrize("name", builtin_sites())
def test_no_day_in_lockstep_has_a_doubt(name: str, tmp_path: Path) -> None:
    described = load_site(name)
    door = Door(described)
    heard: list[Received] = []

    def on_message(message: Received) -> None:
        if isinstance(message.body, Telemetry | Series):
            heard.append(message)
            assert door.admit([message]) == [message]
        elif message.topic.channel is Channel.BIRTH:
            door.admit([message])
        assert not (isinstance(message.body, Alarm) and message.body.code in {"implausible", "register_reset"})

    path = tmp_path / "history.sqlite"
    course = course_of(described)
    with closing(HistoryStore(path)) as store:
        run = run_in_memory(described, course, Recording(store), on_message=on_message)
    assert len(heard) > 96
    assert door.doubts == ()
    with closing(SqliteHistory(path)) as history:
        for track in history.tracks(run).values():
            causes = {flow.cause for flow in track.flows(history.grid(run))}
            assert not any(cause and ("register" in cause or "plausible" in cause) for cause in causes)


@pytest.mark.parametrize("name", builtin_sites())
def test_no_day_in_wall_time_has_a_doubt(name: str) -> None:
    """The twins without an EMS, each on its fallback, a telemetry every five minutes from midnight to midnight."""
    described = load_site(name)
    course = course_of(described)
    door = Door(described)
    twins = [build_twin(described, device) for device in described.devices if _has_a_twin(described, device)]
    told = 0
    for twin in twins:
        topic = Topic(described.site, twin.kind, twin.device, Channel.BIRTH)
        door.admit([received(topic, course.t0, 1, twin.birth())])
    for count in range(24 * 12):
        time = course.t0 + count * PERIOD
        turn = Turn(Phase.SENSE, time, course.t0, course.t_end, 900, TimeMode.WALL)
        for twin in twins:
            for message in twin.act(turn, []):
                if isinstance(message.body, Telemetry):
                    wire = _on_the_wire(message, time, count)
                    assert door.admit([wire]) == [wire], door.doubts
                    told += 1
    assert told >= len(twins) * 24 * 12
    assert door.doubts == ()


def _has_a_twin(described: Site, device: str) -> bool:
    spec = described.devices[device]
    return not isinstance(spec, Meter) or spec.profile is not None


def _on_the_wire(message: Outgoing, time: datetime, seq: int) -> Received:
    return received(message.topic, message.ts or time, seq + 2, message.body)
