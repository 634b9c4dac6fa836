"""Elements of a low-voltage network, and their tables for power-grid-model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from power_grid_model import BranchSide, ComponentType, LoadGenType, WindingType, initialize_array

SHORT_CIRCUIT_VA = 1e18
"""Short-circuit power of a stiff grid behind the source: the source node keeps its voltage to 1e-13 pu under 1 MW."""


@dataclass(frozen=True, slots=True)
class Source:
    """The public grid at the PCC: no-load voltage [pu], short-circuit power [MVA], ratios of its impedance.

    ``short_circuit_mva`` None: stiff. What the grid's own impedance loses is not the site's and in no result.
    """

    voltage_pu: float = 1.0
    short_circuit_mva: float | None = None
    rx_ratio: float = 0.1
    """Resistance over reactance."""
    z0_ratio: float = 1.0
    """Zero-sequence over positive-sequence impedance; seen by unbalanced flows only."""


@dataclass(frozen=True, slots=True)
class Cable:
    """All parallel conductors together; resistance and reactance [Ω], ampacity [A].

    ``r0_ohm`` and ``x0_ohm``: of the zero sequence, with the return through the neutral; seen by unbalanced flows only.
    Four conductors of one cross-section: the neutral carries three times the zero-sequence current, so R0 = 4 R.
    """

    name: str
    from_node: str
    to_node: str
    r_ohm: float
    x_ohm: float
    ampacity_a: float
    r0_ohm: float
    x0_ohm: float


@dataclass(frozen=True, slots=True)
class Transformer:
    """Two windings, IEC 60076 nameplate: rated power [kVA], voltages [kV], short-circuit voltage and its resistive part
    (fractions), iron loss [kW], no-load current (fraction), vector group's clock number.

    ``tap_frac``: by how much the high-voltage winding has more turns than rated; the low voltage falls with it. Odd
    clock numbers are Dyn, even ones YNyn, neutrals earthed; the zero sequence's impedance equals the positive's.
    """

    name: str
    from_node: str
    to_node: str
    rated_kva: float
    high_kv: float
    low_kv: float
    vk_frac: float
    vkr_frac: float
    iron_loss_kw: float
    no_load_current_frac: float
    clock: int
    tap_frac: float = 0.0

    @property
    def z_ohm(self) -> float:
        """Magnitude of the short-circuit impedance, on the low-voltage side."""
        return self.vk_frac * self.low_kv**2 / self.rated_kva * 1e3


def condition(source_node: str, transformer: Transformer | None, cables: Sequence[Cable]) -> float:
    """How much larger the impedance from the source to the farthest node is than the smallest of an element.

    Powers are differences of voltages over impedances; so this is the factor by which a voltage's rounding error
    comes back in the equations of power that the solver balances. Along the first way found where cables form a mesh.
    """
    elements = [(cable.from_node, cable.to_node, abs(complex(cable.r_ohm, cable.x_ohm))) for cable in cables]
    if transformer is not None:
        elements.append((transformer.from_node, transformer.to_node, transformer.z_ohm))
        high = transformer.high_kv / transformer.low_kv
        side = reached(source_node, cables)
        elements[:-1] = [(a, b, z / high**2 if a in side else z) for a, b, z in elements[:-1]]
    at: dict[str, list[tuple[str, float]]] = {}
    for start, end, ohm in elements:
        at.setdefault(start, []).append((end, ohm))
        at.setdefault(end, []).append((start, ohm))
    path = {source_node: 0.0}
    queue = [source_node]
    for node in queue:
        for other, ohm in at.get(node, ()):
            if other not in path:
                path[other] = path[node] + ohm
                queue.append(other)
    least = min((ohm for *_, ohm in elements if ohm > 0), default=1.0)
    return max(path.values()) / least


def reached(start: str, cables: Sequence[Cable]) -> set[str]:
    """Nodes that cables join with ``start``, itself included."""
    found, grown = {start}, True
    while grown:
        before = len(found)
        for cable in cables:
            if cable.from_node in found or cable.to_node in found:
                found |= {cable.from_node, cable.to_node}
        grown = len(found) > before
    return found


def load_table(count: int, kind: Any) -> Any:
    """One constant-power load at each node. Identifiers: nodes from 0, then loads, then the rest."""
    loads = initialize_array("input", kind, count)
    loads["id"] = np.arange(count, 2 * count)
    loads["node"] = np.arange(count)
    loads["status"] = 1
    loads["type"] = LoadGenType.const_power
    loads["p_specified"] = 0.0
    loads["q_specified"] = 0.0
    return loads


def network_tables(
    nodes: Sequence[str],
    transformer: Transformer | None,
    cables: Sequence[Cable],
    source: Source,
    low_kv: float,
    *,
    unbalanced: bool,
) -> dict[Any, Any]:
    """Everything but the loads; the source is at the first of the nodes.

    ``low_kv``: nominal voltage without a transformer. Raises ValueError when a cable joins both sides of the
    transformer.
    """
    index = {node: i for i, node in enumerate(nodes)}
    first_id = 2 * len(nodes)
    node = initialize_array("input", "node", len(nodes))
    node["id"] = np.arange(len(nodes))
    node["u_rated"] = [kv * 1e3 for kv in _nominal_kv(nodes, transformer, cables, low_kv)]

    line = initialize_array("input", "line", len(cables))
    line["id"] = np.arange(first_id, first_id + len(cables))
    line["from_node"] = [index[cable.from_node] for cable in cables]
    line["to_node"] = [index[cable.to_node] for cable in cables]
    line["from_status"] = line["to_status"] = 1
    line["r1"] = [cable.r_ohm for cable in cables]
    line["x1"] = [cable.x_ohm for cable in cables]
    line["c1"] = line["tan1"] = 0.0
    line["i_n"] = [cable.ampacity_a for cable in cables]
    if unbalanced:
        line["r0"] = [cable.r0_ohm for cable in cables]
        line["x0"] = [cable.x0_ohm for cable in cables]
        line["c0"] = line["tan0"] = 0.0

    tables = {
        ComponentType.node: node,
        ComponentType.line: line,
        ComponentType.source: _source_table(source, first_id + len(cables) + 1),
    }
    if transformer is not None:
        tables[ComponentType.transformer] = _transformer_table(transformer, index, first_id + len(cables))
    return {name: table for name, table in tables.items() if len(table)}


def _nominal_kv(
    nodes: Sequence[str], transformer: Transformer | None, cables: Sequence[Cable], low_kv: float
) -> list[float]:
    if transformer is None:
        return [low_kv] * len(nodes)
    high = reached(transformer.from_node, cables)
    if transformer.to_node in high:
        raise ValueError(
            f"cables join both sides of the transformer, {transformer.from_node} and {transformer.to_node}"
        )
    return [transformer.high_kv if name in high else transformer.low_kv for name in nodes]


def _source_table(source: Source, identifier: int) -> Any:
    table = initialize_array("input", "source", 1)
    table["id"] = identifier
    table["node"] = 0
    table["status"] = 1
    table["u_ref"] = source.voltage_pu
    table["sk"] = SHORT_CIRCUIT_VA if source.short_circuit_mva is None else source.short_circuit_mva * 1e6
    if source.short_circuit_mva is not None:
        table["rx_ratio"] = source.rx_ratio
        table["z01_ratio"] = source.z0_ratio
    return table


def _transformer_table(transformer: Transformer, index: dict[str, int], identifier: int) -> Any:
    rated_va = transformer.rated_kva * 1e3
    iron_w = transformer.iron_loss_kw * 1e3
    # Odd clock numbers need a delta on one side and a star on the other; a balanced flow sees only the phase shift.
    odd = transformer.clock % 2 == 1
    # One tap position, of the size that is wanted: a fixed ratio.
    tapped = transformer.tap_frac != 0
    table = initialize_array("input", "transformer", 1)
    for name, value in {
        "id": identifier,
        "from_node": index[transformer.from_node],
        "to_node": index[transformer.to_node],
        "from_status": 1,
        "to_status": 1,
        "u1": transformer.high_kv * 1e3,
        "u2": transformer.low_kv * 1e3,
        "sn": rated_va,
        "uk": transformer.vk_frac,
        "pk": transformer.vkr_frac * rated_va,
        # The no-load current has at least the part that carries the iron loss.
        "i0": max(transformer.no_load_current_frac, iron_w / rated_va),
        "p0": iron_w,
        "winding_from": WindingType.delta if odd else WindingType.wye_n,
        "winding_to": WindingType.wye_n,
        "clock": transformer.clock,
        "tap_side": BranchSide.from_side,
        "tap_pos": int(np.sign(transformer.tap_frac)),
        "tap_min": -int(tapped),
        "tap_max": int(tapped),
        "tap_nom": 0,
        "tap_size": abs(transformer.tap_frac) * transformer.high_kv * 1e3,
    }.items():
        table[name] = value
    return table
