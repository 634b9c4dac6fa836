"""Power flow of a low-voltage network behind one transformer, by power-grid-model: balanced three-phase."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from power_grid_model import BranchSide, ComponentType, LoadGenType, PowerGridModel, WindingType, initialize_array
from power_grid_model.errors import PowerGridError  # type: ignore[attr-defined]

SHORT_CIRCUIT_VA = 1e18
"""Of the grid behind the source: so stiff that the source node keeps its voltage to 1e-14 pu under 1 MW."""

TOLERANCE_PU = 1e-12
"""Of the Newton-Raphson iteration. What is left of the power balance is rounding, about 1e-11 kW at 100 kW."""

MAX_ITERATIONS = 50


@dataclass(frozen=True, slots=True)
class Cable:
    """All parallel conductors together; resistance and reactance [Ω], ampacity [A]."""

    name: str
    from_node: str
    to_node: str
    r_ohm: float
    x_ohm: float
    ampacity_a: float


@dataclass(frozen=True, slots=True)
class Transformer:
    """Two windings, IEC 60076 nameplate: rated power [kVA], voltages [kV], short-circuit voltage and its resistive part
    (fractions), iron loss [kW], no-load current (fraction), vector group's clock number."""

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


@dataclass(frozen=True, slots=True)
class Injection:
    """Power drawn from the network at each node, in the order of `PowerFlow.nodes`: active [kW], reactive [kvar]."""

    active_kw: tuple[float, ...]
    reactive_kvar: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Solution:
    """``pcc_kw`` is what the source delivers; ``losses_kw`` the sum of what goes into and out of each branch.

    The two come from different elements, so that their balance with the loads is a check and not an identity.
    """

    pcc_kw: float
    losses_kw: float
    voltages_pu: tuple[float, ...]
    """By `PowerFlow.nodes`."""
    loadings_frac: tuple[float, ...]
    """By `PowerFlow.branches`: of the ampacity, of the transformer's rated power."""


class PowerFlow:
    """A network, set up once and solved for many injections. The transformer's ``from_node`` is the source's."""

    def __init__(self, transformer: Transformer, cables: Sequence[Cable], source_voltage_pu: float = 1.0) -> None:
        """Raises ValueError when a cable joins both sides of the transformer."""
        ends = [transformer.from_node, transformer.to_node]
        ends += [node for cable in cables for node in (cable.from_node, cable.to_node)]
        self.nodes = tuple(dict.fromkeys(ends))
        self.branches = (*(cable.name for cable in cables), transformer.name)
        self._loads = _loads(len(self.nodes))
        self._model = PowerGridModel(_input(self.nodes, transformer, cables, source_voltage_pu, self._loads))

    def solve(self, injections: Sequence[Injection]) -> list[Solution | None]:
        """The flow for each injection; None where no voltages exist that carry it."""
        try:
            return self._solve(injections)
        except PowerGridError:
            if len(injections) == 1:
                return [None]
            return [self.solve([injection])[0] for injection in injections]

    def _solve(self, injections: Sequence[Injection]) -> list[Solution | None]:
        if not injections:
            return []
        update = initialize_array("update", "sym_load", (len(injections), len(self.nodes)))
        update["id"] = self._loads["id"]
        update["p_specified"] = [[_watts(kw) for kw in injection.active_kw] for injection in injections]
        update["q_specified"] = [[_watts(kvar) for kvar in injection.reactive_kvar] for injection in injections]
        flow = self._model.calculate_power_flow(
            update_data={ComponentType.sym_load: update},
            error_tolerance=TOLERANCE_PU,
            max_iterations=MAX_ITERATIONS,
            output_component_types=[
                ComponentType.node,
                ComponentType.line,
                ComponentType.transformer,
                ComponentType.source,
            ],
        )
        branches = [flow[kind] for kind in (ComponentType.line, ComponentType.transformer) if kind in flow]
        losses_w = sum((branch["p_from"] + branch["p_to"]).sum(axis=1) for branch in branches)
        loadings = np.concatenate([branch["loading"] for branch in branches], axis=1)
        return [
            Solution(
                pcc_kw=float(flow[ComponentType.source]["p"][i, 0]) / 1e3,
                losses_kw=float(losses_w[i]) / 1e3,
                voltages_pu=tuple(flow[ComponentType.node]["u_pu"][i].tolist()),
                loadings_frac=tuple(loadings[i].tolist()),
            )
            for i in range(len(injections))
        ]


def _watts(kw: float) -> float:
    # Below the smallest normal float per unit the solver fails; nothing is lost by calling 1e-27 W nothing.
    return kw * 1e3 if abs(kw) > 1e-30 else 0.0


def _loads(count: int) -> Any:
    """One constant-power load at each node. Identifiers: nodes from 0, then loads, then the rest."""
    loads = initialize_array("input", "sym_load", count)
    loads["id"] = np.arange(count, 2 * count)
    loads["node"] = np.arange(count)
    loads["status"] = 1
    loads["type"] = LoadGenType.const_power
    loads["p_specified"] = 0.0
    loads["q_specified"] = 0.0
    return loads


def _input(
    nodes: Sequence[str], transformer: Transformer, cables: Sequence[Cable], source_voltage_pu: float, loads: Any
) -> dict[str, Any]:
    index = {node: i for i, node in enumerate(nodes)}
    first_id = 2 * len(nodes)
    node = initialize_array("input", "node", len(nodes))
    node["id"] = np.arange(len(nodes))
    high = _high_voltage_nodes(transformer, cables)
    node["u_rated"] = [(transformer.high_kv if name in high else transformer.low_kv) * 1e3 for name in nodes]

    line = initialize_array("input", "line", len(cables))
    line["id"] = np.arange(first_id, first_id + len(cables))
    line["from_node"] = [index[cable.from_node] for cable in cables]
    line["to_node"] = [index[cable.to_node] for cable in cables]
    line["from_status"] = line["to_status"] = 1
    line["r1"] = [cable.r_ohm for cable in cables]
    line["x1"] = [cable.x_ohm for cable in cables]
    line["c1"] = line["tan1"] = 0.0
    line["i_n"] = [cable.ampacity_a for cable in cables]

    source = initialize_array("input", "source", 1)
    source["id"] = first_id + len(cables) + 1
    source["node"] = index[transformer.from_node]
    source["status"] = 1
    source["u_ref"] = source_voltage_pu
    source["sk"] = SHORT_CIRCUIT_VA

    tables = {
        "node": node,
        "line": line,
        "transformer": _transformer(transformer, index, first_id + len(cables)),
        "source": source,
        "sym_load": loads,
    }
    return {name: table for name, table in tables.items() if len(table)}


def _transformer(transformer: Transformer, index: dict[str, int], identifier: int) -> Any:
    rated_va = transformer.rated_kva * 1e3
    iron_w = transformer.iron_loss_kw * 1e3
    # Odd clock numbers need a delta on one side and a star on the other; a balanced flow sees only the phase shift.
    odd = transformer.clock % 2 == 1
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
        "tap_pos": 0,
        "tap_min": 0,
        "tap_max": 0,
        "tap_nom": 0,
        "tap_size": 0.0,
    }.items():
        table[name] = value
    return table


def _high_voltage_nodes(transformer: Transformer, cables: Sequence[Cable]) -> set[str]:
    reached = {transformer.from_node}
    grown = True
    while grown:
        before = len(reached)
        for cable in cables:
            if cable.from_node in reached or cable.to_node in reached:
                reached |= {cable.from_node, cable.to_node}
        grown = len(reached) > before
    if transformer.to_node in reached:
        raise ValueError(
            f"cables join both sides of the transformer, {transformer.from_node} and {transformer.to_node}"
        )
    return reached
