"""How cables and transformer hang together, by their ends alone.

A function over ends, not over a whole network, so that a loader can tell these faults beside those of other cells.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from schemas.errors import Code

Ends = tuple[str, str]


class WiringFault(NamedTuple):
    """``field`` is the path below the network, "" for the table of cables; of one cable, ``cable`` is its index."""

    field: str
    what: str
    received: str | None = None
    cable: int | None = None
    code: Code = Code.CONFLICT

    def __str__(self) -> str:
        return f"{self.field}: {self.what}" + ("" if self.received is None else f" (received {self.received!r})")


def cable_name(ends: Ends) -> str:
    return "-".join(ends)


def nodes_of(transformer: Ends, cables: Sequence[Ends]) -> tuple[str, ...]:
    """In order of first mention, the PCC first."""
    return tuple(dict.fromkeys(node for ends in (transformer, *cables) for node in ends))


def wiring_faults(transformer: Ends, cables: Mapping[int, Ends], main_node: str | None) -> Iterator[WiringFault]:
    """``cables``: by their index in the table. ``main_node`` None: not known, and not checked."""
    high, low = transformer
    nodes = nodes_of(transformer, tuple(cables.values()))
    if high == low:
        yield WiringFault(
            "transformer.to_node", "is its from_node as well; a transformer stands between two nodes", low
        )
    names: dict[str, Ends] = {}
    links: dict[int, Ends] = {}
    for index, ends in cables.items():
        if ends[0] == ends[1]:
            what = "begins and ends at one node; a cable joins two"
            yield WiringFault(f"cables.{index}", what, ends[0], index)
            continue
        links[index] = ends
        # Cables in parallel share a name; two that are no neighbours would be one in every table.
        if names.setdefault(cable_name(ends), ends) != ends:
            other = " to ".join(names[cable_name(ends)])
            what = f"has the name of the cable from {other}; names of nodes are to tell the two apart"
            yield WiringFault(f"cables.{index}", what, cable_name(ends), index, Code.DUPLICATE)
    yield from _around(transformer, links)
    yield from _islands(transformer, links)
    if main_node is not None and main_node not in nodes:
        yield WiringFault(
            "main_node", f"is not a node of the network; nodes are {', '.join(nodes)}", main_node, None, Code.UNKNOWN
        )


def _around(transformer: Ends, links: Mapping[int, Ends]) -> Iterator[WiringFault]:
    """One fault for each way around the transformer that shares no cable with another."""
    high, low = transformer
    left = dict(links)
    while high != low and (way := _way(left, high, low)):
        what = f"cables join both sides of the transformer, {high} and {low}; each is to stay on one side"
        told = ", ".join(cable_name(links[index]) for index in way)
        single = way[0] if len(way) == 1 else None
        yield WiringFault("cables" if single is None else f"cables.{single}", what, told, single)
        for index in way:
            del left[index]


def _islands(transformer: Ends, links: Mapping[int, Ends]) -> Iterator[WiringFault]:
    """One fault for each part that does not hang together with the PCC, at its first cable."""
    whole = [transformer, *links.values()]
    connected = reached_from(transformer[0], whole)
    seen = set(connected)
    for index, (start, _) in links.items():
        if start in seen:
            continue
        island = reached_from(start, whole)
        seen |= island
        lost = ", ".join(node for node in nodes_of(transformer, tuple(links.values())) if node in island)
        there = ", ".join(node for node in nodes_of(transformer, tuple(links.values())) if node in connected)
        what = f"nodes without a connection to {transformer[0]}: {lost}; connected are {there}"
        yield WiringFault(f"cables.{index}", what, cable_name(links[index]), index)


def reached_from(start: str, links: Sequence[Ends]) -> frozenset[str]:
    reached = {start}
    while further := {node for link in links if reached & set(link) for node in link} - reached:
        reached |= further
    return frozenset(reached)


def _way(links: Mapping[int, Ends], start: str, goal: str) -> list[int]:
    """Indices of the cables on a shortest way; none: there is no way."""
    ways: dict[str, list[int]] = {start: []}
    queue = [start]
    for node in queue:
        for index, ends in links.items():
            other = ends[1] if ends[0] == node else ends[0]
            if node in ends and other not in ways:
                ways[other] = [*ways[node], index]
                queue.append(other)
    return ways.get(goal, [])
