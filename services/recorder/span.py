"""The numbers of one (topic, boot) that are in a run's history."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass


@dataclass(slots=True)
class Span:
    """As ranges [first, last] without gaps, ascending and apart. Last wills, seq 0, are outside."""

    ranges: list[list[int]]

    @property
    def first(self) -> int:
        return self.ranges[0][0]

    @property
    def last(self) -> int:
        return self.ranges[-1][1]

    @property
    def count(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    @property
    def missing(self) -> int:
        """How many numbers between the first and the last are not there."""
        return 0 if len(self.ranges) < 2 else self.last - self.first + 1 - self.count

    def add(self, seq: int) -> None:
        """Takes a number in; one that is there already changes nothing."""
        ranges = self.ranges
        if ranges and seq == ranges[-1][1] + 1:
            ranges[-1][1] = seq
            return
        place = bisect_right(ranges, seq, key=lambda one: one[0])
        before = ranges[place - 1] if place else None
        after = ranges[place] if place < len(ranges) else None
        if before is not None and seq <= before[1]:
            return
        joins_before = before is not None and seq == before[1] + 1
        joins_after = after is not None and seq == after[0] - 1
        if joins_before and joins_after:
            ranges[place - 1][1] = ranges.pop(place)[1]
        elif joins_before:
            ranges[place - 1][1] = seq
        elif joins_after:
            ranges[place][0] = seq
        else:
            ranges.insert(place, [seq, seq])

    def since(self, seq: int) -> list[list[int]]:
        """The ranges that reach up to ``seq`` or beyond."""
        return self.ranges[bisect_left(self.ranges, seq, key=lambda one: one[1]) :]
