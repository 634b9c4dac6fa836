"""Power flow of a low-voltage network, with or without a transformer, by power-grid-model: balanced, or phase by phase.

The Newton-Raphson iteration ends when no voltage moves by more than a tolerance. Rounding moves them, too, by more the
farther the network reaches in units of its shortest element; so the first tolerance is scaled to the network, and what
does not end within it is tried again with ten times as much, up to `LOOSEST_PU` (`tolerances`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray
from power_grid_model import ComponentType, PowerGridModel, initialize_array
from power_grid_model.errors import PowerGridError  # type: ignore[attr-defined]

from twin_devices.physics.network_elements import Cable, Source, Transformer, condition, load_table, network_tables

try:
    from twin_devices.physics.prepared_flow import PreparedFlow
except (ImportError, AttributeError):  # a release of power-grid-model that is another one below its interface
    PreparedFlow = None  # type: ignore[assignment, misc]

__all__ = ["PHASES", "Array", "Cable", "Flows", "Injection", "PowerFlow", "Solution", "Source", "Transformer"]

TIGHTEST_PU = 1e-12
"""Least tolerance of the iteration. The rest of the power balance is rounding, about 1e-11 kW at 100 kW."""

LOOSEST_PU = 1e-8
"""Most tolerance. The iteration converges quadratically, so its last step is far above the error that is left."""

ROUNDING = 16 * float(np.finfo(float).eps)
"""Times the network's `condition`: the voltages' rounding error [pu], with some room."""

BALANCE_FRAC = 1e-6
"""A flow found with a looser tolerance counts when its powers balance within this part of their sum, at least 1 kW."""

PROBES = (1 / 64, 1 / 4096)
"""Parts of a power that cannot be carried, from which its losses are estimated; the next one where the one before
cannot be carried either."""

MAX_ITERATIONS = 50

MOST_ONE_BY_ONE = 8
"""More injections than this are a batch of power-grid-model's, which takes longer to set up than these to solve."""

PHASES = 3

_OUTPUT = [ComponentType.node, ComponentType.line, ComponentType.transformer, ComponentType.source]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Injection:
    """Power drawn from the network at each node, in the order of `PowerFlow.nodes`: active [kW], reactive [kvar],
    balanced; and what single-phase devices draw besides."""

    active_kw: tuple[float, ...]
    reactive_kvar: tuple[float, ...]
    single_phase_kw: tuple[tuple[int, int, float], ...] = ()
    """(node, phase 0..2, active power) of each. Between that phase and the neutral."""
    single_phase_kvar: tuple[tuple[int, int, float], ...] = ()
    """The same with reactive power, of those that have any."""

    @property
    def total_kw(self) -> float:
        """Active power of all devices together, added in their order in every version of Python."""
        return reduce(add, self.active_kw, 0.0) + reduce(add, (power for _, _, power in self.single_phase_kw), 0.0)


@dataclass(frozen=True, slots=True)
class Solution:
    """A flow; or an estimate without voltages, where none carry the power.

    ``pcc_kw`` is what the source delivers; ``losses_kw`` the sum of what goes into and out of each branch. The two come
    from different elements, so that their balance with the loads is a check and not an identity.
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

    @property
    def is_estimate(self) -> bool:
        """Whether no voltages carry the power, so that nothing but power and estimated losses is known."""
        return not self.voltages_pu


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
    """A network, set up once and solved for many injections. The transformer's ``from_node`` is the source's; without
    a transformer the source is at ``pcc``, and ``nominal_kv`` is the voltage of all nodes.

    ``unbalanced``: three phases, each with its own voltages; else one stands for all.
    """

    def __init__(
        self,
        transformer: Transformer | None,
        cables: Sequence[Cable],
        source: Source = Source(),  # noqa: B008 (frozen)
        *,
        unbalanced: bool = False,
        pcc: str = "PCC",
        nominal_kv: float = 0.4,
    ) -> None:
        """Raises ValueError when a cable joins both sides of the transformer, or the numbers make no network."""
        ends = [pcc] if transformer is None else [transformer.from_node, transformer.to_node]
        ends += [node for cable in cables for node in (cable.from_node, cable.to_node)]
        self.nodes = tuple(dict.fromkeys(ends))
        self.branches = tuple(cable.name for cable in cables)
        if transformer is not None:
            self.branches += (transformer.name,)
        self.unbalanced = unbalanced
        self.tolerances = _tolerances(condition(self.nodes[0], transformer, cables))
        """Of the iteration [pu], in the order in which they are tried."""
        self._rated_w = 0.0 if transformer is None else transformer.rated_kva * 1e3
        self._idle_kw = 0.0 if transformer is None else transformer.iron_loss_kw
        self._load_kind = ComponentType.asym_load if unbalanced else ComponentType.sym_load
        loads = load_table(len(self.nodes), self._load_kind)
        self._load_ids = loads["id"]
        tables = network_tables(self.nodes, transformer, cables, source, nominal_kv, unbalanced=unbalanced)
        try:
            self._model = PowerGridModel({**tables, self._load_kind: loads})
        except PowerGridError as error:
            raise ValueError(f"is no network that can be solved: {' '.join(str(error).split())}") from None
        self._one_by_one = self._prepared()

    def solve(self, injections: Sequence[Injection]) -> list[Solution | None]:
        """The flow for each injection; None where no voltages exist that carry it.

        Raises ValueError for single-phase power in a balanced network.
        """
        if not injections:
            return []
        power = self._powers(injections)
        try:
            return _solutions(self._flows(power, self.tolerances[0]), unbalanced=self.unbalanced)
        except PowerGridError:
            if len(injections) == 1:
                return [self._looser(power)]
            return [self.solve([injection])[0] for injection in injections]

    def estimated_losses_kw(self, injection: Injection) -> float:
        """Losses of power that no voltages carry: those that its currents would have at nominal voltage.

        Losses of ± a small part of the power, less those without any, grow with its square; the mean of the two signs
        has no linear part. Where not even that can be solved, the transformer's iron loss.
        """
        (idle,) = self.solve([_scaled(injection, 0.0)])
        for part in PROBES:
            both = self.solve([_scaled(injection, part), _scaled(injection, -part)])
            if idle is not None and both[0] is not None and both[1] is not None:
                mean_kw = (both[0].losses_kw + both[1].losses_kw) / 2
                return idle.losses_kw + max(mean_kw - idle.losses_kw, 0.0) / part**2
        return self._idle_kw

    def _looser(self, power: Array) -> Solution | None:
        """A single flow that the first tolerance did not find."""
        for tolerance in self.tolerances[1:]:
            try:
                flows = self._flows(power, tolerance)
            except PowerGridError:
                continue
            drawn_kw = power[0].sum()
            unbalanced_kw = abs(flows.pcc_kw.sum() - drawn_kw - flows.losses_kw.sum())
            if unbalanced_kw <= BALANCE_FRAC * max(1.0, np.abs(power).sum()):
                return _solutions(flows, unbalanced=self.unbalanced)[0]
        return None

    def flows(self, active_kw: Array, reactive_kvar: Array) -> Flows:
        """Batch calculation, for studies: 35,040 quarter-hours of a year take about a second.

        Both of the shape (T, nodes); in an unbalanced network (T, nodes, 3), by phase. T ≥ 1. Raises ValueError for
        power that is no finite number, and PowerGridError (of power-grid-model) when one of the T cannot be carried by
        any voltages.
        """
        power = np.array([active_kw, reactive_kvar])
        for tolerance in self.tolerances[:-1]:
            try:
                return self._flows(power, tolerance)
            except PowerGridError:
                continue
        return self._flows(power, self.tolerances[-1])

    def _flows(self, power: Array, tolerance_pu: float) -> Flows:
        """``power``: active [kW] and reactive [kvar], of the shape (2, T, nodes) or (2, T, nodes, 3)."""
        if not (finite := np.isfinite(power)).all():
            _, row, node, *_ = np.argwhere(~finite)[0].tolist()
            raise ValueError(f"power that is no finite number, at node {self.nodes[node]} of injection {row}")
        flow = self._calculated(_watts(power), tolerance_pu)
        branches = [(kind, flow[kind]) for kind in (ComponentType.line, ComponentType.transformer) if kind in flow]
        # Without any branch, all devices are at the PCC.
        lost = [_by_phase(table["p_from"] + table["p_to"]).sum(axis=2) for _, table in branches]
        branch_losses_w = np.concatenate([*lost, np.zeros((power.shape[1], 0))], axis=1)
        # The cables' first, then the transformer's: sums keep their order, and with it their last bit.
        last = branch_losses_w[:, -1] if self._rated_w else 0.0
        losses_w = branch_losses_w[:, : -1 if self._rated_w else None].sum(axis=1) + last
        source = flow[ComponentType.source]
        return Flows(
            pcc_kw=_by_phase(source["p"])[:, 0] / 1e3,
            pcc_kvar=_by_phase(source["q"])[:, 0] / 1e3,
            losses_kw=losses_w / 1e3,
            branch_losses_kw=branch_losses_w / 1e3,
            voltages_pu=_by_phase(flow[ComponentType.node]["u_pu"]),
            loadings_frac=np.concatenate(
                [*(self._loading(kind, table) for kind, table in branches), np.zeros((power.shape[1], 0))], axis=1
            ),
        )

    def _calculated(self, power_w: Array, tolerance_pu: float) -> dict[Any, Any]:
        """power-grid-model's tables of nodes, branches and source, a row for each of the T injections."""
        if self._one_by_one is not None and power_w.shape[1] <= MOST_ONE_BY_ONE:
            return self._one_by_one.calculate(power_w[0], power_w[1], tolerance_pu)
        update = initialize_array("update", self._load_kind, power_w.shape[1:3])
        update["id"] = self._load_ids
        update["p_specified"], update["q_specified"] = power_w
        flow: dict[Any, Any] = self._model.calculate_power_flow(
            update_data={self._load_kind: update},
            symmetric=not self.unbalanced,
            error_tolerance=tolerance_pu,
            max_iterations=MAX_ITERATIONS,
            output_component_types=_OUTPUT,
        )
        return flow

    def _prepared(self) -> "PreparedFlow | None":
        if PreparedFlow is None:
            return None
        try:
            return PreparedFlow(
                self._model,
                self._load_kind,
                self._load_ids,
                _OUTPUT,
                symmetric=not self.unbalanced,
                max_iterations=MAX_ITERATIONS,
            )
        except (AttributeError, TypeError):  # likewise
            return None

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
            if any(injection.single_phase_kw or injection.single_phase_kvar for injection in injections):
                raise ValueError("single-phase power needs an unbalanced network")
            return power
        phases = np.repeat(power[..., None] / PHASES, PHASES, axis=3)
        for i, injection in enumerate(injections):
            for node, phase, power_kw in injection.single_phase_kw:
                phases[0, i, node, phase] += power_kw
            for node, phase, kvar in injection.single_phase_kvar:
                phases[1, i, node, phase] += kvar
        return phases


def _tolerances(condition: float) -> tuple[float, ...]:
    """The first above the rounding error, each next one ten times as much, the loosest the last."""
    found = [min(max(ROUNDING * condition, TIGHTEST_PU), LOOSEST_PU)]
    while found[-1] < LOOSEST_PU:
        found.append(min(10 * found[-1], LOOSEST_PU))
    return tuple(found)


def _scaled(injection: Injection, part: float) -> Injection:
    return Injection(
        tuple(part * kw for kw in injection.active_kw),
        tuple(part * kvar for kvar in injection.reactive_kvar),
        tuple((node, phase, part * kw) for node, phase, kw in injection.single_phase_kw),
        tuple((node, phase, part * kvar) for node, phase, kvar in injection.single_phase_kvar),
    )


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
