"""The steps after the window, for vehicles that stay on: fewer and longer ones, by their means."""

import math
from collections.abc import Iterable

import numpy as np

from schemas.site import Site
from services.ems.network_limits import NetworkLimits
from services.ems.problem import LATER_STEP_H, ChargerUnit, Later
from services.ems.problem_builder.expectation import PURCHASE, SALE, co2_intensity, expected_price
from services.ems.problem_builder.limits import group_limits, network_groups
from services.ems.problem_builder.load import loads_of, total_of
from services.ems.problem_builder.objective import weights_of
from services.ems.problem_builder.pv import pv_unit
from services.ems.problem_builder.window import Window, values_of
from services.ems.system_state import DeviceState, SystemState

LATER_BLOCK = 6
"""Steps after the window come in blocks of so many ..."""
LATER_MOST = 48
"""... and are so many at most; a stay that outlasts them is thought to charge at full power from then on."""


def later_steps(
    state: SystemState,
    present: dict[str, DeviceState],
    site: Site,
    limits: NetworkLimits,
    window: Window,
    chargers: Iterable[ChargerUnit],
    losses: float,
) -> Later | None:
    """Steps up to the last departure of those who stay on, in blocks, so that the model's structure lasts for hours.

    Series that say nothing of them are taken as the window's mean.
    """
    last = max((stay.departure for unit in chargers for stay in unit.stays), default=window.end)
    hours = (last - window.end).total_seconds() / 3600 / LATER_STEP_H
    if hours <= 0:
        return None
    steps = min(math.ceil(hours / LATER_BLOCK) * LATER_BLOCK, LATER_MOST)
    after = Window(window.end, round(LATER_STEP_H * 3600), steps)
    loads = loads_of(state, present, site, after, losses, measured_now=False)
    pv = [pv_unit(name, known, state, site, after, measured_now=False) for name, known in present.items()]
    net = np.array(total_of(loads.values(), after)) + losses
    for unit in pv:
        if unit is not None:
            net = net - np.array(unit.available_kw)
    weights = weights_of(site)
    co2 = co2_intensity(state, site, after) or (0.0,) * after.steps
    purchase = tuple(map(weights.of_import, expected_price(state, PURCHASE, site, after), co2))
    sale = tuple(map(weights.of_export, expected_price(state, SALE, site, after)))
    network = [group for _, group in network_groups(limits, present, loads, losses, after)]
    groups = (*group_limits(site, present), *network)
    return Later(values_of(net), purchase, sale, groups)
