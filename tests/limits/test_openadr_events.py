"""What events of OpenADR 3 mean: windows of limits, in the words of the standard."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.limiter.openadr import heard_of
from services.limiter.window import Heard, Window

NOW = datetime(2026, 11, 29, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


def event(name: str = "e", kw: Any = 20.0, *, of: str = "IMPORT_CAPACITY_LIMIT", **changes: Any) -> dict[str, Any]:
    return {
        "id": name,
        "objectType": "EVENT",
        "programID": "p1",
        "eventName": name,
        "createdDateTime": "2026-11-29T08:00:00Z",
        "modificationDateTime": "2026-11-29T08:00:00Z",
        "intervalPeriod": {"start": "2026-11-29T10:00:00Z", "duration": "PT1H"},
        "intervals": [{"id": 0, "payloads": [{"type": of, "values": [kw]}]}],
        **changes,
    }


def intervals(*kw: float, **period: Any) -> list[dict[str, Any]]:
    return [
        {"id": i, "payloads": [{"type": "IMPORT_CAPACITY_LIMIT", "values": [each]}], **period}
        for i, each in enumerate(kw)
    ]


def heard(*events: dict[str, Any], programs: dict[str, Any] | None = None, ven: str = "ven") -> Heard:
    return heard_of(events, programs or {}, NOW, ven)


def course(*events: dict[str, Any]) -> list[tuple[float, float | None, float | None, float | None]]:
    """Windows as hours from now, import and export; nothing may be wrong."""
    found = heard(*events)
    assert found.trouble == ""
    assert found.windows is not None

    def hours(time: datetime | None) -> float | None:
        return None if time is None else (time - NOW) / HOUR

    return [(hours(each.begins) or 0.0, hours(each.ends), each.import_kw, each.export_kw) for each in found.windows]


def test_an_event_is_a_window_with_its_name() -> None:
    found = heard(event("peak"))
    assert found.windows == (Window(begins=NOW + HOUR, ends=NOW + 2 * HOUR, import_kw=20.0, source="OpenADR peak"),)


def test_intervals_follow_one_another_by_the_events_period_or_have_their_own() -> None:
    assert course(event(intervals=intervals(20.0, 10.0))) == [(1, 2, 20, None), (2, 3, 10, None)]
    own = intervals(20.0, 10.0)
    own[1]["intervalPeriod"] = {"start": "2026-11-29T14:00:00+02:00", "duration": "PT30M"}
    assert course(event(intervals=own)) == [(1, 2, 20, None), (3, 3.5, 10, None)]


def test_both_directions_are_one_course() -> None:
    feed_in = event("b", 5.0, of="EXPORT_CAPACITY_LIMIT")
    feed_in["intervalPeriod"] = {"start": "2026-11-29T10:30:00Z", "duration": "PT1H"}
    assert course(event("a"), feed_in) == [(1, 1.5, 20, None), (1.5, 2, 20, 5), (2, 2.5, None, 5)]


def test_of_overlapping_events_the_highest_priority_counts_and_of_equal_ones_the_stricter_limit() -> None:
    long = {"start": "2026-11-29T09:30:00Z", "duration": "PT3H"}
    background = event("background", 5.0, intervalPeriod=long)
    assert course(background, event("first", 30.0, priority=0)) == [
        (0.5, 1, 5, None),
        (1, 2, 30, None),
        (2, 3.5, 5, None),
    ]
    assert course(background, event("equal", 30.0)) == [(0.5, 3.5, 5, None)], "no priority is the lowest"


def test_what_is_over_is_gone_and_what_goes_on_began_when_it_began() -> None:
    over = event(intervalPeriod={"start": "2026-11-29T07:00:00Z", "duration": "PT2H"})
    going = event(intervalPeriod={"start": "2026-11-29T08:00:00Z", "duration": "PT2H"})
    assert course(over) == []
    assert course(going) == [(-1, 1, 20, None)]


def test_a_span_without_an_end_has_none_and_a_start_at_once_is_when_the_event_was_made() -> None:
    forever = {"start": "2026-11-29T10:00:00Z", "duration": "P9999Y"}
    assert course(event(intervalPeriod=forever)) == [(1, None, 20, None)]
    at_once = {"start": "0001-01-01T00:00:00Z", "duration": "PT3H"}
    assert course(event(intervalPeriod=at_once)) == [(-1, 2, 20, None)]


def test_intervals_loop_while_the_event_lasts_longer() -> None:
    looping = event(intervals=intervals(20.0, 10.0), duration="PT4H")
    assert course(looping) == [(1, 2, 20, None), (2, 3, 10, None), (3, 4, 20, None), (4, 5, 10, None)]


def test_a_randomised_start_is_the_same_at_each_look_and_another_one_for_another_site() -> None:
    late = event(intervalPeriod={"start": "2026-11-29T10:00:00Z", "duration": "PT1H", "randomizeStart": "PT30M"})
    starts = {ven: heard(late, ven=ven).windows[0].begins for ven in ("a", "b", "c")}  # type: ignore[index]
    assert starts == {ven: heard(late, ven=ven).windows[0].begins for ven in ("a", "b", "c")}  # type: ignore[index]
    assert len(set(starts.values())) == 3
    assert all(each is not None and NOW + HOUR <= each <= NOW + 1.5 * HOUR for each in starts.values())
    (window,) = heard(late).windows or ()
    assert window.ends is not None
    assert window.begins is not None
    assert window.ends - window.begins == HOUR


def test_a_local_day_of_25_hours_has_its_own_length() -> None:
    night = {"start": "2026-10-25T00:00:00+02:00", "duration": "PT25H"}
    (window,) = heard_of([event(intervalPeriod=night)], {}, datetime(2026, 10, 24, tzinfo=UTC), "ven").windows or ()
    assert (window.begins, window.ends) == (
        datetime(2026, 10, 24, 22, tzinfo=UTC),
        datetime(2026, 10, 25, 23, tzinfo=UTC),
    )


def test_units_are_those_of_the_events_descriptor_or_its_programs() -> None:
    in_watts = [{"payloadType": "IMPORT_CAPACITY_LIMIT", "units": "W"}]
    (window,) = heard(event(kw=20_000, payloadDescriptors=in_watts)).windows or ()
    assert window.import_kw == 20.0
    (window,) = heard(event(kw=20_000), programs={"p1": {"payloadDescriptors": in_watts}}).windows or ()
    assert window.import_kw == 20.0


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (
            {"payloadDescriptors": [{"payloadType": "IMPORT_CAPACITY_LIMIT", "units": "KWH"}]},
            "IMPORT_CAPACITY_LIMIT is in KWH, and KW, W, MW are allowed",
        ),
        ({"kw": "20"}, "interval 0, IMPORT_CAPACITY_LIMIT has ['20'], and one number is allowed"),
        ({"kw": -1.0}, "interval 0, IMPORT_CAPACITY_LIMIT is -1.0, and 0 to 1e+06 are allowed"),
        ({"kw": True}, "one number is allowed"),
        ({"intervalPeriod": {"start": "2026-11-29T10:00:00", "duration": "PT1H"}}, "has no time zone"),
        ({"intervalPeriod": {"start": "tomorrow", "duration": "PT1H"}}, "is not of OpenADR 3"),
        ({"intervalPeriod": {"start": "2026-11-29T10:00:00Z", "duration": "1 hour"}}, "is not of OpenADR 3"),
        ({"intervalPeriod": {"start": "2026-11-29T10:00:00Z", "duration": "PT0S"}}, "interval 0 lasts 0:00:00"),
        ({"intervalPeriod": None}, "interval 0 has no start"),
        ({"priority": "high"}, "is not of OpenADR 3"),
        ({"payloadDescriptors": 7}, "is not of OpenADR 3"),
    ],
)
def test_an_event_that_cannot_be_meant_is_named_and_takes_no_other_with_it(changes: dict[str, Any], what: str) -> None:
    found = heard(event("bad", **changes), event("good", 7.0))
    assert what in found.trouble
    assert found.trouble.startswith("event bad")
    assert [each.import_kw for each in found.windows or ()] == [7.0]


def test_events_of_other_payloads_say_nothing_of_limits() -> None:
    assert heard(event(of="PRICE", kw=0.3), {"id": "odd", "intervals": "none"}) == Heard(windows=())
