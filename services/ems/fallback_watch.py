"""Alarms about what the devices would do together without an EMS: more than connection, groups and network may carry.

The births say it, so it is known of real devices, too. While a limit from outside holds, devices that take set-points
draw or give nothing on their fallback; then the others and the loads count against it.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

from schemas.fallbacks import Behaviour, Excess, FallbackLimits, Scope, behaviour
from schemas.limits import PCC, Allowed, Limits
from schemas.messages import Alarm, Severity
from schemas.participant import Json
from schemas.site import Site
from services.ems.system_state import DeviceState

FALLBACKS_ABOVE_LIMIT = "fallbacks_above_limit"


class FallbackWatch:
    """Compares, from decision to decision, the fallbacks of those that are there with what is allowed."""

    def __init__(self, site: Site, groups: Mapping[str, tuple[str, ...]]) -> None:
        """``groups``: devices of the groups that the site names."""
        self._fallbacks = FallbackLimits(site)
        self._groups = groups
        self._looked_up: tuple[dict[str, Behaviour], list[Excess]] = {}, []
        """Behaviours at the decision before and what follows; they seldom change."""
        self._active: dict[str, Alarm] = {}

    def observe(self, limits: Limits, present: Mapping[str, DeviceState], t: datetime) -> list[Alarm]:
        """The alarms that begin or end with this decision."""
        behaviours = {
            name: behaviour(device.birth.nameplate, device.birth.fallback) for name, device in present.items()
        }
        if self._looked_up[0] != behaviours:
            self._looked_up = behaviours, list(self._fallbacks.excesses(behaviours))
        excesses = [*self._looked_up[1], *(self._outside(limits, behaviours, t) if limits else ())]
        found = {f"{excess.scope.where}/{excess.scope.name}/{excess.way}": _alarm(excess) for excess in excesses}
        begun = [alarm for key, alarm in found.items() if self._active.get(key) != alarm]
        over = [alarm.model_copy(update={"active": False}) for key, alarm in self._active.items() if key not in found]
        self._active = found
        return [*over, *begun]

    def _outside(self, limits: Limits, behaviours: Mapping[str, Behaviour], t: datetime) -> Iterator[Excess]:
        fixed = {name: one for name, one in behaviours.items() if not one.commanded}
        for group in (None, *self._groups):
            holds = limits.at(group, t)
            devices = None if group is None else frozenset(self._groups[group])
            for way, allowed in (("import", holds.import_), ("export", holds.export)):
                if allowed is not None:
                    scope = _scope(group or PCC, devices, allowed)
                    yield from (one for one in self._fallbacks.excesses_of(scope, fixed) if one.way == way)

    def snapshot(self) -> Json:
        return {key: alarm.model_dump(mode="json") for key, alarm in self._active.items()}

    def restore(self, state: Json) -> None:
        self._active = {key: Alarm.model_validate(alarm, strict=False) for key, alarm in state.items()}


def _scope(name: str, devices: frozenset[str] | None, allowed: Allowed) -> Scope:
    return Scope(f"{allowed.source} at {name}", name, devices, allowed.kw, allowed.kw)


def _alarm(excess: Excess) -> Alarm:
    return Alarm(
        code=FALLBACKS_ABOVE_LIMIT,
        severity=Severity.CRITICAL,
        element=excess.scope.name[:100],
        value=excess.kw,
        limit=excess.limit_kw,
        text=excess.text[:500],
    )
