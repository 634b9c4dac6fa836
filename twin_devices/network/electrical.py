"""The site's network as a power flow: from its tables, and from the devices' power to what each node draws."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from schemas.site import Meter, Network, Pv, Site, phases_of, switched_phases_of
from twin_devices.physics.load import reactive_kvar
from twin_devices.physics.power_flow import (
    PHASES,
    Array,
    Cable,
    Flows,
    Injection,
    PowerFlow,
    Solution,
    Source,
    Transformer,
)

TRANSFORMER = "transformer"
_GREATEST_KW = 1e6


class SiteNetwork:
    """A site's network, ready to be solved: balanced, or phase by phase where a device on the site has one phase, or
    switches to one.

    A device that the site does not know hangs at the main node, as does one that names no node; it is balanced.
    """

    def __init__(self, site: Site) -> None:
        """Raises ValueError when the network makes no sense electrically."""
        self._site = site
        self._phases = phases_of(site.devices)
        self._switched = switched_phases_of(site.devices)
        self.flow = power_flow_of(site.network, unbalanced=bool(self._phases or self._switched))
        self._node = {node: i for i, node in enumerate(self.flow.nodes)}
        self._solved: dict[Injection, Solution] = {}
        """Result of the last call of `solve`."""

    def injection(self, power_kw: Mapping[str, float], on_one: Collection[str] = ()) -> Injection:
        """Power of the nodes when the devices have this power [kW], positive when drawn from the bus.

        ``on_one``: chargers that switch their phases, and are on one.
        """
        active = [0.0] * len(self._node)
        reactive = [0.0] * len(self._node)
        single: list[tuple[int, int, float]] = []
        single_kvar: list[tuple[int, int, float]] = []
        for device, power in power_kw.items():
            node = self._node_of(device)
            phase, kvar = self._phases.get(device), self._reactive_kvar(device, power)
            if device in on_one:
                phase = self._switched.get(device, phase)
            if phase is not None:
                single.append((node, phase, power))
                if kvar:
                    single_kvar.append((node, phase, kvar))
                continue
            active[node] += power
            reactive[node] += kvar
        return Injection(tuple(active), tuple(reactive), tuple(single), tuple(single_kvar))

    def solve(self, injections: Sequence[Injection]) -> list[Solution]:
        """Equal injections are solved once, as are those of the last call: an interval often begins with what the
        devices did at the end of the one before. Where no voltages carry the load its losses are estimated.
        """
        distinct = dict.fromkeys(injections)
        new = [injection for injection in distinct if injection not in self._solved]
        for injection, solution in zip(new, self.flow.solve(new), strict=True):
            self._solved[injection] = self._estimate(injection) if solution is None else self._lossy(solution)
        self._solved = {injection: self._solved[injection] for injection in distinct}
        return [self._solved[injection] for injection in injections]

    def flows(self, devices: Sequence[str], power_kw: Array) -> Flows:
        """Batch mode for studies: ``power_kw`` of the shape (T, devices), T ≥ 1, a column for each of ``devices``.

        Reactive power as the site describes it for meters and PV. Chargers that switch their phases are on three.
        Raises ValueError when the shape does not fit the devices, for a device that the site does not know (in a run it
        would be at the main node, with an alarm; here nobody would be told) and for power that is no finite number;
        PowerGridError (of power-grid-model) for a load that no voltages carry.
        """
        if power_kw.ndim != 2 or power_kw.shape[1] != len(devices) or not len(power_kw):
            raise ValueError(f"power of shape {power_kw.shape} for {len(devices)} devices; (T, devices) is wanted")
        if unknown := [device for device in devices if device not in self._site.devices]:
            there_are = ", ".join(self._site.devices)
            raise ValueError(f"no devices of the site: {', '.join(unknown)}; there are {there_are}")
        finite = [bool(np.isfinite(power).all()) for power in power_kw.T]
        if bad := [device for device, good in zip(devices, finite, strict=True) if not good]:
            raise ValueError(f"power that is no finite number, of {', '.join(bad)}")
        phases = PHASES if self.flow.unbalanced else 1
        active = np.zeros((len(power_kw), len(self._node), phases))
        reactive = np.zeros_like(active)
        for column, device in enumerate(devices):
            node, phase = self._node_of(device), self._phases.get(device)
            kvar = np.array([self._reactive_kvar(device, power) for power in power_kw[:, column].tolist()])
            if phase is not None:
                active[:, node, phase] += power_kw[:, column]
                reactive[:, node, phase] += kvar
                continue
            active[:, node] += power_kw[:, column, None] / phases
            reactive[:, node] += kvar[:, None] / phases
        if phases == 1:
            active, reactive = active[:, :, 0], reactive[:, :, 0]
        flows = self.flow.flows(active, reactive)
        share = self._site.network.losses_frac
        if not share:
            return flows
        losses_kw = share * np.abs(flows.pcc_kw.sum(axis=1))
        return replace(flows, pcc_kw=flows.pcc_kw + losses_kw[:, None] / phases, losses_kw=losses_kw)

    def _lossy(self, solution: Solution) -> Solution:
        """With the stated losses of a busbar."""
        share = self._site.network.losses_frac
        if not share:
            return solution
        losses_kw = share * abs(solution.pcc_kw)
        phases = tuple(kw + losses_kw / PHASES for kw in solution.phase_pcc_kw)
        return replace(solution, pcc_kw=solution.pcc_kw + losses_kw, losses_kw=losses_kw, phase_pcc_kw=phases)

    def _estimate(self, injection: Injection) -> Solution:
        losses_kw = min(self.flow.estimated_losses_kw(injection), _GREATEST_KW)
        total_kw = injection.total_kw + losses_kw
        return Solution(min(max(total_kw, -_GREATEST_KW), _GREATEST_KW), losses_kw, (), ())

    def _reactive_kvar(self, device: str, power_kw: float) -> float:
        """Reactive power that it draws beside its active power, as the site describes it."""
        spec = self._site.devices.get(device)
        if isinstance(spec, Pv):
            return power_kw * spec.reactive_per_active() if spec.power_factor < 1 else 0.0
        return reactive_kvar(power_kw, spec.power_factor) if isinstance(spec, Meter) else 0.0

    def _node_of(self, device: str) -> int:
        spec = self._site.devices.get(device)
        main = self._site.network.main_node
        return self._node[main if spec is None or spec.node is None else spec.node]


def power_flow_of(network: Network, *, unbalanced: bool = False) -> PowerFlow:
    """A site's network, ready to be solved. Raises ValueError when it makes no sense electrically."""
    given = network.transformer
    transformer = (
        None
        if given is None
        else Transformer(
            name=TRANSFORMER,
            from_node=given.from_node,
            to_node=given.to_node,
            rated_kva=given.rated_kva,
            high_kv=given.high_kv,
            low_kv=given.low_kv,
            vk_frac=given.vk_frac,
            vkr_frac=given.vkr_frac,
            iron_loss_kw=given.iron_loss_kw,
            no_load_current_frac=given.no_load_current_frac,
            clock=given.clock,
            tap_frac=given.tap_frac,
        )
    )
    cables = [
        Cable(
            cable.name,
            cable.from_node,
            cable.to_node,
            cable.r_mohm / 1e3,
            cable.x_mohm / 1e3,
            cable.ampacity_a,
            r0_ohm=cable.r_mohm / 1e3 * cable.r0_factor,
            x0_ohm=cable.x_mohm / 1e3 * cable.x0_factor,
        )
        for cable in network.cables
    ]
    source = Source(
        network.source_voltage_pu,
        network.source_short_circuit_mva,
        network.source_rx_ratio,
        network.source_z0_ratio,
    )
    return PowerFlow(
        transformer, cables, source, unbalanced=unbalanced, pcc=network.pcc_node, nominal_kv=network.nominal_kv
    )
