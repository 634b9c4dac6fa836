"""Watches the network's limits and tells of changes only: an alarm when one begins, and one when it is over.

It begins at once, and ends a little inside the limit.
"""

from collections.abc import Mapping, Sequence
from itertools import chain

from schemas.messages import Alarm, Severity
from schemas.participant import Json
from twin_devices.physics.power_flow import Solution

OVERLOAD_ENDS_FRAC = 0.98
"""An overload is over below this part of the limit, and not at once below the limit: a loading that hovers around it is
one alarm and not one at each message."""

VOLTAGE_ENDS_PU = 0.005
"""A voltage is within its bounds again when it is so far inside of them."""

_Condition = tuple[str, str]
"""(code, element or device)"""


def _by_node(solved: Sequence[Solution]) -> list[tuple[float, ...]]:
    """Every node's voltages [pu] in all the solutions: of each one that stands for all phases, or each phase's."""
    if not solved[0].phase_voltages_pu:
        return list(zip(*(solution.voltages_pu for solution in solved), strict=True))
    phases = zip(*(solution.phase_voltages_pu for solution in solved), strict=True)
    return [tuple(chain.from_iterable(of_node)) for of_node in phases]


def _worst_loadings(solved: Sequence[Solution], branches: Sequence[str]) -> dict[str, float]:
    """By name: cables in parallel between the same nodes share one."""
    worst: dict[str, float] = {}
    by_branch = zip(*(solution.loadings_frac for solution in solved), strict=True)
    for name, loadings in zip(branches, by_branch, strict=True):
        worst[name] = max(*loadings, worst.get(name, 0.0))
    return worst


class Watch:
    def __init__(self, voltage_min_pu: float, voltage_max_pu: float) -> None:
        self._voltage_min_pu = voltage_min_pu
        self._voltage_max_pu = voltage_max_pu
        self._active: set[_Condition] = set()

    def devices(self, unknown: Sequence[str], node: str) -> list[Alarm]:
        """One alarm for each device that the site does not know."""
        alarms = []
        for device in unknown:
            if ("unknown_device", device) not in self._active:
                self._active.add(("unknown_device", device))
                text = f"{device} is not in the site description; it is taken to hang at node {node}"
                alarms.append(Alarm(code="unknown_device", severity=Severity.WARNING, device=device, text=text))
        return alarms

    def resets(self, devices: Sequence[str]) -> list[Alarm]:
        """One alarm for each time that a device's register fell within a life."""
        text = "a register of {} fell: it was reset, and what flowed at that time is not known by it"
        return [
            Alarm(code="register_reset", severity=Severity.WARNING, device=device, text=text.format(device))
            for device in devices
        ]

    def doubts(self, doubts: Mapping[str, Sequence[str]]) -> list[Alarm]:
        """Alarms that begin or end, by device that told something: what it told cannot be."""
        alarms = []
        for device, found in sorted(doubts.items()):
            condition = ("implausible", device)
            if bool(found) == (condition in self._active):
                continue
            if found:
                self._active.add(condition)
                text = f"{device}: {found[0]}; its last plausible power is metered instead"
            else:
                self._active.remove(condition)
                text = f"over: what {device} tells is plausible again"
            alarms.append(
                Alarm(code="implausible", severity=Severity.WARNING, active=bool(found), device=device, text=text[:500])
            )
        return alarms

    def network(self, solutions: Sequence[Solution], nodes: Sequence[str], branches: Sequence[str]) -> list[Alarm]:
        """Alarms that begin or end, by the worst of the solutions (of an interval and the instant at its end)."""
        solved = [solution for solution in solutions if not solution.is_estimate]
        worst_kw = max((solution.losses_kw for solution in solutions if solution.is_estimate), default=0.0)
        alarms = self._change(
            "power_flow_diverged",
            "network",
            len(solved) < len(solutions),
            Severity.CRITICAL,
            value=worst_kw,
            text="no voltages carry the devices' power: its losses are estimated, as its currents have them at nominal "
            f"voltage, up to {worst_kw:.3g} kW",
        )
        if not solved or (not self._active and self._is_calm(solved)):
            return alarms
        minimum, maximum = self._voltage_min_pu, self._voltage_max_pu
        for node, voltages in zip(nodes, _by_node(solved), strict=True):
            low, high = min(voltages), max(voltages)
            too_low = low < minimum + (VOLTAGE_ENDS_PU if self._is("voltage_low", node) else 0.0)
            too_high = high > maximum - (VOLTAGE_ENDS_PU if self._is("voltage_high", node) else 0.0)
            alarms += self._change("voltage_low", node, too_low, Severity.WARNING, low, minimum)
            alarms += self._change("voltage_high", node, too_high, Severity.WARNING, high, maximum)
        for name, worst in _worst_loadings(solved, branches).items():
            loaded = worst >= OVERLOAD_ENDS_FRAC if self._is("overload", name) else worst > 1
            alarms += self._change("overload", name, loaded, Severity.WARNING, worst, 1.0)
        return alarms

    def _is_calm(self, solved: Sequence[Solution]) -> bool:
        """Whether every voltage is within its bounds and nothing is overloaded, as nearly always."""
        voltages_pu = list(chain.from_iterable(_by_node(solved)))
        loadings_frac = chain.from_iterable(solution.loadings_frac for solution in solved)
        return (
            self._voltage_min_pu <= min(voltages_pu)
            and max(voltages_pu) <= self._voltage_max_pu
            and max(loadings_frac, default=0.0) <= 1
        )

    def _is(self, code: str, element: str) -> bool:
        return (code, element) in self._active

    def _change(
        self,
        code: str,
        element: str,
        active: bool,
        severity: Severity,
        value: float | None = None,
        limit: float | None = None,
        text: str | None = None,
    ) -> list[Alarm]:
        condition = (code, element)
        if active == (condition in self._active):
            return []
        if active:
            self._active.add(condition)
        else:
            self._active.remove(condition)
        if text is None:
            text = f"{code} at {element}: {value:.4f}, limit {limit:.4f}"
        return [
            Alarm(
                code=code,
                severity=severity,
                active=active,
                element=element,
                value=value,
                limit=limit,
                text=text if active else f"over: {text}",
            )
        ]

    def snapshot(self) -> Json:
        return sorted(list(condition) for condition in self._active)

    def restore(self, state: Json) -> None:
        self._active = {(code, element) for code, element in state}
