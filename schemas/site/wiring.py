"""How cables and transformer hang together, by their ends alone.

A function over ends, not over a whole network, so that a loader can tell these faults beside those of other cells.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from schemas.errors import Code

Ends = tuple[str, str]

Trunk = Ends | tuple[str]
"""Nodes that a network begins with: both sides of its transformer, or without one the PCC alone."""


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


def nodes_of(trunk: Trunk, cables: Sequence[Ends]) -> tuple[str, ...]:
    """In order of first mention, the PCC first."""
    return tuple(dict.fromkeys(node for ends in (trunk, *cables) for node in ends))


def form_faults(given: Collection[str]) -> Iterator[WiringFault]:
    """Fields of a network, by the names of those that are given, that do not go together or are wanted beside others.

    A network has a transformer, or cables from a low-voltage connection on, or nothing: then it is one busbar.
    """
    if "transformer" in given:
        for name in ("pcc_node", "nominal_kv"):
            if name in given:
                yield WiringFault(name, "is of a connection without a transformer, which says this itself")
    if ("transformer" in given or "cables" in given) and "main_node" not in given:
        yield WiringFault("main_node", "is missing", code=Code.MISSING)
    if ("transformer" in given or "cables" in given) and "losses_frac" in given:
        what = "is of a network without transformer and cables; with them the losses follow from these"
        yield WiringFault("losses_frac", what)


def wiring_faults(trunk: Trunk, cables: Mapping[int, Ends], main_node: str | None) -> Iterator[WiringFault]:
    """``cables``: by their index in the table. ``main_node`` None: not known, and not checked."""
    transformer: Ends | None = trunk if len(trunk) == 2 else None
    nodes = nodes_of(trunk, tuple(cables.values()))
    if transformer is not None and transformer[0] == (low := transformer[1]):
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
    if transformer is not None:
        yield from _around(transformer, links)
    yield from _islands(trunk, links)
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


def _islands(trunk: Trunk, links: Mapping[int, Ends]) -> Iterator[WiringFault]:
    """One fault for each part that does not hang together with the PCC, at its first cable."""
    whole = [trunk, *links.values()]
    connected = reached_from(trunk[0], whole)
    seen = set(connected)
    for index, (start, _) in links.items():
        if start in seen:
            continue
        island = reached_from(start, whole)
        seen |= island
        lost = ", ".join(node for node in nodes_of(trunk, tuple(links.values())) if node in island)
        there = ", ".join(node for node in nodes_of(trunk, tuple(links.values())) if node in connected)
        what = f"nodes without a connection to {trunk[0]}: {lost}; connected are {there}"
        yield WiringFault(f"cables.{index}", what, cable_name(links[index]), index)


def reached_from(start: str, links: Sequence[Trunk]) -> frozenset[str]:
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
