"""What a limiter publishes of what it hears: windows, heartbeat, silence, and what receivers make of it."""

import json
from datetime import timedelta
from typing import Any

from schemas.limits import Limits
from schemas.messages import Limit, Phase, Stamp
from schemas.participant import Received
from schemas.site.limits import LimitSource
from schemas.topics import Channel, Kind, Topic
from services.limiter.sourced import SILENT, TROUBLE, SourcedLimiter
from services.limiter.window import Heard, Window
from tests.limits.described import act, at

DESCRIBED = LimitSource(source="grid operator", heartbeat_s=10, failsafe_import_kw=7.0)


class Nobody:
    name, value_type = "lab", Heard

    def open(self, put: Any) -> None: ...

    def close(self) -> None: ...


def limiter(described: LimitSource = DESCRIBED) -> SourcedLimiter:
    return SourcedLimiter("lab", "box", described, Nobody(), max_age_s=30)


def receiver(published: list[tuple[float, Limit]], now: float) -> tuple[float, bool] | None:
    """What the rule of EMS and devices makes of it: the import allowed, and whether that is the failsafe."""
    limits = Limits()
    for i, (seconds, limit) in enumerate(each for each in published if each[0] <= now):
        stamp = Stamp(ts=at(seconds), run="20261129T090000.000000Z-0001", boot="box1", seq=i + 1)
        limits.receive(Received(Topic("lab", Kind.LIMITER, "box", Channel.LIMIT), stamp, limit))
    found = limits.at(None, at(now)).import_
    return None if found is None else (found.kw, found.failsafe)


def lived(subject: SourcedLimiter, until: int, heard: dict[int, Heard]) -> list[tuple[float, Limit]]:
    """What is published second by second, with the heartbeat at multiples of 10 s."""
    found = []
    for second in range(until):
        phase = Phase.SENSE if second % 10 == 0 else Phase.APPLY
        given = [heard[second]] if second in heard else []
        found += [(float(second), limit) for limit in act(subject, second, *given, phase=phase)[0]]
    return found


def test_what_holds_is_published_at_once_and_repeated_as_the_same_limit() -> None:
    published = lived(limiter(), 25, {3: Heard(windows=(Window(import_kw=4.2),))})
    assert [seconds for seconds, _ in published] == [3, 10, 20]
    assert {limit.valid_from for _, limit in published} == {at(3)}
    assert published[-1][1].import_kw == 4.2
    assert published[-1][1].source == "grid operator"


def test_a_window_without_an_end_gives_way_to_the_failsafe_when_its_source_falls_silent() -> None:
    published = lived(limiter(), 90, {3: Heard(windows=(Window(import_kw=4.2),)), 6: Heard(trouble="no answer")})
    # Heard last at 3 s and for 30 s: repeated at 30 s, and not at 40 s. Two periods after 30 s the failsafe holds.
    assert [seconds for seconds, _ in published] == [3, 10, 20, 30]
    assert receiver(published, 49) == (4.2, False)
    assert receiver(published, 50) == (7.0, True)


def test_a_window_with_an_end_holds_until_then_whether_its_source_is_heard_or_not_and_then_the_failsafe() -> None:
    window = Window(begins=at(5), ends=at(100), import_kw=4.2)
    published = lived(limiter(), 180, {0: Heard(windows=(window,))})
    assert receiver(published, 99) == (4.2, False)
    assert published[-1][0] == 100, "after its end it is not repeated"
    assert receiver(published, 119) is None
    assert receiver(published, 120) == (7.0, True)


def test_the_next_window_is_announced_before_it_begins() -> None:
    windows = (Window(begins=at(5), ends=at(20), import_kw=4.2), Window(begins=at(40), ends=at(60), export_kw=0.0))
    published = lived(limiter(), 30, {0: Heard(windows=windows)})
    assert [(limit.valid_from, limit.import_kw, limit.export_kw) for _, limit in published][-1] == (at(40), None, 0.0)
    assert published[0][1].valid_from == at(5)


def test_what_is_announced_for_later_does_not_hide_the_failsafe_from_a_source_that_falls_silent() -> None:
    window = Window(begins=at(100), ends=at(200), import_kw=4.2)
    published = lived(limiter(), 210, {0: Heard(windows=(window,))})
    assert receiver(published, 20) is None
    assert receiver(published, 60) == (7.0, True), "silent from 30 s on, two heartbeats later"
    assert receiver(published, 150) == (4.2, False), "it is known until its end"


def test_nothing_that_an_earlier_life_published_is_taken_back_before_the_source_was_heard() -> None:
    published = lived(limiter(), 60, {})
    assert [seconds for seconds, _ in published] == [30], "then the failsafe may begin"
    assert receiver(published, 50) == (7.0, True)


def test_alarms_say_why_nothing_is_heard_and_when_it_is_over() -> None:
    subject = limiter()
    assert act(subject, 0, Heard(windows=(Window(),)))[1] == []
    (trouble,) = act(subject, 1, Heard(trouble="no rule is for k1 open"))[1]
    assert (trouble.code, trouble.active) == (TROUBLE, True)
    (silent,) = act(subject, 30)[1]
    assert silent.code == SILENT
    assert "is not heard any more: no rule is for k1 open" in silent.text
    over = act(subject, 31, Heard(windows=(Window(),)))[1]
    assert {(alarm.code, alarm.active) for alarm in over} == {(SILENT, False), (TROUBLE, False)}


def test_it_wakes_at_the_edges_of_windows_and_when_the_source_becomes_silent() -> None:
    subject = limiter()
    act(subject, 0, Heard(windows=(Window(begins=at(7), ends=at(50), import_kw=1.0),)))
    assert [subject.wake_at(at(second)) for second in (0, 7, 30)] == [at(7), at(30), at(50)]


def test_a_checkpoint_goes_on_with_the_windows_that_are_known() -> None:
    first, second = limiter(), limiter()
    act(first, 0, Heard(windows=(Window(begins=at(0), ends=at(500), import_kw=4.2),)))
    second.restore(json.loads(json.dumps(first.snapshot())))
    (limit,), _ = act(second, 100, phase=Phase.SENSE)
    assert (limit.import_kw, limit.valid_until) == (4.2, at(0) + timedelta(seconds=500))
