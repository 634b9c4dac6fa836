"""Numbers in a run's history as ranges without gaps."""

from hypothesis import given
from hypothesis import strategies as st

from services.recorder.span import Span


def test_numbers_in_order_are_one_range() -> None:
    span = Span([])
    for seq in range(1, 1001):
        span.add(seq)
    assert (span.ranges, span.count, span.missing) == ([[1, 1000]], 1000, 0)


def test_a_gap_that_is_filled_joins_its_neighbours() -> None:
    span = Span([])
    for seq in (2, 3, 7, 5, 4, 4):
        span.add(seq)
    assert (span.ranges, span.missing) == ([[2, 5], [7, 7]], 1)
    span.add(6)
    assert span.ranges == [[2, 7]]


def test_the_ranges_since_a_number_begin_with_the_one_that_holds_it() -> None:
    span = Span([[1, 4], [6, 6], [8, 9]])
    assert span.since(3) == [[1, 4], [6, 6], [8, 9]]
    assert span.since(5) == [[6, 6], [8, 9]]
    assert span.since(10) == []


@given(st.lists(st.integers(1, 40)))
def test_a_span_holds_what_was_added_once_and_nothing_else(numbers: list[int]) -> None:
    span = Span([])
    for seq in numbers:
        span.add(seq)
    held = [seq for first, last in span.ranges for seq in range(first, last + 1)]
    assert held == sorted(set(numbers))
    assert all(later[0] > earlier[1] + 1 for earlier, later in zip(span.ranges, span.ranges[1:], strict=False))
    if held:
        assert (span.count, span.missing) == (len(held), held[-1] - held[0] + 1 - len(held))
