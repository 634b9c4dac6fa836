"""Power flow of a low-voltage network behind one transformer, by power-grid-model: balanced, or phase by phase."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from power_grid_model import BranchSide, ComponentType, LoadGenType, PowerGridModel, WindingType, initialize_array
from power_grid_model.errors import PowerGridError  # type: ignore[attr-defined]

SHORT_CIRCUIT_VA = 1e18
"""Short-circuit power of the grid behind the source: the source node keeps its voltage to 1e-13 pu under 1 MW."""

TOLERANCE_PU = 1e-12
"""Tolerance of the Newton-Raphson iteration. The rest of the power balance is rounding, about 1e-11 kW at 100 kW."""

MAX_ITERATIONS = 50

PHASES = 3

_OUTPUT = [ComponentType.node, ComponentType.line, ComponentType.transformer, ComponentType.source]

Array = NDArray[np.float64]


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

    Odd clock numbers are Dyn, even ones YNyn, neutrals earthed; the zero sequence's impedance equals the positive's.
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


@dataclass(frozen=True, slots=True)
class Injection:
    """Power drawn from the network at each node, in the order of `PowerFlow.nodes`: active [kW], reactive [kvar],
    balanced; and what single-phase devices draw besides."""

    active_kw: tuple[float, ...]
    reactive_kvar: tuple[float, ...]
    single_phase_kw: tuple[tuple[int, int, float], ...] = ()
    """(node, phase 0..2, active power) of each, at power factor 1. Between that phase and the neutral."""


@dataclass(frozen=True, slots=True)
class Solution:
    """``pcc_kw`` is what the source delivers; ``losses_kw`` the sum of what goes into and out of each branch.

    The two come from different elements, so that their balance with the loads is a check and not an identity.
    """

    pcc_kw: float
    losses_kw: float
    voltages_pu: tuple[float, ...]
    """By `PowerFlow.nodes`; unbalanced: of the phase that is farthest from 1."""
    loadings_frac: tuple[float, ...]
    """By `PowerFlow.branches`: of the ampacity, of the transformer's rated power; unbalanced: of the worst phase."""
    pcc_kvar: float = 0.0
    branch_losses_kw: tuple[float, ...] = ()
    """By `PowerFlow.branches`."""
    phase_voltages_pu: tuple[tuple[float, ...], ...] = ()
    """By node, phases a, b, c to the neutral; unbalanced only."""
    phase_pcc_kw: tuple[float, ...] = ()
    """Unbalanced only."""


@dataclass(frozen=True, slots=True)
class Flows:
    """Flows of T injections as arrays; P is 3 in unbalanced flows, else 1. Quantities as in `Solution`."""

    pcc_kw: Array
    """(T, P), their sum is the power at the PCC."""
    pcc_kvar: Array
    """(T, P)"""
    losses_kw: Array
    """(T,)"""
    branch_losses_kw: Array
    """(T, branches)"""
    voltages_pu: Array
    """(T, nodes, P)"""
    loadings_frac: Array
    """(T, branches)"""


class PowerFlow:
    """A network, set up once and solved for many injections. The transformer's ``from_node`` is the source's.

    ``unbalanced``: three phases, each with its own voltages; else one stands for all.
    """

    def __init__(
        self,
        transformer: Transformer,
        cables: Sequence[Cable],
        source_voltage_pu: float = 1.0,
        *,
        unbalanced: bool = False,
    ) -> None:
        """Raises ValueError when a cable joins both sides of the transformer, or the numbers make no network."""
        ends = [transformer.from_node, transformer.to_node]
        ends += [node for cable in cables for node in (cable.from_node, cable.to_node)]
        self.nodes = tuple(dict.fromkeys(ends))
        self.branches = (*(cable.name for cable in cables), transformer.name)
        self.unbalanced = unbalanced
        self._rated_w = transformer.rated_kva * 1e3
        self._load_kind = ComponentType.asym_load if unbalanced else ComponentType.sym_load
        loads = _loads(len(self.nodes), self._load_kind)
        self._load_ids = loads["id"]
        tables = _input(self.nodes, transformer, cables, source_voltage_pu, unbalanced)
        try:
            self._model = PowerGridModel({**tables, self._load_kind: loads})
        except PowerGridError as error:
            raise ValueError(f"is no network that can be solved: {' '.join(str(error).split())}") from None

    def solve(self, injections: Sequence[Injection]) -> list[Solution | None]:
        """The flow for each injection; None where no voltages exist that carry it.

        Raises ValueError for single-phase power in a balanced network.
        """
        if not injections:
            return []
        power = self._powers(injections)
        try:
            return _solutions(self._flows(power), unbalanced=self.unbalanced)
        except PowerGridError:
            if len(injections) == 1:
                return [None]
            return [self.solve([injection])[0] for injection in injections]

    def flows(self, active_kw: Array, reactive_kvar: Array) -> Flows:
        """Batch calculation, for studies: 35,040 quarter-hours of a year take about a second.

        Both of the shape (T, nodes); in an unbalanced network (T, nodes, 3), by phase. T ≥ 1. Raises ValueError for
        power that is no finite number, and PowerGridError (of power-grid-model) when one of the T cannot be carried by
        any voltages.
        """
        return self._flows(np.array([active_kw, reactive_kvar]))

    def _flows(self, power: Array) -> Flows:
        """``power``: active [kW] and reactive [kvar], of the shape (2, T, nodes) or (2, T, nodes, 3)."""
        if not (finite := np.isfinite(power)).all():
            _, row, node, *_ = np.argwhere(~finite)[0].tolist()
            raise ValueError(f"power that is no finite number, at node {self.nodes[node]} of injection {row}")
        update = initialize_array("update", self._load_kind, power.shape[1:3])
        update["id"] = self._load_ids
        update["p_specified"], update["q_specified"] = _watts(power)
        flow = self._calculated(update)
        kinds = [kind for kind in (ComponentType.line, ComponentType.transformer) if kind in flow]
        in_and_out = np.concatenate([flow[kind]["p_from"] + flow[kind]["p_to"] for kind in kinds], axis=1)
        branch_losses_w = _by_phase(in_and_out).sum(axis=2)
        # The cables' first, then the transformer's: sums keep their order, and with it their last bit.
        losses_w = branch_losses_w[:, :-1].sum(axis=1) + branch_losses_w[:, -1]
        source = flow[ComponentType.source]
        return Flows(
            pcc_kw=_by_phase(source["p"])[:, 0] / 1e3,
            pcc_kvar=_by_phase(source["q"])[:, 0] / 1e3,
            losses_kw=losses_w / 1e3,
            branch_losses_kw=branch_losses_w / 1e3,
            voltages_pu=_by_phase(flow[ComponentType.node]["u_pu"]),
            loadings_frac=np.concatenate([self._loading(kind, flow[kind]) for kind in kinds], axis=1),
        )

    def _calculated(self, update: Any) -> dict[Any, Any]:
        """power-grid-model's tables of nodes, branches and source, a row for each of the update's."""
        how: dict[str, Any] = {
            "symmetric": not self.unbalanced,
            "error_tolerance": TOLERANCE_PU,
            "max_iterations": MAX_ITERATIONS,
            "output_component_types": _OUTPUT,
        }
        if len(update) > 1:
            flow: dict[Any, Any] = self._model.calculate_power_flow(update_data={self._load_kind: update}, **how)
            return flow
        # To set up a batch of one takes longer than to solve it. An update sets every load, so that nothing is left of
        # the one before; the result is the same to the last bit.
        self._model.update(update_data={self._load_kind: update[0]})
        return {kind: table[None] for kind, table in self._model.calculate_power_flow(**how).items()}

    def _loading(self, kind: Any, branch: Any) -> Array:
        loading: Array = branch["loading"]
        if self.unbalanced and kind == ComponentType.transformer:
            # power-grid-model sums the phases; a winding is hot by its own current.
            apparent = np.maximum(branch["s_from"], branch["s_to"]).max(axis=2)
            loading = apparent * PHASES / self._rated_w
        return loading

    def _powers(self, injections: Sequence[Injection]) -> Array:
        """As `_flows` wants it."""
        power = np.array([[each.active_kw for each in injections], [each.reactive_kvar for each in injections]])
        if not self.unbalanced:
            if any(injection.single_phase_kw for injection in injections):
                raise ValueError("single-phase power needs an unbalanced network")
            return power
        phases = np.repeat(power[..., None] / PHASES, PHASES, axis=3)
        for i, injection in enumerate(injections):
            for node, phase, power_kw in injection.single_phase_kw:
                phases[0, i, node, phase] += power_kw
        return phases


def _by_phase(values: Array) -> Array:
    """(T, elements, P)"""
    return values[:, :, None] if values.ndim == 2 else values


def _solutions(flows: Flows, *, unbalanced: bool) -> list[Solution | None]:
    voltages = _farthest_from_one(flows.voltages_pu) if unbalanced else flows.voltages_pu[:, :, 0]
    return [
        Solution(
            pcc_kw=float(flows.pcc_kw[i].sum()),
            losses_kw=float(flows.losses_kw[i]),
            voltages_pu=tuple(voltages[i].tolist()),
            loadings_frac=tuple(flows.loadings_frac[i].tolist()),
            pcc_kvar=float(flows.pcc_kvar[i].sum()),
            branch_losses_kw=tuple(flows.branch_losses_kw[i].tolist()),
            phase_voltages_pu=tuple(map(tuple, flows.voltages_pu[i].tolist())) if unbalanced else (),
            phase_pcc_kw=tuple(flows.pcc_kw[i].tolist()) if unbalanced else (),
        )
        for i in range(len(flows.losses_kw))
    ]


def _farthest_from_one(voltages_pu: Array) -> Array:
    """Sums over each node's phases: (T, nodes) of (T, nodes, P)."""
    worst = np.abs(voltages_pu - 1).argmax(axis=2, keepdims=True)
    farthest: Array = np.take_along_axis(voltages_pu, worst, axis=2)[:, :, 0]
    return farthest


def _watts(kw: Array) -> Array:
    # Below the smallest normal float per unit the solver fails; nothing is lost by calling 1e-27 W nothing.
    return np.where(np.abs(kw) > 1e-30, kw * 1e3, 0.0)


def _loads(count: int, kind: Any) -> Any:
    """One constant-power load at each node. Identifiers: nodes from 0, then loads, then the rest."""
    loads = initialize_array("input", kind, count)
    loads["id"] = np.arange(count, 2 * count)
    loads["node"] = np.arange(count)
    loads["status"] = 1
    loads["type"] = LoadGenType.const_power
    loads["p_specified"] = 0.0
    loads["q_specified"] = 0.0
    return loads


def _input(
    nodes: Sequence[str],
    transformer: Transformer,
    cables: Sequence[Cable],
    source_voltage_pu: float,
    unbalanced: bool,
) -> dict[Any, Any]:
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
    if unbalanced:
        line["r0"] = [cable.r0_ohm for cable in cables]
        line["x0"] = [cable.x0_ohm for cable in cables]
        line["c0"] = line["tan0"] = 0.0

    source = initialize_array("input", "source", 1)
    source["id"] = first_id + len(cables) + 1
    source["node"] = index[transformer.from_node]
    source["status"] = 1
    source["u_ref"] = source_voltage_pu
    source["sk"] = SHORT_CIRCUIT_VA

    tables = {
        ComponentType.node: node,
        ComponentType.line: line,
        ComponentType.transformer: _transformer(transformer, index, first_id + len(cables)),
        ComponentType.source: source,
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
