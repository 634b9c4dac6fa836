"""The site's network as a power flow: from its tables, and from the devices' power to what each node draws."""

from collections.abc import Mapping, Sequence

import numpy as np

from schemas.site import Meter, Network, Site, phases_of
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
    """A site's network, ready to be solved: balanced, or phase by phase where a single-phase device is on the site.

    A device that the site does not know hangs at the main node, as does one that names no node; it is balanced.
    """

    def __init__(self, site: Site) -> None:
        """Raises ValueError when the network makes no sense electrically."""
        self._site = site
        self._phases = phases_of(site.devices)
        self.flow = power_flow_of(site.network, unbalanced=bool(self._phases))
        self._node = {node: i for i, node in enumerate(self.flow.nodes)}
        self._solved: dict[Injection, Solution] = {}
        """Result of the last call of `solve`."""

    def injection(self, power_kw: Mapping[str, float]) -> Injection:
        """Power of the nodes when the devices have this power [kW], positive when drawn from the bus."""
        active = [0.0] * len(self._node)
        reactive = [0.0] * len(self._node)
        single: list[tuple[int, int, float]] = []
        for device, power in power_kw.items():
            node = self._node_of(device)
            phase = self._phases.get(device)
            if phase is not None:
                single.append((node, phase, power))
                continue
            active[node] += power
            spec = self._site.devices.get(device)
            if isinstance(spec, Meter):
                reactive[node] += reactive_kvar(power, spec.power_factor)
        return Injection(tuple(active), tuple(reactive), tuple(single))

    def solve(self, injections: Sequence[Injection]) -> list[Solution]:
        """Equal injections are solved once, as are those of the last call: an interval often begins with what the
        devices did at the end of the one before. Where no voltages carry the load its losses are estimated.
        """
        distinct = dict.fromkeys(injections)
        new = [injection for injection in distinct if injection not in self._solved]
        for injection, solution in zip(new, self.flow.solve(new), strict=True):
            self._solved[injection] = solution or self._estimate(injection)
        self._solved = {injection: self._solved[injection] for injection in distinct}
        return [self._solved[injection] for injection in injections]

    def flows(self, devices: Sequence[str], power_kw: Array) -> Flows:
        """Batch mode for studies: ``power_kw`` of the shape (T, devices), T ≥ 1, a column for each of ``devices``.

        Reactive power as the site's meters have it; other devices have none. Raises ValueError when the shape does
        not fit the devices, for a device that the site does not know (in a run it would be at the main node, with an
        alarm; here nobody would be told) and for power that is no finite number; PowerGridError (of power-grid-model)
        for a load that no voltages carry.
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
            if phase is not None:
                active[:, node, phase] += power_kw[:, column]
                continue
            active[:, node] += power_kw[:, column, None] / phases
            spec = self._site.devices.get(device)
            if isinstance(spec, Meter) and spec.power_factor < 1:
                told = [reactive_kvar(power, spec.power_factor) for power in power_kw[:, column].tolist()]
                reactive[:, node] += np.array(told)[:, None] / phases
        if phases == 1:
            active, reactive = active[:, :, 0], reactive[:, :, 0]
        return self.flow.flows(active, reactive)

    def _estimate(self, injection: Injection) -> Solution:
        losses_kw = min(self.flow.estimated_losses_kw(injection), _GREATEST_KW)
        total_kw = injection.total_kw + losses_kw
        return Solution(min(max(total_kw, -_GREATEST_KW), _GREATEST_KW), losses_kw, (), ())

    def _node_of(self, device: str) -> int:
        spec = self._site.devices.get(device)
        main = self._site.network.main_node
        return self._node[main if spec is None or spec.node is None else spec.node]


def power_flow_of(network: Network, *, unbalanced: bool = False) -> PowerFlow:
    """A site's network, ready to be solved. Raises ValueError when it makes no sense electrically."""
    given = network.transformer
    transformer = Transformer(
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
    return PowerFlow(transformer, cables, Source(network.source_voltage_pu), unbalanced=unbalanced)
