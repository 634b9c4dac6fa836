"""Decisions that no solution stands behind, kept within the limits from outside."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from schemas.capabilities import Capability
from schemas.limits import Allowed, Limits
from schemas.messages import Plan
from schemas.sums import sum_in_order
from services.ems.dispatch import Decision
from services.ems.system_state import DeviceState

SLACK_KW = 1e-3
"""What a plan may exceed a limit by and still keep to it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits from outside in one settlement period [start, end), as known at ``now``."""

    limits: Limits
    groups: Mapping[str, tuple[str, ...]]
    """Devices of the groups that the site names."""
    start: datetime
    end: datetime
    now: datetime

    @property
    def there_are(self) -> bool:
        """Whether there is any."""
        return any(self._ways(group) != (None, None) for group in (None, *self.groups))

    def kept_by(self, plan: Plan) -> bool:
        """Whether the first step of a plan keeps to them. A plan without power at the PCC does not."""
        if plan.pcc_kw is None:
            return not self.there_are
        powers = {None: plan.pcc_kw[0]} | {
            group: sum_in_order(plan.devices[name].power_kw[0] for name in devices if name in plan.devices)
            for group, devices in self.groups.items()
        }
        return all(_within(kw, *self._ways(group)) for group, kw in powers.items())

    def of_fallback(self, decision: Decision, present: Mapping[str, DeviceState]) -> Decision:
        """Adds commands to a decision that has none: no device draws power where import is limited, none gives power
        where export is. How much of a limit the load leaves, nobody has worked out.
        """
        power, limit = dict(decision.power_kw), dict(decision.limit_kw)
        for name, device in present.items():
            scopes = [self._ways(g) for g in (None, *(g for g, devices in self.groups.items() if name in devices))]
            no_import = any(ways[0] is not None for ways in scopes)
            no_export = any(ways[1] is not None for ways in scopes)
            can = device.birth.capabilities
            if Capability.FLEXIBLE_LOAD in can and (no_import or (no_export and Capability.TWO_WAY in can)):
                power[name] = 0.0
            if Capability.CURTAILABLE in can and no_export:
                limit[name] = 0.0
        if not power and not limit:
            return decision
        reason = f"{decision.plan.reason}; kept within the limits from outside: {', '.join(sorted({*power, *limit}))}"
        return replace(
            decision, plan=decision.plan.model_copy(update={"reason": reason[:2000]}), power_kw=power, limit_kw=limit
        )

    def _ways(self, group: str | None) -> tuple[Allowed | None, Allowed | None]:
        holds = self.limits.over(group, self.start, self.end, self.now)
        return holds.import_, holds.export


def _within(kw: float, imports: Allowed | None, exports: Allowed | None) -> bool:
    return (imports is None or kw <= imports.kw + SLACK_KW) and (exports is None or -kw <= exports.kw + SLACK_KW)
