"""Limits of devices together: of groups that the site names, of its network, and from outside."""

import math
from collections.abc import Collection
from datetime import datetime

import numpy as np

from schemas.limits import Limits
from schemas.messages import ShortfallKind
from schemas.site import Site
from services.ems.network_limits import UNKNOWN_METER, Bottleneck, NetworkLimits
from services.ems.problem import Group, OutsideLimit
from services.ems.problem_builder.window import Window, values_of
from services.ems.stores import Array
from services.ems.system_state import DeviceState


def group_limits(site: Site, present: dict[str, DeviceState]) -> list[Group]:
    """Limits that the site names."""
    groups = []
    for i, group in enumerate(site.ems.cable_limits):
        if devices := tuple(device for device in group.devices if device in present):
            place = f"ems.cable_limits.{i}"
            groups.append(Group(devices, group.limit_kw, element=place, kind=ShortfallKind.GROUP_LIMIT))
    return groups


def network_groups(
    limits: NetworkLimits, present: dict[str, DeviceState], loads: dict[str, Array], losses: float, window: Window
) -> list[tuple[Bottleneck, Group]]:
    """Limits of the site's cables and transformer, where they could bind."""
    return [(each, _group(each, loads, losses, window)) for each in limits.bottlenecks(present, loads.keys())]


def _group(bottleneck: Bottleneck, loads: dict[str, Array], losses: float, window: Window) -> Group:
    """Load counts with its sign; losses and reactive power take room from power drawn, reactive power from power given
    too."""
    of_meters = zip(bottleneck.meters, bottleneck.load_shares, bottleneck.reactive, strict=True)
    certain = np.zeros(window.steps)
    most, kvar = certain, certain
    for name, share, own in of_meters:
        if name not in loads:
            continue
        load = share * loads[name]
        kvar = kvar + own * load
        perhaps = bottleneck.perhaps and name == UNKNOWN_METER
        most = most + (np.maximum(load, 0.0) if perhaps else load)
        certain = certain + (np.minimum(load, 0.0) if perhaps else load)
    reserved = bottleneck.reserved_kw(kvar)
    lost = bottleneck.losses_share * losses if bottleneck.losses else 0.0
    return Group(
        bottleneck.devices,
        bottleneck.limit_kw,
        values_of(most + lost + reserved),
        bottleneck.shares,
        values_of(certain - reserved),
        element=bottleneck.element,
    )


def outside_limits(
    limits: Limits, site: Site, present: Collection[str], window: Window, now: datetime
) -> tuple[OutsideLimit, ...]:
    """By scope the strictest of the limits from outside, in every step in a part of which they are valid."""
    if not limits:
        return ()
    scopes: dict[str | None, tuple[str, ...]] = {None: ()}
    for name, devices in named_groups(site).items():
        scopes[name] = devices
    found = []
    for group, devices in scopes.items():
        steps = [limits.over(group, window.at(i), window.at(i + 1), now) for i in range(window.steps)]
        imports, exports = [step.import_ for step in steps], [step.export for step in steps]
        allowed = [each for each in (*imports, *exports) if each is not None]
        there = tuple(device for device in devices if device in present)
        if not allowed or (group is not None and not there):
            continue
        found.append(
            OutsideLimit(
                source=", ".join(dict.fromkeys(each.source for each in allowed))[:500],
                import_kw=tuple(math.inf if each is None else each.kw for each in imports),
                export_kw=tuple(math.inf if each is None else each.kw for each in exports),
                group=group or "",
                devices=there,
                failsafe=any(each.failsafe for each in allowed),
            )
        )
    return tuple(found)


def named_groups(site: Site) -> dict[str, tuple[str, ...]]:
    """Devices of the groups that a limit from outside may name."""
    return {group.name: group.devices for group in site.ems.cable_limits if group.name is not None}
