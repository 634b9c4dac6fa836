"""The clock's alarm about messages that the broker dropped, along a time of its own."""

from datetime import UTC, datetime, timedelta

from schemas.messages import Alarm
from services.clock.dropped import PATIENCE, DroppedWatch

T0 = datetime(2024, 5, 16, 22, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def heard(watch: DroppedWatch, count: bytes, at: datetime) -> Alarm | None:
    watch.hear(count)
    return watch.look(at)


def test_what_was_dropped_before_the_clock_came_is_a_number_and_no_alarm() -> None:
    watch = DroppedWatch()
    assert watch.look(T0) is None
    assert heard(watch, b"7", T0) is None
    assert watch.count == 7


def test_it_begins_comes_again_with_more_and_ends_when_nothing_is_dropped_any_more() -> None:
    watch = DroppedWatch()
    assert heard(watch, b"0", T0) is None
    first = heard(watch, b"3", T0 + SECOND)
    assert first is not None
    assert (first.active, first.value) == (True, 3.0)
    assert "dropped 3 messages" in first.text
    assert heard(watch, b"9", T0 + 2 * SECOND) is None, "not every time that the broker counts"
    again = watch.look(T0 + SECOND + PATIENCE)
    assert again is not None
    assert (again.active, again.value) == (True, 9.0)
    assert "dropped 6 messages" in again.text
    over = watch.look(T0 + SECOND + 2 * PATIENCE)
    assert over is not None
    assert not over.active
    assert watch.look(T0 + SECOND + 3 * PATIENCE) is None


def test_a_broker_that_was_started_again_counts_from_nothing() -> None:
    watch = DroppedWatch()
    heard(watch, b"100", T0)
    alarm = heard(watch, b"2", T0 + SECOND)
    assert alarm is not None
    assert "dropped 2 messages" in alarm.text


def test_what_is_no_count_is_not_heard() -> None:
    watch = DroppedWatch()
    for payload in (b"", b"-1", b"NaN", b"1e9", b"x" * 600_000, "٣".encode(), b"\xff"):
        assert heard(watch, payload, T0) is None
    assert watch.count is None
