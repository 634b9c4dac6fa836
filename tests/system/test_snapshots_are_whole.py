"""Every attribute of every participant that changes in a day is in its snapshot.

A day is lived twice. In the second, each participant is thrown away before every turn, and a fresh one is restored from
its snapshot, through JSON. Both days send the same messages, to the last bit; and after a turn the one that lived on
and the one that was restored hold the same, attribute by attribute. What may differ is named in `FOLLOWS`.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from runtime.in_memory import run_direct
from schemas.cycle import Course
from schemas.messages import Phase
from schemas.participant import Json, Outgoing, Participant, Received, Turn
from schemas.site import ForecastKind, ForecastOptions, LearnedDepartures, Site
from schemas.topics import Channel, Kind, Topic
from schemas.wire import encode
from schemas.wrapped import Wrapped
from services.clock.lockstep import lockstep_run
from sites.loader import load_site
from tests.runtime.state_of import differences, state_of
from twinswarm.simulation.compose import maker, members
from twinswarm.simulation.runs import course_of
from twinswarm.simulation.seen_sessions import having_seen

RUN = "20261101T120000.000000Z-0001"
FOLLOWS = frozenset(
    {
        "_site",  # the description
        "_limits",  # of the EMS: follows from the description
        "_solver",  # its snapshot has what decides the next solve; the rest is built anew
        "_present",  # a cache of one turn
        "_previous_text",  # a cache of the previous plan's JSON
        "_solve_s",  # of the last decision, for a metric in wall time
        "_started_again",  # that it was restored, which counts in wall time only
        "_looked_up",  # of the EMS: what follows for the sum of fallbacks from who is there now
        "_agenda",  # the charging sessions of a day ahead, looked up again
        "_schedule",
        "_kept",  # of an online forecast: the clear sky by time, offsets by step ahead
        "_stays",  # of past charging sessions like one that was looked up
        "_solved",  # power flows that were solved already
        "_model",  # the power-flow solver, which remembers the last batch
        "_one_by_one",  # its tables, which each power flow fills anew
        "telemetry",  # of the EMS' devices: its segments are no part of the state, and its snapshot has the rest
    }
)
"""Attributes that follow from others, or may differ."""


class Reborn(Wrapped[Participant]):
    """A participant that is restored from its snapshot before every turn in ``often``."""

    def __init__(self, make: Callable[[], Participant], often: Callable[[Turn], bool]) -> None:
        super().__init__(make())
        self._make, self._often = make, often
        self.restored = 0
        self.forgotten: set[str] = set()

    def restore(self, state: Json) -> None:
        raise AssertionError("nobody restores it")

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        if not self._often(turn):
            return self.inner.act(turn, inbox)
        fresh = self._make()
        fresh.restore(json.loads(json.dumps(self.inner.snapshot())))
        expected = self.inner.act(turn, inbox)
        sent = fresh.act(turn, inbox)
        assert sent == expected
        assert json.dumps(fresh.snapshot()) == json.dumps(self.inner.snapshot())
        self.forgotten |= set(differences(state_of(self.inner, FOLLOWS), state_of(fresh, FOLLOWS)))
        self.inner = fresh
        self.restored += 1
        return sent


def day(site: Site, participants: Sequence[Participant], course: Course | None = None) -> list[str]:
    course = course or course_of(site)
    sent: list[str] = []
    clock = Topic(site.site, Kind.CLOCK, "clock", Channel.RUN)
    run_direct(
        participants,
        course,
        RUN,
        (clock, lockstep_run(course, datetime(2026, 11, 1, 12, tzinfo=UTC))),
        on_message=lambda received: sent.append(f"{received.topic} {encode(received.stamp, received.body)!r}"),
    )
    return sent


@pytest.mark.parametrize("name", ["fit_g2v", "carpark"])
def test_a_day_of_participants_that_are_restored_at_every_step_is_the_same_day(name: str) -> None:
    site = load_site(name)
    everybody = [device for device in members(site) if device != "recorder"]
    # An EMS takes long to build; once a step in turn of the phases is enough to see each of them many times.
    often: dict[str, Callable[[Turn], bool]] = {"ems": lambda turn: turn.phase.order == turn.n % len(Phase)}
    reborn = [Reborn(maker(site, device), often.get(device, lambda turn: True)) for device in everybody]
    assert day(site, reborn) == day(site, [maker(site, device)() for device in everybody])
    assert {each.device: sorted(each.forgotten) for each in reborn if each.forgotten} == {}
    steps = course_of(site).steps
    assert all(each.restored >= steps * 5 // 6 for each in reborn)


def test_services_that_learn_go_on_from_their_snapshots_to_the_last_bit() -> None:
    whole = load_site("carpark")
    devices = {name: whole.devices[name] for name in ("office", "pv", "bess", "cp01", "cp05")}
    ems = whole.ems.model_copy(update={"cable_limits": (), "learned_departures": LearnedDepartures(least_sessions=5)})
    online = ForecastOptions(kind=ForecastKind.ONLINE)
    site = whole.model_copy(update={"devices": devices, "ems": ems, "forecast": online})
    morning = datetime(2018, 5, 16, 6, tzinfo=UTC)
    course = Course(morning, morning + timedelta(hours=2), 900)
    everybody = [device for device in members(site) if device != "recorder"]
    seen = having_seen(site, morning)

    def made(device: str) -> Participant:
        participant = maker(site, device)()
        if device in seen:
            participant.restore(seen[device])
        return participant

    often = {"ems": lambda turn: turn.phase.order == turn.n % len(Phase), "forecast": lambda turn: True}
    reborn = [Reborn(lambda d=device: made(d), often.get(device, lambda turn: False)) for device in everybody]
    assert day(site, reborn, course) == day(site, [made(device) for device in everybody], course)
    assert {each.device: sorted(each.forgotten) for each in reborn if each.forgotten} == {}
    assert min(each.restored for each in reborn if each.device in often) >= course.steps * 5 // 6


def test_an_attribute_that_a_snapshot_forgets_is_found() -> None:
    site = load_site("fit_g2v")

    def forgetful() -> Participant:
        twin = maker(site, "bess")()
        snapshot = twin.snapshot

        def without() -> Json:
            state = snapshot()
            state["own"]["ramp"]["start"] = None
            return state

        twin.snapshot = without  # type: ignore[method-assign]
        return twin

    reborn = Reborn(forgetful, lambda turn: True)
    everybody = [maker(site, device)() for device in members(site) if device not in ("recorder", "bess")]
    day(site, [*everybody, reborn])
    assert reborn.forgotten == {"_ramp._start"}
