"""Points of a model as requests on the wire: none of them cuts a point."""

from collections.abc import Iterator, Mapping

from services.sunspec.block import Block
from services.sunspec.definitions import Definition

READ_MOST = 125
"""Registers in one answer of Modbus."""


def chunks(definition: Definition, size: int) -> Iterator[tuple[int, int]]:
    """(offset, count) of the requests that read ``size`` registers of a model."""
    begin = end = 0
    for point in definition.points.values():
        after = point.offset + point.size
        if after > size:
            break
        if after - begin > READ_MOST:
            yield begin, end - begin
            begin = end
        end = after
    if end > begin:
        yield begin, end - begin


def adjacent(block: Block, points: Mapping[str, list[int]], last: str) -> list[tuple[int, list[int]]]:
    """(address, registers) of the requests that write the points, with that of ``last`` at the end."""
    runs: list[tuple[int, list[int], bool]] = []
    for name in sorted(points, key=lambda each: block.definition.points[each].offset):
        address = block.address + block.definition.points[name].offset
        if runs and runs[-1][0] + len(runs[-1][1]) == address:
            before, registers, ends = runs[-1]
            runs[-1] = (before, registers + points[name], ends or name == last)
        else:
            runs.append((address, points[name], name == last))
    return [(address, registers) for address, registers, _ in sorted(runs, key=lambda run: run[2])]
