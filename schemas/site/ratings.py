"""What each cable and the transformer of a site may carry, and which nodes only they connect with the PCC."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.site.network import Cable, Network
from schemas.site.wiring import reached_from

TRANSFORMER = "transformer"


@dataclass(frozen=True, slots=True)
class Element:
    """A cable or the transformer, and the nodes that only it connects with the PCC."""

    name: str
    limit_kw: float
    """Rating in apparent power [kVA]."""
    nodes: frozenset[str]


def elements_of(network: Network) -> tuple[Element, ...]:
    """Cables in the order of the table, then the transformer if there is one. Cables between the same two nodes are
    one. A cable in a mesh is left out: its share of the power is not a sum of powers behind it."""
    transformer = network.transformer
    low_side = network.pcc_node if transformer is None else transformer.to_node
    low_voltage = _reached(network, low_side, without=(), through_transformer=False)
    parallel: dict[frozenset[str], list[Cable]] = {}
    for cable in network.cables:
        parallel.setdefault(frozenset(cable.ends), []).append(cable)
    found = []
    for cables in parallel.values():
        behind = frozenset(network.nodes) - _reached(network, network.trunk[0], without=cables)
        if behind:
            if transformer is None:
                kv = network.nominal_kv
            else:
                kv = transformer.low_kv if behind <= low_voltage else transformer.high_kv
            name, ampacity_a = _together(cables)
            found.append(Element(name, math.sqrt(3) * kv * ampacity_a, behind))
    if transformer is None:
        return tuple(found)
    return (*found, Element(TRANSFORMER, transformer.rated_kva, low_voltage))


def _together(cables: Sequence[Cable]) -> tuple[str, float]:
    """What cables in parallel carry when the first of them is at its ampacity, and which one that is. The current
    splits by admittance."""
    if len(cables) == 1:
        return cables[0].name, cables[0].ampacity_a
    admittances = [1 / complex(cable.r_mohm, cable.x_mohm) for cable in cables]
    whole = abs(sum(admittances))
    carried = [cable.ampacity_a * whole / abs(own) for cable, own in zip(cables, admittances, strict=True)]
    first = min(range(len(cables)), key=carried.__getitem__)
    return cables[first].name, carried[first]


def _reached(
    network: Network, start: str, without: Sequence[Cable], *, through_transformer: bool = True
) -> frozenset[str]:
    links = [cable.ends for cable in network.cables if not any(cable is one for one in without)]
    if through_transformer and network.transformer is not None:
        links.append(network.transformer.ends)
    return reached_from(start, links)
